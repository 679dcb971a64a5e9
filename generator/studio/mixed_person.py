"""People with real skin and no real face: textures of two to four portraits, without their light, blended in texture
space with noise and worn by a random identity. No texture ever comes from one portrait alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.errors import GeneratorError
from generator.studio.head_model import StudioRig
from generator.studio.lighting import linear_of
from generator.studio.portrait_source import FittedPortrait, PortraitFacts, fit_portrait, read_index, rig_shape
from generator.studio.procedural_person import IDENTITY_SPREAD, Traits, draw_traits, dress_person
from generator.studio.procedural_skin import Complexion, skin_colour
from generator.studio.scene import Person
from generator.studio.skin_atlas import TILE_PX, Atlas, LatticeNoise

Array = NDArray[np.float32]
MOUTH_GAP_AT_MOST = 0.035
_TURN_AT_MOST_DEG = (15.0, 12.0)
_DARKEST_LUMA, _LIGHTEST_LUMA = 0.03, 0.55


@dataclass(frozen=True)
class BakedSkin:
    """albedo: [TILE, TILE, 3] linear, without light; trust: [TILE, TILE] 0..1; tone: [3] of the skin; lip: [3]."""

    albedo: Array
    trust: Array
    tone: Array
    lip: Array


class SkinBank:
    """Baked skins of the portraits that are fit for it, by split; baked when first asked for."""

    def __init__(self, rig: StudioRig, atlas: Atlas, folder: Path) -> None:
        self.rig, self.atlas, self.shape = rig, atlas, rig_shape(rig)
        facts = [f for f in read_index(folder) if _fit_for_baking(f)]
        self.pool = {split: [f for f in facts if f.split == split] for split in ("train", "test")}
        self.bake = functools.lru_cache(maxsize=128)(self._bake)

    def _bake(self, facts: PortraitFacts) -> BakedSkin | None:
        try:
            return bake_skin(self.atlas, fit_portrait(self.rig, self.shape, facts))
        except GeneratorError:
            return None  # the rig doesn't fit: another portrait takes its place

    def draw(self, rng: np.random.Generator, split: str) -> tuple[list[PortraitFacts], list[BakedSkin]]:
        """Two to four portraits of one split."""
        wanted = int(rng.choice([2, 3, 4], p=[0.4, 0.4, 0.2]))
        chosen, skins = [], []
        for k in rng.permutation(len(self.pool[split])):
            facts = self.pool[split][int(k)]
            skin = self.bake(facts)
            if skin is not None:
                chosen.append(facts)
                skins.append(skin)
            if len(chosen) == wanted:
                return chosen, skins
        raise GeneratorError(
            f"only {len(chosen)} portraits of the {split} split can be baked, {wanted} are needed: add portraits"
            " without glasses, with closed lips, seen from the front"
        )


def _fit_for_baking(facts: PortraitFacts) -> bool:
    turned = abs(facts.yaw_deg) > _TURN_AT_MOST_DEG[0] or abs(facts.pitch_deg) > _TURN_AT_MOST_DEG[1]
    return not facts.glasses and facts.mouth_gap < MOUTH_GAP_AT_MOST and not turned


def bake_skin(atlas: Atlas, portrait: FittedPortrait) -> BakedSkin:
    """The photo drawn into texture space, divided by its light."""
    tile = atlas.rest[:, :TILE_PX]
    values = np.concatenate([portrait.source_px, portrait.seen[:, None], portrait.normals], 1)
    texels = atlas.paint_vertices(values)[:, :TILE_PX]
    at = np.ascontiguousarray(texels[..., :2] - 0.5)
    photo = linear_of(portrait.photo / 255.0)
    colour = cv2.remap(photo, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = np.clip((texels[..., 2] - 0.25) / 0.5, 0, 1)
    sure = _plain_skin(tile) & (seen > 0.6)
    tone = np.median(colour[sure], 0)
    sure &= np.abs(np.log(colour.clip(1e-4) / tone)).max(2) < 0.7
    albedo = colour / _light_on(texels[..., 3:6], tile, colour, sure)
    tone = np.median(albedo[sure], 0)
    lip_sure = (atlas.lip[:, :TILE_PX] > 0.8) & (seen > 0.7)
    lip = np.median(albedo[lip_sure], 0) if lip_sure.sum() > 50 else tone * np.array([0.9, 0.6, 0.6])
    trust = seen * _where_skin(tile, albedo, tone)
    albedo, trust = _fill_from_mirror(albedo, trust)
    return BakedSkin(
        albedo.astype(np.float32), trust.astype(np.float32), tone.astype(np.float32), lip.astype(np.float32)
    )


def _plain_skin(tile: Array) -> NDArray[np.bool_]:
    """Texels without eyes, brows, lips, nostrils, hair."""
    x, y, z = np.moveaxis(tile, -1, 0)
    eyes = (np.hypot((np.abs(x) - 3.1) / 2.3, (y - 4.2) / 2.4) < 1) | ((np.abs(y - 5.6) < 1.2) & (np.abs(x) < 6))
    mouth = np.hypot(x / 3.2, (y + 3.4) / 1.5) < 1
    nostrils = np.hypot(x / 1.8, (y + 0.6) / 0.8) < 1
    return np.asarray((z > 4) & (y < 8.0) & (y > -8.5) & (np.abs(x) < 6.5) & ~eyes & ~mouth & ~nostrils)


def _light_on(normals: Array, tile: Array, colour: Array, sure: NDArray[np.bool_]) -> Array:
    """Light per texel [TILE, TILE, 3] around 1: spherical harmonics of second order in the normal and a slope over
    the face, fitted to the plain skin."""
    n = normals / (np.linalg.norm(normals, axis=2, keepdims=True) + 1e-6)
    x, y, z = np.moveaxis(n, -1, 0)
    basis = np.stack(
        [
            np.ones_like(x),
            x,
            y,
            z,
            x * y,
            x * z,
            y * z,
            x * x - y * y,
            3 * z * z - 1,
            tile[..., 0] / 6,
            tile[..., 1] / 8,
        ],
        2,
    )
    a = basis[sure][::3]
    out = np.empty_like(colour)
    ridge = np.diag(np.r_[1e-3, np.full(a.shape[1] - 1, 0.03)]) * len(a)
    for channel in range(3):
        target = np.log(colour[sure][::3, channel].clip(1e-4))
        weights = np.linalg.solve(a.T @ a + ridge, a.T @ target)
        level = basis @ weights
        out[..., channel] = np.exp(np.clip(level - np.median(level[sure]), -1.3, 0.9))
    return out


def _where_skin(tile: Array, albedo: Array, tone: Array) -> Array:
    """0..1: near enough to the skin's tone, everywhere but where a face has other colours."""
    x, y, z = np.moveaxis(tile, -1, 0)
    away = np.abs(np.log(cv2.GaussianBlur(albedo, (0, 0), 2).clip(1e-4) / tone)).max(2)
    like = np.clip((0.75 - away) / 0.25, 0, 1)
    inner = np.clip((6.0 - np.abs(x)) / 1.0, 0, 1) * np.clip((7.2 - y) / 0.8, 0, 1) * np.clip((y + 8.6) / 0.8, 0, 1)
    inner = inner * np.clip((z - 4) / 2, 0, 1)
    far = np.clip((7.6 - np.abs(x)) / 1.2, 0, 1) * np.clip((10.0 - y) / 0.8, 0, 1) * np.clip((y + 9.4) / 1.2, 0, 1)
    lid = np.hypot((np.abs(x) - 3.1) / 1.75, (y - 3.75) / 1.05) < 1
    ball = np.hypot(np.abs(x) - 3.1, y - 3.6) < 1.9
    fold = np.clip(1.15 - np.hypot((np.abs(x) - 3.1) / 1.75, (y - 3.75) / 1.1), 0, 0.25) * 4 * (lid | ball)
    trust = np.maximum(like, inner) * far * np.clip((z - 0.5) / 2, 0, 1) * (1 - fold.clip(0, 1))
    trust = cv2.GaussianBlur(cv2.erode(trust.astype(np.float32), np.ones((5, 5))), (0, 0), 3)
    return np.asarray(trust, np.float32)


def _fill_from_mirror(albedo: Array, trust: Array) -> tuple[Array, Array]:
    other, other_trust = albedo[:, ::-1], trust[:, ::-1] * 0.9
    share = (other_trust * (1 - trust) / (trust + other_trust * (1 - trust) + 1e-4))[..., None]
    return albedo * (1 - share) + other * share, np.maximum(trust, other_trust)


def build_mixed_person(
    rig: StudioRig, atlas: Atlas, bank: SkinBank, rng: np.random.Generator, split: str
) -> tuple[Person, list[PortraitFacts]]:
    facts, skins = bank.draw(rng, split)
    noise = LatticeNoise(rng)
    colour, trust, tone, lip = blend_skins(skins, rng)
    drawn = draw_traits(rng)
    luma = float(tone @ [0.25, 0.6, 0.15])
    darkness = 1 - float(np.clip((luma - _DARKEST_LUMA) / (_LIGHTEST_LUMA - _DARKEST_LUMA), 0, 1)) ** 0.6
    hair, iris = drawn.complexion.hair, drawn.complexion.iris
    if darkness >= 0.6:
        hair, iris = _rgb(linear_of(np.full(3, 0.1))), _rgb(linear_of(np.array([0.25, 0.15, 0.09])))
    complexion = Complexion(_rgb(tone), _rgb(lip), hair, iris, 0.35 * (1 - darkness), 0.0)
    traits = Traits(complexion, darkness, drawn.age, drawn.bearded and bool(rng.random() < 0.6), drawn.bald)
    made_up = skin_colour(atlas.rest.reshape(-1, 3), complexion, noise).reshape(atlas.rest.shape)
    inner = _inner_lip(atlas)[..., None]
    made_up = np.asarray(made_up * (1 - atlas.lip[..., None]) + lip * atlas.lip[..., None], np.float32)
    full = np.zeros((*atlas.rest.shape[:2], 1), np.float32)
    full[:, :TILE_PX, 0] = trust
    baked = np.zeros_like(made_up)
    baked[:, :TILE_PX] = colour
    share = full * (1 - inner)
    mixed = np.asarray(made_up * (1 - share) + baked * share, np.float32)
    identity = rng.normal(0, IDENTITY_SPREAD, 100).astype(np.float32)
    person = dress_person(rig, atlas, rng, traits, identity, mixed.clip(0.002, 1), noise, painted_face=True)
    return person, facts


def _rgb(colour: Array) -> tuple[float, float, float]:
    return float(colour[0]), float(colour[1]), float(colour[2])


def _inner_lip(atlas: Atlas) -> Array:
    """0..1 [TILE, 2 TILE]: the inside of the lips, which a photo with closed lips doesn't show."""
    y, z = atlas.rest[..., 1], atlas.rest[..., 2]
    x = atlas.rest[..., 0]
    near = (np.abs(x) < 2.6) & (np.abs(y + 3.4) < 1.6)
    inside = np.clip((0.55 - atlas.openness) / 0.15, 0, 1) * near * (z > 6)
    return np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.0), np.float32)


def blend_skins(skins: list[BakedSkin], rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Colour [TILE, TILE, 3], trust [TILE, TILE], tone [3], lip [3]: shares vary over the face and none is 1. Detail
    keeps its strength, so that the mean of several skins isn't smoother than skin."""
    shares = np.stack(list(_shares(len(skins), rng)))
    mean = rng.dirichlet(np.full(len(skins), 2.0)) * 0.7 + 0.3 / len(skins)
    tone = np.exp(sum(m * np.log(s.tone) for m, s in zip(mean, skins, strict=True))) * rng.uniform(0.85, 1.15)
    lip = np.exp(sum(m * np.log(s.lip / s.tone) for m, s in zip(mean, skins, strict=True))) * tone
    low, detail, trust = 0.0, 0.0, 0.0
    for share, skin in zip(shares, skins, strict=True):
        relative = np.log(skin.albedo.clip(1e-4) / skin.tone)
        relative = np.clip(relative, -2.2, 0.28)
        held = relative * skin.trust[..., None]
        broad = cv2.GaussianBlur(held, (0, 0), 5) / (cv2.GaussianBlur(skin.trust, (0, 0), 5)[..., None] + 1e-3)
        low = low + share[..., None] * broad * skin.trust[..., None]
        detail = detail + share[..., None] * (relative - broad) * skin.trust[..., None]
        trust = trust + share * skin.trust
    gain = 1 / np.sqrt((shares**2).sum(0))[..., None]
    safe = np.asarray(trust)[..., None].clip(0.05)
    colour = tone * np.exp((low + gain * 0.9 * detail) / safe)
    return (np.asarray(colour, np.float32), np.asarray(trust, np.float32), np.asarray(tone, np.float32),
            np.asarray(lip, np.float32))  # fmt: skip


def _shares(count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Smooth shares [TILE, TILE] that add up to 1, each below 0.85 everywhere."""
    fields = []
    for _ in range(count):
        field = cv2.GaussianBlur(rng.standard_normal((TILE_PX, TILE_PX)).astype(np.float32), (0, 0), TILE_PX / 9)
        fields.append(0.9 * field / field.std() + rng.normal(0, 0.5))
    weights = np.exp(np.stack(fields))
    shares = weights / weights.sum(0)
    floor = 0.3 / count
    yield from (floor + (1 - 0.3) * shares).astype(np.float32)
