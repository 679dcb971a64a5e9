"""How well does the detector tell? AUC with intervals over persons, shortcuts beside it, abstentions, speed.

    python -m benchmarks.detector --data FOLDER      (holds detector_dev/ and grid/; never redistributed)

The clips are a *development set*: they were looked at while the detector was built, though nothing was trained or
calibrated on them. Both classes pass through one preparation: 1.4 times the face box, 256 px, 25 fps, H.264 CRF 20,
from 0.3 s to 8.3 s; the second preparation reduces all to 160 px first. One clip per generated performance.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from detector import Detector, DetectorReport
from detector.detector import SETTINGS_NAME, WEIGHTS
from media import FrameBlock, codec_round_trip, crop_face, find_faces, probe, read_frames

COMMAND = "python -m benchmarks.foundation --only detector"
START_S, END_S, FPS = 0.3, 8.3, 25
PREPARATIONS = ("common", "bottleneck160")
BOOTSTRAP_DRAWS = 2000


@dataclass(frozen=True)
class Clip:
    """One row of the index that counts."""

    path: Path
    fake: bool
    generator: str
    person: str


@dataclass(frozen=True)
class Outcome:
    """What the detector and the numbers without evidence say about one prepared clip."""

    clip: Clip
    score: float  # uncalibrated evidence, gates open; NaN where no face was found
    abstained: bool
    alarmed: bool
    covariates: dict[str, float]


def clips_of(data: Path) -> list[Clip]:
    """One clip per performance, the raw one where an enlarged twin exists."""
    folder = data / "detector_dev"
    with (folder / "index.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: ("raw" not in row["variant"], row["file"]))
    first: dict[str, dict[str, str]] = {}
    for row in rows:
        first.setdefault(row["clip_group"] or row["file"], row)
    return [
        Clip((folder / row["file"]).resolve(), row["label"] == "fake", row["generator"], row["identity_group"])
        for row in first.values()
    ]


def frames_at_25(path: Path) -> Tensor:
    """From 0.3 to 8.3 s, the frame shown at every 1/25 s: uint8 [N, 3, H, W]."""
    kept: list[Tensor] = []
    due = START_S
    for block in read_frames(path, start_s=START_S, end_s=END_S):
        for frame, moment in zip(block.frames, block.times, strict=True):
            while float(moment) >= due - 0.5 / FPS and due < END_S:
                kept.append(frame)
                due += 1 / FPS
    return torch.stack(kept)


def face_box(frames: Tensor) -> tuple[float, float, float, float]:
    """Median box of the largest face in eight frames."""
    looks = frames[:: max(1, len(frames) // 8)]
    boxes = [faces[0].box for frame in looks if (faces := find_faces(frame, max_faces=1))]
    if not boxes:
        raise click.ClickException("no face in any of eight frames")
    x0, y0, x1, y1 = (float(side) for side in np.median(np.array(boxes), axis=0))
    return x0, y0, x1, y1


def prepared(frames: Tensor, box: tuple[float, float, float, float], preparation: str) -> Tensor:
    """The face through one chain for both classes: uint8 [N, 3, 256, 256]."""
    side = 160 if preparation == "bottleneck160" else 256
    crops = torch.stack([crop_face(frame, box, scale=1.4, side_px=side) for frame in frames])
    if side != 256:
        enlarged = F.interpolate(crops.float(), size=(256, 256), mode="bilinear", align_corners=False)
        crops = enlarged.round().clamp(0, 255).to(torch.uint8)
    return codec_round_trip(crops, fps=Fraction(FPS), crf=20)


def blocks_of(frames: Tensor) -> Iterator[FrameBlock]:
    for start in range(0, len(frames), 16):
        part = frames[start : start + 16]
        yield FrameBlock(part, tuple(Fraction(start + n, FPS) for n in range(len(part))))


def covariates(path: Path, original: Tensor, frames: Tensor) -> dict[str, float]:
    """Numbers that carry no evidence of synthesis; what separates the classes by them is a shortcut."""
    info = probe(path)
    luma = frames.float().mean(1)
    detail = luma[:, 1:-1, 1:-1] * 4 - luma[:, :-2, 1:-1] - luma[:, 2:, 1:-1] - luma[:, 1:-1, :-2] - luma[:, 1:-1, 2:]
    return {
        "duration": info.duration_s,
        "bit_rate": path.stat().st_size / max(info.duration_s, 1e-3),
        "frame_side": float(min(original.shape[-2:])),
        "has_sound": float(info.audio_codec is not None),
        "sharpness": float(detail.square().mean()),
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "motion_energy": float((luma[1:] - luma[:-1]).abs().mean()),
    }


def with_open_gates(detector: Detector) -> Detector:
    """The same network without abstention by size or distance, and without the cap on evidence: for AUC."""
    gates = replace(detector.calibration, min_face_px=1.0, max_distance=float("inf"), persons=10**12)
    return Detector(detector.model, gates, detector.feature_range, detector.model_digest)


def outcome(clip: Clip, detector: Detector, original: Tensor, frames: Tensor) -> Outcome:
    """The detector's and the covariates' view of prepared frames."""
    report = with_open_gates(detector).score(blocks_of(frames))
    gates = detector.calibration
    abstained = report.state == "abstained" or not _inside_gates(report, detector)
    score = float("nan") if report.log_likelihood_ratio is None else report.log_likelihood_ratio
    threshold = gates.slope * gates.threshold_logit + gates.intercept
    return Outcome(clip, score, abstained, score > threshold, covariates(clip.path, original, frames))


def _inside_gates(report: DetectorReport, detector: Detector) -> bool:
    sizes = sorted(frame.face_px for frame in report.frames if frame.box)
    near = report.distance is not None and report.distance <= detector.calibration.max_distance
    return near and sizes[len(sizes) // 2] >= detector.calibration.min_face_px


def auc_row(fake: list[tuple[str, float]], real: list[tuple[str, float]], unit: str) -> dict[str, Any]:
    """AUC of (person, score) pairs with a 95 % interval: persons with fakes and persons without drawn apart."""
    random = np.random.default_rng(0)

    def drawn(pairs: list[tuple[str, float]]) -> list[float]:
        people = sorted({person for person, _ in pairs})
        groups = {person: [score for p, score in pairs if p == person] for person in people}
        return [score for person in random.choice(people, len(people)) for score in groups[str(person)]]

    def auc(fakes: list[float], reals: list[float]) -> float:
        above = np.array(fakes)[:, None] - np.array(reals)
        return float(np.mean((above > 0) + 0.5 * (above == 0)))

    draws = [auc(drawn(fake), drawn(real)) for _ in range(BOOTSTRAP_DRAWS)]
    return {
        "value": auc([s for _, s in fake], [s for _, s in real]),
        "unit": unit,
        "n": len(fake) + len(real),
        "ci95": [float(q) for q in np.quantile(draws, [0.025, 0.975])],
        "command": COMMAND,
    }


def rows_of(outcomes: list[Outcome], name: str) -> dict[str, dict[str, Any]]:
    """All figures of one preparation."""
    seen = [o for o in outcomes if not np.isnan(o.score)]
    real = [(o.clip.person, o.score) for o in seen if not o.clip.fake]
    unit = "AUC, development set"
    rows = {f"{name}.auc": auc_row([(o.clip.person, o.score) for o in seen if o.clip.fake], real, unit)}
    for generator in sorted({o.clip.generator for o in seen if o.clip.fake}):
        fake = [(o.clip.person, o.score) for o in seen if o.clip.fake and o.clip.generator == generator]
        rows[f"{name}.auc.{generator.lower()}"] = auc_row(fake, real, unit)
    for covariate in sorted(seen[0].covariates):
        pairs = [(o.clip.fake, (o.clip.person, o.covariates[covariate])) for o in seen]
        fake = [pair for is_fake, pair in pairs if is_fake]
        clean = [pair for is_fake, pair in pairs if not is_fake]
        rows[f"{name}.shortcut_auc.{covariate}"] = auc_row(fake, clean, "AUC of a number without evidence")
    shares = {
        "abstention_rate": [o.abstained for o in outcomes],
        "false_positive_rate": [o.alarmed for o in seen if not o.clip.fake],
        "true_positive_rate": [o.alarmed for o in seen if o.clip.fake],
    }
    for label, flags in shares.items():
        rows[f"{name}.{label}"] = _share_row(flags)
    return rows


def _share_row(flags: list[bool]) -> dict[str, Any]:
    """A share with its Wilson interval."""
    n, p, z = len(flags), float(np.mean(flags)), 1.96
    middle, half = p + z * z / (2 * n), z * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    interval = [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]
    return {"value": p, "unit": "share, development set", "n": n, "ci95": interval, "command": COMMAND}


def scan_speed(clips: list[Clip], detector: Detector) -> dict[str, Any]:
    """Seconds of clip per second of work, decoding included, over up to six clips."""
    chosen = clips[:: max(1, len(clips) // 6)][:6]
    started, seconds = time.perf_counter(), 0.0
    for clip in chosen:
        detector.score(read_frames(clip.path))
        seconds += probe(clip.path).duration_s
    speed = seconds / (time.perf_counter() - started)
    return {"value": speed, "unit": "x clip duration", "n": len(chosen), "command": COMMAND}


def portrait_rows() -> dict[str, dict[str, Any]]:
    """What training measured on test persons it never saw; kept beside the weights."""
    figures = json.loads((WEIGHTS / SETTINGS_NAME).read_text(encoding="utf-8"))["figures"]
    command = "python -m detector.training.calibrate"
    return {
        f"portraits.auc.{name.replace(' ', '_')}": {
            "value": row["auc"],
            "unit": "AUC of one frame, test persons",
            "n": row["n"],
            "ci95": row["ci95"],
            "command": command,
        }
        for name, row in figures["test persons"].items()
    }


def measure(data: Path) -> dict[str, dict[str, Any]]:
    """Rows {id: {value, unit, n, ci95, command}} for `benchmarks.foundation`."""
    detector, clips = Detector.load(), clips_of(data)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in PREPARATIONS}
    for clip in tqdm(clips, disable=None):
        original = frames_at_25(clip.path)
        box = face_box(original)
        for name in PREPARATIONS:
            outcomes[name].append(outcome(clip, detector, original, prepared(original, box, name)))
    rows = portrait_rows() | {"scan_speed": scan_speed(clips, detector)}
    for name in PREPARATIONS:
        rows |= rows_of(outcomes[name], name)
    return {f"detector.{name}": row for name, row in rows.items()}


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True), envvar="VASARI_DATA", required=True)
def main(data: Path) -> None:
    click.echo(json.dumps(measure(data), indent=1))


if __name__ == "__main__":
    main()
