"""Fit the correction of the lips (`generator.lip_opening`) on filmed lips, with each talker left out in turn.

    python -m generator.training.fit_lip_opening --grid GRID --encoder runs/lips/encoder/encoder --out runs/lips/folds

Ridge regression: a minute, no random numbers. The encoder must never have heard a talker of GRID: it then errs on
these voices as it will on others, and errors are what is corrected. Writes all.safetensors (to ship) and
without_X.safetensors for each talker X (to be measured on X), and result.json with the settings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from generator.audio_encoder import DELAY_FRAMES, AudioEncoder, EncoderConfig
from generator.audio_features import UNIT
from generator.controls import FPS
from generator.lip_opening import LipBlock, LipOpening, LipState, ruled_lips
from generator.motion_transformer import BLOCK
from generator.speech_hearing import Hearing
from generator.studio.speech_synthesis import Samples
from generator.training.motion_dataset import GRID_FACE_CM, grid_talkers, read_phones, read_sound

Array = npt.NDArray[np.float64]
MARGIN_S = 0.1  # of what precedes and follows the words
SCALES = (
    0.6,
    1.6,
)  # a voice doesn't tell how wide its owner opens: real lips are brought to the spread of the ruled ones
LEAST_SPREAD = 0.05  # of an input


@dataclass(frozen=True)
class Lesson:
    """One hearing of one clip while its talker speaks."""

    talker: str
    inputs: Array  # [T, n]
    missing_cm: Array  # [T] what the ruled lips lack
    share: Array  # [T] of the correction that is used


def load_encoder(path: Path) -> AudioEncoder:
    """An encoder of `train_audio_encoder`; `path` without its ending."""
    settings = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    encoder = AudioEncoder(EncoderConfig(**settings["network"]))
    encoder.load_state_dict({k: v.float() for k, v in load_file(str(path.with_suffix(".safetensors"))).items()})
    return encoder


@torch.inference_mode()
def hear_lips(hearing: Hearing, sound: Samples, silent_frames: int) -> LipBlock:
    """All frames of a recording, which begins `silent_frames` into a block."""
    frames = silent_frames + -(-len(sound) // UNIT)
    units = -(-frames // BLOCK) * BLOCK + DELAY_FRAMES
    padded = np.zeros(units * UNIT, np.float32)
    padded[silent_frames * UNIT : silent_frames * UNIT + len(sound)] = sound
    state, lips, blocks = hearing.start(), LipState(), []
    for unit in torch.from_numpy(padded.reshape(units, UNIT)):
        heard, state = hearing.step(unit, state)
        if heard:
            block, lips = ruled_lips(heard, lips)
            blocks.append(block)
    whole = {name: torch.cat([getattr(block, name) for block in blocks]) for name in vars(blocks[0])}
    return LipBlock(**{name: value[silent_frames:frames] for name, value in whole.items()})


def lessons(encoder: AudioEncoder, grid: Path) -> Iterable[Lesson]:
    """Every clip four times, each time cut otherwise into blocks."""
    hearing = Hearing(encoder)
    for name, talker in tqdm(sorted(grid_talkers(grid).items()), disable=None, desc="clips"):
        spoken = [s for s in read_phones(grid / f"{name}_phones.csv") if s.viseme != "sil"]
        real = np.load(grid / f"{name}_motion.npz")["lip_gap"].astype(np.float64) * GRID_FACE_CM
        begin = max(0, round((spoken[0].start_s - MARGIN_S) * FPS))
        sound = read_sound(grid / f"{name}.mpg")
        for silent_frames in range(BLOCK):
            heard = hear_lips(hearing, sound, silent_frames)
            end = min(len(real), len(heard.ruled_cm), round((spoken[-1].end_s + MARGIN_S) * FPS))
            ruled = heard.ruled_cm[begin:end].double().numpy()
            part = real[begin:end] * np.clip(ruled.std() / real[begin:end].std(), *SCALES)
            missing = part - part.mean() - (ruled - ruled.mean())  # how open a face is on the whole isn't heard either
            inputs, share = heard.window[begin:end].double().numpy(), heard.share[begin:end].double().numpy()
            yield Lesson(talker, inputs, missing, share)


def fit(taught: list[Lesson], ridge: float) -> LipOpening:
    """Least squares of share · correction against what is missing; every input counts by its spread."""
    every = np.concatenate([lesson.inputs for lesson in taught])
    mean, spread = every.mean(0), every.std(0) + LEAST_SPREAD
    share = np.concatenate([lesson.share for lesson in taught])[:, None]
    rows = np.column_stack([(every - mean) / spread, np.ones(len(every))]) * share
    penalty = np.diag([ridge * len(rows)] * len(mean) + [0.0])
    missing = np.concatenate([lesson.missing_cm for lesson in taught])
    *weights, bias = np.linalg.solve(rows.T @ rows + penalty, rows.T @ missing)
    scaled = np.array(weights) / spread
    lips = LipOpening().requires_grad_(False)
    lips.load_state_dict(
        {
            "correction.weight": torch.from_numpy(scaled)[None].float(),
            "correction.bias": torch.tensor([bias - scaled @ mean]).float(),
        }
    )
    return lips


def save(lips: LipOpening, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    save_file(lips.state_dict(), str(temporary))
    temporary.rename(path)


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    every = list(lessons(load_encoder(args.encoder), args.grid))
    save(fit(every, args.ridge), args.out / "all.safetensors")
    talkers = sorted({lesson.talker for lesson in every})
    for talker in talkers:
        others = [lesson for lesson in every if lesson.talker != talker]
        save(fit(others, args.ridge), args.out / f"without_{talker}.safetensors")
    frames = sum(len(lesson.inputs) for lesson in every) // BLOCK
    result: dict[str, Any] = {"settings": {k: str(v) for k, v in vars(args).items()}, "talkers": talkers}
    temporary = args.out / ".result.json.part"
    temporary.write_text(json.dumps({**result, "frames": frames}, indent=1), encoding="utf-8")
    temporary.rename(args.out / "result.json")
    print(f"{args.out}: {len(talkers)} talkers, {frames} frames")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, required=True, help="folder with the GRID clips, tracks and phones")
    parser.add_argument(
        "--encoder", type=Path, required=True, help="path of an encoder that never heard GRID, no ending"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/lips/folds"))
    parser.add_argument("--ridge", type=float, default=1.0)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
