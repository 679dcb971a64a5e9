"""The mouth network: what it may change in a frame, what it may not, and that its training learns."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from generator import EXPRESSION_INDEX, GeneratorError, MotionBlock
from generator.face_state import FaceState
from generator.mouth_refiner import (
    EDGE_PX,
    HEIGHT_PX,
    MOST,
    MOST_FLOW,
    PLANES,
    WIDTH_PX,
    MouthRefiner,
)
from generator.render import Renderer
from generator.training import train_mouth_refiner
from generator.training.train_mouth_refiner import Windows, vary_colours, vary_side
from media import read_portrait

PORTRAIT = Path(__file__).resolve().parents[2] / "vasari" / "demo" / "portrait.png"
SMALL_RIG = Path(__file__).with_name("fixtures") / "render_small.safetensors"
CONFIG: dict[str, object] = {"kind": "rig_warp", "version": 1, "sprite_cm_per_px": 0.025}
HALF = (HEIGHT_PX // 2, WIDTH_PX // 2)


def loud_tensors(strength: float = 0.5) -> dict[str, Tensor]:
    """An untrained network whose last layer is not silent."""
    torch.manual_seed(3)
    network = MouthRefiner()
    torch.nn.init.normal_(network.last.weight, std=strength)
    return {f"render.mouth.{name}": value for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def plain() -> Renderer:
    return Renderer.from_tensors(load_file(SMALL_RIG), CONFIG)


@pytest.fixture(scope="module")
def loud() -> Renderer:
    return Renderer.from_tensors(load_file(SMALL_RIG) | loud_tensors(), CONFIG)


@pytest.fixture(scope="module")
def face(plain: Renderer) -> FaceState:
    return plain.encode(read_portrait(PORTRAIT))


def speaking(frames: int) -> MotionBlock:
    block = MotionBlock.still(frames)
    block.pose[:, 0] = torch.linspace(-8, 8, frames)
    block.expression[:, EXPRESSION_INDEX["jawOpen"]] = torch.linspace(0.1, 0.4, frames)
    return block


def test_the_network_changes_the_mouth_and_nothing_off_its_window_or_the_person(
    plain: Renderer, loud: Renderer, face: FaceState
) -> None:
    block = speaking(3)
    changed = (plain.render(face, block) != loud.render(face, block)).any(1)
    persons = plain.warp(face, block).person[:, 0]
    x, y = (round(v) for v in face.mouth.centre_px)
    assert float(changed[:, y - 20 : y + 20, x - 20 : x + 20].float().mean()) > 0.9
    rows, columns = changed.any(0).any(1).nonzero(), changed.any(0).any(0).nonzero()
    assert int(rows.max() - rows.min()) < HEIGHT_PX
    assert int(columns.max() - columns.min()) < WIDTH_PX + 2 * EDGE_PX  # the head turns from side to side
    assert not bool(changed[persons == 0].any())


def test_what_the_network_says_is_bounded() -> None:
    network = MouthRefiner()
    torch.nn.init.constant_(network.last.weight, 100.0)
    residual, flow = network(torch.randn(1, PLANES, *HALF, generator=torch.Generator().manual_seed(1)))
    assert float(residual.detach().abs().max()) == pytest.approx(MOST)
    assert float(flow.detach().abs().max()) == pytest.approx(MOST_FLOW)


def test_a_face_at_rest_keeps_every_bit(plain: Renderer, loud: Renderer, face: FaceState) -> None:
    still = MotionBlock.still(2)
    assert torch.equal(plain.render(face, still), loud.render(face, still))


def test_what_is_added_fades_in_with_the_motion(plain: Renderer, loud: Renderer, face: FaceState) -> None:
    block = MotionBlock.still(1)
    block.expression[:, EXPRESSION_INDEX["jawOpen"]] = 0.004
    assert int((loud.render(face, block).int() - plain.render(face, block).int()).abs().max()) <= 1


def test_cutting_a_clip_and_threads_change_no_bit(loud: Renderer, face: FaceState) -> None:
    block = speaking(5)
    whole = loud.render(face, block)
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    again = torch.cat([loud.render(face, block[:2]), loud.render(face, block[2:])])
    torch.set_num_threads(threads)
    assert torch.equal(whole, again)


def test_a_grey_portrait_stays_grey(loud: Renderer) -> None:
    grey = read_portrait(PORTRAIT).float().mean(0, keepdim=True).round().to(torch.uint8).expand(3, -1, -1)
    frames = loud.render(loud.encode(grey.contiguous()), speaking(1)).int()
    assert int((frames.amax(1) - frames.amin(1)).max()) <= 1


def test_a_darker_portrait_gets_as_much_less(plain: Renderer, loud: Renderer, face: FaceState) -> None:
    """Colours count in units of the portrait's own: half the light on everything halves what is added."""
    moment = speaking(1)
    half = replace(
        face,
        picture=face.picture / 2,
        background=face.background / 2,
        still_skin=torch.cat([face.still_skin[:3] / 2, face.still_skin[3:]]),
        upper_texture=torch.cat([face.upper_texture[:, :3] / 2, face.upper_texture[:, 3:]], 1),
        lower_texture=torch.cat([face.lower_texture[:, :3] / 2, face.lower_texture[:, 3:]], 1),
        mouth_interior=replace(
            face.mouth_interior,
            flesh=face.mouth_interior.flesh / 2,
            upper_teeth=torch.cat([face.mouth_interior.upper_teeth[:3] / 2, face.mouth_interior.upper_teeth[3:]]),
            lower_teeth=torch.cat([face.mouth_interior.lower_teeth[:3] / 2, face.mouth_interior.lower_teeth[3:]]),
        ),
    )
    x, y = (round(v) for v in face.mouth.centre_px)
    near = (slice(None), slice(None), slice(y - 40, y + 50), slice(x - 50, x + 50))
    added = [
        (loud.render(state, moment)[near].int() - plain.render(state, moment)[near].int()) for state in (face, half)
    ]
    unclipped = (plain.render(face, moment)[near] > 110) & (loud.render(face, moment)[near] < 250)
    assert float((added[0] - 2 * added[1])[unclipped].abs().float().quantile(0.98)) <= 4


def test_a_checkpoint_whose_network_does_not_fit_is_refused() -> None:
    tensors = load_file(SMALL_RIG) | loud_tensors()
    tensors["render.mouth.last.weight"] = torch.zeros(3)
    with pytest.raises(GeneratorError, match="mouth network does not fit"):
        Renderer.from_tensors(tensors, CONFIG)


def test_a_frame_costs_less_than_one_gflop() -> None:
    network = MouthRefiner()
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, PLANES, *HALF))
    assert 1e8 < counter.get_total_flops() < 1e9
    assert sum(p.numel() for p in network.parameters()) < 500_000


def some_windows(count: int, seed: int = 1) -> Windows:
    rng = torch.Generator().manual_seed(seed)
    planes = torch.rand(count, PLANES, *HALF, generator=rng) - 0.5
    target = planes[:, :3] + 0.1 * (planes[:, 6:7] > 0)
    masks = torch.ones(count, 2, *HALF)
    return Windows(planes, masks[:, :1], target, torch.full((count, 3, 1, 1), 120.0), masks)


def test_a_window_mirrored_twice_is_the_same_window() -> None:
    seen, swap = some_windows(2), torch.tensor([True, False])
    once = vary_side(seen, swap)
    assert torch.equal(once.planes[1], seen.planes[1])
    assert float(once.planes[0, 0, 5, 3]) == float(seen.planes[0, 0, 5, -4])
    twice = vary_side(once, swap)
    assert all(torch.equal(getattr(twice, name), getattr(seen, name)) for name in vars(seen))


def test_colours_vary_of_input_and_target_alike() -> None:
    seen = some_windows(2)
    seen = replace(seen, target=seen.planes[:, :3].clone())
    varied = vary_colours(seen, torch.Generator().manual_seed(2))
    assert not torch.allclose(varied.planes[:, :3], seen.planes[:, :3], atol=0.01)
    assert torch.equal(varied.target, varied.planes[:, :3])
    assert float(varied.planes[:, 3:6].mean((2, 3)).abs().max()) < 1e-5  # counted in the new mean


def test_training_lowers_the_error_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    for talker in "AB":
        windows = some_windows(12, seed=ord(talker))
        tensors = {name: getattr(windows, name).contiguous() for name in ("planes", "moves", "target", "masks")}
        save_file(tensors | {"mean": torch.full((3,), 120.0)}, tmp_path / f"{talker}_clip.safetensors")
    shared = {"pairs": tmp_path, "out": tmp_path / "run", "without": ["B"], "batch": 4, "rate": 1e-2, "check": 5}
    train_mouth_refiner.train(argparse.Namespace(**shared, steps=5, seed=1))
    train_mouth_refiner.train(argparse.Namespace(**shared, steps=30, seed=1))
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(log) == 6
    network = MouthRefiner()
    weights = load_file(tmp_path / "run" / "average.safetensors")
    network.load_state_dict({name.removeprefix("mouth."): value for name, value in weights.items()})
    _, new = train_mouth_refiner.load_windows(tmp_path, ("B",))
    found = train_mouth_refiner.errors(network, new)
    assert found["made_lips_db"] > found["warp_lips_db"] + 0.3


def test_a_folder_without_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no pairs"):
        train_mouth_refiner.load_windows(tmp_path, ())
