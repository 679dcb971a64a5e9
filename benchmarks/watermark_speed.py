"""How fast the picture's mark is made and looked for. Run it on a quiet machine.

    python -m benchmarks.watermark_speed [--dry]

Marking: frames in memory. Looking: a file of 10 s from start to end, decoding included, without a mark, so that the
blind search never ends early and every pose is tried. Everything may use all cores. Many keys: the same search with
keys that are not in the clip, which is the dearest case; keys of one site share a pilot, keys of several sites don't.
The clip is synthetic: shipped portrait, shipped weights.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.results_page import Rows, number, write_results
from benchmarks.watermark_material import FPS, SECONDS, a_talker, generated
from media import ClipWriter, read_frames
from watermark import MarkKey, Payload, VideoEmbedder, detect_video

COMMAND = "python -m benchmarks.watermark_speed"
KEY = MarkKey(bytes(range(64, 96)), 0xBE)
SIZES = {"256": (256, 256), "512": (512, 512), "720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
DETECTED = ("256", "512", "720p", "1080p")
KEY_COUNTS = (1, 10, 100)
SITE_COUNT = 10
REPEATS = 3


def embed_ms(frames: Tensor) -> float:
    """Milliseconds a frame, median of a few runs."""
    height, width = frames.shape[2:]

    def once() -> float:
        embedder = VideoEmbedder(KEY, Payload(1), width=width, height=height, fps=FPS)
        embedder.push(frames[:5])  # the pattern is made once
        began = time.perf_counter()
        embedder.push(frames)
        return (time.perf_counter() - began) * 1000 / len(frames)

    return statistics.median(once() for _ in range(REPEATS))


def detect_s(path: Path, keys: list[MarkKey]) -> float:
    """Seconds from opening the file to the answer that there is no mark, median of a few runs."""

    def once() -> float:
        began = time.perf_counter()
        assert not detect_video(read_frames(path), keys).found
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(REPEATS))


def resized(frames: Tensor, width: int, height: int) -> Tensor:
    """A picture of this size that a square one fills: scaled and cut."""
    side = max(width, height)
    top = (side - height) // 2
    parts = [F.interpolate(part.float(), size=(side, side), mode="bicubic", antialias=True) for part in frames.split(5)]
    cut = [part[:, :, top : top + height, :width].round().clamp(0, 255).to(torch.uint8) for part in parts]
    return torch.cat(cut)


@contextmanager
def files_of(frames: Tensor, names: tuple[str, ...]) -> Iterator[dict[str, Path]]:
    """The clip as MP4 in several sizes; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        out = {}
        for name in names:
            width, height = SIZES[name]
            out[name] = Path(folder) / f"{name}.mp4"
            with ClipWriter(out[name], width=width, height=height, fps=FPS, sample_rate=None, crf=23) as writer:
                for part in frames.split(25):
                    writer.write_frames(resized(part, width, height))
        yield out


def measure(say: Callable[[str], None]) -> Rows:
    portrait = Path(str(files("vasari") / "demo" / "portrait.png"))
    frames = torch.cat(list(generated(a_talker(), portrait, 0)))
    rows: Rows = {}
    for name, (width, height) in SIZES.items():
        count = 100 if width <= 512 else 20
        spent = embed_ms(resized(frames[:count], width, height))
        rows[f"embed_ms.{name}"] = _row(spent, "ms per frame", count)
        say(f"embed {name}: {spent:.1f} ms a frame")
    rows["embed_fps"] = _row(1000 / rows["embed_ms.512"]["value"], "frames/s, 512x512", 100)
    with files_of(frames, DETECTED) as paths:
        for name in DETECTED:
            spent = detect_s(paths[name], [KEY])
            rows[f"detect_s.{name}"] = _row(spent, "s for 10 s of video", REPEATS)
            say(f"detect {name}: {spent:.2f} s")
        for count in KEY_COUNTS:
            keys = [MarkKey(bytes([n, *range(31)]), n, bytes(32)) for n in range(count)]
            spent = detect_s(paths["512"], keys)
            rows[f"detect_s.{count}_keys"] = _row(spent, "s for 10 s of video, keys of one site", REPEATS)
            say(f"{count} keys: {spent:.2f} s")
        strangers = [MarkKey(bytes([n, *range(31)]), n) for n in range(SITE_COUNT)]
        spent = detect_s(paths["512"], strangers)
        rows[f"detect_s.{SITE_COUNT}_sites"] = _row(spent, "s for 10 s of video, a key of each", REPEATS)
        say(f"{SITE_COUNT} sites: {spent:.2f} s")
    rows["detect_x_realtime"] = _row(SECONDS / rows["detect_s.512"]["value"], "times real time, 512x512", REPEATS)
    rows["detect_1080p_x_realtime"] = _row(SECONDS / rows["detect_s.1080p"]["value"], "times real time", REPEATS)
    return rows


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {"value": value, "unit": unit, "n": n, "command": COMMAND}


@click.command(help=__doc__)
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(dry: bool) -> None:
    rows = measure(lambda line: click.echo(line, err=True))
    for key, row in rows.items():
        click.echo(f"{key:28s} {number(row['value']):>9s} {row['unit']}")
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
