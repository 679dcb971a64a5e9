"""Measures the whole path, provenance and the detector, writes the figures and the page that shows them.

    python -m benchmarks.foundation                  all parts, about half an hour on two cores
    python -m benchmarks.foundation --only pipeline  one part; the others keep their figures
    python -m benchmarks.foundation --data FOLDER    with the private evaluation data (grid/, speech/, ...)

Each part is a module beside this one with a function `measure`; each figure is a row of
`benchmarks/results/foundation.json` named `part.id`, see `benchmarks.results_page`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from benchmarks.results_page import Rows, number, write_results


def _parts(data: Path | None) -> Mapping[str, Callable[[], Rows]]:
    from benchmarks import detector, pipeline, provenance

    return {
        "pipeline": pipeline.measure,
        "endurance": pipeline.measure_long,
        "provenance": provenance.measure,
        "detector": lambda: detector.measure(data) if data else {},
    }


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="Measure these parts only.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), envvar="VASARI_DATA", help="Evaluation data.")
def main(only: tuple[str, ...], data: Path | None) -> None:
    parts = _parts(data)
    unknown = set(only) - set(parts)
    if unknown:
        raise click.BadParameter(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    for name, measure in parts.items():
        if only and name not in only:
            continue
        click.echo(f"measuring {name} ...", err=True)
        rows = {key if key.startswith(f"{name}.") else f"{name}.{key}": row for key, row in measure().items()}
        write_results("foundation", rows)
        for key, row in rows.items():
            click.echo(f"{key:48s} {number(row['value']):>12s} {row['unit']}")


if __name__ == "__main__":
    main()
