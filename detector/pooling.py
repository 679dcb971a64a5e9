"""Frame scores become one score per face: faces are followed over time, each face's logits are pooled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from detector.face_crops import FaceCrop

SAME_FACE_DISTANCE = 1.0  # centre to centre, in face widths
SAME_FACE_GROWTH = 1.8


@dataclass
class FaceTrack:
    """One face over the sampled frames: positions in `samples` are indices of those frames."""

    samples: list[int] = field(default_factory=list)
    crops: list[FaceCrop] = field(default_factory=list)

    def median_face_px(self) -> float:
        ordered = sorted(crop.face_px for crop in self.crops)
        return ordered[len(ordered) // 2]


def _apart(a: FaceCrop, b: FaceCrop) -> float:
    """Distance of the centres in face widths; infinite where the sizes cannot be one face."""
    if max(a.face_px, b.face_px) > SAME_FACE_GROWTH * min(a.face_px, b.face_px):
        return math.inf
    dx = (a.box[0] + a.box[2] - b.box[0] - b.box[2]) / 2
    dy = (a.box[1] + a.box[3] - b.box[1] - b.box[3]) / 2
    return math.hypot(dx, dy) / max(a.face_px, b.face_px)


def follow_faces(frames: Sequence[Sequence[FaceCrop]]) -> list[FaceTrack]:
    """Faces per frame -> tracks in order of appearance; nearest pairs are joined first."""
    tracks: list[FaceTrack] = []
    for number, crops in enumerate(frames):
        pairs = sorted(
            (_apart(track.crops[-1], crop), t, c) for t, track in enumerate(tracks) for c, crop in enumerate(crops)
        )
        taken_tracks: set[int] = set()
        taken_crops: set[int] = set()
        for distance, t, c in pairs:
            if distance > SAME_FACE_DISTANCE or t in taken_tracks or c in taken_crops:
                continue
            tracks[t].samples.append(number)
            tracks[t].crops.append(crops[c])
            taken_tracks.add(t)
            taken_crops.add(c)
        for c, crop in enumerate(crops):
            if c not in taken_crops:
                tracks.append(FaceTrack([number], [crop]))
    return tracks


def pooled_logit(logits: Tensor) -> float:
    """Frame logits [N] of one face -> its clip logit: the mean without the lowest and highest eighth."""
    ordered = logits.double().sort().values
    cut = len(ordered) // 8
    return float(ordered[cut : len(ordered) - cut].mean())
