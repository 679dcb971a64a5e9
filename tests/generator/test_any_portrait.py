"""Whatever portrait comes: grey, deep, transparent, printed, painted, drawn, turned, with glasses, smiling."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from generator import FaceState, MotionBlock
from generator.glasses import wears_glasses
from generator.render import Renderer
from generator.working_picture import take_working_picture
from media import find_faces, read_portrait
from tests.generator.test_render import CONFIG, PORTRAIT, SMALL_RIG, around_eye, landmarks, moment

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer.from_tensors(load_file(SMALL_RIG), CONFIG)


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    return read_portrait(PORTRAIT)


@pytest.fixture(scope="module")
def face(renderer: Renderer, portrait: torch.Tensor) -> FaceState:
    return renderer.encode(portrait)


def pixels_of(picture: torch.Tensor) -> Pixels:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def tensor_of(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).contiguous()


def grey(image: Image.Image) -> Image.Image:
    return image.convert("L")


def sixteen_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def transparent(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: 255 if value < 250 else 0))
    return image


def printed(image: Image.Image) -> Image.Image:
    return image.convert("CMYK")


@pytest.mark.parametrize("mode", [grey, sixteen_bit, transparent, printed], ids=lambda mode: mode.__name__)
def test_pictures_of_every_mode_give_the_same_working_picture(
    portrait: torch.Tensor, mode: Callable[[Image.Image], Image.Image]
) -> None:
    file = io.BytesIO()
    mode(Image.open(PORTRAIT).convert("RGB")).save(file, "JPEG" if mode is printed else "PNG")
    came = take_working_picture(read_portrait(file.getvalue()))
    known = take_working_picture(portrait)
    assert np.abs(came.landmarks - known.landmarks).max() < 12
    luma = [cv2.cvtColor(work.texture.clip(0, 255), cv2.COLOR_RGB2GRAY)[300:700, 300:700] for work in (came, known)]
    assert np.abs(luma[0] - luma[1]).mean() < 8


def test_a_grey_picture_stays_grey(renderer: Renderer, portrait: torch.Tensor) -> None:
    shades = tensor_of(np.repeat(cv2.cvtColor(pixels_of(portrait), cv2.COLOR_RGB2GRAY)[..., None], 3, 2))
    made = renderer.encode(shades)
    frame = renderer.render(made, moment(gaze=(10, 0), jawOpen=0.5))[0].float()
    assert float((frame[0] - frame[2]).abs().max()) <= 12  # an eye's white has a breath of warmth


def painting(bgr: Pixels) -> Pixels:
    return np.asarray(cv2.stylization(bgr, sigma_s=45, sigma_r=0.45), np.uint8)


def coloured_drawing(bgr: Pixels) -> Pixels:
    return np.asarray(cv2.pencilSketch(bgr, sigma_s=50, sigma_r=0.07, shade_factor=0.05)[1], np.uint8)


@pytest.mark.parametrize("style", [painting, coloured_drawing], ids=lambda style: style.__name__)
def test_paintings_and_drawings_are_animated(
    renderer: Renderer, portrait: torch.Tensor, style: Callable[[Pixels], Pixels]
) -> None:
    art = tensor_of(style(pixels_of(portrait)[..., ::-1].copy())[..., ::-1])
    made = renderer.encode(art)
    frame = renderer.render(made, moment((8, 0, 0, 0, 0, 1), jawOpen=0.4))[0]
    mouth = landmarks(frame)
    assert mouth[14, 1] - mouth[13, 1] > 5
    still = renderer.render(made, MotionBlock.still(1))[0].float()
    assert 10 * torch.log10(255**2 / (still - made.picture).square().mean()) > 30


def test_three_quarter_views_are_taken(renderer: Renderer, face: FaceState) -> None:
    turned = renderer.render(face, moment((22, 0, 0, 0, 0, 1)))[0]
    turned = renderer.render(renderer.encode(turned), moment((12, 0, 0, 0, 0, 1)))[0]
    made = renderer.encode(turned)
    assert landmarks(renderer.render(made, moment(jawOpen=0.4))[0])[14, 1] > landmarks(turned)[14, 1] + 4


def with_glasses(portrait: torch.Tensor) -> torch.Tensor:
    """Dark round frames with a bridge and arms, drawn on."""
    rgb, points = pixels_of(portrait).copy(), find_faces(portrait)[0].landmarks[:, :2].numpy()
    centres = [points[[a, b]].mean(0) for a, b in ((33, 133), (362, 263))]
    radius = 0.33 * float(np.linalg.norm(centres[1] - centres[0]))
    for x, y in centres:
        cv2.circle(rgb, (round(x), round(y)), round(radius), (25, 25, 30), 5, cv2.LINE_AA)
    (x0, y0), (x1, y1) = centres
    ends = [((x0 + radius, y0), (x1 - radius, y1)), ((x0 - radius, y0), (x0 - 2.2 * radius, y0 - 6))]
    for (ax, ay), (bx, by) in [*ends, ((x1 + radius, y1), (x1 + 2.2 * radius, y1 - 6))]:
        cv2.line(rgb, (round(ax), round(ay)), (round(bx), round(by)), (25, 25, 30), 5, cv2.LINE_AA)
    return tensor_of(rgb)


def test_glasses_are_told_from_a_bare_face(portrait: torch.Tensor) -> None:
    for picture, worn in ((portrait, False), (with_glasses(portrait), True)):
        work = take_working_picture(picture)
        assert wears_glasses(work.texture, work.landmarks) is worn


def test_no_expression_moves_glasses_and_eyes_still_shut_behind_them(
    renderer: Renderer, portrait: torch.Tensor
) -> None:
    made = renderer.encode(with_glasses(portrait))
    rest, raised, shut = (
        renderer.render(made, moment(**weights))[0]
        for weights in ({}, {"browInnerUp": 1.0, "browOuterUp": 1.0, "mouthSmile": 1.0}, {"eyeBlink": 1.0})
    )
    (x0, y0), (x1, _) = (made.eyes[0].centre_px, made.eyes[1].centre_px)
    reach = 0.33 * (x1 - x0)
    rows = slice(round(y0 - 1.2 * reach), round(y0 + 1.2 * reach))
    for centre in (x0, x1):
        rim = (slice(None), rows, slice(round(centre - 1.2 * reach), round(centre + 1.2 * reach)))
        frame_at = (rest[rim].float().mean(0) < 70).float()
        moved = (raised[rim].float().mean(0) < 70).float()
        assert frame_at.sum() > 100
        assert (frame_at * moved).sum() / frame_at.sum() > 0.9
    for side in (0, 1):
        assert int((around_eye(made, shut, side) < 50).sum()) < 5


@pytest.fixture(scope="module")
def open_mouthed(renderer: Renderer, face: FaceState) -> FaceState:
    """The demo person as if photographed while laughing."""
    return renderer.encode(renderer.render(face, moment(jawOpen=0.22, mouthSmile=0.9, mouthUpperUp=0.5))[0])


def mouth_strip(face: FaceState, frame: torch.Tensor) -> torch.Tensor:
    """Brightness [rows, columns] around the line between the lips."""
    x, y = (round(v) for v in face.mouth.centre_px)
    return frame[:, y - 14 : y + 15, x - 24 : x + 25].float().mean(0)


def test_lips_of_an_open_mouthed_portrait_meet_at_rest(renderer: Renderer, open_mouthed: FaceState) -> None:
    source = landmarks(open_mouthed.picture.to(torch.uint8))
    rest_frame = renderer.render(open_mouthed, MotionBlock.still(1))[0]
    rest = landmarks(rest_frame)
    assert source[14, 1] - source[13, 1] > 5
    assert rest[14, 1] - rest[13, 1] < 3
    lips = mouth_strip(open_mouthed, open_mouthed.picture).median()
    strip = mouth_strip(open_mouthed, rest_frame)
    assert float(strip.max()) < float(lips) + 60  # no teeth
    assert int((strip < 0.45 * lips).sum()) < 40  # no dark gap, only the line between the lips


def test_an_open_mouths_own_teeth_are_shown(renderer: Renderer, face: FaceState, open_mouthed: FaceState) -> None:
    assert face.mouth_interior.own is None
    own = open_mouthed.mouth_interior.own
    assert own is not None
    blue = open_mouthed.picture.to(torch.uint8).clone()
    x, y = (round(v) for v in open_mouthed.mouth.centre_px)
    teeth = blue[:, y - 8 : y + 9, x - 6 : x + 7]
    bright = teeth.float().mean(0) > 110
    assert bright.sum() > 20
    teeth[0][bright], teeth[2][bright] = 150, 235
    marked = renderer.encode(blue)
    shown = renderer.render(marked, moment(jawOpen=0.4))[0].float()[:, y - 20 : y + 21, x - 15 : x + 16]
    assert int((shown[2] > shown[0] + 25).sum()) > 20


def test_a_smiling_portrait_relaxes_and_can_smile_again(renderer: Renderer, open_mouthed: FaceState) -> None:
    source = landmarks(open_mouthed.picture.to(torch.uint8))
    rest, smile = (landmarks(renderer.render(open_mouthed, moment(mouthSmile=w))[0]) for w in (0.0, 1.0))

    def corners(points: torch.Tensor) -> float:
        return float(points[[61, 291], 1].mean() - points[4, 1])

    assert corners(rest) > corners(source) + 1
    assert corners(smile) < corners(rest) - 1


@pytest.mark.parametrize("yaw", [-20.0, 20.0])
def test_an_iris_that_turns_far_leaves_nothing_behind(renderer: Renderer, face: FaceState, yaw: float) -> None:
    ahead, aside = (renderer.render(face, moment(gaze=(deg, 0)))[0] for deg in (0.0, yaw))
    for side in (0, 1):
        dark = [(around_eye(face, frame, side)[4:] < 75).float().sum() for frame in (ahead, aside)]
        assert dark[1] < 1.3 * dark[0]
        assert dark[1] > 0.35 * dark[0]  # and stays in the eye


def test_the_white_of_the_eye_is_darker_under_the_lid_and_in_the_corners(face: FaceState) -> None:
    for opening, eye in zip(face.eyes, face.eye_layers, strict=True):
        white = eye.white.mean(0)
        rows, columns = white.shape
        middle = white[rows // 2 - 4 : rows // 2 + 8, columns // 2 - 8 : columns // 2 + 8].mean()
        top = white[rows // 2 - round(2 * float(opening.gap_px.max())), columns // 2 - 8 : columns // 2 + 8].mean()
        assert top < 0.85 * middle
        assert white[rows // 2, 6:16].mean() < 0.9 * middle
