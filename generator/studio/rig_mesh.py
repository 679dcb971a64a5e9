"""The ICT Face Model Light as a blend-shape mesh: vertices, normals, gaze, render attributes.

Coordinates: cm, x to the right of the picture (the person's left), y up, z towards the viewer. Positive yaw turns
the nose to the right of the picture, positive pitch lowers the chin, positive roll tilts the head
counter-clockwise in the picture.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float32]

EYEBALL_FIRST_VERTEX = (21451, 23021)  # person's left, right; the first 770 of each are the sclera
SCLERA_VERTICES = 770


class Region(IntEnum):
    """Of a vertex."""

    FACE, HEAD_NECK, MOUTH_SOCKET, SOCKET_L, SOCKET_R, GUMS, TEETH, EYEBALL_L, EYEBALL_R = range(9)
    LASHES_L, LASHES_R = 15, 16


class Material(IntEnum):
    """Of a triangle."""

    SKIN, BACK_HEAD, GUMS, TEETH, SCLERA_L, IRIS_L, SCLERA_R, IRIS_R = range(8)
    LASHES = 11


class RigMesh:
    """Blend-shape model. `render_*` arrays have one row per (vertex, texture coordinate) pair."""

    def __init__(self, folder: Path) -> None:
        npz = np.load(folder / "ict_face.npz")
        self.neutral: Array = npz["neutral"]  # [26719, 3]
        self.identity_basis: Array = npz["identity"].astype(np.float32).reshape(100, -1)
        self.expression_basis: Array = npz["expression"].astype(np.float32).reshape(57, -1)
        self.names = [str(name) for name in npz["expression_names"]]
        self.index = {name: i for i, name in enumerate(self.names)}
        self.faces, self.material = npz["faces"], npz["face_material"]
        self.uv, self.faces_uv = npz["uv"], npz["faces_uv"]
        self.region, self.landmarks68 = npz["vertex_region"], npz["landmarks68"]
        pairs, inverse = np.unique(self.faces.astype(np.int64) * 100_000 + self.faces_uv, return_inverse=True)
        self.render_vertex = (pairs // 100_000).astype(np.int32)
        self.render_uv = (pairs % 100_000).astype(np.int32)
        self.render_faces = inverse.reshape(-1, 3).astype(np.int32)
        self.render_material = np.zeros(len(pairs), np.float32)
        self.render_material[self.render_faces.ravel()] = np.repeat(self.material, 3)
        rows, cols = self.faces.T.ravel(), np.tile(np.arange(len(self.faces)), 3)
        shape = (len(self.neutral), len(self.faces))
        self.vertex_faces = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, cols)), shape=shape)

    def vertices(self, identity: Array | None = None, expression: Array | None = None) -> Array:
        """[26719, 3] cm of a person ([<=100] ~ N(0, 1)) with expression weights [57]."""
        v = self.neutral.reshape(-1).copy()
        if identity is not None:
            v = v + identity @ self.identity_basis[: len(identity)]
        if expression is not None:
            v = v + expression @ self.expression_basis
        return np.asarray(v.reshape(-1, 3), np.float32)

    def normals(self, v: Array) -> Array:
        """Unit vertex normals [26719, 3]."""
        f = self.faces
        n = self.vertex_faces @ np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])
        return np.asarray(n / (np.linalg.norm(n, axis=1, keepdims=True) + 1e-9), np.float32)

    def weights(self, **weights: float) -> Array:
        """Expression weights [57] by name, 0..1; a name without _L or _R sets both sides."""
        b = np.zeros(len(self.names), np.float32)
        for name, w in weights.items():
            for n in [name] if name in self.index else [f"{name}_L", f"{name}_R"]:
                b[self.index[n]] = w
        return b

    def eye_centre(self, v: Array, side: int) -> NDArray[np.float64]:
        """[3] cm, centre of the sphere through the sclera; side 0 = person's left, 1 = right."""
        first = EYEBALL_FIRST_VERTEX[side]
        sclera = v[first : first + SCLERA_VERTICES].astype(float)
        rows = np.c_[2 * sclera, np.ones(SCLERA_VERTICES)]
        return np.asarray(np.linalg.lstsq(rows, (sclera**2).sum(1), rcond=None)[0][:3])


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """[3, 3] = roll @ pitch @ yaw, for column vectors."""
    (cy, cp, cr), (sy, sp_, sr) = (g(np.radians([yaw_deg, pitch_deg, roll_deg])) for g in (np.cos, np.sin))
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1.0]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp_], [0, sp_, cp]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.asarray(roll @ pitch @ yaw, np.float32)
