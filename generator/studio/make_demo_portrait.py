"""Makes the demo identity: a person who does not exist, from the rig and random numbers alone.

    python -m generator.studio.make_demo_portrait --rig FOLDER --out vasari/demo/portrait.png

The shape is a random draw of the rig's identity space, the colours are procedural, hair, brows and lashes are
strands. No photograph of anybody enters. The same seed gives the same picture.
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from generator.rig_fit import HEAD_CENTRE
from generator.studio.procedural_skin import Complexion, Noise3D, eye_colour, skin_colour
from generator.studio.rig_mesh import Material, Region, RigMesh, rotation
from generator.studio.still_renderer import Camera, ambient_occlusion, rasterise, scatter, soft_shadow
from generator.studio.strand_hair import Strands, draw, grow_brow, grow_hair, grow_lashes, scalp_weight

Array = NDArray[np.float32]

OVERSAMPLING = 2
FOV_DEG = 26.0
KEY_LIGHT = np.array([0.55, 0.62, 1.0], np.float32)
FILL_LIGHT = np.array([-1.0, 0.15, 0.7], np.float32)
RIM_LIGHT = np.array([-0.9, 0.5, -0.5], np.float32)
DRAWN = (Material.SKIN, Material.BACK_HEAD, Material.SCLERA_L, Material.IRIS_L, Material.SCLERA_R, Material.IRIS_R)
PEOPLE = Complexion(
    base=(0.50, 0.285, 0.195), lip=(0.40, 0.155, 0.125), hair=(0.055, 0.032, 0.020), iris=(0.085, 0.045, 0.020)
)


class Portrait:
    """One person in front of the camera; `picture()` lights and paints them."""

    def __init__(self, rig: RigMesh, complexion: Complexion, size_px: int, seed: int) -> None:
        self.rig, self.complexion, self.rng = rig, complexion, np.random.default_rng(seed)
        identity = self.rng.normal(0, 0.75, 60).astype(np.float32)
        closed = rig.weights(mouthPress=0.30, mouthSmile=0.10, mouthShrugLower=0.05, eyeSquint=0.08, browInnerUp=0.05)
        v = rig.vertices(identity, closed)
        self.v = ((v - HEAD_CENTRE) @ rotation(-3.0, 1.0, 1.0).T + HEAD_CENTRE).astype(np.float32)
        self.normals = rig.normals(self.v)
        self.camera = Camera(size_px * OVERSAMPLING, (0.0, -1.6, 2.0), 84.0, FOV_DEG)
        drawn = np.isin(rig.material, DRAWN)
        self.faces = rig.faces[drawn].astype(np.int32)
        self.material = rig.material[drawn]
        self.px_per_cm = self.camera.size_px / (2 * 82 * np.tan(np.radians(FOV_DEG) / 2))
        self.noise = Noise3D(self.rng)
        self.surface = rasterise(self.camera.project(self.v), self.faces, self.camera.size_px)

    def picture(self) -> NDArray[np.uint8]:
        """uint8 RGB [size, size, 3]."""
        surface, seen = self.surface, self.surface.covered
        normal = surface.interpolate(self.faces, self.normals)
        normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-6
        rest = surface.interpolate(self.faces, self.rig.neutral)
        position = surface.interpolate(self.faces, self.v)
        normal[seen] += 0.035 * self._bumps(rest[seen])
        normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-6
        eyes = seen & np.isin(self._per_pixel(self.material), (4, 5, 6, 7))
        albedo = self._albedo(rest, position, eyes)
        shadow = soft_shadow(self.v, self.faces, position, KEY_LIGHT)
        sky = ambient_occlusion(surface.depth, seen, self.px_per_cm)
        sky[eyes] = np.minimum(sky[eyes], 0.75)
        light = self._light(normal, shadow, sky)
        skin = (seen & ~eyes).astype(np.float32)
        light = scatter(light, skin, self.px_per_cm)
        colour = albedo * light + self._shine(normal, shadow, sky, eyes, position)[..., None]
        behind = self._background()
        alpha = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 0.8)[..., None]
        body = _srgb(np.where(seen[..., None], colour, cv2.blur(colour, (5, 5)) * 1.4))
        canvas = (behind * (1 - alpha) + body * 255 * alpha).astype(np.uint8)
        dressed = self._paint_hair(self._dress(canvas))
        return cv2.resize(dressed, None, fx=1 / OVERSAMPLING, fy=1 / OVERSAMPLING, interpolation=cv2.INTER_AREA)

    def _per_pixel(self, of_face: NDArray[np.uint8]) -> NDArray[np.int32]:
        return np.where(self.surface.covered, of_face[self.surface.triangle], -1).astype(np.int32)

    def _bumps(self, rest: Array) -> Array:
        return np.stack([self.noise(rest + 31 * k, 8.0) + 0.6 * self.noise(rest + 17 * k, 3.0) for k in range(3)], 1)

    def _albedo(self, rest: Array, position: Array, eyes: NDArray[np.bool_]) -> Array:
        seen = self.surface.covered
        albedo = np.zeros_like(rest)
        albedo[seen] = skin_colour(rest[seen], self.complexion, self.noise)
        lips = self._lip_mask()
        texture = 1 + 0.05 * self.noise(rest[seen] * [3.0, 0.7, 1.0] + 41, 2.2)[:, None]
        lip = np.array(self.complexion.lip, np.float32) * texture
        albedo[seen] = albedo[seen] * (1 - lips[seen][:, None]) + lip * lips[seen][:, None]
        scalp = self.surface.interpolate(self.faces, self._scalp()[:, None])[..., 0]
        stubble = (0.75 * scalp)[..., None]
        hair = np.array(self.complexion.hair, np.float32)
        albedo = np.asarray(albedo * (1 - stubble) + hair * 1.2 * stubble, np.float32)
        for side in (0, 1):
            centre = self.rig.eye_centre(self.v, side).astype(np.float32)
            near = eyes & ((position[..., 0] > 0) == (side == 0))
            albedo[near] = eye_colour(position[near] - centre, self.complexion, self.noise)
        return albedo

    def _scalp(self) -> Array:
        return scalp_weight(self.rig.neutral, self.rig.region <= Region.HEAD_NECK)

    def _lip_mask(self) -> Array:
        outline = self.camera.project(self.v[self.rig.landmarks68[48:60]])[:, :2]
        smooth = _closed_curve(outline)
        mask = np.zeros(self.surface.depth.shape, np.float32)
        cv2.fillPoly(mask, [np.round(smooth * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.09 * self.px_per_cm), np.float32)

    def _light(self, normal: Array, shadow: Array, sky: Array) -> Array:
        key = _wrapped(normal, KEY_LIGHT, 0.15) * (0.25 + 0.75 * shadow)
        fill = _wrapped(normal, FILL_LIGHT, 0.35)
        rim = _wrapped(normal, RIM_LIGHT, 0.0)
        above = 0.5 + 0.5 * normal[..., 1]
        parts = (
            (key, (1.30, 1.24, 1.16)),
            (fill * sky, (0.34, 0.37, 0.42)),
            (rim * sky, (0.25, 0.25, 0.27)),
            (sky * (0.35 + 0.65 * above), (0.32, 0.34, 0.38)),
            (sky * (1 - above), (0.10, 0.08, 0.07)),
        )
        return np.asarray(sum(amount[..., None] * np.array(tint, np.float32) for amount, tint in parts), np.float32)

    def _shine(self, normal: Array, shadow: Array, sky: Array, eyes: NDArray[np.bool_], position: Array) -> Array:
        def lobe(n: Array, light: Array, gloss: float) -> Array:
            half = light / np.linalg.norm(light) + np.array([0, 0, 1], np.float32)
            half = half / np.linalg.norm(half)
            return np.asarray(np.clip(n @ half, 0, 1) ** gloss, np.float32)

        oily = 0.035 * lobe(normal, KEY_LIGHT, 18) + 0.03 * lobe(normal, KEY_LIGHT, 60)
        oily = oily + 0.012 * lobe(normal, FILL_LIGHT, 20)
        lips = self._lip_mask()
        out = (oily * (1 - lips) + lips * (0.05 * lobe(normal, KEY_LIGHT, 40))) * (0.3 + 0.7 * shadow) * sky
        ball = np.zeros_like(normal)
        for side in (0, 1):
            centre = self.rig.eye_centre(self.v, side).astype(np.float32)
            near = eyes & ((position[..., 0] > 0) == (side == 0))
            n = position[near] - centre
            ball[near] = n / (np.linalg.norm(n, axis=1, keepdims=True) + 1e-6)
        window = 0.9 * lobe(ball, np.array([0.35, 0.55, 1.0], np.float32), 700)
        return np.asarray(np.where(eyes, window + 0.02 * lobe(ball, FILL_LIGHT, 60), out), np.float32)

    def _background(self) -> Array:
        size = self.camera.size_px
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
        glow = np.exp(-((x - 0.12) ** 2 + (y + 0.05) ** 2) / 0.28)
        cloth = cv2.GaussianBlur(self.rng.standard_normal((size, size)).astype(np.float32), (0, 0), size / 14)
        cloth /= cloth.std()
        shade = 0.80 + 0.24 * glow - 0.10 * y + 0.012 * cloth
        return np.asarray(np.clip(np.array([138, 147, 158], np.float32) * shade[..., None], 0, 255), np.float32)

    def _dress(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A plain crew-neck sweater over the bust, with shoulders that reach the edge of the picture."""
        size = self.camera.size_px
        neck = self.camera.project(np.array([[-6.5, -10.7, 1.5], [0, -15.0, 6.0], [6.5, -10.7, 1.5]], np.float32))
        left, throat, right = neck[:, :2]
        t = np.linspace(0, 1, 60)[:, None]
        control = throat + (throat - (left + right) / 2) * 0.9
        collar = (1 - t) ** 2 * left + 2 * t * (1 - t) * control + t**2 * right
        slope = np.linspace(0, 1, 40)[:, None]
        drop, reach = 0.125 * size, 0.42 * size
        right_shoulder = right + slope * [reach, 0] + slope**1.25 * [0, drop]
        left_shoulder = left - slope * [reach, 0] + slope**1.25 * [0, drop]
        outline = np.concatenate([collar, right_shoulder, [[size, size], [0, size]], left_shoulder[::-1]])
        mask = np.zeros((size, size), np.float32)
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        across = (x - throat[0]) / (0.45 * size)
        form = 0.55 + 0.45 * np.clip(0.72 + 0.42 * across - 0.85 * across**2, 0, 1.3)
        ribs = 1 + 0.05 * np.sin(x * 0.9) * np.sin(y * 0.45 + np.sin(x * 0.45))
        folds = cv2.GaussianBlur(self.rng.standard_normal((size, size)).astype(np.float32), (0, 0), size / 26)
        to_edge = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        rim = np.clip(to_edge / (0.02 * size), 0, 1)
        shade = form * ribs * (1 + 0.06 * folds / folds.std()) * (0.72 + 0.28 * rim)
        near_collar = np.zeros((size, size), np.uint8)
        width = round(0.026 * size)
        cv2.polylines(
            near_collar,
            [np.round(collar + np.array([0, width * 0.55])).astype(np.int32)],
            False,
            255,
            width,
            cv2.LINE_AA,
        )
        band = near_collar.astype(np.float32)[..., None] / 255 * mask[..., None]
        knit = 1 + 0.09 * np.sin((x + 0.3 * y) * 0.75)
        cloth = np.array([44, 62, 84], np.float32) * shade[..., None]
        cloth = cloth * (1 - band) + np.array([52, 72, 97], np.float32) * (form * knit)[..., None] * band
        soft = cv2.GaussianBlur(mask, (0, 0), 1.2)[..., None]
        cast = cv2.GaussianBlur(np.roll(mask, -round(0.006 * size), 0), (0, 0), 0.008 * size)[..., None] * (1 - soft)
        cast = cast * self.surface.covered[..., None]
        skin = canvas.astype(np.float32) * (1 - 0.45 * cast)
        return (skin * (1 - soft) + cloth.clip(0, 255) * soft).astype(np.uint8)

    def _paint_hair(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        colour = np.array(self.complexion.hair, np.float32)
        light, rng = KEY_LIGHT, self.rng
        lm = self.v[self.rig.landmarks68]
        normal = self.normals[self.rig.landmarks68]
        hair = grow_hair(self.v, self.normals, self._scalp(), 42_000, rng, part_x=2.6)
        canvas = self._stroke(canvas, hair, colour * 2.2, light, shadow_cm=0.35)
        for ids, outwards in ((range(21, 16, -1), -1.0), (range(22, 27), 1.0)):
            line, n = lm[list(ids)], normal[list(ids)]
            canvas = self._stroke(
                canvas, grow_brow(line, n, 420, rng, outwards=outwards), colour * 1.9, light, blend=0.8
            )
        for upper, lower, outwards in (
            ((39, 38, 37, 36), (39, 40, 41, 36), -1.0),
            ((42, 43, 44, 45), (42, 47, 46, 45), 1.0),
        ):
            dark = np.array([0.012, 0.009, 0.008], np.float32)
            for edge, count, is_upper in ((upper, 90, True), (lower, 36, False)):
                lashes = grow_lashes(lm[list(edge)], count, rng, outwards=outwards, upper=is_upper)
                canvas = self._stroke(canvas, lashes, dark, light, blend=0.6 if is_upper else 0.25)
        return canvas

    def _stroke(
        self, canvas: NDArray[np.uint8], strands: Strands, colour: Array, light: Array, *, blend: float = 1.0,
        shadow_cm: float = 0.0,
    ) -> NDArray[np.uint8]:  # fmt: skip
        painted, cover = canvas.copy(), np.zeros(canvas.shape[:2], np.uint8)
        draw(painted, cover, strands, self.camera, self.surface.depth, colour=colour, light=light)
        under = canvas.astype(np.float32)
        if shadow_cm:
            reach = shadow_cm * self.px_per_cm
            dark = cv2.GaussianBlur(np.roll(cover, round(reach * 0.8), 0), (0, 0), reach).astype(np.float32) / 255
            inside = cv2.GaussianBlur(self.surface.covered.astype(np.float32), (0, 0), 1.0)
            under *= 1 - 0.55 * (dark * inside)[..., None]
        share = blend * (cover[..., None] > 0)
        return (under * (1 - share) + painted * share).astype(np.uint8)


def _wrapped(normal: Array, light: Array, wrap: float) -> Array:
    return np.asarray(np.clip((normal @ (light / np.linalg.norm(light)) + wrap) / (1 + wrap), 0, None), np.float32)


def _srgb(linear: Array) -> Array:
    x = np.clip(linear, 0, None)
    x = x * (1 + x / 2.2) / (1 + x)  # soft shoulder
    x = np.clip(x, 0, 1)
    return np.asarray(np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055), np.float32)


def _closed_curve(points: Array, per_side: int = 8) -> Array:
    """Catmull-Rom through closed `points` [N, 2]."""
    a, b, c, d = (np.roll(points, k, 0)[:, None] for k in (1, 0, -1, -2))
    t = (np.arange(per_side) / per_side)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2), np.float32)


@click.command(help=__doc__)
@click.option("--rig", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="Rig folder.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="PNG to write.")
@click.option("--seed", default=11, show_default=True, help="Another seed is another person.")
@click.option("--size", "size_px", default=768, show_default=True, help="Side in pixels.")
def main(rig: Path, out: Path, seed: int, size_px: int) -> None:
    portrait = Portrait(RigMesh(rig), PEOPLE, size_px, seed).picture()
    temporary = out.with_suffix(".part.png")
    if not cv2.imwrite(str(temporary), np.ascontiguousarray(portrait[..., ::-1])):
        raise click.ClickException(f"{temporary} can't be written")
    temporary.replace(out)
    click.echo(f"{out}: seed {seed}, {size_px}x{size_px}")


if __name__ == "__main__":
    main()
