"""Measures the marks: how well hidden, how often recovered after each attack, how fast, and never where none is.

    python -m benchmarks.watermark                          synthetic clips only
    python -m benchmarks.watermark --clips FOLDER           the clips of a folder as well (their centre square)
    python -m benchmarks.watermark --only crf --json out.json

Each clip is marked, attacked and searched blindly; the same clip without a mark goes through the same
attack and must show nothing. Recovery means all 128 bits, tag included. An attack is one line in a table.
Times are CPU time of one thread.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import resample
from tqdm import tqdm

from benchmarks.interval import share_interval
from benchmarks.watermark_clips import lively_scene, speech, talking_head
from media import MediaError, audio_round_trip, codec_round_trip, load_audio, read_frames
from watermark import AudioEmbedder, MarkKey, Payload, VideoEmbedder, detect_audio, detect_video
from watermark.visibility import luma_of

FPS = Fraction(25)
SIDE_PX = 512
SOUND_RATE = 48_000
CLIP_SUFFIXES = {".mp4", ".mpg", ".mov", ".mkv", ".webm"}
KEY = MarkKey(bytes(range(64, 96)), 0xBE)
COMMAND = "python -m benchmarks.foundation --only watermark"

Rows = dict[str, dict[str, Any]]
Step = tuple[str, Any]  # name of an operation and its parameter


# Attacks ----------------------------------------------------------------------------------------


def _crop(frames: Tensor, share: float) -> Tensor:
    """A window of `share` of the side, off centre."""
    side = round(frames.shape[2] * share)
    top, left = (frames.shape[2] - side) * 5 // 16, (frames.shape[3] - side) * 9 // 16
    return frames[:, :, top : top + side, left : left + side].contiguous()


def _resize(frames: Tensor, side_px: int) -> Tensor:
    size = (side_px, side_px)
    parts = [F.interpolate(f.float(), size=size, mode="bilinear", antialias=True) for f in frames.split(16)]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])


def _gain(frames: Tensor, factor: float) -> Tensor:
    return (frames.float() * factor).round().clamp(0, 255).to(torch.uint8)


def _h264(frames: Tensor, crf: int) -> Tensor:
    return codec_round_trip(frames, fps=FPS, crf=crf)


VIDEO_STEPS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "h264": _h264,
    "resize": _resize,
    "crop": _crop,
    "gain": _gain,
    "cut": lambda frames, count: frames[count:],
}
VIDEO_ATTACKS: dict[str, tuple[Step, ...]] = {
    "clean": (),
    "scale_384": (("resize", 384),),
    "crop_75": (("crop", 0.75),),
    "crf28": (("h264", 28),),
    "crf28_cut_start": (("h264", 28), ("cut", 13)),
    "crf28_brightness_50": (("h264", 28), ("gain", 0.5)),
    "crf33": (("h264", 33),),
    "crop_75_scale_384_crf28": (("crop", 0.75), ("resize", 384), ("h264", 28)),
}
SOUND_STEPS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "aac": lambda sound, bit_rate: audio_round_trip(sound, sample_rate=SOUND_RATE, bit_rate=bit_rate),
    "through": lambda sound, rate: resample(resample(sound, SOUND_RATE, rate), rate, SOUND_RATE),
    "gain": lambda sound, factor: sound * factor,
    "cut": lambda sound, count: sound[count:],
}
SOUND_ATTACKS: dict[str, tuple[Step, ...]] = {
    "clean": (),
    "aac64": (("aac", 64_000),),
    "aac64_cut_start": (("aac", 64_000), ("cut", 33_333)),
    "aac64_gain_and_polarity": (("aac", 64_000), ("gain", -0.25)),
    "resample_16k": (("through", 16_000),),
    "resample_22k": (("through", 22_050),),
}


def play(
    material: Tensor, steps: Sequence[Step], table: dict[str, Callable[..., Tensor]], cache: dict[Any, Any]
) -> Tensor:
    """`material` after `steps`; what one attack has done, the next that begins alike takes over."""
    for count, (name, value) in enumerate(steps, 1):
        prefix = tuple(steps[:count])
        if prefix not in cache:
            cache[prefix] = table[name](material, value)
        material = cache[prefix]
    return material


# Measures ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    frames: Tensor
    times: list[Fraction]


@dataclass
class Tally:
    """Results by attack, of marked material and of its unmarked control."""

    recovered: dict[str, list[bool]] = field(default_factory=dict)
    false_alarms: dict[str, list[bool]] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)


def ssim(a: Tensor, b: Tensor) -> float:
    """Mean SSIM (Wang et al. 2004, Gaussian window of deviation 1.5) of lumas [N, H, W]."""
    x = torch.arange(11) - 5.0
    line = torch.exp(-x.square() / 4.5)
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]

    def mean(picture: Tensor) -> Tensor:
        return F.conv2d(picture[:, None], kernel)[:, 0]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    cov = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_ = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(map_.mean())


def measure_clip(frames: Tensor, manifest_id: int, only: str, tally: Tally) -> None:
    """Mark one clip uint8 [N, 3, S, S], attack it, look; the same for the unmarked clip."""
    payload = Payload(manifest_id)
    embedder = VideoEmbedder(KEY, payload, width=frames.shape[3], height=frames.shape[2], fps=FPS)
    start = time.process_time()
    marked = embedder.push(frames)
    tally.add("embed_ms_per_frame", (time.process_time() - start) * 1000 / len(frames))
    before, after = luma_of(frames[::8]), luma_of(marked[::8])
    tally.add("psnr_db", float((10 * torch.log10(255**2 / (before - after).square().mean((1, 2)))).mean()))
    tally.add("ssim", ssim(before, after))
    for source, results in ((marked, tally.recovered), (frames, tally.false_alarms)):
        cache: dict[Any, Any] = {}
        for name, steps in VIDEO_ATTACKS.items():
            if only not in name:
                continue
            received = play(source, steps, VIDEO_STEPS, cache)
            block = Block(received, [i / FPS for i in range(len(received))])
            start = time.process_time()
            detection = detect_video([block], [KEY])
            spent_ms = (time.process_time() - start) * 1000
            results.setdefault(name, []).append(detection.payload == payload if source is marked else detection.found)
            if source is marked and detection.found and "crop" not in name:
                tally.add("detect_uncropped_ms", spent_ms)
            if source is frames:
                tally.add("detect_full_search_ms_per_frame", spent_ms / len(received))


def measure_sound(sound: Tensor, manifest_id: int, only: str, tally: Tally) -> None:
    """Mark one recording float32 [n] at SOUND_RATE, attack it, look; the same for the unmarked one."""
    payload = Payload(manifest_id)
    embedder = AudioEmbedder(KEY, payload, sample_rate=SOUND_RATE)
    start = time.process_time()
    marked = torch.cat([embedder.push(sound), embedder.flush()])
    tally.add("embed_ms_per_s", (time.process_time() - start) * 1000 * SOUND_RATE / len(sound))
    tally.add("snr_db", float(10 * torch.log10(sound.square().sum() / (sound - marked).square().sum())))
    for source, results in ((marked, tally.recovered), (sound, tally.false_alarms)):
        cache: dict[Any, Any] = {}
        for name, steps in SOUND_ATTACKS.items():
            if only not in name:
                continue
            received = play(source, steps, SOUND_STEPS, cache)
            start = time.process_time()
            detection = detect_audio([received], [KEY], sample_rate=SOUND_RATE)
            tally.add("detect_ms_per_s", (time.process_time() - start) * 1000 * SOUND_RATE / len(received))
            results.setdefault(name, []).append(detection.payload == payload if source is marked else detection.found)


def rows_of(tally: Tally, prefix: str, units: dict[str, str]) -> Rows:
    """One row per attack, per control and per figure; rates with exact (Clopper-Pearson) intervals."""
    rows: Rows = {}
    for kind, results in (("attack", tally.recovered), ("control", tally.false_alarms)):
        for name, hits in results.items():
            interval = share_interval(sum(hits), len(hits))
            rows[f"{prefix}{kind}.{name}"] = _row(sum(hits) / len(hits), "share", len(hits), interval)
    for name, values in tally.figures.items():
        rows[prefix + name] = _row(statistics.fmean(values), units[name], len(values))
    return rows


def _row(value: float, unit: str, n: int, ci95: list[float] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"value": value, "unit": unit, "n": n, "command": COMMAND}
    return row | {"ci95": ci95} if ci95 else row


UNITS = {
    "embed_ms_per_frame": "ms CPU",
    "psnr_db": "dB luma",
    "ssim": "luma",
    "detect_uncropped_ms": "ms CPU",
    "detect_full_search_ms_per_frame": "ms CPU",
    "embed_ms_per_s": "ms CPU per s",
    "detect_ms_per_s": "ms CPU per s",
    "snr_db": "dB",
}


# Material ---------------------------------------------------------------------------------------


def synthetic_clips(count: int, seconds: float) -> Iterator[Tensor]:
    """Talking heads, and every third clip a lively scene: uint8 [N, 3, 512, 512]."""
    frames = round(seconds * FPS)
    for seed in range(count):
        make = lively_scene if seed % 3 == 2 else talking_head
        yield make(frames, side=SIDE_PX, seed=seed)


def clips_of(folder: Path, seconds: float) -> Iterator[tuple[Path, Tensor]]:
    """Centre squares, 512 px, of the first seconds of every readable clip of at least 2 s below `folder`."""
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in CLIP_SUFFIXES):
        try:
            blocks = [block.frames for block in read_frames(path, end_s=seconds)]
        except MediaError as error:
            click.echo(f"left out: {error}", err=True)
            continue
        frames = torch.cat(blocks)[: round(seconds * FPS)]
        if len(frames) < 2 * FPS:
            continue
        side = min(frames.shape[2:])
        top, left = (frames.shape[2] - side) // 2, (frames.shape[3] - side) // 2
        yield path, _resize(frames[:, :, top : top + side, left : left + side], SIDE_PX)


def measure(
    *, count: int = 20, seconds: float = 4.0, clips: Sequence[Path] = (), only: str = "", every: int = 1
) -> Rows:
    """All rows. With `clips`, the clips of these folders (every `every`-th) are measured in place of synthetic ones."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    video, sound = Tally(), Tally()
    folders = [pair for folder in clips for pair in list(_chosen(folder, seconds, every))]
    try:
        total = len(folders) or count
        source = (frames for _, frames in folders) if folders else synthetic_clips(count, seconds)
        for number, frames in enumerate(tqdm(source, total=total, desc="video", disable=not sys.stderr.isatty())):
            measure_clip(frames, 0x5EED_0000 + number, only, video)
        voices = [voice for path, _ in folders if (voice := _voice(path, seconds)) is not None]
        voices = voices if folders else [speech(6.0, sample_rate=SOUND_RATE, seed=n) for n in range(count)]
        for number, voice in enumerate(tqdm(voices, desc="sound", disable=not sys.stderr.isatty())):
            measure_sound(voice, 0x50_0000 + number, only, sound)
    finally:
        torch.set_num_threads(threads)
    return rows_of(video, "", UNITS) | rows_of(sound, "audio.", UNITS)


def _chosen(folder: Path, seconds: float, every: int) -> Iterator[tuple[Path, Tensor]]:
    for index, pair in enumerate(clips_of(folder, seconds)):
        if index % every == 0:
            yield pair


def _voice(path: Path, seconds: float) -> Tensor | None:
    try:
        voice = load_audio(path, sample_rate=SOUND_RATE, max_s=600)[: round(seconds * SOUND_RATE)]
    except MediaError:
        return None
    return voice if len(voice) >= 2 * SOUND_RATE and float(voice.square().mean()) > 1e-6 else None


@click.command(help=__doc__)
@click.option("--count", default=20, show_default=True, help="Synthetic clips and recordings.")
@click.option("--seconds", default=4.0, show_default=True, help="Length of each clip.")
@click.option("--clips", multiple=True, type=click.Path(path_type=Path, exists=True), help="Folder of clips to use.")
@click.option("--every", default=1, show_default=True, help="Use every n-th clip of a folder.")
@click.option("--only", default="", help="Only attacks whose name contains this text.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Also write the rows to this file.")
def main(count: int, seconds: float, clips: tuple[Path, ...], every: int, only: str, out: Path | None) -> None:
    from benchmarks.results_page import commit, hardware

    stamp = {"commit": commit(), "hardware": hardware(), "command": "python -m benchmarks.watermark"}
    rows = {
        name: row | stamp
        for name, row in measure(count=count, seconds=seconds, clips=clips, only=only, every=every).items()
    }
    for name, row in rows.items():
        interval = "  [{:.3f}, {:.3f}]".format(*row["ci95"]) if "ci95" in row else ""
        click.echo(f"{name:44s} {row['value']:9.4g} {row['unit']:14s} n={row['n']}{interval}")
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
