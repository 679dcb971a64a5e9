"""The whole portrait as the frame: the head moves, everything else keeps its bits, and no seam shows."""

import pytest
import torch
from safetensors.torch import load_file

from generator import FaceState, Framing, MotionBlock
from generator.face_landmarks import CHIN
from generator.render import Renderer
from media import find_faces, read_portrait
from tests.generator.test_render import CONFIG, PORTRAIT, SMALL_RIG, moment


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer.from_tensors(load_file(SMALL_RIG), CONFIG)


@pytest.fixture(scope="module")
def wide() -> torch.Tensor:
    """The demo portrait in a larger picture of odd size, with texture around it."""
    portrait = read_portrait(PORTRAIT)
    noise = torch.randint(0, 255, (3, 821, 903), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    noise[:, 30:798, 60:828] = portrait
    return noise


@pytest.fixture(scope="module")
def face(renderer: Renderer, wide: torch.Tensor) -> FaceState:
    return renderer.encode(wide, Framing(frame="portrait"))


LIVELY = MotionBlock.join(
    [moment((12, -6, 4, 0.03, 0.02, 1.05)), moment((-12, 8, -4, -0.03, 0, 0.95), jawOpen=0.5, eyeBlink=1.0)]
)


def test_frames_have_the_portraits_size_made_even(face: FaceState, renderer: Renderer) -> None:
    assert face.size_px == (902, 820)
    assert tuple(renderer.render(face, MotionBlock.still(1)).shape) == (1, 3, 820, 902)


def test_a_large_portrait_is_capped(renderer: Renderer, wide: torch.Tensor) -> None:
    large = torch.nn.functional.interpolate(wide[None].float(), size=(1642, 1806))[0].to(torch.uint8)
    assert renderer.encode(large, Framing(frame="portrait")).size_px == (1280, 1162)


def test_nothing_changes_outside_the_moving_head(renderer: Renderer, face: FaceState, wide: torch.Tensor) -> None:
    assert face.paste is not None
    frames, still = renderer.render(face, LIVELY), wide[:, :820, :902]
    left, top, side = (round(edge) for edge in face.paste.crop)
    person = torch.nn.functional.max_pool2d((face.upper_texture[:, 3:] > 0).float(), 8)
    person = torch.nn.functional.max_pool2d(person, 13, stride=1, padding=6)
    square = torch.nn.functional.interpolate(person, size=(side, side))[0, 0] > 0
    head = torch.zeros(1200, 1200, dtype=torch.bool)
    head[top + 100 : top + 100 + side, left : left + side] = square
    head = head[100:920, :902]
    assert 0.2 < float(head.float().mean()) < 0.7
    assert not (frames != still)[:, :, ~head].any()
    assert (frames[0] != still)[:, head].float().mean() > 0.4


def test_shoulders_keep_their_bits_unless_they_follow(renderer: Renderer, face: FaceState, wide: torch.Tensor) -> None:
    chin = find_faces(wide)[0].landmarks[CHIN]
    height = find_faces(wide)[0].height_px
    rows = slice(int(chin[1] + 0.2 * height), int(chin[1] + 0.4 * height))
    columns = slice(int(chin[0] + 0.55 * height), int(chin[0] + 0.8 * height))
    pushed = moment((0, 0, 0, 0.05, 0, 1))
    follows = renderer.encode(wide, Framing(frame="portrait", shoulders="follow"))
    still, sways = (renderer.render(f, pushed)[0, :, rows, columns] for f in (face, follows))
    assert torch.equal(still, wide[:, rows, columns])
    assert (sways != still).any(0).float().mean() > 0.3


def test_no_seam_shows_at_the_border_of_the_square(renderer: Renderer, face: FaceState) -> None:
    """Neither its border nor a ring of two pixels inside it moves, wherever the picture goes on."""
    assert face.paste is not None
    left, top, side = face.paste.crop
    x0, y0, x1, y1 = face.paste.box
    columns, rows = torch.arange(x0, x1) + 0.5, torch.arange(y0, y1) + 0.5
    near_edge = ((columns - left) < 2) | ((left + side - columns) < 2)
    near_rows = ((rows - top) < 2) | ((top + side - rows) < 2)
    assert not face.paste.moves[:, near_edge].any()
    assert not face.paste.moves[near_rows].any()


def test_a_still_face_keeps_the_portraits_own_sharpness(
    renderer: Renderer, face: FaceState, wide: torch.Tensor
) -> None:
    frame = renderer.render(face, MotionBlock.still(1))[0].float()
    x0, y0, x1, y1 = (round(v) for v in find_faces(wide)[0].box)
    error = (frame - wide[:, :820, :902].float())[:, y0:y1, x0:x1].square().mean()
    assert 10 * torch.log10(255**2 / error) > 34


def test_blocks_change_no_bit_of_the_whole_picture(renderer: Renderer, face: FaceState) -> None:
    whole = renderer.render(face, LIVELY)
    parts = torch.cat([renderer.render(face, LIVELY[:1]), renderer.render(face, LIVELY[1:])])
    assert torch.equal(whole, parts)
