"""The transformer streams what it learnt: its cache gives the numbers of the training pass, and forgets in time."""

import pytest
import torch
from torch import Tensor

from generator.controls import Controls
from generator.motion_latent import GROUPS, MOUTH, SIZE
from generator.motion_sampler import TEMPERATURE, block_noise
from generator.motion_transformer import (
    BLOCK,
    CONDITION_GROUPS,
    CONDITIONS,
    MotionTransformer,
    TransformerConfig,
    condition_vector,
)

FRAMES, AUDIO = 40, 5


@pytest.fixture
def flow() -> MotionTransformer:
    torch.manual_seed(0)
    flow = MotionTransformer(TransformerConfig(audio=AUDIO, width=32, layers=2, heads=2, past=3)).eval()
    torch.nn.init.normal_(flow.out.weight, std=0.2)
    for layer in flow.stack:
        torch.nn.init.normal_(layer.attention.bias, std=0.5)
    return flow.requires_grad_(False)


@pytest.fixture
def clip() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(width: int) -> Tensor:
        return torch.randn(1, FRAMES, width, generator=generator)

    time = torch.rand(1, FRAMES // BLOCK, generator=generator).repeat_interleave(BLOCK, 1)
    return {
        "clean": draw(SIZE), "noisy": draw(SIZE), "time": time, "audio": draw(AUDIO + 1),
        "audio_mouth": draw(MOUTH.stop), "conditions": draw(CONDITIONS),
    }  # fmt: skip


def stream(flow: MotionTransformer, clip: dict[str, Tensor]) -> Tensor:
    cache, out = flow.start(), []
    for block in range(FRAMES // BLOCK):
        at = slice(block * BLOCK, (block + 1) * BLOCK)
        entry = flow.enter(clip["audio"][:, at], clip["audio_mouth"][:, at], clip["conditions"][:, at], cache)
        out.append(flow.predict(clip["noisy"][:, at], flow.moment(clip["time"][0, at.start]), entry))
        cache = flow.remember(clip["clean"][:, at], flow.moment(torch.tensor(1.0)), entry)
    return torch.cat(out, 1)


def test_streaming_gives_the_numbers_of_the_training_pass(flow: MotionTransformer, clip: dict[str, Tensor]) -> None:
    whole = flow(**clip, seen_past=torch.ones(1))
    assert float((stream(flow, clip) - whole).abs().max()) < 1e-4
    assert float(whole.std()) > 0.1


def test_a_block_depends_on_its_past_and_not_on_later_frames(flow: MotionTransformer, clip: dict[str, Tensor]) -> None:
    before = flow(**clip, seen_past=torch.ones(1))
    changed = {name: value.clone() for name, value in clip.items()}
    for name in ("clean", "noisy", "audio", "conditions"):
        changed[name][:, 20:24] += 1
    after = flow(**changed, seen_past=torch.ones(1))
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-5)
    assert not torch.allclose(before[:, 24:28], after[:, 24:28], atol=1e-3)


def test_frames_older_than_the_layers_can_reach_are_forgotten(flow: MotionTransformer, clip: dict[str, Tensor]) -> None:
    changed = {name: value.clone() for name, value in clip.items()}
    changed["clean"][:, :BLOCK] += 1
    reach = BLOCK * (1 + 1 + 2 * flow.config.past)  # its own block, `last`, and two layers of `past` blocks
    a, b = flow(**clip, seen_past=torch.ones(1)), flow(**changed, seen_past=torch.ones(1))
    assert not torch.allclose(a[:, BLOCK : 2 * BLOCK], b[:, BLOCK : 2 * BLOCK], atol=1e-3)
    assert torch.allclose(a[:, reach:], b[:, reach:], atol=1e-5)


def test_noise_depends_on_seed_and_block_alone() -> None:
    assert torch.equal(block_noise(3, 7), block_noise(3, 7))
    assert not torch.equal(block_noise(3, 7), block_noise(3, 8))
    assert not torch.equal(block_noise(3, 7), block_noise(4, 7))
    many = torch.cat([block_noise(5, n) for n in range(400)], 1)
    for name, group in GROUPS.items():
        assert float(many[..., group].std()) == pytest.approx(TEMPERATURE[name], abs=0.05)


def test_every_condition_says_that_it_is_given() -> None:
    vector = condition_vector(Controls(emotion="sad", emotion_strength=0.5, gaze_yaw_deg=15, distance=1.25).at(0))
    assert vector.shape == (CONDITIONS,)
    assert all(float(vector[columns][-1]) == 1 for columns in CONDITION_GROUPS.values())
    assert sum(columns.stop - columns.start for columns in CONDITION_GROUPS.values()) == CONDITIONS
