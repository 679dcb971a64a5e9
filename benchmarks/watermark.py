"""Measures the picture's mark: how well hidden, how often recovered after each attack, never where none is.

    python -m benchmarks.watermark_material --work WORK --rig RIG --clips NATURAL    first: the clips
    python -m benchmarks.watermark --work WORK                                       all attacks, rows, page
    python -m benchmarks.watermark --work WORK --attacks 'crf*,mirror' --dry         a few, printed only
    python -m benchmarks.watermark --work WORK --sheet difference.png                the mark, enlarged 20 times

A clip counts as recovered when all 128 bits, tag included, come out of 10 s blindly: no original, no start time, no
pose, no rate is told to the detector. Attacks of the table `watermark_attacks.ATTACKS` that are marked `every_clip`
run on all clips, the others on `--share` of them, drawn by the attack's name; `n` says on how many. Unmarked clips go
through the same attacks as controls. Each outcome is a line of WORK/outcomes.jsonl; a run that was stopped goes on
where it was, and outcomes of another mark or attack are not reused.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import watermark
from benchmarks.interval import mean_interval, share_interval
from benchmarks.picture_quality import difference_sheet, psnr_db, ssim
from benchmarks.results_page import Rows, number, write_results
from benchmarks.watermark_attacks import ATTACKS, Attack, Picture, Stream, chosen
from benchmarks.watermark_material import FPS, clips_below
from media import read_frames
from watermark import Detection, MarkKey, Payload, VideoEmbedder, WatermarkError, detect_video

KEY = MarkKey(bytes(range(64, 96)), 0xBE)
COMMAND = "python -m benchmarks.watermark --work FOLDER"
QUALITY = "quality"
BLOCK_FRAMES = 5


@dataclass(frozen=True)
class Run:
    """One clip, marked or not, through one attack."""

    clip: str
    attack: str
    marked: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a run. `right`: the payload and key id that were embedded; `mark` names mark and attack measured."""

    clip: str
    attack: str
    marked: bool
    mark: str
    found: bool
    right: bool
    pilot_z: float
    log10_false_positive: float
    seconds_used: float
    took_s: float
    psnr_db: float = 0.0
    ssim: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Frames uint8 [N, 3, H, W] with their times, for the detector."""

    frames: Tensor
    times: list[Fraction]


def blocks_of(stream: Stream) -> Iterator[Block]:
    """A stream of pictures as the detector takes them; no more is drawn from it than the detector asks for."""
    while part := list(islice(stream, BLOCK_FRAMES)):
        frames = torch.from_numpy(np.stack([picture for _, picture in part])).permute(0, 3, 1, 2)
        yield Block(frames, [at for at, _ in part])


def stream_of(frames: Tensor) -> Stream:
    """Frames uint8 [N, 3, H, W] at 25 frames/s as a stream of pictures."""
    for index, frame in enumerate(frames):
        yield index / FPS, np.ascontiguousarray(frame.permute(1, 2, 0).numpy())


def payload_of(clip: str) -> Payload:
    return Payload(int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "big"))


def marked(frames: Tensor, payload: Payload, key: MarkKey = KEY) -> Tensor:
    """A whole clip, marked as a release marks it."""
    return VideoEmbedder(key, payload, width=frames.shape[3], height=frames.shape[2], fps=FPS).push(frames)


def look(stream: Stream, keys: Sequence[MarkKey]) -> Detection:
    """The blind search that users run: the video's, or a still's where the attack leaves one frame."""
    first = list(islice(stream, 2))
    if len(first) == 1:
        return detect_still(first[0][1], keys)
    return detect_video(blocks_of(_chain(first, stream)), keys)


def _chain(first: list[tuple[Fraction, Picture]], rest: Stream) -> Stream:
    yield from first
    yield from rest


def detect_still(picture: Picture, keys: Sequence[MarkKey]) -> Detection:
    frame = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
    return watermark.detect_still(frame, keys)


def load(path: Path) -> Tensor:
    """All frames uint8 [N, 3, H, W] of a clip."""
    return torch.cat([block.frames for block in read_frames(path)])


def mark_version(attack: Attack | None = None) -> str:
    """Names the code that makes and reads the picture's mark, and the steps of an attack, by their content."""
    folder = Path(watermark.__file__).parent
    others = {*folder.glob("audio_*.py"), folder / "localise.py", folder / "__init__.py"}
    digest = hashlib.sha256()
    for path in sorted(set(folder.glob("*.py")) - others):
        digest.update(path.read_bytes())
    digest.update(str(attack).encode())
    return digest.hexdigest()[:16]


# Runs -------------------------------------------------------------------------------------------


def plan(clips: Sequence[Path], attacks: Sequence[Attack], share: int, controls: int) -> list[Run]:
    """Which clips go through which attacks; the choice depends on the names alone."""
    runs = [Run(path.name, QUALITY, True) for path in clips]
    for attack in attacks:
        ranked = sorted(clips, key=lambda path: hashlib.sha256(f"{attack.name} {path.name}".encode()).digest())
        count = len(clips) if attack.every_clip else share
        runs += [Run(path.name, attack.name, True) for path in ranked[:count]]
        runs += [Run(path.name, attack.name, False) for path in ranked[:controls]]
    return runs


def measure_clip(path: Path, runs: Sequence[Run]) -> Iterator[Outcome]:
    """The outcomes of one clip."""
    frames = load(path)
    payload = payload_of(path.name)
    with_mark = marked(frames, payload) if any(run.marked for run in runs) else frames
    by_name = {attack.name: attack for attack in ATTACKS}
    for run in runs:
        if run.attack == QUALITY:
            yield _quality(run, frames, with_mark)
        else:
            yield _outcome(run, by_name[run.attack], with_mark if run.marked else frames, payload)


def _quality(run: Run, before: Tensor, after: Tensor) -> Outcome:
    version = mark_version()
    every = slice(None, None, 25)
    return Outcome(
        run.clip, run.attack, run.marked, version, True, True, 0.0, 0.0, 0.0, 0.0,
        psnr_db=psnr_db(before[every], after[every]), ssim=ssim(before[every], after[every]),
    )  # fmt: skip


def _outcome(run: Run, attack: Attack, frames: Tensor, payload: Payload) -> Outcome:
    began = time.perf_counter()
    note = ""
    try:
        detection = look(attack(stream_of(frames)), [KEY])
    except WatermarkError as error:
        note = str(error)
        detection = Detection("video", None, None, 0.0, 0.0, 0.0)
    return Outcome(
        clip=run.clip,
        attack=run.attack,
        marked=run.marked,
        mark=mark_version(attack),
        found=detection.found,
        right=detection.found and detection.payload == payload and detection.key_id == KEY.key_id,
        pilot_z=detection.pilot_z,
        log10_false_positive=detection.log10_false_positive,
        seconds_used=detection.seconds_used,
        took_s=time.perf_counter() - began,
        note=note,
    )


_RESULTS: Any = None


def _begin(results: Any) -> None:
    global _RESULTS
    _RESULTS = results
    torch.set_num_threads(1)


def _work(job: tuple[Path, list[Run]]) -> None:
    try:
        for outcome in measure_clip(*job):
            _RESULTS.put(outcome)
    except Exception as error:  # noqa: BLE001  handed to the parent, which ends the run with it
        _RESULTS.put(error)


def run_all(jobs: Sequence[tuple[Path, list[Run]]], processes: int) -> Iterator[Outcome]:
    """All outcomes as they come, from `processes` processes of one thread each."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with context.Pool(processes, _begin, (results,)) as pool:
        pool.map_async(_work, jobs, chunksize=1)
        for _ in range(sum(len(runs) for _, runs in jobs)):
            came = results.get()
            if isinstance(came, Exception):
                raise came
            yield came


def measure(
    work: Path, attacks: Sequence[Attack], *, share: int, controls: int, jobs: int, limit: int, run: bool = True
) -> list[Outcome]:
    """Outcomes of all planned runs; those that are on record are not run again. Without `run`, of these alone."""
    clips = clips_below(work / "clips")[:limit]
    if not clips:
        raise click.ClickException(f"{work / 'clips'} holds no clip; make some with benchmarks.watermark_material")
    versions = {attack.name: mark_version(attack) for attack in attacks} | {QUALITY: mark_version()}
    runs = plan(clips, attacks, share, controls)
    known = {
        Run(one.clip, one.attack, one.marked): one
        for one in recorded(work / "outcomes.jsonl")
        if one.mark == versions.get(one.attack)
    }
    if not run:
        return [known[one] for one in runs if one in known]
    open_runs = [one for one in runs if one not in known]
    by_clip = [(path, [one for one in open_runs if one.clip == path.name]) for path in clips]
    by_clip.sort(key=lambda job: -len(job[1]))
    bar = tqdm(total=len(runs), initial=len(runs) - len(open_runs), unit="run", disable=not sys.stderr.isatty())
    with bar, (work / "outcomes.jsonl").open("a", encoding="utf-8") as record:
        for outcome in run_all([job for job in by_clip if job[1]], jobs):
            known[Run(outcome.clip, outcome.attack, outcome.marked)] = outcome
            record.write(json.dumps(asdict(outcome)) + "\n")
            record.flush()
            bar.update()
    return [known[one] for one in runs]


def recorded(path: Path) -> list[Outcome]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Outcome(**json.loads(line)) for line in lines if line.endswith("}")]


# Rows -------------------------------------------------------------------------------------------


def rows_of(outcomes: Sequence[Outcome]) -> Rows:
    """One row per attack with its exact interval, the controls together, and how well the mark is hidden."""
    rows: Rows = {}
    for name in dict.fromkeys(one.attack for one in outcomes if one.attack != QUALITY):
        hits = [one.right for one in outcomes if one.attack == name and one.marked]
        if hits:
            rows[f"attack.{name}"] = _row(
                sum(hits) / len(hits), "share", len(hits), share_interval(sum(hits), len(hits))
            )
    wrong = [one.found for one in outcomes if one.attack != QUALITY and not one.marked]
    if wrong:
        rows["controls_found"] = _row(
            sum(wrong) / len(wrong), "share", len(wrong), share_interval(sum(wrong), len(wrong))
        )
    bounds = [one.log10_false_positive for one in outcomes if one.attack != QUALITY]
    if bounds:
        rows["fpr_bound"] = _row(10 ** max(bounds), "per clip", len(bounds))
    for name in ("psnr_db", "ssim"):
        values = np.array([getattr(one, name) for one in outcomes if one.attack == QUALITY])
        if len(values):
            mean, interval = mean_interval([values[i : i + 1] for i in range(len(values))])
            rows[name] = _row(mean, "dB luma" if name == "psnr_db" else "luma", len(values), interval)
            rows[f"{name}_worst_clip"] = _row(float(values.min()), rows[name]["unit"], len(values))
    return rows


def _row(value: float, unit: str, n: int, ci95: list[float] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"value": value, "unit": unit, "n": n, "command": COMMAND}
    return row | {"ci95": ci95} if ci95 else row


def write_sheet(work: Path, out: Path) -> None:
    """Original, marked and 20 times their difference of six clips."""
    clips = clips_below(work / "clips")
    picked = [clips[round(k * (len(clips) - 1) / 5)] for k in range(6)] if len(clips) > 6 else clips
    pairs = []
    for path in picked:
        frames = load(path)[:60]
        pairs.append((path.stem, frames[50], marked(frames, payload_of(path.name))[50]))
    difference_sheet(pairs, out)


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--attacks", "names", default="", help="Only these, by comma; a name may end in *.")
@click.option("--share", default=12, show_default=True, help="Clips of an attack that is not run on all.")
@click.option("--controls", default=1, show_default=True, help="Unmarked clips of each attack.")
@click.option("--limit", default=10_000, help="Use at most so many clips.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes, of one thread each.")
@click.option("--recorded", "only_recorded", is_flag=True, help="Run nothing: the rows of what is on record.")
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Only draw the difference sheet, PNG.")
def main(
    work: Path,
    names: str,
    share: int,
    controls: int,
    limit: int,
    jobs: int,
    only_recorded: bool,
    dry: bool,
    sheet: Path | None,
) -> None:
    if sheet is not None:
        write_sheet(work, sheet)
        click.echo(f"{sheet} written; it shows the people in {work / 'clips'}")
        return
    try:
        attacks = chosen(names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--attacks") from None
    began = time.perf_counter()
    rows = rows_of(
        measure(work, attacks, share=share, controls=controls, jobs=jobs, limit=limit, run=not only_recorded)
    )
    for key, row in rows.items():
        interval = " to ".join(number(v) for v in row["ci95"]) if "ci95" in row else ""
        click.echo(f"{key:32s} {number(row['value']):>9s} {row['unit']:10s} n={row['n']:<5d} {interval}")
    click.echo(f"{math.ceil((time.perf_counter() - began) / 60)} min", err=True)
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
