"""Takes of the studio (`generator.studio.make_frames`) as training reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from generator.face_networks import CROP, HALF_PX, HeadPlace
from generator.rig_fit import FOCAL

FRAME_PX = 256  # half of the working picture, which is what the networks see
HIDDEN, BACKGROUND = 7, 0  # values of the mask
LEFT, TOP = CROP[0] // 2, CROP[1] // 2


@dataclass(frozen=True)
class Take:
    """K frames of one person in front of one camera, the first one the portrait.

    frames uint8 [K, 3, 256, 256]; mask uint8 [K, 256, 256]; pose [K, 3] yaw, pitch, roll in degrees; translation
    [K, 3] cm; expression [K, 53]; gaze [K, 2] degrees; landmarks [K, 478, 2] px; visible uint8 [K, 478].
    """

    path: Path
    person: str
    kind: str
    frames: Tensor
    mask: Tensor
    pose: Tensor
    translation: Tensor
    expression: Tensor
    gaze: Tensor
    landmarks: Tensor
    visible: Tensor

    def __len__(self) -> int:
        return self.frames.shape[0]

    @property
    def crops(self) -> Tensor:
        """uint8 [K, 3, 192, 192], what the networks see."""
        return self.frames[:, :, TOP : TOP + HALF_PX, LEFT : LEFT + HALF_PX]

    @property
    def trusted(self) -> Tensor:
        """bool [K, 192, 192]"""
        return self.mask[:, TOP : TOP + HALF_PX, LEFT : LEFT + HALF_PX] != HIDDEN

    @property
    def place(self) -> HeadPlace:
        depth = -self.translation[:, 2]
        k = FOCAL * FRAME_PX / 2 / depth
        at = torch.stack([FRAME_PX / 2 + k * self.translation[:, 0], FRAME_PX / 2 - k * self.translation[:, 1]], 1)
        centre = (at - torch.tensor([LEFT, TOP])) / (HALF_PX / 2) - 1
        return HeadPlace(turn_matrices(self.pose), centre, depth[0] / depth)

    @property
    def named(self) -> Tensor:
        """[K, 55]: expression weights and gaze / 20 degrees."""
        return torch.cat([self.expression, self.gaze / 20], 1)


def turn_matrices(degrees: Tensor) -> Tensor:
    """yaw, pitch, roll [K, 3] -> roll @ pitch @ yaw, [K, 3, 3]."""
    (cy, cp, cr), (sy, sp, sr) = (f(torch.deg2rad(degrees)).unbind(1) for f in (torch.cos, torch.sin))
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)

    def stack(*entries: Tensor) -> Tensor:
        return torch.stack(entries, 1).view(-1, 3, 3)

    roll = stack(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    pitch = stack(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    yaw = stack(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    return roll @ pitch @ yaw


def load_take(path: Path) -> Take:
    names = ("frames", "mask", "pose", "translation", "expression", "gaze", "landmarks", "visible")
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in names}
    if tensors["frames"].shape[1] != 3:
        tensors["frames"] = tensors["frames"].permute(0, 3, 1, 2).contiguous()
    return Take(path, about["person"], about["kind"], **tensors)


def find_takes(folder: Path, *, split: str) -> list[Path]:
    """Files of `folder`/<kind>/ of one split ("train" or "test"), in the order of their names."""
    found = []
    for path in sorted(folder.glob("*/*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if _plain(file.metadata()["split"]) == split:
                found.append(path)
    return found


def _plain(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
