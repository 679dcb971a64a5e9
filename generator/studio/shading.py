"""Deferred shading of one frame: what the visible pixels look like under the light of the take."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.rig import EXPRESSION_INDEX
from generator.rig_fit import FOCAL
from generator.studio import lighting
from generator.studio.eyes_and_mouth import eyeballs, mouth_interior, unproject
from generator.studio.head_model import Posed
from generator.studio.rasteriser import Surface
from generator.studio.rig_mesh import Region
from generator.studio.scene import GARMENT, GLASSES_FRAME, AtlasMap, Label, Moment, Person, Setting
from generator.studio.skin_atlas import sample_atlas

_WRINKLE_DRIVERS: tuple[tuple[tuple[str, float], ...], ...] = (
    (("browInnerUp", 0.6), ("browOuterUp", 0.6)),
    (("browDown", 0.9), ("noseSneer", 0.3)),
    (("mouthSmile", 0.8), ("noseSneer", 0.4), ("mouthUpperUp", 0.35), ("mouthDimple", 0.3)),
    (("cheekSquint", 0.5), ("mouthSmile", 0.35), ("eyeSquint", 0.35), ("eyeBlink", 0.15)),
    (("mouthShrugLower", 0.9), ("mouthFrown", 0.4)),
)


class StageView(Protocol):
    """What shading needs to know of the stage."""

    person: Person
    setting: Setting
    size_px: int
    faces: Tensor
    kind: Tensor
    static: Tensor
    shadow_faces: Tensor


class Shading:
    """Deferred shading of one frame: linear `picture` [3, R, R], `label` [R, R]."""

    def __init__(
        self, stage: StageView, moment: Moment, posed: Posed, points: Tensor, normals: Tensor, surface: Surface,
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
        self.position = unproject(surface)
        self.view = F.normalize(-self.position, dim=1)
        skin = (self.kind <= Region.HEAD_NECK) | (self.kind == Region.SOCKET_L) | (self.kind == Region.SOCKET_R)
        self.eye = (self.kind == Region.EYEBALL_L) | (self.kind == Region.EYEBALL_R)
        self.inner = (self.kind == Region.MOUTH_SOCKET) | (self.kind == Region.GUMS) | (self.kind == Region.TEETH)
        self.maps = sample_atlas(stage.person.skin, self.uv)
        self.cloth = (self.kind == GARMENT) | (skin & self._under_cloth())
        self.skin = skin & ~self.cloth
        label = self._labels()
        self.label = surface.image(label.to(torch.int64), Label.BACKGROUND)
        sky = lighting.ambient_occlusion(surface.z_buffer, self.px_per_cm).view(-1)[surface.pixel]
        self.picture = self._shade(light, sky)

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
        return torch.where(self.kind == GLASSES_FRAME, int(Label.GLASSES), label)

    def _shade(self, light: lighting.Light, sky: Tensor) -> Tensor:
        surface = self.surface
        albedo = self.maps[:, : AtlasMap.BLUE + 1].clone()
        normal = self._bumped()
        own_open = torch.where(self.skin, self.maps[:, AtlasMap.OPEN], torch.ones_like(sky))
        sky = sky * own_open
        gloss = torch.where(self.skin, 1.0, 0.0) * self.stage.person.oiliness
        self._dress(albedo)
        lit = self.shadow.lit(self.position) * own_open.clamp(min=0.0) ** 0.5
        inside, inner_light = mouth_interior(surface, self.kind, self.rest, self.px_per_cm)
        albedo = torch.where(self.inner[:, None], inside, albedo)
        sharp_eye = self._eyes(albedo, normal, light)
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
        frame = self.kind == GLASSES_FRAME
        if self.stage.person.glasses is not None:
            albedo[frame] = torch.tensor(self.stage.person.glasses.colour, device=albedo.device)

    def _eyes(self, albedo: Tensor, normal: Tensor, light: lighting.Light) -> Tensor:
        """Highlights [P, 3] of the eyeballs; enters their colours and normals."""
        shine = torch.zeros_like(albedo)
        for eye in eyeballs(self.surface, self.kind, self.position, self.posed, self.stage.person.eye, self.px_per_cm):
            albedo[eye.rows], normal[eye.rows] = eye.colour, eye.normal
            window = 1.6 * lighting.lobe(eye.wet, light.key, self.view[eye.rows], 500)
            window = window + 0.30 * lighting.lobe(eye.wet, light.fill, self.view[eye.rows], 120)
            shine[eye.rows] = (window * eye.shade)[:, None] * light.key_colour
        return shine

    def _shine(self, light: lighting.Light, normal: Tensor, lit: Tensor, sky: Tensor, gloss: Tensor) -> Tensor:
        view, lip = self.view, self.maps[:, AtlasMap.LIP] * self.skin
        dry = 1 - self.maps[:, AtlasMap.HAIR]
        key = 0.045 * lighting.lobe(normal, light.key, view, 14) + 0.035 * lighting.lobe(normal, light.key, view, 50)
        wet = lighting.lobe(normal, light.key, view, 45)
        key = gloss * (key * (1 - lip) * dry + 0.07 * wet * lip)
        teeth = (self.kind == Region.TEETH) | (self.kind == Region.GUMS)
        key = key + torch.where(teeth, 0.07, 0.0) * wet
        if self.stage.person.glasses is not None:
            key = key + torch.where(self.kind == GLASSES_FRAME, self.stage.person.glasses.gloss, 0.0) * wet
        fresnel = (1 - (normal * view).sum(1).clamp(0, 1)) ** 4 * 0.05 * gloss * sky
        fill = gloss * 0.015 * lighting.lobe(normal, light.fill, view, 18) * sky
        out = (key * (0.15 + 0.85 * lit))[:, None] * light.key_colour + fill[:, None] * light.fill_colour
        return out * sky[:, None] ** 0.5 + fresnel[:, None] * (light.sky_colour + light.rim_colour)
