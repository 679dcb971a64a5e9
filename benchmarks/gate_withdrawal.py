"""How long a running job goes on after the person has withdrawn, from command to the end of its process.

    python -m benchmarks.gate_withdrawal --jobs 10

Each job is a release in a process of its own (real tokens, databases, marks, H.264; a moving test picture in place of
the generator) on a recording of some seconds; the withdrawal comes from another process's view of the same folder at a
random moment after the decision. A job must end refused, leave no file and take no use. With --apart the clip is made
by a confined worker process and read by another (`vasari worker split`), and the job ends when they have ended.
"""

from __future__ import annotations

import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.results_page import write_results
from policy.keys import write_secret
from policy.split_worker import WORKER_FILE
from tests.policy import child_process
from tests.policy.child_process import PROCESSES, REFUSED, Task
from tests.policy.conftest import GateSimulator, inspect_once, jti_of, speech_wav

RECORDING_S = 5.0


WORKER = "tests.policy.marking_workers:picture"


def stop_s(simulator: GateSimulator, out: Path, wait_s: float, *, worker: str = "") -> float:
    """Seconds from withdrawal to the end of the job's process."""
    consent = simulator.consent()
    request = simulator.request(consent, now=datetime.now(UTC))
    facts = inspect_once(request.portrait, request.audio)
    task = Task(simulator.state, request, facts, out, datetime.now(UTC), worker=worker)
    child = PROCESSES.Process(target=child_process.release, args=(task,))
    child.start()
    while simulator.used(consent) == 0:
        if not child.is_alive():
            raise SystemExit(f"the job ended before it began, with {child.exitcode}")
        time.sleep(0.05)
    time.sleep(wait_s)
    began = time.monotonic()
    simulator.authority.withdraw(jti_of(consent))
    child.join(120)
    took = time.monotonic() - began
    if child.exitcode != REFUSED or out.exists() or simulator.used(consent):
        raise SystemExit(
            f"the job ended with {child.exitcode}, file there: {out.exists()}, uses {simulator.used(consent)}"
        )
    return took


@click.command(help=__doc__)
@click.option("--jobs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--apart", is_flag=True, help="With a worker process.")
def main(jobs: int, seed: int, *, apart: bool) -> None:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        simulator = GateSimulator(Path(name), datetime.now(UTC))
        simulator.clock.now = datetime.now(UTC)
        simulator.audio = speech_wav(RECORDING_S)
        if apart:
            write_secret(simulator.state / WORKER_FILE, b'{"user":null}')
        worker = WORKER if apart else ""
        took = [stop_s(simulator, Path(name) / f"{n}.mp4", draw.uniform(0, 2), worker=worker) for n in range(jobs)]
        simulator.authority.close()
    click.echo(f"longest {max(took):.2f} s of {jobs}: {', '.join(f'{one:.2f}' for one in sorted(took))}")
    command = f"python -m benchmarks.gate_withdrawal --jobs {jobs} --seed {seed}{' --apart' if apart else ''}"
    row = {"value": round(max(took), 2), "unit": "s, longest", "n": jobs, "command": command}
    write_results("gate", {"withdrawal_stop_apart_s" if apart else "withdrawal_stop_s": row})


if __name__ == "__main__":
    main()
