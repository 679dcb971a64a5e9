"""Rigid motion of the head in front of the assumed camera, applied to points and to fields of cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generator.face_state import FaceState
from generator.rig_fit import FOCAL
from generator.warp import blend
from generator.working_picture import SIZE_PX

FOCAL_PX = FOCAL * SIZE_PX / 2


@dataclass(frozen=True)
class HeadMotion:
    """Of N frames. turn: [N, 3, 3] about `pivot` [3] cm; then `scale` [N] about the projected pivot and `shift_px`
    [N, 2], y down."""

    turn: Tensor
    pivot: Tensor
    scale: Tensor
    shift_px: Tensor

    def shift_at(self, centre_px: tuple[float, float]) -> Tensor:
        """[N, 2] pixels: how far a point of the head's surface at `centre_px` moves, roughly; for placing windows."""
        x, y = centre_px
        front = -self.pivot[2] - 8.0
        at = torch.tensor([(x - SIZE_PX / 2) / FOCAL_PX, -(y - SIZE_PX / 2) / FOCAL_PX, -1.0], device=self.pivot.device)
        moved = move_points((at * front)[None], self)[:, 0]
        return moved - torch.tensor(centre_px, device=moved.device)


def project(points: Tensor) -> Tensor:
    """[..., 3] cm -> [..., 2] pixels."""
    k = FOCAL_PX / -points[..., 2:]
    return points[..., :2] * k * torch.tensor([1.0, -1.0], device=points.device) + SIZE_PX / 2


def head_motion(face: FaceState, pose: Tensor) -> HeadMotion:
    """pose [N, 6]: yaw, pitch, roll in degrees, tx and ty in face widths, scale; signs of `MotionBlock`."""
    yaw, pitch, roll = torch.deg2rad(pose[:, :3].double()).unbind(1)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*rows: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    about_z = matrix((roll.cos(), -roll.sin(), zero), (roll.sin(), roll.cos(), zero), (zero, zero, one))
    about_x = matrix((one, zero, zero), (zero, pitch.cos(), -pitch.sin()), (zero, pitch.sin(), pitch.cos()))
    about_y = matrix((yaw.cos(), zero, yaw.sin()), (zero, one, zero), (-yaw.sin(), zero, yaw.cos()))
    shift = pose[:, 3:5] * torch.tensor([1.0, -1.0], device=pose.device) * face.face_width_px
    return HeadMotion((about_z @ about_x @ about_y).to(pose), face.pivot, pose[:, 5], shift)


def move_points(points: Tensor, motion: HeadMotion, *, turned_offset: Tensor | None = None) -> Tensor:
    """[P, 3] or [N, P, 3] cm, fixed to the head -> [N, P, 2] pixels. `turned_offset` [N, 1, 3] is added after the
    turn, camera axes."""
    q = ((points - motion.pivot)[..., None, :] * motion.turn[:, None]).sum(-1) + motion.pivot  # [N, P, 3]
    if turned_offset is not None:
        q = q + turned_offset
    centre = project(motion.pivot)
    return (project(q) - centre) * motion.scale[:, None, None] + centre + motion.shift_px[:, None]


def place_cells(position: Tensor, turn_weight: Tensor, move_weight: Tensor, motion: HeadMotion) -> Tensor:
    """Camera-space cells [N, 3, h, w] -> pixels [N, 2, h, w]; weights [h, w] fade the head's motion out."""
    still = _project_cells(position)
    flat = position.flatten(2) - motion.pivot[:, None]
    turned = (motion.turn @ flat + motion.pivot[:, None]).view_as(position)
    placed = blend(still, _project_cells(turned), turn_weight)
    centre = project(motion.pivot)[:, None, None]
    moved = (placed - centre) * (motion.scale[:, None, None, None] - 1) + motion.shift_px[:, :, None, None]
    return placed + move_weight * moved


def _project_cells(position: Tensor) -> Tensor:
    k = FOCAL_PX / -position[:, 2:]
    return position[:, :2] * k * torch.tensor([[[1.0]], [[-1.0]]], device=position.device) + SIZE_PX / 2
