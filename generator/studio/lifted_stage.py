"""Draws a lifted portrait: what lies behind the person, still; the outline bent by a smooth flow; the mesh of the face.

What the photo doesn't show is labelled hidden: background behind the person, skin that turns into view, stretched hair.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.membrane import stretch_membrane
from generator.rig_fit import FOCAL
from generator.studio import lighting, take_sampling
from generator.studio.eyes_and_mouth import eyeballs, mouth_interior, unproject
from generator.studio.head_model import Posed, StudioRig, to_pixels
from generator.studio.lifted_person import LiftedPerson, harmonics
from generator.studio.portrait_source import CROP_PX
from generator.studio.rasteriser import Surface, rasterise
from generator.studio.rig_mesh import Region, rotation
from generator.studio.scene import Frame, Label, Moment
from generator.studio.take_sampling import Target

Array = NDArray[np.float32]
REACH = (20.0, 12.0, 10.0)  # degrees that a lifted head turns at most
NEARER, FARTHER = 0.93, 1.08
_GRID = 64
_STRETCHED = 0.42  # source area per target area below which the outline counts as hidden
_NECK_TO_CENTRE = np.array([0.0, 8.0, 3.0], np.float32)


class LiftedStage:
    """Draws the moments of a lifted portrait; the first one of a take is the photo itself."""

    def __init__(self, person: LiftedPerson, size_px: int, oversampling: float) -> None:
        self.person, self.size_px = person, size_px
        self.render_px = round(size_px * oversampling)
        self.rig = rig = person.head.rig
        drawn = (rig.face_region <= Region.MOUTH_SOCKET) | (rig.face_region >= Region.GUMS)
        self.faces, self.kind = rig.rig_faces[drawn], rig.face_region[drawn]
        self.rest = rig.neutral
        self._controls = _control_vertices(rig)
        level = harmonics(person.normals) @ person.light.T
        self._source_level = level

    def draw(self, moment: Moment) -> Frame:
        person, size = self.person, self.render_px
        body = (moment.body_rotation, moment.body_translation)
        posed = person.head.pose(moment.expression, moment.rotation, moment.translation, body, moment.gaze_deg)
        px = to_pixels(posed.v, size)
        picture, label = self._outline_layer(posed, px)
        surface = rasterise(px, self.faces, size)
        self._paint_mesh(picture, label, surface, posed, moment)
        rgb = torch.where(picture < 0.0031308, 12.92 * picture, 1.055 * picture.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
        small = lighting.shrink(rgb.clamp(0, 1), self.size_px)
        return self._finish(small, label, posed, px, surface.z_buffer)

    def source_frame(self, moment: Moment, landmarks: Array, photo: NDArray[np.uint8]) -> Frame:
        """The photo as it is."""
        small = cv2.resize(photo, (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)
        ratio = CROP_PX / self.size_px
        at = ((torch.arange(self.size_px) + 0.5) * ratio).floor().long()
        mask = self.person.labels[at][:, at].to(torch.uint8)
        visible = torch.from_numpy((self.person.texture[self.rig.landmark_vertex, 4] > 0.05).numpy().astype(np.uint8))
        visible = torch.cat([visible, torch.ones(10, dtype=torch.uint8)])
        return Frame(torch.from_numpy(small), mask, torch.from_numpy(landmarks / ratio), visible)

    def _outline_layer(self, posed: Posed, px: Tensor) -> tuple[Tensor, Tensor]:
        """Background and bent outline: linear picture [3, R, R] and label [R, R]."""
        person, size = self.person, self.render_px
        flow = self._flow(posed, px)
        grid = F.interpolate(flow[None], size=(size, size), mode="bilinear", align_corners=False)[0]
        axis = (torch.arange(size) + 0.5) * (2 / size) - 1
        still = torch.stack([axis[None].expand(size, size), axis[:, None].expand(size, size)])
        source = (still + grid).permute(1, 2, 0)[None]

        def read(texture: Tensor) -> Tensor:
            return F.grid_sample(texture[None], source, mode="bilinear", padding_mode="border", align_corners=False)[0]

        alpha = read(person.outline)
        behind = F.interpolate(person.behind[None], size=(size, size), mode="bilinear", align_corners=False)[0]
        picture = behind * (1 - alpha) + read(person.photo) * alpha
        cell = ((source[0] * 0.5 + 0.5) * CROP_PX).floor().long().clamp(0, CROP_PX - 1)
        label = person.labels[cell[..., 1], cell[..., 0]].long()
        on_face = person.face[cell[..., 1], cell[..., 0]]
        solid = alpha[0] > 0.5
        own = ((still.permute(1, 2, 0) * 0.5 + 0.5) * CROP_PX).floor().long().clamp(0, CROP_PX - 1)
        was_person = person.outline[0, own[..., 1], own[..., 0]] > 0.05
        dx, dy = torch.gradient(source[0], dim=(1, 0))
        area = (dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]) * (size / 2) ** 2
        outside = (source[0].abs() > 1).any(2)
        hidden = solid & (on_face | (area < _STRETCHED) | outside)
        label = torch.where(solid, label, torch.where(was_person, int(Label.HIDDEN), int(Label.BACKGROUND)))
        return picture, torch.where(hidden, int(Label.HIDDEN), label)

    def _flow(self, posed: Posed, px: Tensor) -> Tensor:
        """[2, GRID, GRID] source minus target, in half pictures: the head's vertices carry it, shoulders stay."""
        at = self._controls
        shown = posed.normals[at, 2] > -0.35
        at = at[shown]
        source = self.person.texture[at, :2]
        target = px[at, :2] * (2 / self.render_px) - 1
        step = np.linspace(-1, 1, 17)
        fixed = [(x, 1.0) for x in step] + [(s, y) for s in (-1.0, 1.0) for y in np.linspace(0.55, 1, 6)]
        anchors = torch.tensor(fixed, dtype=torch.float32)
        points = torch.cat([target, anchors]).numpy()
        values = torch.cat([source - target, torch.zeros(len(anchors), 2)]).numpy()
        cells = ((points * 0.5 + 0.5) * _GRID - 0.5).clip(0, _GRID - 1).astype(np.float32)
        weight = np.r_[np.full(len(at), 1.0), np.full(len(anchors), 2.0)].astype(np.float32)
        field = stretch_membrane(cells, values, weight, (_GRID, _GRID), stiffness=0.15)
        return torch.from_numpy(np.ascontiguousarray(field.transpose(2, 0, 1), np.float32))

    def _paint_mesh(self, picture: Tensor, label: Tensor, surface: Surface, posed: Posed, moment: Moment) -> None:
        person, rig = self.person, self.rig
        px_per_cm = FOCAL * 0.5 * self.render_px / float(-moment.translation[2])
        change = (harmonics(posed.normals) @ person.light.T - self._source_level).clamp(-0.45, 0.45)
        table = torch.cat([person.texture, change, self.rest, torch.from_numpy(rig.face_share)[:, None]], 1)
        own = surface.interpolate(self.faces, table)
        kind = self.kind[surface.triangle]
        seen, mirrored = own[:, 4:5].clamp(0, 1), own[:, 5:6].clamp(0, 1)
        skin = self._read_photo(own[:, 0:2])
        other = self._read_photo(own[:, 2:4])
        first, second = seen, mirrored * (1 - seen)
        rest = (1 - first - second).clamp(min=0)
        level = (harmonics(F.normalize(surface.interpolate(self.faces, posed.normals), dim=1)) @ person.light.T).exp()
        colour = (skin * first + other * second) * own[:, 7:10].exp() + rest * person.tone * level.clamp(0.3, 1.8)
        inside, reach = mouth_interior(surface, kind, own[:, 10:13], px_per_cm)
        inner = (kind == Region.MOUTH_SOCKET) | (kind == Region.GUMS) | (kind == Region.TEETH)
        lit = (person.tone / torch.tensor([0.42, 0.25, 0.18])).clamp(0.35, 1.4)
        colour = torch.where(inner[:, None], inside * reach[:, None] * lit, colour)
        position = unproject(surface)
        ball = (kind == Region.EYEBALL_L) | (kind == Region.EYEBALL_R)
        side, above = person.light[:, 1].mean(), person.light[:, 2].mean().clamp(min=0.1)
        key = F.normalize(torch.stack([side, above, torch.tensor(0.8)]), dim=0)
        for eye in eyeballs(surface, kind, position, posed, person.eye, px_per_cm):
            view = F.normalize(-position[eye.rows], dim=1)
            window = 0.8 * lighting.lobe(eye.wet, key, view, 400) * eye.shade
            colour[eye.rows] = (eye.colour + window[:, None]) * person.eye_light
        opacity = torch.where(inner | ball, 1.0, own[:, 6].clamp(0, 1))
        edge = surface.image((opacity > 0).float())[None]
        soft = ((lighting.blur(edge, 1.0)[0].view(-1)[surface.pixel] - 0.5) * 2).clamp(0, 1)
        opacity = opacity * soft
        flat = picture.view(3, -1)
        flat[:, surface.pixel] += opacity * (colour.T - flat[:, surface.pixel])
        own_label = torch.where(own[:, 13] > 0.5, int(Label.FACE), int(Label.HEAD_SKIN))
        own_label = torch.where(seen[:, 0] < 0.25, int(Label.HIDDEN), own_label)
        own_label = torch.where(ball, int(Label.EYEBALL), own_label)
        own_label = torch.where(inner, int(Label.MOUTH_INTERIOR), own_label)
        solid = opacity > 0.5
        label.view(-1)[surface.pixel[solid]] = own_label[solid]

    def _read_photo(self, at: Tensor) -> Tensor:
        """[P, 3] at photo positions [P, 2] in -1..1."""
        out = F.grid_sample(self.person.photo[None], at[None, None], align_corners=False, padding_mode="border")
        return out[0, :, 0].T

    def _finish(self, small: Tensor, label: Tensor, posed: Posed, px: Tensor, z_buffer: Tensor) -> Frame:
        ratio = self.render_px / self.size_px
        at = ((torch.arange(self.size_px) + 0.5) * ratio).floor().long()
        points = self.person.head.landmarks(posed)
        marks = to_pixels(points, self.render_px)
        far = F.max_pool2d(z_buffer.clamp(max=1e4)[None, None], 3, stride=1, padding=1)[0, 0]
        column, row = marks[:, 0].floor().long(), marks[:, 1].floor().long()
        inside = (column >= 0) & (row >= 0) & (column < self.render_px) & (row < self.render_px)
        column, row = column.clamp(0, self.render_px - 1), row.clamp(0, self.render_px - 1)
        visible = inside & (marks[:, 2] < far[row, column] + 0.35)
        visible[:468] &= (posed.normals[self.rig.landmark_vertex] * -points[:468]).sum(1) > 0
        visible[468:] &= label[row, column][468:] == Label.EYEBALL
        rgb8 = (small.permute(1, 2, 0) * 255 + 0.5).clamp(0, 255).to(torch.uint8)
        return Frame(rgb8, label[at][:, at].to(torch.uint8), marks[:, :2] / ratio, visible.to(torch.uint8))


def _control_vertices(rig: StudioRig) -> Tensor:
    """A thin set of skin vertices that bend the outline."""
    skin = np.flatnonzero(rig.mesh.region <= Region.HEAD_NECK)
    cell = np.floor(rig.mesh.neutral[skin] / 0.9).astype(np.int64)
    _, first = np.unique(cell, axis=0, return_index=True)
    return torch.from_numpy(np.sort(skin[first]))


def draw_lifted_target(rng: np.random.Generator, source: Target) -> Target:
    """As `take_sampling.draw_target`, within what one photo can show."""
    target = take_sampling.draw_target(rng, source)
    change = (target.pose_deg - source.pose_deg) * np.array(REACH) / np.array([30.0, 18.0, 12.0])
    distance = float(np.clip(target.distance, NEARER, FARTHER))
    return Target(
        target.expression, (source.pose_deg + change).astype(np.float32), target.shift_cm * np.float32(0.4), distance,
        target.gaze_deg,
    )  # fmt: skip


def lifted_moments(person: LiftedPerson, targets: list[Target]) -> list[Moment]:
    """The first is the photo; shoulders stay."""
    first = rotation(*map(float, targets[0].pose_deg))
    body_turn, body_at = torch.from_numpy(person.rotation), torch.from_numpy(person.translation)
    expression, gaze = torch.from_numpy(person.rest_expression), torch.from_numpy(person.rest_gaze)
    moments = [Moment(expression, body_turn, body_at, body_turn, body_at, gaze)]
    for target in targets[1:]:
        turn = rotation(*map(float, target.pose_deg))
        at = person.translation + target.shift_cm + 0.6 * ((turn - first) @ _NECK_TO_CENTRE)
        at[2] += person.translation[2] * (target.distance - 1)
        seen, weights = take_sampling.follow_with_lids(target.expression, target.pose_deg, target.gaze_deg)
        shown, turned, placed = (torch.tensor(x, dtype=torch.float32) for x in (weights, turn, at))
        moments.append(Moment(shown, turned, placed, body_turn, body_at, torch.tensor(seen)))
    return moments
