"""Train the audio encoder on examples made by `generator.training.motion_dataset`.

    nice python -m generator.training.train_audio_encoder --data runs/motion/data --out runs/motion/encoder --seed 7

Resumes from `last.safetensors` in --out; `--start` begins with the weights of another run. Writes
encoder.safetensors, encoder.json (configuration) and result.json (settings, seed, time, losses on synthetic clips that
were not trained on).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from generator.audio_encoder import DELAY_FRAMES, AudioEncoder, EncoderConfig, Reading
from generator.audio_features import CHANNELS, FRAMES_PER_UNIT, MEL_BANDS
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, REST_GAP_CM
from generator.motion_visemes import CLOSED, SILENCE, VISEMES

GAP = torch.tensor([LIP_GAP_CM[axis] for axis in MOUTH_AXES])
CLOSED_CLASSES = torch.tensor([VISEMES.index(name) for name in sorted(CLOSED)])
LABEL_SMOOTHING = 0.1
RARE = torch.tensor(2.0)  # weight of a frame with shut lips against others: one in eight


@dataclass(frozen=True)
class Batch:
    features: Tensor  # [B, T, 4, 42]
    mouth: Tensor  # [B, T, 17]; NaN where only the gap is known
    gap: Tensor  # [B, T] cm; NaN where unknown
    classes: Tensor  # [B, T]


class Examples:
    """All shards of a folder in memory; draws batches of synthetic clips with a few real ones."""

    def __init__(self, folder: Path, *, held_out: int) -> None:
        paths = sorted(folder.glob("speech_*.npz"))
        if not paths:
            raise SystemExit(f"{folder} has no speech_*.npz; make them with generator.training.motion_dataset")
        shards = [np.load(path) for path in paths]
        self.features = torch.from_numpy(np.concatenate([s["features"] for s in shards]))
        self.mouth = torch.from_numpy(np.concatenate([s["mouth"] for s in shards]))
        self.classes = torch.from_numpy(np.concatenate([s["classes"] for s in shards]))
        self.held_out = held_out
        self.real = dict(np.load(folder / "grid.npz")) if (folder / "grid.npz").exists() else None

    def __len__(self) -> int:
        return len(self.features)

    def draw(self, rng: np.random.Generator, synthetic: int, real: int, frames: int) -> Batch:
        """Random clips, cut to `frames` frames from a random start."""
        batch = self._draw_whole(rng, synthetic, real)
        start = int(rng.integers(0, batch.classes.shape[1] - frames + 1))
        part = slice(start, start + frames)
        return Batch(batch.features[:, part], batch.mouth[:, part], batch.gap[:, part], batch.classes[:, part])

    def _draw_whole(self, rng: np.random.Generator, synthetic: int, real: int) -> Batch:
        batch = self.take(rng.integers(self.held_out, len(self), synthetic))
        if self.real is None or real == 0:
            return batch
        rows = rng.integers(0, len(self.real["features"]), real)
        gap = torch.from_numpy(self.real["gap"][rows])
        features = _by_spectrum(torch.from_numpy(self.real["features"][rows]))
        classes = torch.from_numpy(self.real["classes"][rows]).long()
        mouth = torch.full((real, gap.shape[1], len(MOUTH_AXES)), float("nan"))
        parts = zip(
            (batch.features, batch.mouth, batch.gap, batch.classes), (features, mouth, gap, classes), strict=True
        )
        return Batch(*(torch.cat(pair) for pair in parts))

    def take(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Batch:
        mouth = self.mouth[rows].float()
        features = _by_spectrum(self.features[rows])
        return Batch(features, mouth, mouth @ GAP + REST_GAP_CM, self.classes[rows].long())


def _by_spectrum(features: Tensor) -> Tensor:
    """[B, T, 168] stored -> [B, T, 4, 42]."""
    return features.float().reshape(*features.shape[:2], FRAMES_PER_UNIT, CHANNELS)


def vary_features(features: Tensor, rng: np.random.Generator) -> Tensor:
    """Other speakers and microphones: vocal tracts 0.86 to 1.16 as long, tilted spectra, blanked bands and moments.

    Vocal tract length perturbation after Jaitly and Hinton, 2013; masking after SpecAugment (Park et al., 2019).
    """
    features = features.clone()
    bands = torch.arange(MEL_BANDS, dtype=torch.float32)
    for clip in features:
        at = (bands * float(rng.uniform(0.86, 1.16)) + float(rng.uniform(-1.0, 1.0))).clamp(0, MEL_BANDS - 1.001)
        low, part = at.long(), at.frac()
        spectrum = clip[..., :MEL_BANDS]
        tilt = torch.from_numpy(np.interp(bands, np.linspace(0, MEL_BANDS - 1, 5), rng.normal(0, 0.3, 5))).float()
        clip[..., :MEL_BANDS] = spectrum[..., low] * (1 - part) + spectrum[..., low + 1] * part + tilt
        for _ in range(2):
            first, width = int(rng.integers(0, MEL_BANDS)), int(rng.integers(0, 7))
            clip[..., first : min(first + width, MEL_BANDS)] = 0
            start, length = int(rng.integers(0, len(clip))), int(rng.integers(0, 3))
            if length:
                clip[start : start + length] = clip[start : start + length].mean((0, 1), keepdim=True)
    noise = torch.from_numpy(rng.normal(0, 1, features.shape).astype(np.float32))
    return features + noise * float(rng.uniform(0, 0.2))


def losses(reading: Reading, batch: Batch) -> dict[str, Tensor]:
    """Weighted parts of the objective; answers at t + delay belong to frame t."""
    mouth, known_gap = batch.mouth[:, :-DELAY_FRAMES], batch.gap[:, :-DELAY_FRAMES]
    classes = batch.classes[:, :-DELAY_FRAMES]
    said = reading.mouth[:, DELAY_FRAMES:]
    gap = said @ GAP + REST_GAP_CM
    synthetic = ~mouth.isnan().any(-1)  # [B, T]
    closed = torch.isin(classes, CLOSED_CLASSES)
    shut = torch.where(synthetic, known_gap < 0.02, closed).float()
    has_gap = ~known_gap.isnan()
    weight = torch.where(synthetic, 1 + 2 * (known_gap < 0.1).float(), torch.full_like(gap, 1.0))
    gap_error = (gap - known_gap.nan_to_num()).abs() * weight
    mouth_error = F.smooth_l1_loss(said, mouth.nan_to_num(), beta=0.05, reduction="none").sum(-1)
    step = (said[:, 1:] - said[:, :-1]) - (mouth[:, 1:] - mouth[:, :-1])
    moving = synthetic[:, 1:] & synthetic[:, :-1]
    active = torch.where(synthetic, (mouth.abs().amax(-1) > 0.02), classes != SILENCE).float()
    sound = F.cross_entropy(
        reading.sound[:, DELAY_FRAMES:].flatten(0, 1), classes.flatten(), label_smoothing=LABEL_SMOOTHING
    )
    return {
        "mouth": 1.5 * mouth_error[synthetic].mean(),
        "velocity": 0.5 * step.nan_to_num().abs().sum(-1)[moving].mean(),
        "gap": 1.5 * gap_error[has_gap & synthetic].mean(),
        "real_gap": 0.3 * gap_error[has_gap & ~synthetic].sum() / (has_gap & ~synthetic).sum().clamp_min(1),
        "sound": 0.4 * sound,
        "closed": F.binary_cross_entropy_with_logits(reading.closed[:, DELAY_FRAMES:], shut, pos_weight=RARE),
        "active": 0.4 * F.binary_cross_entropy_with_logits(reading.active[:, DELAY_FRAMES:], active),
    }


@torch.no_grad()
def evaluate(network: AudioEncoder, examples: Examples) -> dict[str, float]:
    """Losses, class accuracy and closure rate on the synthetic clips kept back."""
    network.eval()
    batch = examples.take(np.arange(min(examples.held_out, 100)))
    reading, _ = network(batch.features, network.start(len(batch.features)))
    out = {name: float(value) for name, value in losses(reading, batch).items() if name != "real_gap"}
    classes, said = batch.classes[:, :-DELAY_FRAMES], reading.sound[:, DELAY_FRAMES:].argmax(-1)
    speech = classes != SILENCE
    out["accuracy"] = float((said == classes)[speech].float().mean())
    shut = batch.gap[:, :-DELAY_FRAMES] < 0.0
    heard = reading.closed[:, DELAY_FRAMES:].sigmoid() > 0.5
    out["closure_recall"] = float(heard[shut & speech].float().mean())
    out["closure_false"] = float(heard[~(batch.gap[:, :-DELAY_FRAMES] < 0.1) & speech].float().mean())
    network.train()
    return out


def save(network: AudioEncoder, folder: Path, result: dict[str, object]) -> None:
    """Checkpoint with its configuration, each renamed into place."""
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    config = {"network": network.config.as_dict()}
    save_file(tensors, str(folder / ".encoder.part"))
    (folder / ".encoder.part").rename(folder / "encoder.safetensors")
    for name, content in (("encoder.json", config), ("result.json", result)):
        (folder / ".json.part").write_text(json.dumps(content, indent=1))
        (folder / ".json.part").rename(folder / name)


def resume(network: AudioEncoder, optimiser: torch.optim.Optimizer, path: Path) -> int:
    """Steps already made; loads weights and moments when there are any."""
    if not path.exists():
        return 0
    tensors = load_file(str(path))
    network.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("n.")})
    names = [name for name, _ in network.named_parameters()]
    for name, parameter in zip(names, network.parameters(), strict=True):
        optimiser.state[parameter] = {k: tensors[f"{k}.{name}"] for k in ("step", "exp_avg", "exp_avg_sq")}
    return int(tensors["steps"])


def keep(network: AudioEncoder, optimiser: torch.optim.Optimizer, steps: int, path: Path) -> None:
    tensors = {f"n.{k}": v for k, v in network.state_dict().items()} | {"steps": torch.tensor(steps)}
    for name, parameter in network.named_parameters():
        moments = optimiser.state[parameter]
        tensors |= {f"{k}.{name}": moments[k].contiguous() for k in ("step", "exp_avg", "exp_avg_sq")}
    save_file({k: v.clone() for k, v in tensors.items()}, str(path.with_suffix(".part")))
    path.with_suffix(".part").rename(path)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    examples = Examples(args.data, held_out=args.held_out)
    network = AudioEncoder(EncoderConfig(width=args.width))
    optimiser = torch.optim.AdamW(network.parameters(), args.rate, (0.9, 0.98), weight_decay=0.02)
    args.out.mkdir(parents=True, exist_ok=True)
    resumed = args.out / "last.safetensors"
    if args.start and not resumed.exists():
        network.load_state_dict(load_file(str(args.start)))
    first, begin = resume(network, optimiser, resumed), time.perf_counter()
    print(f"seed {args.seed}, {len(examples)} clips, {sum(p.numel() for p in network.parameters())} parameters")
    for step in tqdm(range(first, args.steps), disable=None, desc="steps"):
        rng = np.random.default_rng([args.seed, step])
        ramp = min(1.0, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * step / args.steps)) + 0.01
        optimiser.param_groups[0]["lr"] = args.rate * ramp
        batch = examples.draw(rng, args.batch, args.real, args.frames)
        reading, _ = network(vary_features(batch.features, rng), network.start(len(batch.features)))
        parts = losses(reading, batch)
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % args.check == 0 or step + 1 == args.steps:
            found = evaluate(network, examples)
            print(
                step + 1, f"{time.perf_counter() - begin:.0f} s", {k: round(v, 3) for k, v in found.items()}, flush=True
            )
            settings = {k: str(v) for k, v in vars(args).items()}
            seconds = round(time.perf_counter() - begin, 1)
            save(network, args.out, {"settings": settings, "steps": step + 1, "seconds": seconds, "held_out": found})
            keep(network, optimiser, step + 1, resumed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/motion/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/motion/encoder"))
    parser.add_argument("--start", type=Path, help="encoder.safetensors of an earlier run to begin with")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=11, help="synthetic clips per step")
    parser.add_argument("--real", type=int, default=2, help="GRID clips per step")
    parser.add_argument("--frames", type=int, default=120, help="frames of each clip per step")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--held-out", type=int, default=100, help="synthetic clips kept for testing")
    parser.add_argument("--check", type=int, default=250, help="steps between tests and checkpoints")
    parser.add_argument("--seed", type=int, default=7)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
