"""Colour of a face that belongs to nobody, per pixel, from the position on the neutral head: no textures, no seams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Complexion:
    """Colours are linear RGB in 0..1."""

    base: tuple[float, float, float]
    lip: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    ruddiness: float = 0.5
    freckles: float = 0.3


class Noise3D:
    """Smooth noise in space: a random lattice, read with cubic splines."""

    def __init__(self, rng: np.random.Generator, side: int = 48) -> None:
        self.lattice = rng.standard_normal((side, side, side)).astype(np.float32)

    def __call__(self, at: Array, per_cm: float) -> Array:
        """[N, 3] cm to [N], zero mean and unit spread at `per_cm` bumps per cm."""
        values = map_coordinates(self.lattice, (at * per_cm).T, order=3, mode="grid-wrap", prefilter=False)
        return np.asarray(values / 0.42, np.float32)


def skin_colour(rest: Array, complexion: Complexion, noise: Noise3D) -> Array:
    """Linear colour [N, 3] at neutral-head positions [N, 3], lips excluded."""
    x, y, z = rest.T
    base = np.array(complexion.base, np.float32)
    mottle = 0.5 * noise(rest, 0.5) + 0.35 * noise(rest + 7, 1.3) + 0.3 * noise(rest + 3, 3.5)
    pores = noise(rest + 11, 9.0)
    colour = base * (1 + 0.035 * mottle[:, None] * np.array([0.6, 1.0, 1.15]) + 0.02 * pores[:, None])

    def blush(centre: tuple[float, float, float], radius: float, strength: float) -> None:
        nonlocal colour
        distance = np.linalg.norm((rest - centre) / radius, axis=1)
        w = (strength * np.exp(-(distance**2)) * (1 + 0.25 * mottle)).clip(0, 1)[:, None]
        colour = colour * (1 - w) + colour * np.array([1.10, 0.70, 0.66]) * w

    ruddy = complexion.ruddiness
    for side in (-1.0, 1.0):
        blush((side * 4.9, 0.3, 9.0), 2.3, 0.75 * ruddy)
        blush((side * 8.2, 1.0, 1.0), 2.2, 0.9 * ruddy)
        under_eye = np.exp(-(((x - side * 3.0) / 1.7) ** 2) - ((y - 2.45) / 0.55) ** 2)[:, None] * 0.22
        colour = colour * (1 - under_eye) + colour * np.array([0.78, 0.70, 0.76]) * under_eye
    blush((0, 0.2, 12.0), 1.2, 0.8 * ruddy)
    blush((0, -6.9, 10.0), 1.6, 0.35 * ruddy)
    warm_brow = np.exp(-(((y - 8.0) / 2.5) ** 2)) * (z > 6)
    colour *= 1 + 0.03 * warm_brow[:, None] * np.array([1.0, 0.9, 0.6])
    spots = np.clip(noise(rest + 23, 4.5) - 2.1, 0, 1) * complexion.freckles * (z > 4)
    return np.asarray(colour * (1 - spots[:, None] * np.array([0.3, 0.45, 0.55])), np.float32)


def eye_colour(offset: Array, complexion: Complexion, noise: Noise3D) -> Array:
    """Linear colour [N, 3] of an eyeball at `offset` [N, 3] cm from the sphere's centre, gaze along +z."""
    r, angle = np.hypot(offset[:, 0], offset[:, 1]), np.arctan2(offset[:, 1], offset[:, 0])
    iris_radius, pupil_radius = 0.60, 0.235
    white = np.array([0.72, 0.69, 0.67], np.float32) * (1 - 0.25 * np.clip((r - 0.7) / 0.9, 0, 1)[:, None])
    white = white * (1 - np.array([0.0, 0.16, 0.15]) * np.clip((r - 0.85) / 0.6, 0, 1)[:, None])
    ring = np.stack([np.cos(angle) * 4.0, np.sin(angle) * 4.0, r * 1.2], 1).astype(np.float32)
    fibres = 0.6 * noise(ring, 1.6) + 0.4 * noise(ring + 5, 3.4)
    iris = np.array(complexion.iris, np.float32) * (1 + 0.30 * fibres[:, None])
    iris = iris * (0.8 + 0.7 * np.exp(-(((r - 0.33) / 0.12) ** 2)))[:, None]
    iris = iris * (1 - 0.78 * _step(0.50, 0.60, r))[:, None]
    iris = iris * _step(pupil_radius - 0.02, pupil_radius + 0.025, r)[:, None] + 0.004
    edge = (_step(iris_radius - 0.035, iris_radius + 0.035, r) + (offset[:, 2] < 0)).clip(0, 1)[:, None]
    return np.asarray(iris * (1 - edge) + white * edge, np.float32)


def _step(low: float, high: float, x: Array) -> Array:
    t = ((x - low) / (high - low)).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
