"""Faces and persons in still pictures, with mediapipe's face detectors, face mesh and selfie segmentation.

Detection: BlazeFace short and full range (arXiv 1907.05047). Landmarks: FaceMesh with attention
(arXiv 2006.10962), run on a square crop around each detection. Every picture is looked at by itself, so
results don't depend on earlier calls.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

Box = tuple[float, float, float, float]

MIN_SCORE = 0.5
"""Detections below this score are no faces."""

MAX_FACES = 16
"""A portrait's faces are numbered up to this."""

_FOREHEAD_TOP, _CHIN = 10, 152
_SAME_FACE_OVERLAP = 0.3
_SMALL_IMAGE_PX = 256
"""Pictures with a shorter side are enlarged before detection, but not beyond this longer side:"""
_LARGEST_ENLARGED_PX = 2048
_MESH_CROP_SCALE = 2.0
_MESH_CROP_PX = (256, 768)
"""Crops for the mesh are enlarged or reduced into this range of sides: it works on 192 px of face."""

_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Face:
    """One face: bounding box of its landmarks (x0, y0, x1, y1 in px), landmarks float32 [478, 3] in px
    (468 of the mesh, then 5 for each iris; z relative to the head's centre, towards the camera negative), and the
    detector's score in 0..1."""

    box: Box
    landmarks: Tensor
    score: float

    @property
    def height_px(self) -> float:
        """From the top of the forehead to the chin."""
        return float(torch.dist(self.landmarks[_FOREHEAD_TOP, :2], self.landmarks[_CHIN, :2]))

    @property
    def place(self) -> str:
        """Where it is, for people: centre and height in whole pixels."""
        x, y = (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2
        return f"at x {x:.0f}, y {y:.0f}, {self.height_px:.0f} px high"


def number_faces(image: Tensor) -> list[Face]:
    """The faces of a picture uint8 [3, H, W] from left to right, the first is face 1; at most MAX_FACES."""
    return sorted(find_faces(image, max_faces=MAX_FACES), key=lambda face: (face.box[0] + face.box[2], face.box[1]))


def find_faces(image: Tensor, *, max_faces: int = 4) -> list[Face]:
    """The faces in a picture uint8 [3, H, W] RGB, large to small, at most `max_faces`."""
    picture = _picture(image)
    scale = max(1.0, min(_SMALL_IMAGE_PX / min(picture.shape[:2]), _LARGEST_ENLARGED_PX / max(picture.shape[:2])))
    shown = _resized(picture, round(picture.shape[0] * scale), round(picture.shape[1] * scale))
    with _lock:
        seen = _distinct(_detections(shown))
        faces = [face for box, score in seen if (face := _meshed(shown, box, score)) is not None]
    faces = [_scaled(face, 1.0 / scale) for face in _distinct_faces(faces)]
    return sorted(faces, key=lambda face: _area(face.box), reverse=True)[:max_faces]


def segment_person(image: Tensor) -> Tensor:
    """How much each pixel of a picture uint8 [3, H, W] RGB belongs to a person: float32 [H, W] in 0..1."""
    picture = _picture(image)
    with _lock:
        mask = _models().segmentation.process(picture).segmentation_mask
    return torch.from_numpy(np.clip(np.array(mask, dtype=np.float32), 0.0, 1.0))


def crop_face(image: Tensor, box: Box, *, scale: float = 1.4, side_px: int) -> Tensor:
    """The square around a face box, `scale` times its longer side, as uint8 [3, side_px, side_px].

    Beyond the picture's border its last pixels are repeated. `image` is uint8 [3, H, W].
    """
    _picture(image)
    return _as_pixels(_square(image, box, scale), side_px)


def _square(image: Tensor, box: Box, scale: float) -> Tensor:
    """The square cut around a box from [3, H, W], borders repeated."""
    x0, y0, side = _square_place(box, scale)
    columns = (torch.arange(side) + x0).clamp(0, image.shape[2] - 1).to(image.device)
    rows = (torch.arange(side) + y0).clamp(0, image.shape[1] - 1).to(image.device)
    return image.index_select(1, rows).index_select(2, columns)


def _square_place(box: Box, scale: float) -> tuple[int, int, int]:
    """Left, top and side of the square around a box, in whole pixels."""
    side = max(1, round(scale * max(box[2] - box[0], box[3] - box[1])))
    return round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2), side


def _as_pixels(square: Tensor, side_px: int) -> Tensor:
    """A square uint8 [3, S, S] resized, smoothed against aliasing when it shrinks."""
    size = (side_px, side_px)
    resized = interpolate(square[None].float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _picture(image: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise ValueError(f"expected uint8 [3, H, W], got {image.dtype} {list(image.shape)}")
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _resized(
    picture: np.ndarray[Any, np.dtype[np.uint8]], height: int, width: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if picture.shape[:2] == (height, width):
        return picture
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    resized = interpolate(planes, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())


def _detections(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> Iterator[tuple[Box, float]]:
    """What both detectors see, in pixels."""
    height, width = picture.shape[:2]
    for detector in _models().detectors:
        for found in detector.process(picture).detections or ():
            box = found.location_data.relative_bounding_box
            x0, y0 = box.xmin * width, box.ymin * height
            yield (x0, y0, x0 + box.width * width, y0 + box.height * height), min(1.0, found.score[0])


def _meshed(picture: np.ndarray[Any, np.dtype[np.uint8]], box: Box, score: float) -> Face | None:
    """The landmarks of one detection, or None where the mesh sees no face."""
    x0, y0, side = _square_place(box, _MESH_CROP_SCALE)
    square = _square(torch.from_numpy(picture).permute(2, 0, 1), box, _MESH_CROP_SCALE)
    crop_px = min(max(side, _MESH_CROP_PX[0]), _MESH_CROP_PX[1])
    if crop_px != side:
        square = _as_pixels(square, crop_px)
    found = _models().landmarks(np.ascontiguousarray(square.permute(1, 2, 0).numpy()))
    if not found:
        return None
    points = np.array([(p.x, p.y, p.z) for p in found], dtype=np.float32)
    landmarks = torch.from_numpy(points * side + np.array([x0, y0, 0], dtype=np.float32))
    low, high = landmarks[:, :2].amin(0).tolist(), landmarks[:, :2].amax(0).tolist()
    return Face((low[0], low[1], high[0], high[1]), landmarks, score)


def _distinct(detections: Iterator[tuple[Box, float]]) -> list[tuple[Box, float]]:
    """One detection per face: the best-scored of those that overlap."""
    kept: list[tuple[Box, float]] = []
    for box, score in sorted(detections, key=lambda found: found[1], reverse=True):
        if all(_overlap(box, other) < _SAME_FACE_OVERLAP for other, _ in kept):
            kept.append((box, score))
    return kept


def _distinct_faces(faces: list[Face]) -> list[Face]:
    """Drops faces whose mesh settled on a face that is there already."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(_overlap(face.box, other.box) < _SAME_FACE_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _scaled(face: Face, scale: float) -> Face:
    x0, y0, x1, y1 = face.box
    return Face((x0 * scale, y0 * scale, x1 * scale, y1 * scale), face.landmarks * scale, face.score)


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    shared = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / max(_area(a) + _area(b) - shared, 1e-9)


class _Solution(Protocol):
    def process(self, image: np.ndarray[Any, np.dtype[np.uint8]]) -> Any: ...


@dataclass
class _Models:
    detectors: tuple[_Solution, _Solution]
    mesh: _Solution
    segmentation: _Solution
    mesh_met_a_face: bool = False

    def landmarks(self, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Any]:
        """The mesh's points, normalised to the picture; empty where it sees no face."""
        if self.mesh_met_a_face:
            found = self.mesh.process(picture).multi_face_landmarks
        else:
            # The graph warns once, at its first face.
            with _native_chatter_silenced():
                found = self.mesh.process(picture).multi_face_landmarks
            self.mesh_met_a_face = bool(found)
        return list(found[0].landmark) if found else []


@cache
def _models() -> _Models:
    """The models, loaded and warmed up once per process; called under the lock."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _native_chatter_silenced():
        solutions = importlib.import_module("mediapipe").solutions
        detection = solutions.face_detection.FaceDetection
        models = _Models(
            detectors=(
                detection(model_selection=0, min_detection_confidence=MIN_SCORE),
                detection(model_selection=1, min_detection_confidence=MIN_SCORE),
            ),
            mesh=solutions.face_mesh.FaceMesh(
                static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3
            ),
            segmentation=solutions.selfie_segmentation.SelfieSegmentation(model_selection=0),
        )
        blank = np.full((_SMALL_IMAGE_PX, _SMALL_IMAGE_PX, 3), 128, dtype=np.uint8)
        for model in (*models.detectors, models.mesh, models.segmentation):
            model.process(blank)
    return models


@contextmanager
def _native_chatter_silenced() -> Iterator[None]:
    """Sends file descriptor 2 to nowhere: the native libraries log there before they read any setting."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
