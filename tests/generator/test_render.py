"""The renderer keeps its promises on the demo portrait, with a small cut of the rig."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generator import EXPRESSION_INDEX, SIZE_PX, FaceState, Framing, GeneratorError, MotionBlock, render
from generator.face_landmarks import CHIN, FOREHEAD_TOP, NOSE_TIP
from generator.render import Renderer
from media import find_faces, read_portrait

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = ROOT / "vasari" / "demo" / "portrait.png"
SMALL_RIG = Path(__file__).with_name("fixtures") / "render_small.safetensors"
CONFIG: dict[str, object] = {"kind": "rig_warp", "version": 1, "sprite_cm_per_px": 0.025}


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer.from_tensors(load_file(SMALL_RIG), CONFIG)


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    return read_portrait(PORTRAIT)


@pytest.fixture(scope="module")
def face(renderer: Renderer, portrait: torch.Tensor) -> FaceState:
    return renderer.encode(portrait)


def moment(
    pose: tuple[float, ...] = (0, 0, 0, 0, 0, 1), gaze: tuple[float, float] = (0, 0), **weights: float
) -> MotionBlock:
    expression = torch.zeros(1, len(EXPRESSION_INDEX))
    for name, weight in weights.items():
        for axis in [name] if name in EXPRESSION_INDEX else [f"{name}_L", f"{name}_R"]:
            expression[0, EXPRESSION_INDEX[axis]] = weight
    return MotionBlock(torch.tensor([pose], dtype=torch.float32), expression, torch.tensor([gaze]).float())


def landmarks(frame: torch.Tensor) -> torch.Tensor:
    (found,) = find_faces(frame)
    return found.landmarks[:, :2]


def around_mouth(face: FaceState, frame: torch.Tensor) -> torch.Tensor:
    x, y = (round(v) for v in face.mouth.centre_px)
    return frame[:, y - 12 : y + 40, x - 30 : x + 30].float().mean(0)


def around_eye(face: FaceState, frame: torch.Tensor, side: int) -> torch.Tensor:
    x, y = (round(v) for v in face.eyes[side].centre_px)
    return frame[:, y - 7 : y + 8, x - 16 : x + 17].float().mean(0)


def iris_x(face: FaceState, frame: torch.Tensor, side: int) -> float:
    """Centre of what is darkest in the eye."""
    dark = (around_eye(face, frame, side)[4:] < 75).float()
    columns = torch.arange(dark.shape[1]).float()
    return float((dark.sum(0) * columns).sum() / dark.sum())


def test_a_still_face_looks_like_the_portrait(renderer: Renderer, face: FaceState) -> None:
    frame = renderer.render(face, MotionBlock.still(1))[0].float()
    error = ((frame - face.picture) ** 2).mean()
    assert 10 * torch.log10(255**2 / error) > 34


def test_a_slit_between_the_lips_is_flesh_not_black(renderer: Renderer, face: FaceState) -> None:
    frame = renderer.render(face, moment(jawOpen=0.10))[0]
    x, y = (round(v) for v in face.mouth.centre_px)
    middle = frame[:, y - 2 : y + 14, x - 6 : x + 7].float()
    lips = face.picture[:, y - 4 : y + 10, x - 6 : x + 7].mean((1, 2))
    darkest = middle.flatten(1)[:, middle.mean(0).flatten().argmin()]
    assert float(darkest.mean()) > 0.4 * float(lips.mean())
    assert float(darkest[0]) > 1.2 * float(darkest[1:].max())


def test_the_background_does_not_change_by_one_pixel(renderer: Renderer, face: FaceState) -> None:
    block = MotionBlock.join([moment((12, -6, 4, 0.02, 0.02, 1.03)), moment((-12, 8, -4, 0, 0, 1), jawOpen=0.5)])
    matte = face.upper_texture[:, 3:].view(1, 1, SIZE_PX, 2, SIZE_PX, 2).amax((3, 5))
    rows = torch.nn.functional.max_pool2d((matte > 0).float(), (97, 1), stride=1, padding=(48, 0))
    near = torch.nn.functional.max_pool2d(rows, (1, 97), stride=1, padding=(0, 48))[0, 0] > 0
    assert float((~near).float().mean()) > 0.1
    changed = renderer.render(face, block) != face.picture.to(torch.uint8)
    assert not changed[:, :, ~near].any()


def test_cutting_a_clip_into_blocks_and_threads_change_no_bit(renderer: Renderer, face: FaceState) -> None:
    block = MotionBlock.join([moment((2.0 * i, 2, 0, 0, 0, 1), jawOpen=0.05 * i, eyeBlink=0.1 * i) for i in range(7)])
    threads, drawn = torch.get_num_threads(), []
    try:
        for number, size in ((1, 1), (2, 7), (3, 5), (1, 4)):
            torch.set_num_threads(number)
            parts = [renderer.render(face, block[at : at + size]) for at in range(0, len(block), size)]
            drawn.append(torch.cat(parts))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(other, drawn[0]) for other in drawn[1:])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_drawing_only_where_something_moves_changes_no_bit(
    renderer: Renderer, face: FaceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = MotionBlock.join([moment((18, -9, 6, 0.05, 0.03, 1.1)), moment((-15, 8, 0, -0.05, 0, 0.9), jawOpen=0.5)])
    boxed = renderer.render(face, block)
    monkeypatch.setattr(render, "_moving_box", lambda *_: (0, 0, SIZE_PX, SIZE_PX))
    assert torch.equal(renderer.render(face, block), boxed)


@pytest.mark.parametrize(
    "closed",
    [
        {},
        {"mouthPress": 0.4, "mouthRollLower": 0.2, "mouthRollUpper": 0.2},
        {"jawOpen": 0.3, "mouthClose": 0.26},
        {"mouthSmile": 0.6},
    ],
    ids=["rest", "press", "jaw open, lips shut", "smile"],
)
def test_lips_that_close_show_nothing_between_them(
    renderer: Renderer, face: FaceState, closed: dict[str, float]
) -> None:
    darkest = around_mouth(face, face.picture).min() - 18
    shut = around_mouth(face, renderer.render(face, moment(**closed))[0])
    wide = around_mouth(face, renderer.render(face, moment(jawOpen=0.4))[0])
    assert int((shut < darkest).sum()) == 0
    assert int((wide < darkest).sum()) > 100


def test_an_open_jaw_opens_the_lips_and_lowers_the_chin(renderer: Renderer, face: FaceState) -> None:
    rest, wide = (landmarks(renderer.render(face, moment(jawOpen=w))[0]) for w in (0.0, 0.4))
    height = float(rest[CHIN, 1] - rest[FOREHEAD_TOP, 1])
    gap = [float(points[14, 1] - points[13, 1]) / height for points in (rest, wide)]
    assert gap[0] < 0.015
    assert gap[1] > 0.04
    assert wide[CHIN, 1] > rest[CHIN, 1] + 4


def test_shut_lids_hide_the_eyes(renderer: Renderer, face: FaceState) -> None:
    shut = renderer.render(face, moment(eyeBlink=1.0))[0]
    for side in (0, 1):
        assert int((around_eye(face, face.picture, side) < 50).sum()) > 20  # the pupil
        assert int((around_eye(face, shut, side) < 50).sum()) < 5  # a few lashes


def test_gaze_turns_the_irises_to_the_side_that_was_asked_for(renderer: Renderer, face: FaceState) -> None:
    left, ahead, right = (renderer.render(face, moment(gaze=(deg, 0)))[0] for deg in (-15.0, 0.0, 15.0))
    for side in (0, 1):
        places = [iris_x(face, frame, side) for frame in (left, ahead, right)]
        assert places[0] + 2 < places[1] < places[2] - 2


def test_the_head_turns_nods_and_comes_near_as_the_signs_say(renderer: Renderer, face: FaceState) -> None:
    rest = landmarks(renderer.render(face, moment())[0])

    def nose_offset(points: torch.Tensor) -> torch.Tensor:
        return points[NOSE_TIP] - (points[33] + points[263]) / 2

    turned = landmarks(renderer.render(face, moment((12, 0, 0, 0, 0, 1)))[0])
    assert nose_offset(turned)[0] > nose_offset(rest)[0] + 5
    nodded = landmarks(renderer.render(face, moment((0, 10, 0, 0, 0, 1)))[0])
    assert nodded[NOSE_TIP, 1] > rest[NOSE_TIP, 1] + 5
    tilted = landmarks(renderer.render(face, moment((0, 0, 10, 0, 0, 1)))[0])
    assert tilted[263, 1] - tilted[33, 1] < rest[263, 1] - rest[33, 1] - 8
    near = landmarks(renderer.render(face, moment((0, 0, 0, 0, 0, 1.15)))[0])
    assert torch.dist(near[33], near[263]) == pytest.approx(1.15 * float(torch.dist(rest[33], rest[263])), rel=0.05)


def test_a_tight_portrait_is_extended_to_a_whole_picture(renderer: Renderer, portrait: torch.Tensor) -> None:
    points = find_faces(portrait)[0].landmarks[:, :2]
    low, high = points.amin(0).int() - 20, points.amax(0).int() + 20
    tight = portrait[:, low[1] : high[1], low[0] : high[0]].contiguous()
    frame = renderer.render(renderer.encode(tight), MotionBlock.still(1))
    assert tuple(frame.shape) == (1, 3, SIZE_PX, SIZE_PX)
    assert len(find_faces(frame[0])) == 1


def two_faces(portrait: torch.Tensor) -> torch.Tensor:
    return torch.cat([portrait, portrait], 2)


def tilted(portrait: torch.Tensor) -> torch.Tensor:
    angle = torch.tensor(0.78)
    matrix = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    grid = torch.nn.functional.affine_grid(matrix[None], [1, *portrait.shape], align_corners=False)
    turned = torch.nn.functional.grid_sample(portrait[None].float(), grid, padding_mode="border", align_corners=False)
    return turned[0].to(torch.uint8)


def tiny(portrait: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(portrait[None].float(), size=(20, 20), mode="area")[0].to(torch.uint8)


def small_face(portrait: torch.Tensor) -> torch.Tensor:
    height = find_faces(portrait)[0].height_px
    size = round(62.5 / height * portrait.shape[1]), round(62.5 / height * portrait.shape[2])
    return torch.nn.functional.interpolate(portrait[None].float(), size=size, mode="area")[0].to(torch.uint8)


def half_a_face(portrait: torch.Tensor) -> torch.Tensor:
    box = find_faces(portrait)[0].box
    return portrait[:, :, int(box[0] + 0.25 * (box[2] - box[0])) :].contiguous()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (torch.zeros_like, "no face found"),
        (two_faces, r"2 faces found.*1 at x \d+, y \d+, \d+ px high; 2 at x \d+.*--face 1 to 2"),
        (tiny, "20x20 px, too small"),
        (small_face, r"the face is 6\d px high.*at least 64 px"),
        (half_a_face, "cut off at the left edge.*whole face"),
        (tilted, r"tilted by \d+ degrees, at most 30.*upright"),
        (torch.Tensor.float, "must be uint8"),
    ],
    ids=["no face", "two faces", "tiny", "small face", "half a face", "tilted", "wrong type"],
)
def test_an_unusable_portrait_is_refused_with_what_to_change(  # type: ignore[no-untyped-def]
    renderer: Renderer, portrait: torch.Tensor, spoil, message: str
) -> None:
    with pytest.raises(GeneratorError, match=message):
        renderer.encode(spoil(portrait))


def test_one_of_several_faces_is_animated_by_its_number_from_the_left(
    renderer: Renderer, portrait: torch.Tensor
) -> None:
    dark = (portrait.float() * 0.5).to(torch.uint8)
    pair = torch.cat([dark, portrait], 2)
    brightness = [float(renderer.encode(pair, Framing(face=number)).picture.mean()) for number in (1, 2)]
    assert brightness[1] > 1.5 * brightness[0]
    with pytest.raises(GeneratorError, match="there is no face 3"):
        renderer.encode(pair, Framing(face=3))


def test_a_checkpoint_that_lacks_tensors_or_names_another_renderer_is_refused() -> None:
    tensors = load_file(SMALL_RIG)
    with pytest.raises(GeneratorError, match="this release reads kind 'rig_warp'"):
        Renderer.from_tensors(tensors, {"kind": "latent", "version": 1})
    del tensors["render.identity"]
    with pytest.raises(GeneratorError, match=r"lacks render\.identity"):
        Renderer.from_tensors(tensors, CONFIG)


@pytest.mark.skipif("VASARI_DATA" not in os.environ, reason="VASARI_DATA names no folder with rig/ and grid/")
def test_driven_frames_come_closer_to_a_real_talker_than_a_copy_of_the_first() -> None:
    from benchmarks.renderer import a_renderer
    from benchmarks.renderer_reenactment import Clip, reenact

    clip = Clip.read(Path(os.environ["VASARI_DATA"]) / "grid" / "lrwp9a.mpg")
    scores = reenact(a_renderer(mouth={}), clip, None, None)
    assert (scores.made > scores.copy).all()
