"""Fuzzes every parser that reads what others may have written; anything but a refusal is a failure.

    python -m benchmarks.fuzz_parsers                                ten minutes of processor time for each parser
    python -m benchmarks.fuzz_parsers --jobs 2 --write               two at a time, rows into provenance.json
    python -m benchmarks.fuzz_parsers --seconds 30 --only proof      a short look at one

Each parser gets a process of its own. Led by code coverage where `pip install atheris` was done (Python 3.11), else by
mutation at random over real inputs made here. A failure is an exception that the parser does not promise, a call that
takes longer than two seconds of processor time, memory that grows by more than 256 MB, an accepted change, or a process
that dies. The input of each failure is written to the folder given with --keep.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.results_page import Rows, read_results, write_results

LONGEST_S = 24 * 3600
"""By the clock, whatever else the machine does; a hang is found by the child itself."""

PARSERS = (
    "boxes",
    "manifest_store",
    "stored_manifest",
    "claim_signature",
    "signer_chain",
    "time_stamp",
    "release_record",
    "revocation_lists",
    "certificate",
    "clip",
    "checkpoint",
    "proof",
    "export",
    "witness_request",
    "log_key",
    "consent",
    "accreditation",
    "proof_of_possession",
    "grant",
    "status_list",
    "sealed_file",
    "sealed_header",
    "site_policy",
    "decision_record",
    "policy_cases",
    "broker_request",
    "process_message",
    "worker_wishes",
    "key_ring",
    "key_uri",
    "video",
    "sound",
    "portrait",
    "fingerprint",
    "report",
)


def fuzz(parser: str, *, seconds: float, seed: int, guided: bool, keep: Path | None) -> dict[str, Any]:
    """The outcome of one parser, fuzzed in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "outcome.json"
        arguments = {"name": parser, "seconds": seconds, "seed": seed, "guided": guided, "out": str(out),
                     "keep": str(keep) if keep else None}  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.fuzz_one", json.dumps(arguments)]
        with (Path(name) / "said").open("w+", errors="replace") as said:
            try:
                subprocess.run(command, stdout=said, stderr=said, check=False, timeout=LONGEST_S)
            except subprocess.TimeoutExpired:
                print("did not end in time", file=said)
            said.seek(0)
            last = said.read()[-1000:]
        outcome: dict[str, Any] = {"parser": parser, "cases": 0, "refused": 0, "failures": []}
        if out.exists():
            outcome = json.loads(out.read_text())
        if not outcome.get("finished"):
            outcome["failures"].append(f"the process died: {last.strip()[-400:]}")
        return outcome


@click.command(help=__doc__)
@click.option("--seconds", type=float, default=600, show_default=True, help="Processor time for each parser.")
@click.option("--only", multiple=True, type=click.Choice(PARSERS), help="These parsers only.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="So many at a time.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random changes.")
@click.option("--random", "at_random", is_flag=True, help="Without coverage, even where atheris is installed.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Write failing inputs here.")
@click.option("--write", is_flag=True, help="Put the rows into benchmarks/results/provenance.json.")
def main(
    seconds: float, only: tuple[str, ...], jobs: int, seed: int, at_random: bool, keep: Path | None, write: bool
) -> None:
    guided = not at_random and importlib.util.find_spec("atheris") is not None
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    chosen = only or PARSERS
    with ThreadPoolExecutor(jobs) as pool:
        running = pool.map(lambda name: fuzz(name, seconds=seconds, seed=seed, guided=guided, keep=keep), chosen)
        outcomes = list(_told(tqdm(running, total=len(chosen), disable=None, unit="parser")))
    failed = sum(len(outcome["failures"]) for outcome in outcomes)
    if write:
        write_results("provenance", rows_of(outcomes, guided=guided))
    raise SystemExit(1 if failed else 0)


def rows_of(outcomes: Sequence[Mapping[str, Any]], *, guided: bool) -> Rows:
    """A row for each parser; `fuzz_failures` sums these and the rows of parsers that were fuzzed before."""
    how = "coverage-guided" if guided else "at random"
    rows: Rows = {
        f"fuzz.{outcome['parser']}": {
            "value": len(outcome["failures"]),
            "unit": f"failures in {outcome.get('processor_s', 0):.0f} s of processor time, {how}",
            "n": outcome["cases"],
            "command": f"python -m benchmarks.fuzz_parsers --write --only {outcome['parser']}",
        }
        for outcome in outcomes
    }
    known = read_results("provenance") | rows
    each = [known[f"fuzz.{parser}"] for parser in PARSERS if f"fuzz.{parser}" in known]
    return rows | {
        "fuzz_failures": {
            "value": sum(row["value"] for row in each),
            "unit": f"failures in {len(each)} of {len(PARSERS)} parsers, times by parser above",
            "n": sum(row["n"] for row in each),
            "command": "python -m benchmarks.fuzz_parsers --write",
        }
    }


def _told(outcomes: Any) -> Any:
    for outcome in outcomes:
        tell(outcome)
        yield outcome


def tell(outcome: dict[str, Any]) -> None:
    """One line for a parser, one for each kind of failure."""
    found: Sequence[str] = sorted(set(outcome["failures"]))
    click.echo(
        f"{outcome['parser']:18s} {outcome['cases']:9,d} cases, {outcome['refused']:9,d} refused, "
        f"{outcome.get('processor_s', 0):6.0f} s of processor time, {len(outcome['failures'])} failures"
    )
    for failure in found:
        click.echo(f"    {failure}")


if __name__ == "__main__":
    main()
