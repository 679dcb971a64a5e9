"""Kills a release at random instants and looks at what is left; then disk full and clock jumps.

    python -m benchmarks.gate_crash --points 200

Every release runs in a process of its own on one state folder (real tokens, databases, marks, H.264, C2PA; a moving
test picture in place of the generator). SIGKILL comes at a random instant of it. Then, under a clock that may have
jumped a day either way, the state is opened again and must agree with the disk: a clip is there exactly when its use
counts, it is signed and marked, nothing unfinished lies around, and the log extends its last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.results_page import write_results
from media import read_frames
from policy import Authority
from provenance import verify_clip, verify_consistency
from provenance.checkpoint import verify_checkpoint
from tests.policy import child_process
from tests.policy.child_process import PROCESSES, Task
from tests.policy.conftest import GateSimulator, inspect_once, jti_of, speech_wav
from watermark import detect_video

JUMPS = (timedelta(days=-1), timedelta(), timedelta(), timedelta(), timedelta(days=1))
FULL_DISK_STAGES = ("decided", "generating", "read back", "verified", "delivering")


def crash(simulator: GateSimulator, consent: str, out: Path, delay_s: float) -> float:
    """Release in a process that is killed after `delay_s` (0 or less: never); how long it lived."""
    request = simulator.request(consent, now=datetime.now(UTC))
    facts = inspect_once(request.portrait, request.audio)
    task = Task(simulator.state, request, facts, out, datetime.now(UTC))
    child = PROCESSES.Process(target=child_process.release, args=(task,))
    began = time.monotonic()
    child.start()
    child.join(delay_s if delay_s > 0 else 300)
    if child.exitcode is None:
        child.kill()
    child.join()
    return time.monotonic() - began


def leaks(
    simulator: GateSimulator, consent: str, folder: Path, jump: timedelta, seen: dict[str, str] | None = None
) -> list[str]:
    """What is wrong after a crash, in words; settles it as the next start does.

    `seen`: clips that were found signed and marked before, by name with their SHA-256; only new or changed ones are
    looked at again.
    """
    seen = {} if seen is None else seen
    origin, root_before, size_before = _tree(simulator)
    now = datetime.now(UTC) + jump
    simulator.authority.close()
    simulator.authority = authority = Authority.open(simulator.state, clock=lambda: now)
    found = []
    clips = sorted(folder.iterdir())
    if strange := [clip.name for clip in clips if clip.suffix != ".mp4"]:
        found.append(f"left behind: {strange}")
    if left := list(authority.work_folder.iterdir()):
        found.append(f"left in the work folder: {left}")
    for clip in clips:
        digest = hashlib.sha256(clip.read_bytes()).hexdigest()
        if seen.get(clip.name) == digest:
            continue
        seen[clip.name] = digest
        if verify_clip(clip, authority.trust_anchors).state != "verified":
            found.append(f"{clip.name} is not signed")
        elif detect_video(read_frames(clip), [authority.mark_key]).payload is None:
            found.append(f"{clip.name} is not marked")
    uses = authority.uses(jti_of(consent))
    states = Counter(use.state for use in uses)
    if states["consumed"] != len(clips) or states["reserved"] or states["delivering"]:
        found.append(f"{len(clips)} clips, uses {dict(states)}")
    size = authority.log.size
    verify_consistency(
        size_before, size, root_before, authority.log.root(), authority.log.consistency_proof(size_before, size)
    )
    verify_checkpoint(authority.log.checkpoint(), origin=origin, public_key=authority.log_public_key)
    entries = [json.loads(authority.log.entry(index)) for index in range(size)]
    # A full disk can stop a refund after it was logged; it is logged again then, under the same decision.
    refunded = {entry["decision"] for entry in entries if entry["event"] == "use.refunded"}
    if refunded != {use.decision_id for use in uses if use.state == "refunded"}:
        found.append(f"{states['refunded']} refunds, {len(refunded)} in the log")
    return found


def _tree(simulator: GateSimulator) -> tuple[str, bytes, int]:
    log = simulator.authority.log
    size = log.size
    return log.origin, log.root(size), size


def run(points: int, seed: int) -> tuple[Counter[str], list[str]]:
    """All kill points on one state folder; counts and everything that was wrong."""
    source = random.Random(seed)
    found: Counter[str] = Counter()
    wrong: list[str] = []
    seen: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="vasari-crash-") as name:
        base = Path(name)
        simulator = GateSimulator(base, datetime.now(UTC))
        simulator.clock.now = datetime.now(UTC)
        simulator.audio = speech_wav()
        consent = simulator.consent(uses=10_000, total_seconds=1_000_000)
        folder = base / "out"
        folder.mkdir()
        whole_s = crash(simulator, consent, folder / "whole.mp4", 0)
        wrong += leaks(simulator, consent, folder, timedelta(), seen)
        for number in tqdm(range(points), desc="kills", disable=None):
            out = folder / f"{number}.mp4"
            lived_s = crash(simulator, consent, out, source.uniform(0.02, 1.05) * whole_s)
            if out.exists():  # the machine may be quicker now than it was for the first one
                whole_s = min(whole_s, lived_s)
            wrong += [
                f"point {number}: {text}" for text in leaks(simulator, consent, folder, source.choice(JUMPS), seen)
            ]
            found["points"] += 1
        for stage in FULL_DISK_STAGES:
            request = simulator.request(consent, now=datetime.now(UTC))
            facts = inspect_once(request.portrait, request.audio)
            task = Task(simulator.state, request, facts, folder / f"{stage}.mp4", datetime.now(UTC), disk_full_at=stage)
            child_process.run(task)
            wrong += [f"disk full at {stage}: {text}" for text in leaks(simulator, consent, folder, timedelta(), seen)]
            found["full disks"] += 1
        found["released"] = len(list(folder.iterdir()))
        simulator.authority.close()
    return found, wrong


@click.command(help=__doc__)
@click.option("--points", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(points: int, seed: int) -> None:
    found, wrong = run(points, seed)
    click.echo(f"{dict(found)}, {len(wrong)} leaks, seed {seed}")
    for text in wrong:
        click.echo(f"  {text}")
    command = f"python -m benchmarks.gate_crash --points {points} --seed {seed}"
    rows: dict[str, dict[str, Any]] = {
        "crash_points": {"value": found["points"], "unit": "kills", "n": found["points"], "command": command},
        "crash_leaks": {
            "value": len(wrong),
            "unit": "leaks",
            "n": found["points"] + found["full disks"],
            "command": command,
        },
    }
    write_results("gate", rows)


if __name__ == "__main__":
    main()
