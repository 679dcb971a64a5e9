"""Many decisions at the same instant about one consent: exactly as many grants as it has uses.

    python -m benchmarks.gate_races --threads 64 --processes 4 --uses 10 --rounds 3

Each thread has the gate's databases open by itself, as another process would, and asks with a request of its own.
A round has all threads start at one barrier; it is repeated with the same number of processes and threads.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.results_page import write_results
from policy import (
    Authority,
    ConsentTerms,
    GenerationRequest,
    PolicyError,
    SoftwareAuthenticator,
    sign_request,
    thumbprint,
)
from policy.media_facts import MediaFacts, inspect_media

DEMO = Path(__file__).resolve().parents[1] / "vasari" / "demo"
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Round:
    """What one process asks: the same of each thread, with a proof of its own."""

    state: Path
    facts: MediaFacts
    key: bytes
    consent: str
    accreditation: str
    threads: int

    def request(self, authority: Authority) -> GenerationRequest:
        """Signed now: a proof lives for a minute."""
        return sign_request(
            Ed25519PrivateKey.from_private_bytes(self.key),
            (DEMO / "portrait.png").read_bytes(),
            (DEMO / "voice.flac").read_bytes(),
            self.consent,
            self.accreditation,
            gate_id=authority.identity.gate_id,
            purpose="demonstration",
            now=datetime.now(UTC),
        )


def run_threads(asked: Round, start: Any, answers: Any) -> None:
    """Ask from as many threads as asked for; puts a count of answers into `answers`."""
    found: Counter[str] = Counter()
    here = threading.Barrier(asked.threads)

    def ask() -> None:
        with Authority.open(asked.state) as authority:
            gate = authority.gate(inspect=lambda *media: asked.facts)
            if here.wait(PATIENCE_S) == 0:
                start.wait(PATIENCE_S)
            here.wait(PATIENCE_S)
            request = asked.request(authority)
            here.wait(PATIENCE_S)
            try:
                decision = gate.decide(request, worker_key=bytes(32))
                found["granted" if decision.allowed else "refused"] += 1
            except PolicyError:
                found["undecided"] += 1
            here.wait(PATIENCE_S)  # nobody leaves before all have asked: a closed owner gives its use back

    threads = [threading.Thread(target=ask) for _ in range(asked.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(found)
    start.wait(PATIENCE_S)


def race(folder: Path, *, threads: int, processes: int, uses: int) -> Counter[str]:
    """One round: how many requests were granted, refused, undecided; and what the ledger says afterwards."""
    portrait, audio = (DEMO / "portrait.png").read_bytes(), (DEMO / "voice.flac").read_bytes()
    researcher, device = Ed25519PrivateKey.generate(), SoftwareAuthenticator.create()
    facts = inspect_media(portrait, audio)
    with Authority.create(folder / "state", organisation="Race", now=datetime.now(UTC)) as authority:
        authority.enrol_subject("nobody", device.credential)
        terms = ConsentTerms(
            "nobody", portrait, thumbprint(researcher), ("demonstration",), adult=True, uses=uses, total_seconds=10_000
        )
        consent = authority.issue_consent(terms, device)
        accreditation = authority.accredit(researcher.public_key(), researcher="nobody")
        (issued,) = authority.consents()
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(processes), context.Queue()
    asked = Round(folder / "state", facts, researcher.private_bytes_raw(), consent, accreditation, threads // processes)
    workers = [context.Process(target=run_threads, args=(asked, start, answers)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found: Counter[str] = Counter()
    for _ in workers:
        found += answers.get(timeout=PATIENCE_S)
    for worker in workers:
        worker.join()
    with Authority.open(folder / "state") as authority:
        found["reserved"] = len(authority.uses(issued.jti))
    return found


@click.command(help=__doc__)
@click.option("--threads", type=click.IntRange(min=1), default=64, show_default=True, help="In all processes together.")
@click.option("--processes", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--uses", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(threads: int, processes: int, uses: int, rounds: int) -> None:
    excess = shortfall = undecided = 0
    for shape in (1, processes):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="vasari-race-") as folder:
                found = race(Path(folder), threads=threads, processes=shape, uses=uses)
            click.echo(f"{shape} processes: {dict(found)}")
            excess = max(excess, found["granted"] - uses, found["reserved"] - uses)
            shortfall = max(shortfall, uses - found["granted"])
            undecided += found["undecided"]
    command = (
        f"python -m benchmarks.gate_races --threads {threads} --processes {processes} --uses {uses} --rounds {rounds}"
    )
    n = 2 * rounds * threads
    rows = {
        "race_excess_grants": {"value": max(0, excess), "unit": "grants", "n": n, "command": command},
        "race_missing_grants": {"value": max(0, shortfall), "unit": "grants", "n": n, "command": command},
        "race_undecided": {"value": undecided, "unit": "requests", "n": n, "command": command},
    }
    write_results("gate", rows)


if __name__ == "__main__":
    main()
