"""Faces are found where they are, the same every time, and nowhere else."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from media import crop_face, find_faces, read_portrait, segment_person

PORTRAIT = Path(__file__).resolve().parents[2] / "vasari" / "demo" / "portrait.png"


@pytest.fixture(scope="module")
def portrait() -> Tensor:
    return read_portrait(PORTRAIT)


def resized(image: Tensor, height: int, width: int) -> Tensor:
    scaled = interpolate(image[None].float(), size=(height, width), mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).to(torch.uint8)


def no_face() -> Tensor:
    return torch.randint(0, 256, (3, 240, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_no_face_is_found_where_there_is_none() -> None:
    assert find_faces(no_face()) == []
    for height, width in ((200, 200), (1, 1), (1, 9000), (9000, 2)):
        assert find_faces(torch.full((3, height, width), 128, dtype=torch.uint8)) == []


def test_one_face_is_found_with_478_landmarks_inside_its_box(portrait: Tensor) -> None:
    (face,) = find_faces(portrait)
    x0, y0, x1, y1 = face.box
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == torch.float32
    assert 0 <= x0 < x1 <= portrait.shape[2]
    assert 0 <= y0 < y1 <= portrait.shape[1]
    assert (face.landmarks[:, 0].min(), face.landmarks[:, 1].max()) == (x0, y1)
    assert 0.5 <= face.score <= 1
    left_eye, right_eye, chin = face.landmarks[33], face.landmarks[263], face.landmarks[152]
    assert left_eye[0] < right_eye[0]
    assert chin[1] > max(left_eye[1], right_eye[1])


def test_two_faces_are_counted_large_to_small(portrait: Tensor) -> None:
    large, small = resized(portrait, 480, 480), resized(portrait, 300, 300)
    scene = torch.full((3, 480, 780), 128, dtype=torch.uint8)
    scene[:, :300, :300] = small
    scene[:, :, 300:] = large
    faces = find_faces(scene)
    assert len(faces) == 2
    assert faces[0].box[0] > 300 > faces[1].box[2]
    assert len(find_faces(scene, max_faces=1)) == 1


def test_results_do_not_depend_on_earlier_calls(portrait: Tensor) -> None:
    first = find_faces(portrait)[0].landmarks
    mask = segment_person(portrait)
    for other in (no_face(), portrait.flip(2), resized(portrait, 200, 260)):
        find_faces(other)
        segment_person(other)
    assert torch.equal(find_faces(portrait)[0].landmarks, first)
    assert torch.equal(segment_person(portrait), mask)


@pytest.mark.parametrize("side", [96, 256, 1024])
def test_landmarks_scale_with_the_picture(portrait: Tensor, side: int) -> None:
    expected = find_faces(resized(portrait, 512, 512))[0].landmarks[:, :2] * side / 512
    (face,) = find_faces(resized(portrait, side, side))
    width = face.box[2] - face.box[0]
    assert (face.landmarks[:, :2] - expected).norm(dim=1).mean() < 0.05 * width


def test_a_person_is_told_from_the_background(portrait: Tensor) -> None:
    mask = segment_person(portrait)
    (face,) = find_faces(portrait)
    x0, y0, x1, y1 = (round(value) for value in face.box)
    assert mask.shape == portrait.shape[1:]
    assert mask.dtype == torch.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask[y0 + (y1 - y0) // 3 : y1 - (y1 - y0) // 3, x0 + (x1 - x0) // 3 : x1 - (x1 - x0) // 3].mean() > 0.8
    assert mask[: portrait.shape[1] // 20, : portrait.shape[2] // 20].mean() < 0.3


def test_a_crop_is_the_square_around_the_box() -> None:
    image = torch.arange(100, dtype=torch.uint8).expand(3, 60, 100).contiguous()
    crop = crop_face(image, (40.0, 20.0, 60.0, 40.0), scale=1.0, side_px=20)
    assert torch.equal(crop[0, 0], torch.arange(40, 60, dtype=torch.uint8))
    assert crop_face(image, (40.0, 20.0, 60.0, 40.0), side_px=7).shape == (3, 7, 7)


def test_a_crop_beyond_the_border_repeats_the_last_pixels() -> None:
    image = torch.arange(100, dtype=torch.uint8).expand(3, 60, 100).contiguous()
    crop = crop_face(image, (-10.0, 0.0, 10.0, 20.0), scale=1.0, side_px=20)
    assert crop[0, 0].tolist() == [0] * 10 + list(range(10))
    far = crop_face(image, (500.0, 500.0, 520.0, 520.0), scale=1.0, side_px=20)
    assert (far == 99).all()


def test_wrong_tensors_are_refused() -> None:
    for wrong in (
        torch.zeros(3, 8, 8),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
        torch.zeros(3, 0, 8, dtype=torch.uint8),
    ):
        with pytest.raises(ValueError, match="uint8"):
            find_faces(wrong)


def test_loading_the_models_keeps_stderr_quiet(portrait: Tensor) -> None:
    code = f"from media import *; p = read_portrait({str(PORTRAIT)!r}); find_faces(p); segment_person(p)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    assert done.stdout == ""
