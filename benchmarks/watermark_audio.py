"""Measures the sound's mark: how well hidden, and how often all 128 bits come out of 5 s after each attack.

    python -m benchmarks.watermark_voices --work WORK --natural GROUP=FOLDER     first: the recordings
    python -m benchmarks.watermark_audio --work WORK                             all attacks, rows, page
    python -m benchmarks.watermark_audio --work WORK --attacks 'tempo*' --dry    a few, printed only
    python -m benchmarks.watermark_audio --work WORK --timing                    only the speeds, on a quiet machine

A recording is marked as a release marks it; then 5 s are cut out of it at a place drawn by its name, and attacked.
The detector is told no start, speed or tempo. Controls go the same way: the same recordings unmarked, and marked but
read with another key. `audio.3s.*` are excerpts of 3 s. PESQ (ITU-T P.862.2, wide band) is measured where the package
`pesq` is installed. Outcomes are lines of WORK/audio_outcomes.jsonl; a stopped run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.functional import resample
from tqdm import tqdm

import watermark
from benchmarks.interval import mean_interval, share_interval
from benchmarks.results_page import Rows, number, write_results
from benchmarks.watermark_audio_attacks import RATE, Attack, chosen
from watermark import AudioEmbedder, MarkKey, Payload, detect_audio

KEY = MarkKey(bytes(range(64, 96)), 0xBE)
OTHER_KEY = MarkKey(bytes(range(65, 97)), 0xBE)
COMMAND = "python -m benchmarks.watermark_audio --work FOLDER"
EXCERPT_S, SHORT_S = 5.0, 3.0
SHORT_ATTACKS = ("clean", "mp3_64k", "aac_64k", "opus_32k", "resample_8k", "band_300_3400", "noise_20db", "reverb")
QUALITY = "quality"
TIMED = 8


@dataclass(frozen=True)
class Outcome:
    """What came of one excerpt. `kind`: marked, short, unmarked, other_key or quality; `right`: what was embedded."""

    recording: str
    attack: str
    kind: str
    mark: str
    found: bool = False
    right: bool = False
    pilot_z: float = 0.0
    log10_false_positive: float = 0.0
    snr_db: float = 0.0
    pesq: float | None = None


def payload_of(recording: str) -> Payload:
    return Payload(int.from_bytes(hashlib.sha256(recording.encode()).digest()[:8], "big"))


def marked(sound: Tensor, payload: Payload) -> Tensor:
    """A whole recording, marked as a release marks it."""
    embedder = AudioEmbedder(KEY, payload, sample_rate=RATE)
    return torch.cat([*(embedder.push(sound[at : at + RATE]) for at in range(0, len(sound), RATE)), embedder.flush()])


def excerpt(sound: Tensor, recording: str, seconds: float) -> Tensor:
    """`seconds` from a place that the recording's name draws."""
    size = round(seconds * RATE)
    seed = int.from_bytes(hashlib.sha256(recording.encode()).digest()[8:12], "big")
    start = int(np.random.default_rng(seed).integers(0, max(1, len(sound) - size)))
    return sound[start : start + size]


def load(path: Path) -> Tensor:
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or samples.ndim != 1:
        raise click.ClickException(f"{path}: expected mono at {RATE} Hz; make it with benchmarks.watermark_voices")
    return torch.from_numpy(samples)


def pesq_of(before: Tensor, after: Tensor) -> float | None:
    """Wide-band PESQ, 4.64 at best; None where the package isn't installed."""
    try:
        from pesq import pesq  # type: ignore[import-untyped, import-not-found, unused-ignore]  # needs a C compiler
    except ImportError:
        return None
    return float(pesq(16_000, resample(before, RATE, 16_000).numpy(), resample(after, RATE, 16_000).numpy(), "wb"))


def mark_version(attack: Attack | None = None) -> str:
    """Names the code of the sound's mark, and an attack, by their content."""
    folder = Path(watermark.__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("audio_*.py")), folder / "code.py", folder / "payload.py", folder / "prf.py"]:
        digest.update(path.read_bytes())
    digest.update(str(attack).encode())
    return digest.hexdigest()[:16]


# Runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One recording through one attack."""

    recording: str
    attack: str
    kind: str


def plan(names: Sequence[str], attacks: Sequence[Attack], controls: int) -> list[Run]:
    """All recordings through all attacks; as controls, those that the attack's name draws."""
    runs = [Run(name, QUALITY, QUALITY) for name in names]
    for attack in attacks:
        ranked = sorted(names, key=lambda name: hashlib.sha256(f"{attack.name} {name}".encode()).digest())
        runs += [Run(name, attack.name, "marked") for name in names]
        runs += [Run(name, attack.name, "short") for name in names if attack.name in SHORT_ATTACKS]
        runs += [Run(name, attack.name, kind) for name in ranked[:controls] for kind in ("unmarked", "other_key")]
    return runs


def measure_recording(job: tuple[Path, list[Run]]) -> list[Outcome]:
    torch.set_num_threads(1)
    path, runs = job
    before = load(path)
    after = marked(before, payload_of(runs[0].recording))
    return [_outcome(run, before, after) for run in runs]


def _outcome(run: Run, before: Tensor, after: Tensor) -> Outcome:
    if run.kind == QUALITY:
        snr = 10 * float(torch.log10(before.square().sum() / (after - before).square().sum()))
        return Outcome(run.recording, run.attack, run.kind, mark_version(), snr_db=snr, pesq=pesq_of(before, after))
    (attack,) = chosen(run.attack)
    sound = before if run.kind == "unmarked" else after
    attacked = attack(excerpt(sound, run.recording, SHORT_S if run.kind == "short" else EXCERPT_S))
    key = OTHER_KEY if run.kind == "other_key" else KEY
    detection = detect_audio([attacked], [key], sample_rate=RATE)
    return Outcome(
        run.recording, run.attack, run.kind, mark_version(attack),
        found=detection.found,
        right=detection.payload == payload_of(run.recording) and detection.key_id == key.key_id,
        pilot_z=detection.pilot_z,
        log10_false_positive=detection.log10_false_positive,
    )  # fmt: skip


def measure(work: Path, attacks: Sequence[Attack], *, controls: int, limit: int, jobs: int) -> list[Outcome]:
    """Outcomes of all planned runs; those that are on record are not run again."""
    paths = {str(path.relative_to(work)): path for path in sorted(work.glob("*/*.flac"))}
    if not paths:
        raise click.ClickException(f"{work} holds no recording; make some with benchmarks.watermark_voices")
    ranked = sorted(paths, key=lambda name: hashlib.sha256(name.encode()).digest())[:limit]
    runs = plan(sorted(ranked), attacks, controls)
    versions = {attack.name: mark_version(attack) for attack in attacks} | {QUALITY: mark_version()}
    record = work / "audio_outcomes.jsonl"
    known = {
        Run(one.recording, one.attack, one.kind): one
        for one in _recorded(record)
        if one.mark == versions.get(one.attack)
    }
    waiting = [run for run in runs if run not in known]
    by_recording = [(paths[name], [run for run in waiting if run.recording == name]) for name in sorted(ranked)]
    bar = tqdm(total=len(runs), initial=len(runs) - len(waiting), unit="run", disable=not sys.stderr.isatty())
    with multiprocessing.get_context("spawn").Pool(jobs) as pool, bar, record.open("a", encoding="utf-8") as lines:
        for outcomes in pool.imap_unordered(measure_recording, [job for job in by_recording if job[1]]):
            for one in outcomes:
                known[Run(one.recording, one.attack, one.kind)] = one
                lines.write(json.dumps(asdict(one)) + "\n")
            lines.flush()
            bar.update(len(outcomes))
    return [known[run] for run in runs]


def _recorded(path: Path) -> Iterator[Outcome]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):
                yield Outcome(**json.loads(line))


# Rows -------------------------------------------------------------------------------------------


def rows_of(outcomes: Sequence[Outcome]) -> Rows:
    """One row per attack and kind with its exact interval, one per group of voices, and how well the mark is hidden."""
    rows: Rows = {}
    for name in dict.fromkeys(one.attack for one in outcomes if one.kind != QUALITY):
        of_attack = [one for one in outcomes if one.attack == name]
        rows[f"audio.{name}"] = _share([one.right for one in of_attack if one.kind == "marked"])
        if name in SHORT_ATTACKS:
            rows[f"audio.3s.{name}"] = _share([one.right for one in of_attack if one.kind == "short"])
        controls = [one.found for one in of_attack if one.kind in ("unmarked", "other_key")]
        if controls:
            rows[f"audio.control.{name}"] = _share(controls)
    for group in sorted({one.recording.split("/")[0] for one in outcomes}):
        hits = [one.right for one in outcomes if one.kind == "marked" and one.recording.startswith(f"{group}/")]
        if hits:
            rows[f"audio.group.{group}"] = _share(hits)
    bounds = [one.log10_false_positive for one in outcomes if one.kind != QUALITY]
    rows["audio.fpr_bound"] = _row(10 ** max(bounds), "per clip", len(bounds))
    quality = [one for one in outcomes if one.kind == QUALITY]
    rows |= _quality("snr_db", "dB", [one.snr_db for one in quality])
    rows |= _quality("pesq", "MOS-LQO", [one.pesq for one in quality if one.pesq is not None])
    return rows


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    return _row(sum(hits) / len(hits), "share", len(hits), share_interval(sum(hits), len(hits)))


def _quality(name: str, unit: str, values: Sequence[float]) -> Rows:
    if not values:
        click.echo(f"audio.{name}: not measured, the package is not installed", err=True)
        return {}
    mean, interval = mean_interval([np.array([value]) for value in values])
    return {
        f"audio.{name}": _row(mean, unit, len(values), interval),
        f"audio.{name}_worst": _row(min(values), unit, len(values)),
    }


def _row(value: float, unit: str, n: int, ci95: list[float] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"value": value, "unit": unit, "n": n, "command": COMMAND}
    return row | {"ci95": ci95} if ci95 else row


def timing_rows(work: Path) -> Rows:
    """Seconds of sound per second of work on one thread: marking, reading, and searching where there is no mark."""
    torch.set_num_threads(1)
    paths = sorted(work.glob("*/*.flac"))
    paths = paths[:: max(1, len(paths) // TIMED)][:TIMED]
    spent = {"embed": [], "detect": [], "search": []}  # type: dict[str, list[float]]
    for path in paths:
        before = load(path)
        began = time.perf_counter()
        after = marked(before, payload_of(path.name))
        spent["embed"].append(len(before) / RATE / (time.perf_counter() - began))
        for name, sound in (("detect", after), ("search", before)):
            began = time.perf_counter()
            detect_audio([sound[: round(EXCERPT_S * RATE)]], [KEY], sample_rate=RATE)
            spent[name].append(EXCERPT_S / (time.perf_counter() - began))
    names = {"embed": "embed_x_realtime", "detect": "detect_x_realtime", "search": "search_unmarked_x_realtime"}
    return {
        f"audio.{names[name]}": _row(float(np.median(values)), "x real time", len(values))
        | {"command": f"{COMMAND} --timing"}
        for name, values in spent.items()
        if values
    }


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--attacks", "names", default="", help="Only these, by comma; a name may end in *.")
@click.option(
    "--controls", default=6, show_default=True, help="Recordings per attack read unmarked and with another key."
)
@click.option("--limit", default=10_000, help="Use at most so many recordings, drawn by their names.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes, of one thread each.")
@click.option("--timing", is_flag=True, help="Only measure the speeds.")
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(work: Path, names: str, controls: int, limit: int, jobs: int, timing: bool, dry: bool) -> None:
    try:
        attacks = chosen(names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--attacks") from None
    rows = timing_rows(work) if timing else rows_of(measure(work, attacks, controls=controls, limit=limit, jobs=jobs))
    for key, row in rows.items():
        interval = " to ".join(number(v) for v in row["ci95"]) if "ci95" in row else ""
        click.echo(f"{key:34s} {number(row['value']):>9s} {row['unit']:12s} n={row['n']:<5d} {interval}")
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
