"""Train the motion transformer by flow matching, on top of a trained audio encoder.

    nice python -m generator.training.train_motion --data runs/motion/data --encoder runs/motion/encoder/encoder \
        --out runs/motion/flow --steps 3000 --seed 7

Examples are those of `generator.training.motion_dataset`; head, brows and mood are acted anew for every step by
 `generator.studio.acting` under random controls. Resumable. Writes motion.safetensors and motion.json (encoder
and transformer together: what `MotionModel.from_tensors` opens) and result.json (settings, seed, time, errors on clips
that were not trained on).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from generator.audio_encoder import DELAY_FRAMES, LEVEL_CHANNEL, AudioEncoder, EncoderConfig, heard, heard_size
from generator.motion_latent import GROUPS, MOUTH, SIZE
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES
from generator.motion_transformer import (
    BLOCK,
    CONDITION_GROUPS,
    MotionTransformer,
    TransformerConfig,
    condition_vector,
)
from generator.studio.acting import act, draw_controls
from generator.training.resumable import ResumableRun
from generator.training.train_audio_encoder import Examples, vary_features

Rows = NDArray[np.int64]

GAP = torch.tensor([LIP_GAP_CM[axis] for axis in MOUTH_AXES])
CONDITION_DROPOUT, AUDIO_DROPOUT, PAST_DROPOUT = 0.1, 0.1, 0.3
WEIGHTS = {"mouth": 2.0, "mood": 1.0, "pose": 1.5}
STEP_WEIGHT, GAP_WEIGHT = 1.0, 2.0
PAST_NOISE = 0.15  # the largest deviation added to clean frames: the model's own past is not perfect either


@dataclass(frozen=True)
class Scene:
    """A batch: motion [B, T, SIZE] normalised, audio [B, T, n + 1], the encoder's mouth, conditions [B, T, C]."""

    motion: Tensor
    audio: Tensor
    audio_mouth: Tensor
    conditions: Tensor


class Studio:
    """Clips with what the encoder hears in them; acts scenes."""

    def __init__(self, folder: Path, encoder: AudioEncoder, *, held_out: int, seed: int) -> None:
        self.examples = Examples(folder, held_out=held_out)
        self.held_out = held_out
        self.level_db = np.concatenate([np.load(p)["level_db"] for p in sorted(folder.glob("speech_*.npz"))])
        self.heard = torch.cat([self._listen(encoder, rows, seed) for rows in _chunks(len(self.examples), 50)])
        self.mean, self.spread = torch.zeros(SIZE), torch.ones(SIZE)

    @torch.no_grad()
    def _listen(self, encoder: AudioEncoder, rows: Rows, seed: int) -> Tensor:
        """[B, 200 - delay, n] in half precision, of features perturbed once per clip."""
        batch = self.examples.take(rows)
        features = batch.features
        if rows[0] >= self.held_out:
            features = vary_features(features, np.random.default_rng([seed, int(rows[0])]))
        reading, _ = encoder(features, encoder.start(len(features)))
        level = features[..., LEVEL_CHANNEL].amax(-1)  # [B, 200]
        said = type(reading)(*(value[:, DELAY_FRAMES:] for value in vars(reading).values()))
        return heard(said, level[:, :-DELAY_FRAMES], level[:, DELAY_FRAMES:]).half()

    def scene(self, rows: Rows, frames: int, rng: np.random.Generator) -> Scene:
        """Act the clips in `rows`, cut to `frames` frames."""
        motions, conditions = [], []
        start = int(rng.integers(0, self.heard.shape[1] - frames + 1))
        for row in rows:
            wanted = draw_controls(rng)
            mouth = self.examples.mouth[row].float().numpy()
            classes, level = self.examples.classes[row].numpy(), self.level_db[row].astype(np.float64)
            motions.append(torch.from_numpy(act(classes, level, mouth, wanted, rng)[start : start + frames]))
            conditions.append(condition_vector(wanted).expand(frames, -1))
        audio = self.heard[rows, start : start + frames].float()
        mouth_at = slice(audio.shape[-1] - 4 - len(MOUTH_AXES), audio.shape[-1] - 4)
        given = torch.ones(*audio.shape[:2], 1)
        motion = (torch.stack(motions) - self.mean) / self.spread
        return Scene(motion, torch.cat([audio, given], -1), audio[..., mouth_at], torch.stack(conditions))

    def measure(self, rng: np.random.Generator) -> None:
        """Mean and spread of every latent number over 150 acted clips."""
        rows = rng.integers(self.held_out, len(self.examples), 150)
        motion = self.scene(rows, 196, rng).motion.flatten(0, 1)
        self.mean, self.spread = motion.mean(0), motion.std(0).clamp_min(0.01)


def _chunks(count: int, size: int) -> list[Rows]:
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def drop(scene: Scene, rng: np.random.Generator) -> Scene:
    """Hide sound and groups of conditions from whole clips by chance, for guidance (Ho and Salimans, 2022)."""
    audio, conditions = scene.audio.clone(), scene.conditions.clone()
    for clip in range(len(audio)):
        if rng.random() < AUDIO_DROPOUT:
            audio[clip] = 0
        for columns in CONDITION_GROUPS.values():
            if rng.random() < CONDITION_DROPOUT:
                conditions[clip, :, columns] = 0
    return Scene(scene.motion, audio, scene.audio_mouth, conditions)


def loss_of(network: MotionTransformer, scene: Scene, rng: np.random.Generator) -> dict[str, Tensor]:
    """Errors of the predicted motion at random flow times, by group; also of its change from frame to frame."""
    batch, frames = scene.motion.shape[:2]
    blocks = torch.from_numpy(rng.uniform(0, 1, (batch, frames // BLOCK)).astype(np.float32))
    time = blocks.repeat_interleave(BLOCK, 1)  # [B, T]
    noise = torch.from_numpy(rng.normal(size=scene.motion.shape).astype(np.float32))
    noisy = torch.lerp(noise, scene.motion, time[..., None])
    blur = torch.from_numpy(rng.normal(size=scene.motion.shape) * rng.uniform(0, PAST_NOISE, (batch, 1, 1))).float()
    seen_past = torch.from_numpy((rng.random(batch) >= PAST_DROPOUT).astype(np.float32))
    said = network(scene.motion + blur, noisy, time, scene.audio, scene.audio_mouth, scene.conditions, seen_past)
    weight = 1 / (1.1 - time[..., None])  # between an error of motion (1) and of velocity (squared)
    error = (said - scene.motion).square() * weight
    step = (said[:, 1:] - said[:, :-1] - scene.motion[:, 1:] + scene.motion[:, :-1]).square()
    parts = {name: WEIGHTS[name] * error[..., group].mean() for name, group in GROUPS.items()}
    parts |= {f"{name}_step": STEP_WEIGHT * step[..., group].mean() for name, group in GROUPS.items()}
    gap = (said - scene.motion)[..., MOUTH] * network.spread[MOUTH] @ GAP
    return parts | {"gap": GAP_WEIGHT * gap.abs().mean()}


def write(run: ResumableRun, encoder: AudioEncoder, network: MotionTransformer, result: dict[str, object]) -> None:
    """Averaged weights with the encoder's, configuration and result, each renamed into place."""
    tensors = {name.removeprefix("flow."): value for name, value in run.averaged().items()}
    tensors = {f"flow.{k}": v for k, v in tensors.items()}
    tensors |= {f"encoder.{k}": v.clone().contiguous() for k, v in encoder.state_dict().items()}
    save_file(tensors, str(run.folder / ".motion.part"))
    (run.folder / ".motion.part").rename(run.folder / "motion.safetensors")
    config = {"encoder": encoder.config.as_dict(), "flow": network.config.as_dict()}
    for name, content in (("motion.json", config), ("result.json", result)):
        (run.folder / ".json.part").write_text(json.dumps(content, indent=1))
        (run.folder / ".json.part").rename(run.folder / name)


@torch.no_grad()
def evaluate(network: MotionTransformer, studio: Studio, frames: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    scene = studio.scene(np.arange(min(32, studio.held_out)), frames, rng)
    return {name: round(float(value), 4) for name, value in loss_of(network, scene, rng).items()}


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    encoder = AudioEncoder(EncoderConfig(**json.loads(args.encoder.with_suffix(".json").read_text())["network"]))
    encoder.load_state_dict(load_file(str(args.encoder.with_suffix(".safetensors"))))
    encoder.eval().requires_grad_(False)
    studio = Studio(args.data, encoder, held_out=args.held_out, seed=args.seed)
    studio.measure(np.random.default_rng([args.seed, 1]))
    sizes = {"width": args.width, "layers": args.layers}
    network = MotionTransformer(TransformerConfig(audio=heard_size(encoder.config), **sizes))
    network.mean.copy_(studio.mean)
    network.spread.copy_(studio.spread)
    run = ResumableRun({"flow": network}, args.out, rate=args.rate, steps=args.steps, seed=args.seed)
    studio.mean, studio.spread = network.mean.clone(), network.spread.clone()  # as they were when the run began
    settings = {key: str(value) for key, value in vars(args).items()}
    print(f"{len(studio.examples)} clips, {sum(p.numel() for p in network.parameters())} parameters, from {run.step}")
    for step in tqdm(range(run.step, args.steps), disable=None, desc="steps"):
        rng = np.random.default_rng([args.seed, 2, step])
        rows = rng.integers(args.held_out, len(studio.examples), args.batch)
        run.descend(
            torch.stack(list(loss_of(network, drop(studio.scene(rows, args.frames, rng), rng), rng).values())).sum()
        )
        if run.step % args.check == 0 or run.step == args.steps:
            found = evaluate(network, studio, args.frames)
            run.save(found)
            print(run.step, round(run.seconds), found, flush=True)
            write(
                run,
                encoder,
                network,
                {"settings": settings, "steps": run.step, "seconds": run.seconds, "held_out": found},
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/motion/data"))
    parser.add_argument("--encoder", type=Path, default=Path("runs/motion/encoder/encoder"), help="without ending")
    parser.add_argument("--out", type=Path, default=Path("runs/motion/flow"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--frames", type=int, default=64, help="of each clip per step, a multiple of 4")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--held-out", type=int, default=100, help="clips kept for testing")
    parser.add_argument("--check", type=int, default=200, help="steps between tests and checkpoints")
    parser.add_argument("--seed", type=int, default=7)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
