"""What an attacker without the key can do to the picture's mark, in numbers.

    python -m benchmarks.watermark_security --work WORK [--only averaging] [--dry]

averaging      1,000 clips of one key, each with a release of its own: their common residual is estimated without the
               originals, then subtracted from marked clips (removal) and added to unmarked ones (forgery)
copy           the exact residual of a marked clip is added to another clip: the mark reads, and the release's
               fingerprint must tell that the picture is another
remark         a second mark, of another key, on top: are both still read?
regeneration   strong denoising, blurring, shrinking, and a learned autoencoder that draws every frame anew: marks that
               survive, and what is left of the picture (luma PSNR against the marked clip)

All of it after one H.264 encode at CRF 23, as a clip is handed on. WORK is the folder of benchmarks.watermark_material.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmarks.interval import share_interval
from benchmarks.picture_quality import psnr_db
from benchmarks.results_page import Rows, number, write_results
from benchmarks.watermark import KEY, Block, load, look, marked, payload_of, stream_of
from benchmarks.watermark_attacks import SAVED, Picture, Stream, blur, each, median, step, tone
from benchmarks.watermark_material import FPS, clips_below
from detector.training.autoencoders import TwinAutoencoder, TwinConfig, load_twin, save_twin
from detector.training.train_autoencoders import reconstruction_loss
from provenance import MATCH_DISTANCE, align_fingerprints, clip_fingerprint
from watermark import MarkKey, Payload
from watermark.video_pattern import SEGMENT_S
from watermark.visibility import luma_of

COMMAND = "python -m benchmarks.watermark_security --work FOLDER"
OTHER_KEY = MarkKey(bytes(range(96, 128)), 0xC7)
SEGMENT_FRAMES = int(SEGMENT_S * FPS)
AVERAGED_CLIPS, AVERAGED_SEGMENTS = 1000, 6
TARGETS = 10
REGENERATED = 6  # clips, ...
SLOW_CHAINS, SLOW_TARGETS = ("non_local_means", "autoencoder"), 3  # ... and for these
AUTOENCODER = TwinConfig("regeneration", "bilinear", 8, 12)
TRAINING_STEPS, PATCH_PX = 500, 96


def row(value: float, unit: str, n: int, *, share: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"value": value, "unit": unit, "n": n, "command": COMMAND}
    return made | {"ci95": share_interval(round(value * n), n)} if share else made


def spread(items: Sequence[Path], count: int) -> list[Path]:
    """`count` of the clips, evenly over the list."""
    return [items[k * len(items) // count] for k in range(min(count, len(items)))]


def progress(items: Sequence[Any], name: str) -> Any:
    return tqdm(items, desc=name, disable=not sys.stderr.isatty())


def recovered(frames: Tensor, payload: Payload, key: MarkKey = KEY, change: Callable[[Stream], Stream] = SAVED) -> bool:
    return look(change(stream_of(frames)), [key]).payload == payload


# Averaging --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Averages:
    """Mean high-passed luma [S, H, W] of each segment number, and the mean [H, W] of what alternates between them."""

    segments: Tensor
    alternating: Tensor


def average(clips: Sequence[Path], count: int) -> Averages:
    """What an attacker knows who averages `count` marked clips that all begin at their start.

    Each is a stretch of natural motion with a release number of its own. The attacker has no originals: the picture
    is suppressed by taking each segment's mean less the mean of its neighbours.
    """
    loaded: dict[Path, Tensor] = {}
    length = AVERAGED_SEGMENTS * SEGMENT_FRAMES
    total: Tensor | None = None
    random = np.random.default_rng(0)
    per_clip = -(-count // len(clips))
    order = [clips[number // per_clip] for number in range(count)]
    for path in progress(order, "averaging"):
        if path not in loaded:
            loaded = {path: load(path)}
        start = int(random.integers(0, len(loaded[path]) - length))
        payload = Payload(secrets.randbits(64))
        luma = luma_of(marked(loaded[path][start : start + length], payload))
        means = luma.unflatten(0, (AVERAGED_SEGMENTS, SEGMENT_FRAMES)).mean(1)
        around = (torch.roll(means, 1, 0) + torch.roll(means, -1, 0)) / 2
        total = means - around if total is None else total + means - around
    assert total is not None, "no clip to average"
    segments = total / count
    signs = torch.tensor([(-1.0) ** s for s in range(AVERAGED_SEGMENTS)])[1:-1, None, None]
    return Averages(segments, (segments[1:-1] * signs).mean(0) / 2)  # the neighbours carry the other sign


def pasted(frames: Tensor, template: Tensor, gain: float) -> Tensor:
    """Frames with gain * template [H, W] added, its sign turning with every segment as the mark's does."""
    signs = torch.tensor([(-1.0) ** (i // SEGMENT_FRAMES) for i in range(len(frames))])
    out = [
        (frame.float() + gain * sign * template).round().clamp(0, 255)
        for frame, sign in zip(frames, signs, strict=True)
    ]
    return torch.stack(out).to(torch.uint8)


def measure_averaging(clips: Sequence[Path], count: int) -> Rows:
    averages = average(clips, count)
    template = averages.alternating
    kept = forged = before = 0
    strongest = 0.0
    targets = spread(clips, TARGETS)
    for path in progress(targets, "removing and forging"):
        frames, payload = load(path), payload_of(path.name)
        with_mark = marked(frames, payload)
        if not recovered(with_mark, payload):
            continue
        before += 1
        kept += recovered(pasted(with_mark, template, -1.0), payload)
        for gain in (1.0, 3.0):
            detection = look(SAVED(stream_of(pasted(frames, template, gain))), [KEY])
            forged, strongest = forged + detection.found, max(strongest, detection.pilot_z)
    return {
        "security.averaging_removed": row(1 - kept / max(1, before), f"share after {count} clips", before, share=True),
        "security.averaging_forged": row(forged / (2 * before), f"share after {count} clips", 2 * before, share=True),
        "security.averaging_forged_pilot_z": row(strongest, "standard deviations", 2 * before),
        "security.averaging_template_rms": row(float(template.square().mean().sqrt()), "grey levels", count),
    }


# Copies and second marks ------------------------------------------------------------------------


def blocks(frames: Tensor) -> Iterator[Block]:
    for start in range(0, len(frames), 25):
        part = frames[start : start + 25]
        yield Block(part, [Fraction(start + i) / FPS for i in range(len(part))])


def measure_copies(clips: Sequence[Path]) -> Rows:
    """Copies onto clips of other people, and onto other takes of the same person."""
    rows: Rows = {}
    targets = spread(clips, 2 * TARGETS)
    read = flagged = 0
    for source, target in progress(list(zip(targets[::2], targets[1::2], strict=True)), "copying"):
        original, other = load(source), load(target)
        count = min(len(original), len(other))
        payload = payload_of(source.name)
        with_mark = marked(original, payload)
        residual = with_mark[:count].to(torch.int16) - original[:count].to(torch.int16)
        forged = (other[:count].to(torch.int16) + residual).clamp(0, 255).to(torch.uint8)
        if recovered(forged, payload):
            read += 1
            release = clip_fingerprint(blocks(with_mark))  # type: ignore[arg-type]
            distance = align_fingerprints(clip_fingerprint(blocks(forged)), release).distance  # type: ignore[arg-type]
            flagged += distance > MATCH_DISTANCE
    rows["security.copied_read"] = row(read / TARGETS, "share of copied marks", TARGETS, share=True)
    if read:
        rows["security.copied_flagged"] = row(flagged / read, "share of copied marks that read", read, share=True)
    return rows


def measure_second_marks(clips: Sequence[Path]) -> Rows:
    first = second = 0
    targets = spread(clips, TARGETS)
    for path in progress(targets, "marking twice"):
        payload, other = payload_of(path.name), Payload(77)
        twice = marked(marked(load(path), payload), other, OTHER_KEY)
        first += recovered(twice, payload)
        second += recovered(twice, other, OTHER_KEY)
    return {
        "security.remarked_first": row(first / len(targets), "share", len(targets), share=True),
        "security.remarked_second": row(second / len(targets), "share", len(targets), share=True),
    }


# Regeneration -----------------------------------------------------------------------------------


def non_local_means(stream: Stream, *, strength: float) -> Stream:
    return each(stream, lambda picture: cv2.fastNlMeansDenoisingColored(picture, None, strength, strength, 5, 11))


def shrunk(stream: Stream, *, factor: float) -> Stream:
    """Smaller, and back to its size."""

    def through(picture: Picture) -> Any:
        height, width = picture.shape[:2]
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)

    return each(stream, through)


def requantised(stream: Stream, *, quality: int) -> Stream:
    """Every frame as a JPEG."""

    def through(picture: Picture) -> Any:
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]

    return each(stream, through)


def smoothed_in_time(stream: Stream, *, frames: int) -> Stream:
    """The mean of the last `frames` frames, as temporal denoisers blend them."""
    held: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    for time, picture in stream:
        held = [*held, picture.astype(np.float32)][-frames:]
        yield time, np.mean(held, axis=0).round().astype(np.uint8)


def regenerated(stream: Stream, *, network: TwinAutoencoder) -> Stream:
    """Every frame drawn anew from a code of one eighth of its side."""

    def drawn(picture: Picture) -> Any:
        batch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            return (network(batch)[0] * 255).round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()

    return each(stream, drawn)


def trained_autoencoder(path: Path, clips: Sequence[Path]) -> TwinAutoencoder:
    """The network of an earlier run, or a new one, trained on unmarked frames of other clips than are attacked."""
    if path.exists():
        return load_twin(path).eval()
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    frames = torch.cat([load(clip)[::25] for clip in spread(clips, 24)])
    network = TwinAutoencoder(AUTOENCODER).train()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=TRAINING_STEPS)
    for _ in progress(range(TRAINING_STEPS), "training the autoencoder"):
        places = [
            (int(i), *map(int, random.integers(0, min(frames.shape[2:]) - PATCH_PX, 2)))
            for i in random.integers(0, len(frames), 12)
        ]
        patches = torch.stack([frames[i, :, y : y + PATCH_PX, x : x + PATCH_PX] for i, y, x in places]).float() / 255
        drawn = network(patches)
        loss = reconstruction_loss(drawn, patches) + 4 * F.mse_loss(drawn, patches)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    save_twin(network, path)
    return network


def measure_regeneration(clips: Sequence[Path], work: Path) -> Rows:
    targets = spread(clips, REGENERATED)
    network = trained_autoencoder(work / "autoencoder.safetensors", [clip for clip in clips if clip not in targets])
    chains = {
        "blur_3": step(blur, sigma_px=3.0),
        "median_9": step(median, width_px=9),
        "shrink_25": step(shrunk, factor=0.25),
        "shrink_15": step(shrunk, factor=0.15),
        "jpeg_10": step(requantised, quality=10),
        "non_local_means": step(non_local_means, strength=8.0),
        "time_mean_5": step(smoothed_in_time, frames=5),
        "time_mean_13": step(smoothed_in_time, frames=13),
        "autoencoder": step(regenerated, network=network),
        "washed_out": step(tone, contrast=0.2),
    }
    hits: dict[str, list[bool]] = {name: [] for name in chains}
    quality: dict[str, list[float]] = {name: [] for name in chains}
    for index, path in enumerate(progress(targets, "regenerating")):
        payload = payload_of(path.name)
        with_mark = marked(load(path), payload)
        for name, change in chains.items():
            if name in SLOW_CHAINS and index % (REGENERATED // SLOW_TARGETS):
                continue
            saved = recovered(with_mark, payload, change=lambda stream, change=change: SAVED(change(stream)))
            hits[name].append(saved)
            sample = with_mark[20:40]
            after = torch.from_numpy(np.stack([p for _, p in change(stream_of(sample))])).permute(0, 3, 1, 2)
            quality[name].append(psnr_db(sample, after))
    rows: Rows = {}
    for name, left in hits.items():
        rows[f"security.regeneration.{name}"] = row(sum(left) / len(left), "share of marks left", len(left), share=True)
        rows[f"security.regeneration.{name}.psnr_db"] = row(
            float(np.mean(quality[name])), "dB luma of the picture", len(left)
        )
    return rows


PARTS = ("averaging", "copy", "remark", "regeneration")


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="These parts; all by default.")
@click.option("--averaged", default=AVERAGED_CLIPS, show_default=True, help="Marked clips that the attacker averages.")
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(work: Path, only: tuple[str, ...], averaged: int, dry: bool) -> None:
    clips = clips_below(work / "clips")
    parts: dict[str, Callable[[], Rows]] = {
        "averaging": lambda: measure_averaging(clips, averaged),
        "copy": lambda: measure_copies(clips),
        "remark": lambda: measure_second_marks(clips),
        "regeneration": lambda: measure_regeneration(clips, work),
    }
    for name in only or PARTS:
        rows = parts[name]()
        for key, one in rows.items():
            click.echo(f"{key:44s} {number(one['value']):>8s} {one['unit']:28s} n={one['n']}")
        if not dry:
            write_results("watermark", rows)


if __name__ == "__main__":
    main()
