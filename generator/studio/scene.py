"""One take's person, light and background, drawn frame by frame with exact labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.rig import EXPRESSION_INDEX
from generator.rig_fit import FOCAL
from generator.studio import lighting
from generator.studio.hair_points import HairPoints
from generator.studio.head_model import Posed, StudioHead, to_pixels
from generator.studio.props import Glasses, Mesh, Neckline
from generator.studio.rasteriser import Surface, rasterise, splat
from generator.studio.rig_mesh import Region
from generator.studio.skin_atlas import sample_atlas

EYE_MAP_CM = 1.7  # half side of the picture of an eyeball


class Label(IntEnum):
    """Of a pixel."""

    BACKGROUND, FACE, MOUTH_INTERIOR, EYEBALL, HAIR, HEAD_SKIN, CLOTHES, HIDDEN, GLASSES = range(9)


class AtlasMap(IntEnum):
    """Channels of a person's skin maps: linear colour, cover of lips and of painted hair, heights in cm (static,
    then those of `wrinkle_heights`), whether the texel counts as face, baked occlusion."""

    RED, GREEN, BLUE, LIP, HAIR, STATIC, BROW_UP, BROW_DOWN, SMILE, SQUINT, CHIN, FACE, OPEN = range(13)


_WRINKLE_DRIVERS: tuple[tuple[tuple[str, float], ...], ...] = (
    (("browInnerUp", 0.6), ("browOuterUp", 0.6)),
    (("browDown", 0.9), ("noseSneer", 0.3)),
    (("mouthSmile", 0.8), ("noseSneer", 0.4), ("mouthUpperUp", 0.35), ("mouthDimple", 0.3)),
    (("cheekSquint", 0.5), ("mouthSmile", 0.35), ("eyeSquint", 0.35), ("eyeBlink", 0.15)),
    (("mouthShrugLower", 0.9), ("mouthFrown", 0.4)),
)


@dataclass(frozen=True)
class Person:
    """What stays the same over the takes of a person. Colours are linear RGB."""

    head: StudioHead
    skin: Tensor  # [13, TILE, 2 TILE], see AtlasMap
    eye: Tensor  # [3, E, E], seen along the eye's axis, +- EYE_MAP_CM
    hair: HairPoints | None
    hair_colour: Tensor  # [3]
    fur: HairPoints | None  # beard and lashes, tied to vertices
    fur_colour: Tensor  # [N, 3] per point of `fur`
    bust: Mesh
    glasses: Glasses | None
    neckline: Neckline
    wrinkles: float
    oiliness: float


@dataclass(frozen=True)
class Setting:
    """What stays the same over the frames of a take."""

    light: lighting.Light
    background: Tensor  # [size, size, 3] display values 0..1
    cloth_colour: Tensor  # [3] linear
    cloth_pattern: float
    size_px: int
    oversampling: float


@dataclass(frozen=True)
class Moment:
    """What a frame shows: weights [53], rotation [3, 3], translation [3] cm, of the body too, gaze [2] degrees."""

    expression: Tensor
    rotation: Tensor
    translation: Tensor
    body_rotation: Tensor
    body_translation: Tensor
    gaze_deg: Tensor


@dataclass(frozen=True)
class Frame:
    """rgb uint8 [S, S, 3]; mask uint8 [S, S]; landmarks float32 [478, 2] px; visible uint8 [478]."""

    rgb: Tensor
    mask: Tensor
    landmarks: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Layers:
    """A frame being painted: picture [3, R, R] linear, times cover [R, R] 0..1; label [R, R]; z_buffer [R, R] cm."""

    picture: Tensor
    cover: Tensor
    label: Tensor
    z_buffer: Tensor


class Stage:
    """Draws the moments of one take."""

    def __init__(self, person: Person, setting: Setting) -> None:
        self.person, self.setting = person, setting
        self.rig = rig = person.head.rig
        self.device = rig.device
        self.size_px = round(setting.size_px * setting.oversampling)
        n = len(rig.render_vertex)
        meshes = [(person.bust, person.bust.normals())]
        if person.glasses is not None:
            meshes.append((person.glasses.frame, person.glasses.frame.normals()))
        self.prop_v = [self._tensor(mesh.v) for mesh, _ in meshes]
        self.prop_n = [self._tensor(normals) for _, normals in meshes]
        faces, kind = [rig.render_faces], [rig.face_region]
        for mesh, code in zip((m for m, _ in meshes), (100, 101), strict=False):
            faces.append(torch.from_numpy(mesh.faces).to(self.device) + n)
            kind.append(torch.full((len(mesh.faces),), code, device=self.device))
            n += len(mesh.v)
        self.faces, self.kind = torch.cat(faces), torch.cat(kind)
        self.cull = self.kind != 100  # a garment has an inside
        props = sum(len(v) for v in self.prop_v)
        static = torch.cat([rig.neutral[rig.render_vertex], rig.uv], 1)
        self.static = torch.cat([static, static.new_zeros(props, 5)])
        shadow_kinds = (self.kind <= Region.HEAD_NECK) | (self.kind >= 100)
        self.shadow_faces = self.faces[shadow_kinds]
        background = setting.background.permute(2, 0, 1)[None]
        side = (self.size_px, self.size_px)
        self.background = F.interpolate(background, size=side, mode="bilinear", align_corners=False)[0]

    def _tensor(self, a: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(self.device)

    def draw(self, moment: Moment) -> Frame:
        person, size = self.person, self.size_px
        body = (moment.body_rotation, moment.body_translation)
        posed = person.head.pose(moment.expression, moment.rotation, moment.translation, body, moment.gaze_deg)
        points, normals = self._assemble(posed, moment)
        surface = rasterise(to_pixels(points, size), self.faces, size, cull=self.cull)
        rows, hair = self._place_hair(moment)
        fur = self._place_fur(posed, moment)
        shade = _Shading(self, moment, posed, points, normals, surface, hair)
        layers = Layers(shade.picture, (shade.label != Label.BACKGROUND).float(), shade.label, surface.z_buffer.clone())
        if fur is not None and person.fur is not None:
            self._paint(layers, fur, shade, person.fur, person.fur_colour, lift_cm=0.12, fine=(0.18, 0.35))
        if hair is not None and person.hair is not None:
            own = person.hair_colour.expand(1, 3)
            self._paint(layers, hair, shade, person.hair, own, rows=rows, lift_cm=0.25, fine=(0.25, 0.55))
        if person.glasses is not None:
            self._paint_lenses(layers.picture, layers.z_buffer, moment)
        linear = layers.picture / layers.cover.clamp(min=1e-3)
        rgb = lighting.tone(linear * self.setting.light.exposure)
        rgb = self.background + layers.cover * (rgb - self.background)
        return self._finish(rgb, layers.label, posed, layers.z_buffer)

    def _assemble(self, posed: Posed, moment: Moment) -> tuple[Tensor, Tensor]:
        rig = self.rig
        v, n = [posed.v[rig.render_vertex]], [posed.normals[rig.render_vertex]]
        turns = [(moment.body_rotation, moment.body_translation), (moment.rotation, moment.translation)]
        for mesh_v, mesh_n, (turn, shift) in zip(self.prop_v, self.prop_n, turns, strict=False):
            v.append(mesh_v @ turn.T + shift)
            n.append(mesh_n @ turn.T)
        return torch.cat(v), torch.cat(n)

    def _place_hair(self, moment: Moment) -> tuple[Tensor | None, Tensor | None]:
        """Rows of the hair that may be seen, and where these points are in the camera."""
        if self.person.hair is None:
            return None, None
        view = -moment.translation @ moment.rotation
        rows = self.person.hair.towards(view / view.norm())
        return rows, self.person.hair.points[rows] @ moment.rotation.T + moment.translation

    def _place_fur(self, posed: Posed, moment: Moment) -> Tensor | None:
        fur, head = self.person.fur, self.person.head
        if fur is None:
            return None
        at_rest = fur.points - head.base[fur.anchor]
        return posed.v[fur.anchor] + at_rest @ moment.rotation.T

    def _paint(
        self, layers: Layers, at: Tensor, shade: _Shading, hair: HairPoints, colour: Tensor, *,
        rows: Tensor | None = None, lift_cm: float, fine: tuple[float, float],
    ) -> None:  # fmt: skip
        """Draw points `at` [n, 3] of `hair` (its `rows`). fine: how much a pixel of hair hides, at least and per
        point around it: one strand is finer than a pixel, many are opaque. Changes `layers`."""
        px = to_pixels(at, self.size_px)
        px[:, 2] -= lift_cm
        pixel, which = splat(px, layers.z_buffer)
        if len(pixel) == 0:
            return
        row = which if rows is None else rows[which]
        lit = shade.shadow.lit(at[which])
        tangent = hair.tangent[row] @ shade.moment.rotation.T
        out = F.normalize(at[which] - shade.moment.translation, dim=1)
        own = colour[row] if len(colour) > 1 else colour
        value = lighting.strand_light(self.setting.light, tangent, out, lit, own, hair.shade[row], hair.open[row])
        thick = (fine[0] + fine[1] * self._density(px)[pixel]).clamp(max=1)
        picture, cover = layers.picture.view(3, -1), layers.cover.view(-1)
        picture[:, pixel] += thick * (value.T - picture[:, pixel])
        cover[pixel] += thick * (1 - cover[pixel])
        solid = thick > 0.5
        layers.label.view(-1)[pixel[solid]] = Label.HAIR
        layers.z_buffer.view(-1)[pixel[solid]] = px[which[solid], 2]

    def _density(self, px: Tensor) -> Tensor:
        """[R * R] points per pixel, mean over 3 x 3."""
        size = self.size_px
        column, row = px[:, 0].long().clamp(0, size - 1), px[:, 1].long().clamp(0, size - 1)
        count = torch.zeros(size * size, device=px.device)
        count.index_add_(0, row * size + column, torch.ones_like(px[:, 0]))
        return F.avg_pool2d(count.view(1, 1, size, size), 3, stride=1, padding=1).view(-1)

    def _paint_lenses(self, picture: Tensor, z_buffer: Tensor, moment: Moment) -> None:
        glasses = self.person.glasses
        assert glasses is not None
        v = self._tensor(glasses.lens.v) @ moment.rotation.T + moment.translation
        faces = torch.from_numpy(glasses.lens.faces).to(self.device)
        surface = rasterise(to_pixels(v, self.size_px), faces, self.size_px)
        before = surface.depth < z_buffer.view(-1)[surface.pixel]
        pixel = surface.pixel[before]
        if len(pixel) == 0:
            return
        normals = self._tensor(glasses.lens.normals()) @ moment.rotation.T
        n = F.normalize(surface.interpolate(faces, normals)[before], dim=1)
        view = F.normalize(-surface.interpolate(faces, v)[before], dim=1)
        light = self.setting.light
        mirror = 2 * (n * view).sum(1, keepdim=True) * n - view
        up = (0.5 + 0.5 * mirror[:, 1:2]).clamp(0, 1)
        glare = 0.02 * up * light.sky_colour + 0.35 * lighting.lobe(n, light.key, view, 60)[:, None] * light.key_colour
        glare = glare * (0.2 + glasses.gloss)
        tint = torch.tensor(glasses.tint, device=self.device)
        flat = picture.view(3, -1)
        flat[:, pixel] = flat[:, pixel] * (0.95 * tint)[:, None] + glare.T

    def _finish(self, rgb: Tensor, label: Tensor, posed: Posed, z_buffer: Tensor) -> Frame:
        size = self.setting.size_px
        small = lighting.shrink(rgb, size)
        ratio = self.size_px / size
        at = ((torch.arange(size, device=self.device) + 0.5) * ratio).floor().long()
        points = self.person.head.landmarks(posed)
        px = to_pixels(points, self.size_px)
        far = F.max_pool2d(z_buffer.clamp(max=1e4)[None, None], 3, stride=1, padding=1)[0, 0]
        column, row = px[:, 0].floor().long(), px[:, 1].floor().long()
        inside = (column >= 0) & (row >= 0) & (column < self.size_px) & (row < self.size_px)
        column, row = column.clamp(0, self.size_px - 1), row.clamp(0, self.size_px - 1)
        visible = inside & (px[:, 2] < far[row, column] + 0.35)
        facing = (posed.normals[self.rig.landmark_vertex] * -points[:468]).sum(1) > 0
        visible[:468] &= facing
        visible[468:] &= label[row, column][468:] == Label.EYEBALL
        rgb8 = (small.permute(1, 2, 0) * 255 + 0.5).clamp(0, 255).to(torch.uint8)
        return Frame(rgb8, label[at][:, at].to(torch.uint8), px[:, :2] / ratio, visible.to(torch.uint8))


class _Shading:
    """Deferred shading of one frame: linear `picture` [3, R, R], `label` [R, R]."""

    def __init__(
        self, stage: Stage, moment: Moment, posed: Posed, points: Tensor, normals: Tensor, surface: Surface,
        hair: Tensor | None,
    ) -> None:  # fmt: skip
        self.stage, self.moment, self.posed, self.surface = stage, moment, posed, surface
        size, light = stage.size_px, stage.setting.light
        self.px_per_cm = FOCAL * 0.5 * size / float(-moment.translation[2])
        self.shadow = lighting.ShadowMap(
            light, moment.translation, points, stage.shadow_faces, None if hair is None else hair[::3]
        )
        table = torch.cat([stage.static, normals], 1)
        values = surface.interpolate(stage.faces, table)
        self.rest, self.uv, self.normal = values[:, :3], values[:, 3:5], F.normalize(values[:, 5:8], dim=1)
        self.kind = stage.kind[surface.triangle]
        self.position = self._unproject(size)
        self.view = F.normalize(-self.position, dim=1)
        skin = (self.kind <= Region.HEAD_NECK) | (self.kind == Region.SOCKET_L) | (self.kind == Region.SOCKET_R)
        self.eye = (self.kind == Region.EYEBALL_L) | (self.kind == Region.EYEBALL_R)
        self.inner = (self.kind == Region.MOUTH_SOCKET) | (self.kind == Region.GUMS) | (self.kind == Region.TEETH)
        self.maps = sample_atlas(stage.person.skin, self.uv)
        self.cloth = (self.kind == 100) | (skin & self._under_cloth())
        self.skin = skin & ~self.cloth
        label = self._labels()
        self.label = surface.image(label.to(torch.int64), Label.BACKGROUND)
        sky = lighting.ambient_occlusion(surface.z_buffer, self.px_per_cm).view(-1)[surface.pixel]
        self.picture = self._shade(light, sky)

    def _unproject(self, size: int) -> Tensor:
        surface = self.surface
        k = surface.depth * (2 / (FOCAL * size))
        x = ((surface.pixel % size) + 0.5 - size / 2) * k
        y = (size / 2 - (surface.pixel // size) - 0.5) * k
        return torch.stack([x, y, -surface.depth], 1)

    def _under_cloth(self) -> Tensor:
        line = self.stage.person.neckline
        x, y, z = self.rest[:, 0], self.rest[:, 1] + 1.0, self.rest[:, 2] + 2.0
        v = line.deep * (1 - x.abs() / line.half_width).clamp(0, 1) * (z > -1)
        return y < line.height - line.rise * z - v

    def _labels(self) -> Tensor:
        maps = self.maps
        label = torch.where(maps[:, AtlasMap.FACE] > 0.5, int(Label.FACE), int(Label.HEAD_SKIN))
        label = torch.where(maps[:, AtlasMap.HAIR] > 0.45, int(Label.HAIR), label)
        label = torch.where(self.cloth, int(Label.CLOTHES), label)
        label = torch.where(self.eye, int(Label.EYEBALL), label)
        label = torch.where(self.inner, int(Label.MOUTH_INTERIOR), label)
        return torch.where(self.kind == 101, int(Label.GLASSES), label)

    def _shade(self, light: lighting.Light, sky: Tensor) -> Tensor:
        surface = self.surface
        albedo = self.maps[:, : AtlasMap.BLUE + 1].clone()
        normal = self._bumped()
        own_open = torch.where(self.skin, self.maps[:, AtlasMap.OPEN], torch.ones_like(sky))
        sky = sky * own_open
        gloss = torch.where(self.skin, 1.0, 0.0) * self.stage.person.oiliness
        self._dress(albedo)
        lit = self.shadow.lit(self.position) * own_open.clamp(min=0.0) ** 0.5
        inner_light = self._mouth(albedo, normal)
        sharp_eye = self._eyes(albedo, normal)
        soft = torch.where(self.skin, 0.22, 0.10)
        key = ((normal @ light.key + soft) / (1 + soft)).clamp(min=0) * (0.06 + 0.94 * lit)
        fill = lighting.wrapped(normal, light.fill, 0.35) * sky
        rim = lighting.wrapped(normal, light.rim, 0.0) * sky
        above = 0.5 + 0.5 * normal[:, 1]
        ambient = (sky * (0.35 + 0.65 * above))[:, None] * light.sky_colour
        ambient = ambient + (sky * (1 - above))[:, None] * light.ground_colour
        total = key[:, None] * light.key_colour + fill[:, None] * light.fill_colour
        total = (total + rim[:, None] * light.rim_colour + ambient) * inner_light[:, None]
        spread = surface.image(total).permute(2, 0, 1)
        mask = surface.image(self.skin.float())
        spread = lighting.scatter(spread, mask, self.px_per_cm)
        total = spread.view(3, -1)[:, surface.pixel].T
        shine = self._shine(light, normal, lit, sky, gloss) * inner_light[:, None] + sharp_eye
        return surface.image(albedo * total + shine).permute(2, 0, 1).contiguous()

    def _bumped(self) -> Tensor:
        """Normals with wrinkles: the height's slope in the picture, after Mikkelsen 2010."""
        person, weights = self.stage.person, self.moment.expression
        height = self.maps[:, AtlasMap.STATIC].clone()
        for channel, drivers in enumerate(_WRINKLE_DRIVERS):
            amount = 0.0
            for name, gain in drivers:
                sides = (name,) if name in EXPRESSION_INDEX else (f"{name}_L", f"{name}_R")
                amount += gain * sum(float(weights[EXPRESSION_INDEX[s]]) for s in sides) / len(sides)
            amount = min(amount, 1.0) * person.wrinkles
            if amount > 0.02:
                height += amount * self.maps[:, AtlasMap.BROW_UP + channel]
        height = torch.where(self.skin, height, torch.zeros_like(height))
        image = self.surface.image(height)
        on_skin = self.surface.image(self.skin.float())
        slope = image.new_zeros(2, *image.shape)
        both_x, both_y = on_skin[:, 2:] * on_skin[:, :-2], on_skin[2:] * on_skin[:-2]
        slope[0, :, 1:-1] = (image[:, 2:] - image[:, :-2]) * 0.5 * self.px_per_cm * both_x
        slope[1, 1:-1] = (image[:-2] - image[2:]) * 0.5 * self.px_per_cm * both_y
        g = slope.view(2, -1)[:, self.surface.pixel].T.clamp(-0.9, 0.9)
        steep = self.normal[:, 2:3].clamp(0, 1)
        tilt = torch.cat([g, torch.zeros_like(g[:, :1])], 1) * steep
        return F.normalize(self.normal - tilt, dim=1)

    def _dress(self, albedo: Tensor) -> None:
        setting = self.stage.setting
        at = self.position[self.cloth]
        knit = 1 + setting.cloth_pattern * torch.sin(at[:, 0] * 9) * torch.sin(at[:, 1] * 9)
        albedo[self.cloth] = setting.cloth_colour * knit[:, None]
        frame = self.kind == 101
        if self.stage.person.glasses is not None:
            albedo[frame] = torch.tensor(self.stage.person.glasses.colour, device=albedo.device)

    def _mouth(self, albedo: Tensor, normal: Tensor) -> Tensor:
        """Colours of the mouth's inside and the light that reaches it: little behind the lips. [P] factor."""
        inside = self.inner
        factor = torch.ones_like(self.position[:, 0])
        if not bool(inside.any()):
            return factor
        z = self.rest[:, 2] + 2.0
        depth = ((z - 4.5) / 6.0).clamp(0, 1)
        opening = self.surface.image(inside.float())[None]
        wide = lighting.blur(opening, 0.55 * self.px_per_cm)[0]
        near = lighting.blur(opening, 0.22 * self.px_per_cm)[0]
        shift = max(1, round(0.22 * self.px_per_cm))
        under_lip = F.pad(near[None], (0, 0, shift, 0))[0, : near.shape[0]]
        reach = (0.06 + 1.05 * wide**0.65 * (0.3 + 0.7 * under_lip)).clamp(0, 1).view(-1)[self.surface.pixel]
        gums = torch.tensor([0.42, 0.115, 0.105], device=albedo.device)
        teeth = torch.tensor([0.74, 0.67, 0.53], device=albedo.device)
        socket = torch.tensor([0.26, 0.05, 0.045], device=albedo.device)
        for region, colour in ((Region.MOUTH_SOCKET, socket), (Region.GUMS, gums), (Region.TEETH, teeth)):
            albedo[self.kind == region] = colour
        fade = torch.where(self.kind == Region.TEETH, 0.12 + 0.88 * depth**1.6, 0.06 + 0.80 * depth**2)
        return torch.where(inside, reach * fade, factor)

    def _eyes(self, albedo: Tensor, normal: Tensor) -> Tensor:
        """Colours of the eyeballs, their normals and highlights [P, 3]; the upper lid shades the ball."""
        shine = torch.zeros_like(albedo)
        light = self.stage.setting.light
        for side, region in ((0, Region.EYEBALL_L), (1, Region.EYEBALL_R)):
            chosen = torch.nonzero(self.kind == region)[:, 0]
            if len(chosen) == 0:
                continue
            centre, turn = self.posed.eyes[side]
            offset = (self.position[chosen] - centre) @ turn
            grid = torch.stack([offset[:, 0], -offset[:, 1]], 1)[None, None] / EYE_MAP_CM
            colour = F.grid_sample(self.stage.person.eye[None], grid, align_corners=False, padding_mode="border")
            n = F.normalize(self.position[chosen] - centre, dim=1)
            dark = self._lid_shade(chosen)
            albedo[chosen] = 0.7 * colour[0, :, 0].T * dark[:, None]
            normal[chosen] = n
            bulge = turn @ torch.tensor([0.0, 0.0, 0.5], device=n.device)
            cornea = F.normalize(self.position[chosen] - centre - bulge, dim=1)
            on_iris = (offset[:, :2].norm(dim=1) < 0.75)[:, None]
            wet = torch.where(on_iris, cornea, n)
            window = 1.6 * lighting.lobe(wet, light.key, self.view[chosen], 500)
            window = window + 0.30 * lighting.lobe(wet, light.fill, self.view[chosen], 120)
            shine[chosen] = (window * dark)[:, None] * light.key_colour
        return shine

    def _lid_shade(self, chosen: Tensor) -> Tensor:
        """[n] 0..1: a soft shadow of the lids, strongest under the upper one."""
        ball = self.surface.image(self.eye.float())[None]
        near = lighting.blur(ball, 0.16 * self.px_per_cm)[0]
        shift = max(1, round(0.15 * self.px_per_cm))
        below = F.pad(near[None], (0, 0, shift, 0))[0, : near.shape[0]]
        reach = (0.10 + 0.55 * near + 0.45 * below).clamp(0, 1).view(-1)
        return reach[self.surface.pixel[chosen]]

    def _shine(self, light: lighting.Light, normal: Tensor, lit: Tensor, sky: Tensor, gloss: Tensor) -> Tensor:
        view, lip = self.view, self.maps[:, AtlasMap.LIP] * self.skin
        dry = 1 - self.maps[:, AtlasMap.HAIR]
        key = 0.045 * lighting.lobe(normal, light.key, view, 14) + 0.035 * lighting.lobe(normal, light.key, view, 50)
        wet = lighting.lobe(normal, light.key, view, 45)
        key = gloss * (key * (1 - lip) * dry + 0.07 * wet * lip)
        teeth = (self.kind == Region.TEETH) | (self.kind == Region.GUMS)
        key = key + torch.where(teeth, 0.14, 0.0) * wet
        if self.stage.person.glasses is not None:
            key = key + torch.where(self.kind == 101, self.stage.person.glasses.gloss, 0.0) * wet
        fresnel = (1 - (normal * view).sum(1).clamp(0, 1)) ** 4 * 0.05 * gloss * sky
        fill = gloss * 0.015 * lighting.lobe(normal, light.fill, view, 18) * sky
        out = (key * (0.15 + 0.85 * lit))[:, None] * light.key_colour + fill[:, None] * light.fill_colour
        return out * sky[:, None] ** 0.5 + fresnel[:, None] * (light.sky_colour + light.rim_colour)
