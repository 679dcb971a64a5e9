"""Lips by rule with a fitted correction: what it may change, how it is fitted, and that folds leave talkers out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

pytest.importorskip("soundfile", reason="the studio needs soundfile (pip install '.[training]')")

from benchmarks.motion_lips import FOLDS
from benchmarks.shipped_weights import shipped
from generator.audio_encoder import AudioEncoder, EncoderConfig
from generator.lip_opening import LEVEL_CM, VALUES, LipBlock, LipOpening, LipState, ruled_lips
from generator.motion_transformer import BLOCK
from generator.speech_hearing import HeardBlock, Hearing
from generator.training.fit_lip_opening import Lesson, fit, hear_lips, load_encoder, save

INPUTS = 5 * VALUES


def heard(*, speaks: float, closed: float, opening: float = 0.2) -> HeardBlock:
    """Four equal frames."""
    mouth = torch.zeros(BLOCK, 17)
    mouth[:, 0] = opening  # jawOpen
    return HeardBlock(
        audio=torch.zeros(BLOCK, 8),
        mouth=mouth,
        sound=torch.zeros(BLOCK, 26),
        closed=torch.full((BLOCK,), closed),
        speaks=torch.full((BLOCK,), speaks),
        levels=torch.zeros(BLOCK, 2),
    )


def parting_lips() -> LipOpening:
    """A correction that always wants lips 1 cm farther apart."""
    lips = LipOpening()
    torch.nn.init.zeros_(lips.correction.weight)
    torch.nn.init.ones_(lips.correction.bias)
    return lips


def opening(block: LipBlock) -> Tensor:
    with torch.no_grad():
        return parting_lips()(block)


def test_a_correction_parts_no_lips_in_silence() -> None:
    block, _ = ruled_lips(heard(speaks=0.0, closed=-6.0), LipState())
    assert opening(block).tolist() == [0.0] * BLOCK


def test_a_correction_opens_no_closure() -> None:
    _, state = ruled_lips(heard(speaks=1.0, closed=6.0), LipState())
    block, _ = ruled_lips(heard(speaks=1.0, closed=6.0), state)
    assert block.shut.tolist() == [1.0] * BLOCK
    assert opening(block).max() < 0


def test_lips_may_part_before_the_first_sound() -> None:
    """Somebody speaks in the block's last frame alone; the mouth is not at work before."""
    soon = heard(speaks=0.0, closed=-6.0)
    soon.speaks[-1] = 1.0
    block, _ = ruled_lips(soon, LipState())
    assert block.ruled_cm[0] == 0
    assert opening(block)[0] == 1 + LEVEL_CM


def test_a_fit_finds_what_ruled_lips_lack_and_leaves_shut_frames_alone() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=INPUTS)
    lessons = []
    for talker in "AB":
        inputs, share = rng.normal(size=(400, INPUTS)), rng.uniform(size=400).round()
        lessons.append(Lesson(talker, inputs, share * (inputs @ true + 0.3), share))
    lips = fit(lessons, ridge=1e-9)
    assert lips.correction.weight[0].tolist() == pytest.approx(true, abs=1e-3)
    assert float(lips.correction.bias) == pytest.approx(0.3, abs=1e-3)


def test_a_strong_ridge_leaves_lips_as_the_rules_made_them() -> None:
    rng = np.random.default_rng(0)
    missing = rng.normal(size=400)
    lips = fit([Lesson("A", rng.normal(size=(400, INPUTS)), missing - missing.mean(), np.ones(400))], ridge=1e6)
    assert float(lips.correction.weight.abs().max()) < 1e-4


def test_a_recording_is_heard_from_any_place_in_a_block() -> None:
    """What fitting hears is what is heard in use, delayed by the silence before it."""
    torch.manual_seed(0)
    hearing = Hearing(AudioEncoder(EncoderConfig(width=16, blocks=1)))
    sound = np.random.default_rng(1).normal(size=16_000).astype(np.float32) * 0.1
    for silent_frames in range(BLOCK):
        lips = hear_lips(hearing, sound, silent_frames)
        assert len(lips.ruled_cm) == 25
        assert lips.window.shape == (25, INPUTS)
    whole, state, frames = hear_lips(hearing, sound, 0), hearing.start(), []
    for unit in torch.from_numpy(sound).split(640):
        block, state = hearing.step(unit, state)
        frames += [] if block is None else block.speaks.tolist()
    assert frames == whole.window.reshape(25, 5, VALUES)[: len(frames), 2, 2].tolist()


def test_folds_leave_each_talker_out_of_what_is_shipped() -> None:
    tensors, _ = shipped("motion")
    every = [tensors["lips.correction.weight"]]
    every += [load_file(str(path))["correction.weight"] for path in sorted(FOLDS.glob("without_?.safetensors"))]
    assert [path.stem[-1] for path in sorted(FOLDS.glob("without_?.safetensors"))] == list("ABCDEFGHIJ")
    assert len({tuple(weight[0].tolist()) for weight in every}) == len(every)
    assert isinstance(load_encoder(FOLDS / "encoder"), AudioEncoder)


def test_saved_lips_are_read_again(tmp_path: Path) -> None:
    save(parting_lips(), tmp_path / "lips.safetensors")
    lips = LipOpening()
    lips.load_state_dict(load_file(str(tmp_path / "lips.safetensors")))
    assert torch.equal(lips.correction.bias, torch.ones(1))
    assert [path.name for path in tmp_path.iterdir()] == ["lips.safetensors"]
