"""Whether marking and looking at 3840x2160 take more memory the longer a clip is.

    python -m benchmarks.watermark_memory [--seconds 60] [--dry]

A clip of four seconds (shipped portrait, shipped weights, scaled up) is decoded again and again with times that go on,
once on its way into the mark and once into the blind search for another key, which never ends early. Each runs in a
process of its own; growth is its peak at the end over its peak after the first 24 s, when the search has emptied its
window of 20 s once.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import click
import torch

from benchmarks.results_page import ROOT, Rows, number, write_results
from benchmarks.watermark_material import FPS, a_talker, generated
from benchmarks.watermark_speed import KEY, SIZES, files_of
from media import FrameBlock, read_frames
from watermark import Payload, VideoEmbedder, detect_video

COMMAND = "python -m benchmarks.watermark_memory"
SIZE = "2160p"
LOOP_FRAMES, EARLY_S = 100, 24
BLOCK_FRAMES = 4
Peaks = dict[int, float]


def endless(path: Path, seconds: int, peaks: Peaks) -> Iterator[FrameBlock]:
    """The file over and over; `peaks` of this process in MB after `EARLY_S` and at the end."""
    passed = Fraction(0)
    while passed < seconds:
        for block in read_frames(path, block_frames=BLOCK_FRAMES):
            yield FrameBlock(block.frames, tuple(time + passed for time in block.times))
        passed += LOOP_FRAMES / FPS
        if passed in (EARLY_S, seconds):
            peaks[int(passed)] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_embed(path: Path, seconds: int) -> Peaks:
    peaks: Peaks = {}
    width, height = SIZES[SIZE]
    embedder = VideoEmbedder(KEY, Payload(1), width=width, height=height, fps=FPS)
    for block in endless(path, seconds, peaks):
        embedder.push(block.frames)
    return peaks


def run_detect(path: Path, seconds: int) -> Peaks:
    peaks: Peaks = {}
    if detect_video(endless(path, seconds, peaks), [KEY]).found:
        raise AssertionError("a mark was found where there is none")
    return peaks


def measure(seconds: int) -> Rows:
    portrait = Path(str(files("vasari") / "demo" / "portrait.png"))
    frames = torch.cat(list(generated(a_talker(), portrait, 0)))[:LOOP_FRAMES]
    rows: Rows = {}
    with files_of(frames, (SIZE,)) as paths:
        for work in ("embed", "detect"):
            command = [sys.executable, "-m", "benchmarks.watermark_memory"]
            command += ["--seconds", str(seconds), "--work", work, "--file", str(paths[SIZE])]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            early, late = json.loads(done.stdout.splitlines()[-1])
            count = int(seconds * FPS)
            row = {"n": count, "command": COMMAND}
            rows[f"{work}_{SIZE}_rss_mb"] = row | {"value": late, "unit": "MB, peak of the process, decoding included"}
            rows[f"{work}_{SIZE}_rss_growth_mb"] = row | {
                "value": late - early, "unit": f"MB, peak after {seconds} s over peak after {EARLY_S} s"
            }  # fmt: skip
    return rows


@click.command(help=__doc__)
@click.option("--seconds", type=click.IntRange(min=EARLY_S + 4), default=60, show_default=True, help="Multiple of 4.")
@click.option("--work", type=click.Choice(("embed", "detect")), hidden=True)
@click.option("--file", type=click.Path(path_type=Path, exists=True), hidden=True)
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(seconds: int, work: str | None, file: Path | None, dry: bool) -> None:
    if seconds * FPS % LOOP_FRAMES:
        raise click.BadParameter(f"{seconds} is no multiple of {LOOP_FRAMES / FPS}", param_hint="--seconds")
    if work and file:
        peaks = {"embed": run_embed, "detect": run_detect}[work](file, seconds)
        click.echo(json.dumps([peaks[EARLY_S], peaks[seconds]]))
        return
    rows = measure(seconds)
    for key, row in rows.items():
        click.echo(f"{key:28s} {number(row['value']):>9s} {row['unit']}")
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
