"""Marks of others beside ours: the same clips, the same attacks, each read blindly.

    pip install --no-deps invisible-watermark PyWavelets onnxruntime flatbuffers blind-watermark
    python -m benchmarks.watermark_peers --work WORK [--clips 4] [--slow-clips 2] [--dry]

Peers mark single frames: all frames of 3 s are marked, every fifteenth is read, and their bits are averaged. A peer
recovers when all its bits are right, ours when its 128 bits are; `bits` rows give the peers' share of right bits
(half is chance). A peer that is not installed is left out and named. None of them tells whether there is a mark at
all, and only ours has a key; that is not measured here. RivaGAN and blind-watermark take over a second a frame and run
on fewer clips. WORK is the folder of benchmarks.watermark_material.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.interval import share_interval
from benchmarks.picture_quality import psnr_db
from benchmarks.results_page import Rows, number, write_results
from benchmarks.watermark import KEY, load, look, marked, payload_of, stream_of
from benchmarks.watermark_attacks import Attack, Picture, chosen
from benchmarks.watermark_material import clips_below

COMMAND = "python -m benchmarks.watermark_peers --work FOLDER"
ATTACK_NAMES = (
    "clean,crf23,crf28,crf33,crf38,scale_50,crop_50,rotate_5,mirror,brightness_50,messenger,screen_recording,combined"
)
FRAMES = 75
READ_EVERY = 15
BITS = 32
Bits = NDArray[np.float64]


@dataclass(frozen=True)
class Peer:
    """`embed` marks an RGB picture with bits, `read` gives them back, as 0 and 1."""

    name: str
    package: str
    slow: bool
    embed: Callable[[Picture, Bits], Picture]
    read: Callable[[Picture], Bits]


def _invisible(method: str) -> Peer:
    def embed(picture: Picture, bits: Bits) -> Picture:
        from imwatermark import WatermarkEncoder

        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", [int(bit) for bit in bits])
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        return np.asarray(cv2.cvtColor(encoder.encode(bgr, method), cv2.COLOR_BGR2RGB), np.uint8)

    def read(picture: Picture) -> Bits:
        from imwatermark import WatermarkDecoder

        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        return np.asarray(WatermarkDecoder("bits", BITS).decode(bgr, method), np.float64)

    return Peer(method, "imwatermark", method == "rivaGan", embed, read)


def _blind() -> Peer:
    def embed(picture: Picture, bits: Bits) -> Picture:
        from blind_watermark import WaterMark

        mark = WaterMark(password_img=1, password_wm=1)
        mark.read_img(img=cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        mark.read_wm(bits > 0.5, mode="bit")
        bgr = np.clip(np.round(mark.embed()), 0, 255).astype(np.uint8)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def read(picture: Picture) -> Bits:
        from blind_watermark import WaterMark

        mark = WaterMark(password_img=1, password_wm=1)
        return np.asarray(
            mark.extract(embed_img=cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), wm_shape=BITS, mode="bit"), np.float64
        )

    return Peer("blind_watermark", "blind_watermark", True, embed, read)


PEERS = (_invisible("dwtDct"), _invisible("dwtDctSvd"), _invisible("rivaGan"), _blind())


def prepare(peer: Peer) -> str:
    """Why a peer can't run here; empty when it can."""
    needed = [peer.package, "pywt", *(["onnxruntime"] if peer.name == "rivaGan" else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return f"{peer.name}: {', '.join(missing)} is not installed"
    if peer.name == "rivaGan":
        from imwatermark import WatermarkEncoder

        WatermarkEncoder.loadModel()
    if peer.name == "blind_watermark":
        multiprocessing.set_start_method(None, force=True)  # its import insists on being the first to choose
        from blind_watermark import bw_notes

        bw_notes.close()
    return ""


@dataclass
class Scores:
    """What was measured of one mark, by attack."""

    exact: dict[str, list[bool]] = field(default_factory=dict)
    right: dict[str, list[float]] = field(default_factory=dict)
    psnr: list[float] = field(default_factory=list)
    embed_ms: list[float] = field(default_factory=list)


def measure_peer(peer: Peer, clips: Sequence[Path], attacks: Sequence[Attack]) -> Scores:
    scores = Scores()
    for path in tqdm(clips, desc=peer.name, disable=not sys.stderr.isatty()):
        frames = load(path)[:FRAMES]
        bits = np.random.default_rng(payload_of(path.name).manifest_id).integers(0, 2, BITS).astype(np.float64)
        began = time.process_time()
        pictures = [peer.embed(picture, bits) for _, picture in stream_of(frames)]
        scores.embed_ms.append((time.process_time() - began) * 1000 / len(pictures))
        after = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        scores.psnr.append(psnr_db(frames[::READ_EVERY], after[::READ_EVERY]))
        for attack in attacks:
            received = [picture for _, picture in attack(_at_25(pictures))][::READ_EVERY]
            came = np.mean([_read(peer, picture) for picture in received], axis=0) > 0.5
            scores.exact.setdefault(attack.name, []).append(bool((came == (bits > 0.5)).all()))
            scores.right.setdefault(attack.name, []).append(float((came == (bits > 0.5)).mean()))
    return scores


def _at_25(pictures: Sequence[Picture]) -> Iterator[tuple[Fraction, Picture]]:
    return ((Fraction(index, 25), picture) for index, picture in enumerate(pictures))


def _read(peer: Peer, picture: Picture) -> Bits:
    """A peer that can't read a picture of this size has read nothing: half of the bits are right by chance."""
    try:
        return peer.read(np.ascontiguousarray(picture))
    except (RuntimeError, ValueError, IndexError, AssertionError, cv2.error):
        return np.zeros(BITS)


def measure_ours(clips: Sequence[Path], attacks: Sequence[Attack]) -> Scores:
    scores = Scores()
    for path in tqdm(clips, desc="vasari", disable=not sys.stderr.isatty()):
        frames: Tensor = load(path)[:FRAMES]
        began = time.process_time()
        after = marked(frames, payload_of(path.name))
        scores.embed_ms.append((time.process_time() - began) * 1000 / len(frames))
        scores.psnr.append(psnr_db(frames[::READ_EVERY], after[::READ_EVERY]))
        for attack in attacks:
            detection = look(attack(stream_of(after)), [KEY])
            scores.exact.setdefault(attack.name, []).append(detection.payload == payload_of(path.name))
    return scores


def rows_of(name: str, bits: int, scores: Scores) -> Rows:
    rows: Rows = {}
    for attack, hits in scores.exact.items():
        interval = share_interval(sum(hits), len(hits))
        rows[f"peers.{name}.{attack}"] = _row(sum(hits) / len(hits), f"share, {bits} bits", len(hits)) | {
            "ci95": interval
        }
    for attack, shares in scores.right.items():
        rows[f"peers.{name}.{attack}.bits"] = _row(float(np.mean(shares)), "share of bits", len(shares))
    rows[f"peers.{name}.psnr_db"] = _row(float(np.mean(scores.psnr)), "dB luma", len(scores.psnr))
    rows[f"peers.{name}.embed_ms"] = _row(float(np.mean(scores.embed_ms)), "ms of CPU a frame", len(scores.embed_ms))
    return rows


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {"value": value, "unit": unit, "n": n, "command": COMMAND}


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clips", "count", default=4, show_default=True, help="Clips for ours and the fast peers.")
@click.option("--slow-clips", default=2, show_default=True, help="Clips for RivaGAN and blind-watermark.")
@click.option("--attacks", "names", default=ATTACK_NAMES, help="Attacks by name, with commas.")
@click.option("--dry", is_flag=True, help="Print the rows and write no result file.")
def main(work: Path, count: int, slow_clips: int, names: str, dry: bool) -> None:
    torch.set_num_threads(1)
    clips, attacks = clips_below(work / "clips"), chosen(names)
    spread = [clips[round(k * (len(clips) - 1) / max(1, count - 1))] for k in range(count)]
    rows = rows_of("vasari", 128, measure_ours(spread, attacks))
    for peer in PEERS:
        reason = prepare(peer)
        if reason:
            click.echo(f"left out, {reason}", err=True)
            continue
        rows |= rows_of(
            peer.name,
            BITS,
            measure_peer(peer, spread[:: max(1, count // slow_clips)] if peer.slow else spread, attacks),
        )
    for key, row in rows.items():
        click.echo(f"{key:44s} {number(row['value']):>8s} {row['unit']:18s} n={row['n']}")
    if not dry:
        write_results("watermark", rows)


if __name__ == "__main__":
    main()
