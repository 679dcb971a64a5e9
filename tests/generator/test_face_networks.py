"""The trained half of the renderer: geometry of the volume, size of the networks, what they may change in a frame."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from generator import EXPRESSION_INDEX, GeneratorError, MotionBlock
from generator.face_networks import (
    DYNAMICS,
    IDENTITY,
    AppearanceEncoder,
    Decoder,
    DynamicsReadOut,
    HeadPlace,
    IdentityEncoder,
    MotionEncoder,
    to_camera,
    to_canonical,
)
from generator.render import Renderer
from media import read_portrait

PORTRAIT = Path(__file__).resolve().parents[2] / "vasari" / "demo" / "portrait.png"
SMALL_RIG = Path(__file__).with_name("fixtures") / "render_small.safetensors"
CONFIG: dict[str, object] = {"kind": "rig_warp", "version": 1, "sprite_cm_per_px": 0.025}


def place(yaw_deg: float = 0.0, x: float = 0.0, scale: float = 1.0) -> HeadPlace:
    yaw = torch.deg2rad(torch.tensor(yaw_deg))
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    turn = torch.stack([yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos()]).view(1, 3, 3)
    return HeadPlace(turn, torch.tensor([[x, 0.0]]), torch.tensor([scale]))


def network_tensors(seed: int = 3, strength: float = 0.05) -> dict[str, torch.Tensor]:
    """Untrained networks whose last layers are not silent."""
    torch.manual_seed(seed)
    nets = {
        "appearance": AppearanceEncoder(),
        "decoder": Decoder(),
        "identity": IdentityEncoder(),
        "motion": MotionEncoder(),
        "read_out": DynamicsReadOut(),
    }
    torch.nn.init.normal_(nets["decoder"].get_parameter("last.weight"), std=strength)
    return {f"render.{n}.{k}": v for n, net in nets.items() for k, v in net.state_dict().items()}


@pytest.fixture(scope="module")
def renderers() -> tuple[Renderer, Renderer]:
    """Without and with networks."""
    tensors = load_file(SMALL_RIG)
    return Renderer.from_tensors(tensors, CONFIG), Renderer.from_tensors(tensors | network_tensors(), CONFIG)


def speaking(frames: int) -> MotionBlock:
    block = MotionBlock.still(frames)
    block.pose[:, 0] = torch.linspace(-8, 8, frames)
    block.expression[:, EXPRESSION_INDEX["jawOpen"]] = torch.linspace(0, 0.4, frames)
    return block


def test_a_volume_turned_to_the_head_and_back_is_the_same_volume() -> None:
    volume = torch.randn(1, 2, 8, 24, 24, generator=torch.Generator().manual_seed(3))
    smooth = volume
    for _ in range(2):  # what two samplings must not blur
        smooth = torch.nn.functional.avg_pool3d(smooth, (3, 5, 5), 1, (1, 2, 2))
    at = place(15, 0.1, 1.1)
    back = to_camera(to_canonical(smooth, at), at, torch.zeros(1, 3, 8, 24, 24))
    middle = (slice(None), slice(None), slice(2, 6), slice(8, 16), slice(8, 16))
    assert float((back - smooth)[middle].abs().mean()) < 0.35 * float(smooth[middle].abs().mean())
    still = to_camera(to_canonical(volume, place()), place(), torch.zeros(1, 3, 8, 24, 24))
    assert torch.allclose(still, volume, atol=1e-5)


def test_a_head_that_moves_right_takes_its_volume_along() -> None:
    volume = torch.zeros(1, 1, 8, 24, 24)
    volume[0, 0, :, 12, 12] = 1
    moved = to_camera(to_canonical(volume, place()), place(x=2 * 4 / 24), torch.zeros(1, 3, 8, 24, 24))
    assert int(moved[0, 0, 4, 12].argmax()) == 16


def test_a_turn_to_the_right_moves_what_is_near_to_the_right() -> None:
    volume = torch.zeros(1, 1, 8, 24, 24)
    volume[0, 0, 6, 12, 11:13] = 1  # in front of the head's centre
    turned = to_camera(to_canonical(volume, place()), place(yaw_deg=25), torch.zeros(1, 3, 8, 24, 24))
    columns = torch.arange(24).float()
    assert float((turned.sum((0, 1, 2, 3)) * columns).sum() / turned.sum()) > 12.5


def test_a_frame_costs_less_than_eight_gflop() -> None:
    decoder, crop, layers = Decoder(), torch.rand(1, 3, 192, 192), torch.rand(1, 2, 192, 192)
    canonical = torch.randn(1, 16, 8, 24, 24)
    with FlopCounterMode(display=False) as counter:
        decoder(canonical, place(), torch.zeros(1, DYNAMICS), torch.zeros(1, IDENTITY), crop, layers)
    assert 1e9 < counter.get_total_flops() < 8e9


def test_encoders_give_codes_of_the_stated_shapes() -> None:
    pictures = torch.rand(2, 3, 128, 128)
    codes = MotionEncoder()(pictures)
    assert codes.pose.shape == (2, 6)
    assert codes.dynamics.shape == (2, DYNAMICS)
    assert codes.landmarks.shape == (2, 478, 2)
    assert torch.allclose(IdentityEncoder()(pictures).norm(dim=1), torch.ones(2), atol=1e-5)


def test_networks_change_the_face_and_nothing_beside_the_person(renderers: tuple[Renderer, Renderer]) -> None:
    plain, trained = renderers
    portrait = read_portrait(PORTRAIT)
    block = speaking(3)
    face = plain.encode(portrait)
    before, after = plain.render(face, block), trained.render(trained.encode(portrait), block)
    changed = (before != after).any(1)
    assert bool(changed[:, 200:330, 200:310].any())
    persons = plain.warp(face, block).person[:, 0]
    assert not bool(changed[persons == 0].any())


def test_networks_keep_frames_equal_however_a_clip_is_cut(renderers: tuple[Renderer, Renderer]) -> None:
    trained = renderers[1]
    face, block = trained.encode(read_portrait(PORTRAIT)), speaking(5)
    whole = trained.render(face, block)
    assert torch.equal(whole, torch.cat([trained.render(face, block[:2]), trained.render(face, block[2:])]))


def test_a_checkpoint_whose_networks_do_not_fit_is_refused() -> None:
    tensors = load_file(SMALL_RIG) | network_tensors()
    tensors["render.decoder.up.weight"] = torch.zeros(3)
    with pytest.raises(GeneratorError, match="decoder does not fit"):
        Renderer.from_tensors(tensors, CONFIG)
    del tensors["render.decoder.up.weight"]
    with pytest.raises(GeneratorError, match=r"up\.weight"):
        Renderer.from_tensors(tensors, CONFIG)
