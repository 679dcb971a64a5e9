"""Dense fields through scattered values: the membrane that bends least (Poisson equation, sparse direct solve)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

Array = NDArray[np.float32]


def stretch_membrane(
    points: Array,
    values: Array,
    weight: Array,
    shape: tuple[int, int],
    *,
    stiffness: float = 0.5,
    border: Array | None = None,
    border_weight: float = 1e3,
) -> Array:
    """Minimise sum weight (f(point) - value)^2 + stiffness |grad f|^2 over a grid; returns float32 [h, w, C].

    points: [P, 2] (x, y) in cells, the centre of the first cell at 0; those outside the grid are left out.
    values: [P, C]; weight: [P]. border: [h, w, C] holds the outermost cells to these values; None leaves them free.
    """
    h, w = shape
    inside = (points >= 0).all(1) & (points[:, 0] <= w - 1) & (points[:, 1] <= h - 1)
    points, values, weight = points[inside], values[inside], weight[inside]
    rows = bilinear_rows(points, shape)
    weighted = sp.diags(weight.astype(np.float64)) @ rows
    matrix = rows.T @ weighted + stiffness * _grid_laplacian(h, w) + 1e-7 * sp.identity(h * w)
    right = (weighted.T @ values).astype(np.float64)
    if border is not None:
        edge = np.zeros((h, w), bool)
        edge[[0, -1]] = edge[:, [0, -1]] = True
        at = np.flatnonzero(edge)
        matrix = matrix + sp.csr_matrix((np.full(len(at), border_weight), (at, at)), shape=matrix.shape)
        right[at] += border_weight * border.reshape(h * w, -1)[at]
    solved = splu(sp.csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)
    return np.asarray(solved, np.float32).reshape(h, w, -1)


def bilinear_rows(points: Array, shape: tuple[int, int]) -> sp.csr_matrix:
    """Sparse [P, h * w]: row p samples a grid at points[p] = (x, y) in cells."""
    h, w = shape
    x = np.clip(points[:, 0], 0, w - 1.000001).astype(np.float64)
    y = np.clip(points[:, 1], 0, h - 1.000001).astype(np.float64)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    column, row = np.minimum(column, w - 2), np.minimum(row, h - 2)
    fx, fy = x - column, y - row
    p = np.arange(len(points))
    data = [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]
    cells = [row * w + column, row * w + column + 1, (row + 1) * w + column, (row + 1) * w + column + 1]
    entries = (np.concatenate(data), (np.tile(p, 4), np.concatenate(cells)))
    return sp.csr_matrix(entries, shape=(len(points), h * w))


def _grid_laplacian(h: int, w: int) -> sp.csr_matrix:
    """Graph Laplacian of a 4-connected grid with free borders."""

    def chain(n: int) -> sp.csr_matrix:
        degree = np.full(n, 2.0)
        degree[[0, -1]] = 1
        return sp.diags([degree, np.full(n - 1, -1.0), np.full(n - 1, -1.0)], [0, 1, -1])

    return sp.csr_matrix(sp.kron(sp.identity(h), chain(w)) + sp.kron(chain(h), sp.identity(w)))
