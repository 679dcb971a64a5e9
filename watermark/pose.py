"""Where a received picture lies on the lattice: one homography, and how its time runs.

Positions in a picture are (x, y) in short sides from its centre, so that a pose does not depend on the
resolution at which it was found. Positions on the lattice are (x, y) in cells; the original frame's
upper left corner is (0, 0) and its short side holds GRID cells. The lattice repeats every GRID cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, degrees, hypot

import torch
import torch.nn.functional as F
from torch import Tensor

from watermark.lattice import GRID, shrink_matrix

SUBSAMPLES = 3  # sample points a cell and axis
Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Pose:
    """Place and time of a received clip on the lattice.

    `to_cells` maps homogeneous picture positions to lattice positions. `speed` is how much faster than
    made the clip runs; `phase_slots` the time slot, modulo 8 and counted at the original speed, at which
    an even segment begins. `z` is the pilot's peak in standard deviations of chance.

    For whoever compares the received picture with the original (a fingerprint of a crop, say):
    `original_corners` tells where the received picture's corners lie in the original frame.
    """

    to_cells: Matrix
    z: float = 0.0
    speed: float = 1.0
    phase_slots: float = 0.0

    @property
    def linear(self) -> tuple[float, float, float, float]:
        """Derivative of lattice position at the picture's centre: dx/dx, dx/dy, dy/dx, dy/dy."""
        a, b, c = self.to_cells
        x, y = a[2] / c[2], b[2] / c[2]
        return (
            (a[0] - x * c[0]) / c[2],
            (a[1] - x * c[1]) / c[2],
            (b[0] - y * c[0]) / c[2],
            (b[1] - y * c[1]) / c[2],
        )

    @property
    def mirrored(self) -> bool:
        """True if the picture is shown as in a mirror."""
        a, b, c, d = self.linear
        return a * d - b * c < 0

    @property
    def turned_deg(self) -> float:
        """Turn of the received picture against the original, clockwise, -180..180."""
        a, b, c, d = self.linear
        return degrees(atan2(b - c, a + d)) if a * d > b * c else degrees(atan2(b + c, a - d))

    @property
    def shown(self) -> float:
        """How much of the original's short side the received short side spans: 1 whole, 0.7 a crop to half the area."""
        a, b, c, d = self.linear
        return float(abs(a * d - b * c) ** 0.5) / GRID

    @property
    def stretch(self) -> float:
        """Received width over height, against the original's proportions: 1 where nothing was stretched."""
        a, b, c, d = self.linear
        return hypot(b, d) / max(1e-9, hypot(a, c))

    def original_corners(self, width: int, height: int) -> tuple[tuple[float, float], ...]:
        """Upper left, upper right, lower right, lower left corner of a received `width` x `height` picture.

        As (x, y) in short sides of the original, from its upper left corner. The lattice knows positions
        modulo one short side only; of the possible places the one is given whose centre lies in the
        first square of the original.
        """
        short = min(width, height)
        x, y = width / short / 2, height / short / 2
        points = torch.tensor([[0.0, 0], [-x, -y], [x, -y], [x, y], [-x, y]], dtype=torch.float64)
        cells = project(torch.tensor(self.to_cells, dtype=torch.float64), points) / GRID
        cells = cells - cells[0].floor()
        return tuple((float(px), float(py)) for px, py in cells[1:])


def project(matrix: Tensor, points: Tensor) -> Tensor:
    """Positions [..., 2] under a homography [3, 3], or [N, B, 2] under each of N of them [N, 3, 3]."""
    homogeneous = points @ matrix[..., :2].mT + (matrix[..., 2] if matrix.ndim == 2 else matrix[:, None, :, 2])
    return homogeneous[..., :2] / homogeneous[..., 2:]


def identity_matrix(height: int, width: int) -> Tensor:
    """`to_cells` [3, 3] of an unchanged frame of these proportions."""
    short = min(height, width)
    middle = GRID / 2
    return torch.tensor(
        [[GRID, 0, middle * width / short], [0, GRID, middle * height / short], [0, 0, 1]], dtype=torch.float64
    )


def as_matrix(matrix: Tensor) -> Matrix:
    """A homography [3, 3], scaled to 1 at the picture's centre, as plain numbers."""
    a, b, c = (matrix / matrix[2, 2]).tolist()
    return (tuple(a), tuple(b), tuple(c))


def pixel_positions(height: int, width: int) -> Tensor:
    """Positions [height, width, 2] of the pixel centres, in short sides from the picture's centre."""
    short = min(height, width)
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / short
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2) / short
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def on_lattice(pictures: Tensor, pose: Pose) -> tuple[int, int, Tensor, Tensor]:
    """First row and column, cell means [K, h, w] of pictures [K, H, W], and how much of each cell is seen [h, w]."""
    height, width = pictures.shape[1:]
    matrix = torch.tensor(pose.to_cells, dtype=torch.float64)
    short = min(height, width)
    if pose.to_cells == as_matrix(identity_matrix(height, width)):
        cells = shrink_matrix(height, short) @ pictures @ shrink_matrix(width, short).T
        return 0, 0, cells, torch.ones(cells.shape[1:])
    x, y = width / short / 2, height / short / 2
    corners = project(matrix, torch.tensor([[-x, -y], [x, -y], [x, y], [-x, y]], dtype=torch.float64))
    low, high = (corners.amin(0) + 1e-3).floor().int(), (corners.amax(0) - 1e-3).ceil().int()
    high = torch.minimum(high, low + 8 * GRID)
    left, top = int(low[0]), int(low[1])
    columns, rows = (int(n) for n in high - low)
    inside = (torch.arange(SUBSAMPLES, dtype=torch.float64) + 0.5) / SUBSAMPLES
    at_x = (left + torch.arange(columns)[:, None] + inside).flatten()
    at_y = (top + torch.arange(rows)[:, None] + inside).flatten()
    points = project(torch.linalg.inv(matrix), torch.stack(torch.meshgrid(at_x, at_y, indexing="xy"), -1))
    grid = points / torch.tensor([x, y])
    seen = (grid.abs() <= 1).all(-1).float()
    grid = grid.float()[None]
    cells = torch.cat(
        [
            F.avg_pool2d(
                F.grid_sample(part[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0],
                SUBSAMPLES,
            )
            for part in torch.split(pictures, 64)
        ]
    )
    return top, left, cells, F.avg_pool2d(seen[None, None], SUBSAMPLES)[0, 0]


def fold(cells: Tensor, top: int, left: int) -> Tensor:
    """Sum of cells [..., h, w] on the torus [..., G, G]; the first lies at row `top`, column `left`."""
    torus = cells.new_zeros((*cells.shape[:-2], GRID, GRID))
    h, w = cells.shape[-2:]
    for y in range(0, h, GRID):
        for x in range(0, w, GRID):
            tile = cells[..., y : y + GRID, x : x + GRID]
            torus[..., : tile.shape[-2], : tile.shape[-1]] += tile
    return torch.roll(torus, (top % GRID, left % GRID), (-2, -1))
