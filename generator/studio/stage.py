"""Draws the moments of a take: surfaces, then hair and lenses over them, and reads off the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.studio import lighting
from generator.studio.hair_points import HairPoints
from generator.studio.head_model import Posed, to_pixels
from generator.studio.props import dive
from generator.studio.rasteriser import rasterise, splat
from generator.studio.rig_mesh import Region
from generator.studio.scene import GARMENT, GLASSES_FRAME, Frame, Label, Moment, Person, Setting
from generator.studio.shading import Shading


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
        self.dive = self._tensor(dive(rig.mesh.neutral, person.neckline.hem))[:, None]
        faces, kind = [rig.render_faces], [rig.face_region]
        for mesh, code in zip((m for m, _ in meshes), (GARMENT, GLASSES_FRAME), strict=False):
            faces.append(torch.from_numpy(mesh.faces).to(self.device) + n)
            kind.append(torch.full((len(mesh.faces),), code, device=self.device))
            n += len(mesh.v)
        self.faces, self.kind = torch.cat(faces), torch.cat(kind)
        self.cull = self.kind != GARMENT  # a garment has an inside
        props = sum(len(v) for v in self.prop_v)
        static = torch.cat([rig.neutral[rig.render_vertex], rig.uv], 1)
        self.static = torch.cat([static, static.new_zeros(props, 5)])
        shadow_kinds = (self.kind <= Region.HEAD_NECK) | (self.kind >= GARMENT)
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
        shade = Shading(self, moment, posed, points, normals, surface, hair)
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
        v, n = [(posed.v - self.dive * posed.normals)[rig.render_vertex]], [posed.normals[rig.render_vertex]]
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
        self, layers: Layers, at: Tensor, shade: Shading, hair: HairPoints, colour: Tensor, *,
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
        glare = 0.02 * up * light.sky_colour + 0.30 * lighting.lobe(n, light.key, view, 150)[:, None] * light.key_colour
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
