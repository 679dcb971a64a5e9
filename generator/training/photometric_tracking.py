"""Motion of a clip, frame by frame, found by comparing pixels: what the renderer makes of the motion against the clip.

Starts from motion that landmarks gave and improves pose, expression and gaze by damped Gauss-Newton (Levenberg 1944,
Marquardt 1963; dense alignment after Lucas and Kanade 1981). Derivatives are finite differences of the renderer itself
and are renewed every few frames. Only the 61 numbers of motion leave: nothing of a frame's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.face_landmarks import LIPS_INNER_LOWER, LIPS_INNER_UPPER, LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.face_state import FaceState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.rig import EXPRESSION_NAMES
from generator.working_picture import SIZE_PX

POSE_UNITS = torch.tensor([10.0, 10, 10, 0.1, 0.1, 0.1])  # parameters are of order one
GAZE_UNIT = 20.0
POSE, EXPRESSION, GAZE = slice(0, 6), slice(6, 59), slice(59, 61)
FREE = [i for i in range(61) if not (6 <= i < 59 and EXPRESSION_NAMES[i - 6].startswith("eyeLook"))]
STEP = torch.tensor([0.05] * 6 + [0.04] * 55)
STIFFNESS = torch.tensor([0.2] * 6 + [3.0] * 53 + [1.0] * 2)  # of a parameter against its start, grey levels squared
LIP_GAP_WEIGHT = 0.04  # grey levels squared per pixel squared
COARSE, FINE = 4, 2  # pixels to a side that are averaged: in the first pass for reach, then for detail
LIP_WEIGHT = 20.0  # of a pixel of the lips, in pixels of the face


@dataclass(frozen=True)
class Sight:
    """One frame of the clip: pixels [3, h, w] at reduced size, their weights' roots [1, h, w], lip gap [K] px."""

    pixels: Tensor
    weight: Tensor
    lip_gap: Tensor
    reduction: int


def track(
    renderer: Renderer,
    face: FaceState,
    frames: Tensor,
    landmarks: NDArray[np.float32],
    start: MotionBlock,
    *,
    rounds: int = 6,
    renew_every: int = 4,
    passes: int = 2,
) -> MotionBlock:
    """Motion of `frames` uint8 [T, 3, 512, 512] with landmarks [T, >=468, 2] px, from the motion `start`.

    Passes go through the clip forwards and backwards in turn: a frame that was caught in a wrong mouth gets a second
    chance from its other neighbour.
    """
    starts = _parameters(start)
    found = starts.clone()
    for turn in range(passes):
        slopes: Tensor | None = None
        reduction = COARSE if turn == 0 else FINE
        before: list[Tensor] = []
        order = range(len(frames)) if turn % 2 == 0 else range(len(frames) - 1, -1, -1)
        for count, index in enumerate(order):
            fit = _Fit(renderer, face, _sight(frames[index], landmarks[index], face, reduction), starts[index])
            candidates = [found[index], starts[index], *before, *_mixed(starts[index], before)]
            parameters = fit.best(candidates)
            if slopes is None or count % renew_every == 0:
                slopes = fit.slopes(parameters)
            found[index] = fit.descend(parameters, slopes, rounds)
            before = [found[index]]
    return _motion(found)


class _Fit:
    def __init__(self, renderer: Renderer, face: FaceState, sight: Sight, reference: Tensor) -> None:
        self._renderer, self._face, self._sight, self._reference = renderer, face, sight, reference
        self._seen = sight.weight[0] > 0
        mouth = face.mouth
        self._opening = torch.zeros(61, mouth.gap_px.shape[0])
        self._opening[EXPRESSION] = mouth.lower_down_px - mouth.upper_down_px  # [53, K] px per weight

    def picture(self, parameters: Tensor) -> Tensor:
        """[3, h, w] of one frame at reduced size."""
        made = self._renderer.render(self._face, _motion(parameters[None]))
        return F.avg_pool2d(made.float(), self._sight.reduction)[0]

    def residual(self, parameters: Tensor) -> Tensor:
        """[3 * pixels of the face], weighted."""
        return self._weighted(self.picture(parameters) - self._sight.pixels)

    def _weighted(self, pictures: Tensor) -> Tensor:
        """[..., 3, h, w] -> [..., 3 * pixels of the face]."""
        return (pictures[..., self._seen] * self._sight.weight[0][self._seen]).flatten(-2)

    def cost(self, residual: Tensor, parameters: Tensor) -> float:
        """Grey levels squared, mean over the picture; parts without weight count as right."""
        pull = STIFFNESS * (parameters - self._reference) ** 2
        return float(
            residual.square().sum() / self._sight.pixels.numel()
            + 0.01 * pull.sum()
            + LIP_GAP_WEIGHT * self._gap(parameters).square().mean()
        )

    def _gap(self, parameters: Tensor) -> Tensor:
        return parameters @ self._opening - self._sight.lip_gap

    def best(self, candidates: list[Tensor]) -> Tensor:
        costs = [self.cost(self.residual(c), c) for c in candidates]
        return candidates[int(np.argmin(costs))]

    def slopes(self, parameters: Tensor) -> Tensor:
        """[free, 3, h, w]: change of the picture per unit of each free parameter."""
        rest, rows = self.picture(parameters), []
        for axis in FREE:
            step = float(STEP[axis]) * (-1 if 6 <= axis < 59 and parameters[axis] > 0.5 else 1)
            moved = parameters.clone()
            moved[axis] += step
            rows.append((self.picture(moved) - rest) / step)
        return torch.stack(rows)

    def descend(self, parameters: Tensor, slopes: Tensor, rounds: int) -> Tensor:
        jacobian = self._weighted(slopes)
        opening, knots = self._opening[FREE], self._opening.shape[1]
        curvature = jacobian @ jacobian.T / self._sight.pixels.numel() + LIP_GAP_WEIGHT * opening @ opening.T / knots
        residual = self.residual(parameters)
        cost, damping = self.cost(residual, parameters), 1.0
        for _ in range(rounds):
            pull = 0.01 * STIFFNESS[FREE]
            downhill = jacobian @ residual / self._sight.pixels.numel() + pull * (parameters - self._reference)[FREE]
            downhill = downhill + LIP_GAP_WEIGHT * opening @ self._gap(parameters) / knots
            for _attempt in range(4):
                extra = damping * (0.05 * curvature.diagonal() + 0.3 * STIFFNESS[FREE]) + pull
                tried = parameters.clone()
                tried[FREE] -= torch.linalg.solve(curvature + torch.diag(extra), downhill)
                tried[EXPRESSION] = tried[EXPRESSION].clamp(0, 1)
                after = self.residual(tried)
                new = self.cost(after, tried)
                if new < cost:
                    break
                damping *= 4
            else:
                break
            gained = (cost - new) / cost
            parameters, residual, cost, damping = tried, after, new, max(damping / 4, 0.02)
            if gained < 0.004:
                break
        return parameters


def _mixed(start: Tensor, before: list[Tensor]) -> list[Tensor]:
    """The pose of the frame before with the landmarks' expression."""
    return [torch.cat([last[POSE], start[EXPRESSION], last[GAZE]]) for last in before]


def _sight(frame: Tensor, landmarks: NDArray[np.float32], face: FaceState, reduction: int) -> Sight:
    points = landmarks[:468, :2]
    lips = points[[*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER]]
    weight = _hull(points, 9) + LIP_WEIGHT * _hull(lips, 13)
    pixels = F.avg_pool2d(frame.float()[None], reduction)[0]
    down = torch.tensor(face.mouth.down)
    gap = torch.from_numpy(points[list(LIPS_INNER_LOWER)] - points[list(LIPS_INNER_UPPER)]).float() @ down
    return Sight(pixels, F.avg_pool2d(weight[None, None], reduction)[0].sqrt(), gap.clamp(min=0), reduction)


def _hull(points: NDArray[np.float32], grown_px: int) -> Tensor:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1.0)
    return torch.from_numpy(cv2.dilate(mask, np.ones((grown_px, grown_px))))


def _parameters(motion: MotionBlock) -> Tensor:
    """[T, 61]; pose counts from the portrait at rest."""
    rest = torch.tensor([0.0, 0, 0, 0, 0, 1])
    return torch.cat([(motion.pose - rest) / POSE_UNITS, motion.expression, motion.gaze / GAZE_UNIT], 1)


def _motion(parameters: Tensor) -> MotionBlock:
    rest = torch.tensor([0.0, 0, 0, 0, 0, 1])
    pose = parameters[:, POSE] * POSE_UNITS + rest
    return MotionBlock(
        pose.contiguous(),
        parameters[:, EXPRESSION].clamp(0, 1).contiguous(),
        (parameters[:, GAZE] * GAZE_UNIT).contiguous(),
    )
