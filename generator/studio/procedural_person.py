"""A person who doesn't exist: random identity, complexion, age, hair, beard, glasses and clothes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from generator.face_landmarks import LID_LOWER, LID_UPPER
from generator.studio import hair_points
from generator.studio.hair_points import HairPoints, HairStyle
from generator.studio.head_model import StudioHead, StudioRig, face_share
from generator.studio.lighting import linear_of
from generator.studio.procedural_skin import Complexion, eye_colour, skin_colour
from generator.studio.props import Neckline, build_bust, build_glasses
from generator.studio.rig_mesh import Region
from generator.studio.scene import EYE_MAP_CM, Person
from generator.studio.skin_atlas import Atlas, LatticeNoise, paint_brows, wrinkle_heights

Array = NDArray[np.float32]
IDENTITY_SPREAD = 0.8
GLASSES_SHARE, BALD_SHARE, BEARD_SHARE = 0.16, 0.12, 0.34

# sRGB of skin from very light to very dark, and of hair and irises.
_SKINS = (
    (0.96, 0.81, 0.74),
    (0.91, 0.72, 0.62),
    (0.80, 0.59, 0.47),
    (0.62, 0.42, 0.31),
    (0.42, 0.27, 0.20),
    (0.25, 0.16, 0.12),
)
_HAIRS = (
    (0.09, 0.075, 0.07),
    (0.20, 0.13, 0.09),
    (0.34, 0.22, 0.13),
    (0.60, 0.46, 0.28),
    (0.52, 0.25, 0.13),
    (0.62, 0.61, 0.60),
    (0.86, 0.85, 0.82),
)
_IRISES = ((0.25, 0.14, 0.08), (0.38, 0.26, 0.14), (0.34, 0.43, 0.52), (0.36, 0.43, 0.33), (0.45, 0.48, 0.50))


@dataclass(frozen=True)
class Traits:
    """What is drawn of a person before anything is built."""

    complexion: Complexion
    darkness: float  # 0 = lightest skin
    age: float  # 0 = young, 1 = old
    bearded: bool
    bald: bool


def draw_traits(rng: np.random.Generator) -> Traits:
    darkness = float(rng.uniform(0, 1) ** 0.85)
    at = darkness * (len(_SKINS) - 1)
    i = min(int(at), len(_SKINS) - 2)
    skins = np.array(_SKINS)
    skin = skins[i] + (skins[i + 1] - skins[i]) * (at - i)
    skin = skin * (1 + rng.normal(0, 0.02, 3)) + rng.normal(0, 0.012) * np.array([0.3, 0.6, -1.0])
    age = float(rng.beta(1.2, 1.4))
    fair = darkness < 0.45
    odds = (
        np.array([0.28, 0.28, 0.18, 0.14, 0.05, 0.04, 0.03])
        if fair
        else np.array([0.82, 0.12, 0.02, 0.01, 0.0, 0.02, 0.01])
    )
    grey = max(age - 0.55, 0) * 1.5
    odds = odds * (1 - grey) + np.array([0, 0, 0, 0, 0, 0.7, 0.3]) * grey
    hair = np.array(_HAIRS[rng.choice(len(_HAIRS), p=odds / odds.sum())]) * rng.uniform(0.8, 1.25)
    odds = np.array([0.34, 0.22, 0.2, 0.14, 0.10]) if fair else np.array([0.9, 0.1, 0, 0, 0])
    iris = np.array(_IRISES[rng.choice(5, p=odds)]) * rng.uniform(0.75, 1.2)
    base = linear_of(skin.clip(0.05, 1))
    rouge = rng.uniform(0, 1) ** 2
    lip = base * np.array([0.92, 0.56, 0.56]) * rng.uniform(0.8, 1.05) + rouge * np.array([0.10, 0.0, 0.012]) * (
        1 - 0.6 * darkness
    )
    complexion = Complexion(
        base=tuple(base.tolist()), lip=tuple(lip.tolist()), hair=tuple(linear_of(hair.clip(0.03, 1)).tolist()),
        iris=tuple(linear_of(iris).tolist()), ruddiness=float(rng.uniform(0.1, 0.9) * (1 - 0.6 * darkness)),
        freckles=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.65, 0.35])) * (1 - 0.7 * darkness),
    )  # fmt: skip
    return Traits(complexion, darkness, age, bool(rng.random() < BEARD_SHARE), bool(rng.random() < BALD_SHARE))


def draw_hair_style(rng: np.random.Generator, *, bearded: bool) -> HairStyle:
    """Short, medium, long, curly or cropped. Beards come with shorter hair."""
    odds = [0.40, 0.16, 0.04, 0.20, 0.20] if bearded else [0.24, 0.24, 0.28, 0.14, 0.10]
    kind = rng.choice(["short", "medium", "long", "curly", "crop"], p=odds)
    part = float(rng.uniform(-3.5, 3.5))
    recede = float(rng.choice([0.0, rng.uniform(0.2, 2.2)], p=[0.7, 0.3]))
    fringe = float(rng.choice([0.0, rng.uniform(0.4, 1.3)], p=[0.6, 0.4]))
    u = rng.uniform
    if kind == "short":
        return HairStyle(
            u(3, 5.5),
            u(1.2, 2.6),
            u(0.5, 1.9),
            part,
            u(0.1, 1.2),
            u(0.4, 1.0),
            fringe,
            0.2,
            u(0, 0.25),
            u(0.1, 0.5),
            recede,
            9000,
        )
    if kind == "medium":
        return HairStyle(
            u(6, 11),
            u(4, 9),
            u(0.8, 2.0),
            part,
            u(0.1, 0.7),
            u(0.6, 1.1),
            fringe,
            u(0.6, 1.2),
            u(0, 0.4),
            u(0.2, 0.6),
            0.4 * recede,
            7500,
        )
    if kind == "long":
        return HairStyle(
            u(16, 26),
            u(14, 24),
            u(0.8, 2.0),
            part,
            u(0.0, 0.5),
            u(0.7, 1.1),
            0.25 * fringe,
            u(0.9, 1.5),
            u(0, 0.45),
            u(0.2, 0.6),
            0.0,
            5600,
        )
    if kind == "curly":
        return HairStyle(
            u(4, 9),
            u(3, 8),
            u(1.2, 4.2),
            part,
            u(0, 0.4),
            u(0.2, 0.6),
            0.4 * fringe,
            u(0, 0.4),
            u(0.6, 1.3),
            u(0.3, 0.9),
            0.5 * recede,
            8500,
        )
    return HairStyle(u(0.5, 1.6), u(0.4, 1.0), u(0.12, 0.4), part, 0.5, 0.5, 0.3, 0.3, 0.05, 0.1, recede, 15000)


def build_person(rig: StudioRig, atlas: Atlas, rng: np.random.Generator) -> Person:
    traits = draw_traits(rng)
    identity = rng.normal(0, IDENTITY_SPREAD, 100).astype(np.float32)
    noise = LatticeNoise(rng)
    colour = skin_colour(atlas.rest.reshape(-1, 3), traits.complexion, noise).reshape(atlas.rest.shape)
    return dress_person(rig, atlas, rng, traits, identity, colour, noise)


def dress_person(
    rig: StudioRig, atlas: Atlas, rng: np.random.Generator, traits: Traits, identity: Array, colour: Array,
    noise: LatticeNoise, *, painted_face: bool = False,
) -> Person:  # fmt: skip
    """A person with skin `colour` [TILE, 2 TILE, 3] linear; `painted_face`: it has its own lips and brows."""
    head = StudioHead(rig, identity)
    base = head.base.cpu().numpy()
    normals = rig.mesh.normals(base)
    style = draw_hair_style(rng, bearded=traits.bearded)
    skin_vertices = rig.mesh.region <= Region.HEAD_NECK
    scalp = hair_points.scalp_cover(rig.mesh.neutral, skin_vertices, style)
    beard = _beard_cover(rig, rng) if traits.bearded else np.zeros(len(base), np.float32)
    stubble = float(rng.uniform(0.1, 1.0))
    maps = _skin_maps(atlas, rng, traits, colour, noise, scalp, beard * stubble, painted_face=painted_face)
    hair = None
    if not traits.bald:
        hair = hair_points.grow(base, normals, scalp, skin_vertices, style, rng)
    fur, fur_colour = _fur(rig, base, normals, traits, beard, stubble, rng)
    glasses = None
    if rng.random() < GLASSES_SHARE:
        centres = tuple(c.cpu().numpy() for c in head.eye_centre)
        glasses = build_glasses(base[skin_vertices], (centres[0], centres[1]), rng)
    necklines = (Neckline(-12.4, 0.36, 0.0, 5.0), Neckline(-12.6, 0.36, 2.6, 4.2), Neckline(-9.6, 0.30, 0.0, 5.0))
    neckline = necklines[int(rng.choice(3, p=[0.55, 0.3, 0.15]))]
    device = rig.device
    eye = torch.from_numpy(eye_map(traits.complexion, noise)).to(device)
    return Person(
        head=head, skin=torch.from_numpy(maps).to(device), eye=eye,
        hair=_on(hair, device), hair_colour=torch.tensor(traits.complexion.hair, device=device),
        fur=_on(fur, device), fur_colour=fur_colour.to(device), bust=build_bust(rng, neckline.hem), glasses=glasses,
        neckline=neckline, wrinkles=float(0.35 + 0.9 * traits.age), oiliness=float(rng.uniform(0.4, 1.3)),
    )  # fmt: skip


def _on(hair: HairPoints | None, device: torch.device) -> HairPoints | None:
    if hair is None or device.type == "cpu":
        return hair
    return HairPoints(*(getattr(hair, name).to(device) for name in HairPoints.__dataclass_fields__))


def _skin_maps(
    atlas: Atlas, rng: np.random.Generator, traits: Traits, colour: Array, noise: LatticeNoise, scalp: Array,
    beard: Array, *, painted_face: bool,
) -> Array:  # fmt: skip
    """float32 [13, TILE, 2 TILE], see AtlasMap."""
    shape = atlas.rest.shape[:2]
    flat = atlas.rest.reshape(-1, 3)
    x, y, z = (atlas.rest[..., k] for k in range(3))
    hair = np.array(traits.complexion.hair, np.float32)
    lip = atlas.lip[..., None]
    if not painted_face:
        texture = 1 + 0.06 * noise(flat * np.array([3.0, 0.7, 1.0], np.float32) + 41, 2.2).reshape(shape)
        colour = colour * (1 - lip) + np.array(traits.complexion.lip, np.float32) * texture[..., None] * lip
    covers = atlas.paint_vertices(np.stack([scalp, beard], 1))
    speckle = (0.75 + 0.25 * noise(flat, 7.0).reshape(shape)).clip(0, 1)
    on_scalp = covers[..., 0] * (0.10 + 0.25 * rng.random() if traits.bald else 0.88)
    on_beard = 0.68 * covers[..., 1] * speckle
    brows: Array = np.zeros(shape, np.float32)
    if not painted_face:
        thickness = float(rng.uniform(0.1, 1.0))
        brows = paint_brows(
            atlas, rng, strokes=int(rng.integers(160, 520)), thickness=thickness, lift=float(rng.uniform(1, 6))
        )
        brows = np.asarray(brows * float(rng.uniform(0.55, 0.95)), np.float32)
    hairy = np.maximum(np.maximum(on_scalp * (speckle * 0.5 + 0.5), on_beard), brows)[..., None]
    colour = colour * (1 - hairy) + hair * 1.1 * hairy
    liner = _lash_line(atlas)[..., None] * (0.35 + 0.4 * rng.random())
    ink = np.array([0.015, 0.010, 0.009], np.float32)
    colour = np.asarray(colour * (1 - liner) + ink * liner, np.float32)
    wrinkles = wrinkle_heights(flat, noise).reshape(*shape, 5)
    pores = 0.004 * noise(flat + 5, 6.0).reshape(shape) + 0.006 * noise(flat + 9, 3.2).reshape(shape)
    aged = traits.age**1.5
    bags = -0.05 * np.exp(-(((np.abs(x) - 3.0) / 1.3) ** 2) - ((y - 1.95) / 0.25) ** 2) * (z > 6)
    lines = 0.008 * noise(flat * np.array([1.0, 3.0, 1.0], np.float32) + 77, 1.4).reshape(shape)
    still = pores * (1 - 0.5 * lip[..., 0]) + aged * (
        0.40 * wrinkles[..., 0]
        + 0.4 * wrinkles[..., 1]
        + 0.45 * wrinkles[..., 2]
        + 0.4 * wrinkles[..., 3]
        + bags
        + lines
    )
    face = face_share(atlas.rest)
    face[:, shape[1] // 2 :] = 0
    label_hair = np.maximum(np.maximum(on_scalp * 0.7 * (not traits.bald), brows), covers[..., 1] * 0.6)
    openness = (atlas.openness / 0.85).clip(0.05, 1)
    maps = [*np.moveaxis(colour, -1, 0), atlas.lip, label_hair, still, *np.moveaxis(wrinkles, -1, 0), face, openness]
    return np.stack(maps).astype(np.float32)


def _lash_line(atlas: Atlas) -> Array:
    cover = np.zeros(atlas.lip.shape, np.float32)
    for lid in (atlas.landmark_px[36:40], atlas.landmark_px[42:46]):
        cv2.polylines(cover, [np.round(lid * 16).astype(np.int32)], False, 1.0, 2, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), 1.2), np.float32)


def _beard_cover(rig: StudioRig, rng: np.random.Generator) -> Array:
    """0..1 per vertex: full beard, chin beard or moustache."""
    x, y, z = rig.mesh.neutral.T
    on_face = (rig.mesh.region == Region.FACE) & (z > 0.5)
    lip_distance = np.hypot(x / 2.9, (y + 3.4) / 1.15)
    off_lips = np.clip((lip_distance - 0.95) / 0.25, 0, 1)
    cheek = np.clip((-1.6 - 0.12 * np.abs(x) - y + 0.30 * np.clip(np.abs(x) - 4, 0, 9)) / 1.0, 0, 1)
    throat = np.clip((y + 10.8) / 1.5, 0, 1)
    full = cheek * throat * np.clip((np.abs(x) + 1.0) / 1.0, 0, 1)
    moustache = np.exp(-(((y + 2.15) / 0.65) ** 4) - (x / 2.9) ** 4) * (z > 8)
    goatee = np.exp(-(((y + 6.4) / 1.9) ** 4) - (x / 2.2) ** 4) * (z > 6)
    kind = rng.choice(4, p=[0.55, 0.2, 0.13, 0.12])
    cover = (np.maximum(full, moustache), np.maximum(goatee, moustache), moustache, goatee)[kind]
    return np.asarray(cover * off_lips * on_face, np.float32)


def _fur(
    rig: StudioRig, base: Array, normals: Array, traits: Traits, beard: Array, stubble: float, rng: np.random.Generator
) -> tuple[HairPoints, torch.Tensor]:
    vertex = rig.landmark_vertex.cpu().numpy()
    edges = []
    for eye in (0, 1):  # the picture's left eye is the person's right
        upper, lower = list(LID_UPPER[eye]), list(LID_LOWER[eye])
        if eye == 0:
            upper, lower = upper[::-1], lower[::-1]
        edges += [vertex[upper].tolist(), vertex[lower].tolist()]
    lashes = hair_points.grow_lash_points(base, edges, rng, float(rng.uniform(0.4, 1.2)))
    dark = torch.tensor([0.012, 0.009, 0.008]).expand(len(lashes.points), 3)
    length = 2.4 * float(rng.uniform(0, 1) ** 1.6)
    if not traits.bearded or length < 0.45:
        return lashes, dark.clone()
    strands = hair_points.grow_beard(base, normals, beard, length, int(5200 * stubble), rng)
    own = torch.tensor(traits.complexion.hair).expand(len(strands.points), 3)
    return hair_points.join_hair([lashes, strands]), torch.cat([dark, own])


def eye_map(complexion: Complexion, noise: LatticeNoise, side_px: int = 192) -> Array:
    """float32 [3, side, side], top row up."""
    step = (np.arange(side_px) + 0.5) / side_px * 2 - 1
    x, y = np.meshgrid(step * EYE_MAP_CM, -step * EYE_MAP_CM)
    offset = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], 1).astype(np.float32)
    return np.ascontiguousarray(
        eye_colour(offset, complexion, noise).reshape(side_px, side_px, 3).transpose(2, 0, 1), np.float32
    )
