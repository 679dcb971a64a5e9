"""Comparing a crop, a turned or a mirrored copy with a release's fingerprint, once it is known where the picture lies.

The mark tells where the received picture lies in the release's frame. Its pixels are laid back into that frame, and
the cells of the release's 8x8 grid that they cover whole are compared; what is not shown says nothing. The place alone
proves nothing: a mark that was copied onto other pictures carries its place along, and the cells differ.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from provenance.clip_fingerprint import GRID, SAMPLES_PER_S, Alignment, Frames, Grey, align_grids, grids_of, luma_of
from provenance.errors import ProvenanceError

if TYPE_CHECKING:  # torch is loaded only when a clip is fingerprinted
    from torch import Tensor

Point = tuple[float, float]

POINTS = 16  # sample points a cell and axis
MIN_CELLS = 12  # of 64: a crop to half the area shows 16 of them whole
EDGE = 0.004  # of the picture's width and height: places of a mark are that exact


@dataclass(frozen=True)
class Placement:
    """Where a received picture lies in the release's frame, and how its time runs.

    `corners`: upper left, upper right, lower right and lower left corner of the received picture as (x, y) in fractions
    of the release's width and height. `speed`: how many times faster than the release it plays.
    """

    corners: tuple[Point, ...]
    speed: float = 1.0


def align_placed(blocks: Iterable[Frames], release: bytes, placement: Placement) -> Alignment:
    """`align_fingerprints` of a clip that lies at `placement` in the release, over the cells it covers.

    Raises ProvenanceError when fewer than `MIN_CELLS` are covered, and when the clip is too short.
    """
    at, covered = _sample_points(placement)
    cells = np.flatnonzero(covered)
    if len(cells) < MIN_CELLS:
        raise ProvenanceError(
            f"clip fingerprint: at least {MIN_CELLS} of {GRID**2} cells of the release must be shown whole, "
            f"got {len(cells)}"
        )
    samples = list(_sampled(blocks, at, placement.speed))
    if not samples:
        raise ProvenanceError("clip fingerprint: expected at least one frame, got none")
    return align_grids(np.stack(samples)[:, cells], grids_of(release)[:, cells])


def _sample_points(placement: Placement) -> tuple["Tensor", NDArray[np.bool_]]:
    """Sample points of all cells in the received picture, [1, 128, 128, 2] in -1..1; which cells [64] it shows."""
    import torch

    side = GRID * POINTS
    steps = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(steps, steps)
    points = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(_to_release(placement.corners)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        received = points[..., :2] / points[..., 2:]
    inside = (np.isfinite(received) & (np.abs(received - 0.5) <= 0.5 - EDGE)).all(-1) & (points[..., 2] > 0)
    covered = inside.reshape(GRID, POINTS, GRID, POINTS).all((1, 3)).flatten()
    grid = np.nan_to_num(received * 2 - 1, nan=2.0, posinf=2.0, neginf=-2.0).clip(-2, 2)
    return torch.from_numpy(grid.astype(np.float32))[None], covered


def _to_release(corners: tuple[Point, ...]) -> NDArray[np.float64]:
    """The homography [3, 3] from fractions of the received picture to fractions of the release's frame."""
    rows, values = [], []
    for (x, y), (to_x, to_y) in zip(((0, 0), (1, 0), (1, 1), (0, 1)), corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -to_x * x, -to_x * y], [0, 0, 0, x, y, 1, -to_y * x, -to_y * y]]
        values += [to_x, to_y]
    try:
        found = np.append(np.linalg.solve(np.array(rows, float), np.array(values, float)), 1.0).reshape(3, 3)
        if not np.isfinite(found).all() or abs(np.linalg.det(found)) < 1e-9:
            raise np.linalg.LinAlgError("flat")
    except np.linalg.LinAlgError as error:
        raise ProvenanceError("clip fingerprint: the picture's corners don't span a picture") from error
    return found


def _sampled(blocks: Iterable[Frames], at: "Tensor", speed: float) -> Iterator[Grey]:
    """One [64] of grey levels for each fifth of a second of the release's time."""
    from torch.nn.functional import avg_pool2d, grid_sample

    start: Fraction | None = None
    due = 0
    for block in blocks:
        for frame, time in zip(block.frames, block.times, strict=True):
            start = time if start is None else start
            passed = float(time - start) * speed * SAMPLES_PER_S
            if passed + 1e-6 < due:
                continue
            luma = luma_of(frame)[None, None]
            seen = grid_sample(luma, at, mode="bilinear", padding_mode="border", align_corners=False)
            cells: Grey = avg_pool2d(seen, POINTS).flatten().cpu().numpy().astype(np.float32)
            while passed + 1e-6 >= due:
                due += 1
                yield cells
