"""Measures how much of a full expression the measuring device of `benchmarks.face_read_out` reads.

    python -m benchmarks.control_scale --data FOLDER [--people 24]

On procedural people of the studio, whose expression is known exactly; no renderer takes part. Writes
control_scale.json beside this file. FOLDER holds `rig/`, the full face rig.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.exact_people import measure_exact
from benchmarks.face_read_out import CONTROLS, SCALE_FILE
from benchmarks.results_page import replace_text
from benchmarks.shipped_weights import shipped_rig

SEED = 101


def measure_scale(data: Path, people: int) -> dict[str, float]:
    """Median over people of weight read over weight shown."""
    measured = measure_exact(shipped_rig(), np.ones(len(CONTROLS)), data / "rig", people, SEED)
    responses = np.nanmedian([m.response for m in measured], 0)
    return {name: round(float(v), 4) for name, v in zip(CONTROLS, responses, strict=True)}


@click.command(help=__doc__)
@click.option("--data", required=True, envvar="VASARI_DATA", type=click.Path(exists=True, path_type=Path))
@click.option("--people", default=24, show_default=True, help="Procedural people.")
def main(data: Path, people: int) -> None:
    torch.set_num_threads(1)
    scale = measure_scale(data, people)
    replace_text(SCALE_FILE, json.dumps(scale, indent=1) + "\n")
    click.echo(json.dumps(scale, indent=1))


if __name__ == "__main__":
    main()
