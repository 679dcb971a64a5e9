"""A portrait lifted on the rig: its photo on the fitted head, re-posed and re-expressed, with its own hair, shoulders
and background.

Three layers: what lies behind the person, still; the person's outline (hair, ears, shoulders) bent by a smooth flow;
the mesh of the face with the photo on it. What the photo doesn't show is labelled hidden: background behind the
person, skin that turns into view, stretched hair.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.face_landmarks import CHIN, FOREHEAD_TOP, IRIS_CENTRE, IRIS_RIM, LID_LOWER, LID_UPPER
from generator.membrane import stretch_membrane
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES
from generator.rig_fit import FOCAL
from generator.studio import lighting, take_sampling
from generator.studio.eyes_and_mouth import eyeballs, mouth_interior, unproject
from generator.studio.head_model import Posed, StudioHead, StudioRig, to_pixels
from generator.studio.portrait_source import CROP_PX, FittedPortrait
from generator.studio.procedural_person import eye_map
from generator.studio.procedural_skin import Complexion
from generator.studio.rasteriser import Surface, rasterise
from generator.studio.rig_mesh import EYEBALL_FIRST_VERTEX, SCLERA_VERTICES, Region, rotation
from generator.studio.scene import Frame, Label, Moment
from generator.studio.skin_atlas import LatticeNoise
from generator.studio.strand_hair import scalp_weight
from generator.studio.take_sampling import Target

Array = NDArray[np.float32]
REACH = (20.0, 12.0, 10.0)  # degrees that a lifted head turns at most
NEARER, FARTHER = 0.93, 1.08
_GRID = 64
_ABSORBED = ("eyeBlink", "eyeWide", "eyeSquint", "eyeLook")
_STRETCHED = 0.42  # source area per target area below which the outline counts as hidden
_NECK_TO_CENTRE = np.array([0.0, 8.0, 3.0], np.float32)


@dataclass(frozen=True)
class LiftedPerson:
    """What the frames of a portrait share. Textures are linear, [3, CROP, CROP]."""

    head: StudioHead
    rest_expression: Array  # [53] of the photo
    rest_gaze: Array  # [2] degrees
    rotation: Array
    translation: Array
    photo: Tensor
    behind: Tensor  # [3, CROP, CROP] background, made up where the person stands
    outline: Tensor  # [1, CROP, CROP] 0..1 person
    labels: Tensor  # [CROP, CROP] of the photo
    face: Tensor  # [CROP, CROP] bool, photo pixels that the mesh shows
    texture: Tensor  # [V, 7]: source x, y, mirrored x, y in -1..1, seen, mirrored seen, opacity of the mesh
    normals: Tensor  # [V, 3] in the photo, camera space
    light: Tensor  # [3, 9] log light over the harmonics of the normal
    eye: Tensor
    eye_light: Tensor  # [3]
    tone: Tensor  # [3] linear skin colour


def lift(rig: StudioRig, portrait: FittedPortrait, rng: np.random.Generator) -> LiftedPerson:
    fit = portrait.fit
    expression = fit.expression.copy()
    for name in EXPRESSION_NAMES:
        if name.startswith(_ABSORBED):
            expression[EXPRESSION_INDEX[name]] = 0
    head = _exact_head(rig, portrait, expression)
    photo = torch.from_numpy(lighting.linear_of(portrait.photo / 255.0)).permute(2, 0, 1).contiguous()
    opacity = _opacity(rig)
    texture = _texture(rig, portrait, opacity)
    tone = _tone(rig, portrait, photo)
    light = _fit_light(rig, portrait, photo, tone)
    labels, face = _photo_labels(rig, portrait, opacity)
    iris, eye_light = _eye_colours(portrait, photo)
    complexion = Complexion((0.5, 0.3, 0.2), (0.4, 0.15, 0.12), (0.05, 0.03, 0.02), iris)
    outline, behind = _layers(portrait, labels)
    return LiftedPerson(
        head, expression, _rest_gaze(head, portrait), fit.rotation, fit.translation, photo, behind, outline,
        torch.from_numpy(labels), torch.from_numpy(face), torch.from_numpy(texture),
        torch.from_numpy(portrait.normals), light, torch.from_numpy(eye_map(complexion, LatticeNoise(rng))), eye_light,
        tone,
    )  # fmt: skip


def _exact_head(rig: StudioRig, portrait: FittedPortrait, expression: Array) -> StudioHead:
    """The fitted identity, bent so that `expression` in the photo's pose lies exactly on the photo's landmarks."""
    fit, plain = portrait.fit, portrait.head
    base = plain.base.numpy()
    all_of = torch.from_numpy(fit.expression) @ rig.expression
    kept = torch.from_numpy(expression) @ rig.expression
    shown = base + all_of.view(-1, 3).numpy()
    q = shown @ fit.rotation.T + fit.translation
    depth = -q[:, 2:]
    px = to_pixels(torch.from_numpy(q.astype(np.float32)), CROP_PX).numpy()
    off = (portrait.source_px - px[:, :2]) * (2 * depth / (FOCAL * CROP_PX)) * np.array([1, -1])
    for first in EYEBALL_FIRST_VERTEX:
        off[first : first + SCLERA_VERTICES] = off[first : first + SCLERA_VERTICES].mean(0)
    moved = np.concatenate([off, np.zeros_like(depth)], 1) @ fit.rotation
    bent = shown + moved - kept.view(-1, 3).numpy()
    return StudioHead(rig, plain.identity, base=torch.from_numpy(bent.astype(np.float32)))


def _opacity(rig: StudioRig) -> Array:
    """[V] how much the mesh covers the outline: not at the hairline, the ears and the neck."""
    y, z = rig.mesh.neutral[:, 1], rig.mesh.neutral[:, 2]
    out = np.clip((9.6 - y) / 1.5, 0, 1) * np.clip((z - 2.2) / 2.2, 0, 1) * np.clip((y + 0.9 * z + 5.5) / 2.5, 0, 1)
    out[rig.mesh.region > Region.HEAD_NECK] = 1
    return np.asarray(out, np.float32)


def _texture(rig: StudioRig, portrait: FittedPortrait, opacity: Array) -> Array:
    px = portrait.source_px * (2 / CROP_PX) - 1
    mirror = rig.mirrored
    columns = [px, px[mirror], portrait.seen[:, None], portrait.seen[mirror][:, None], opacity[:, None]]
    return np.concatenate(columns, 1).astype(np.float32)


def _tone(rig: StudioRig, portrait: FittedPortrait, photo: Tensor) -> Tensor:
    cheeks = (rig.mesh.region == Region.FACE) & (portrait.seen > 0.9) & (np.abs(rig.mesh.neutral[:, 1]) < 3)
    cheeks &= np.abs(rig.mesh.neutral[:, 0]) > 2.5
    at = portrait.source_px[cheeks].astype(int).clip(0, CROP_PX - 1)
    return photo[:, at[:, 1], at[:, 0]].median(1).values


def _harmonics(n: Tensor) -> Tensor:
    """[N, 9] real spherical harmonics of unit normals [N, 3], without their constants."""
    x, y, z = n.unbind(1)
    one = torch.ones_like(x)
    return torch.stack([one, x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], 1)


def _fit_light(rig: StudioRig, portrait: FittedPortrait, photo: Tensor, tone: Tensor) -> Tensor:
    skin = (rig.mesh.region == Region.FACE) & (portrait.seen > 0.5) & (rig.mesh.neutral[:, 2] > 3)
    at = portrait.source_px[skin].astype(int).clip(0, CROP_PX - 1)
    value = (photo[:, at[:, 1], at[:, 0]].clamp(min=1e-4) / tone[:, None]).log().T
    plain = value.abs().amax(1) < 0.8
    a = _harmonics(torch.from_numpy(portrait.normals[skin]))[plain].double()
    ridge = torch.diag(torch.tensor([1e-3] + [0.04] * 8, dtype=torch.float64)) * len(a)
    return torch.linalg.solve(a.T @ a + ridge, a.T @ value[plain].double()).T.float()


def _photo_labels(
    rig: StudioRig, portrait: FittedPortrait, opacity: Array
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """[CROP, CROP] labels of the photo, and where the mesh shows it."""
    fit = portrait.fit
    q = torch.from_numpy(portrait.source_px)
    depth = -(portrait.head.base.numpy() @ fit.rotation.T + fit.translation)[:, 2:]
    points = torch.cat([q, torch.from_numpy(depth.astype(np.float32))], 1)
    surface = rasterise(points, rig.rig_faces, CROP_PX)
    scalp = scalp_weight(rig.mesh.neutral, rig.mesh.region <= Region.HEAD_NECK)
    values = torch.from_numpy(np.stack([opacity, scalp, rig.face_share, rig.mesh.neutral[:, 1]], 1).astype(np.float32))
    own = surface.interpolate(rig.rig_faces, values)
    region = torch.from_numpy(rig.mesh.region.astype(np.int64))[rig.rig_faces[surface.triangle, 0]]
    label = torch.where(own[:, 2] > 0.5, int(Label.FACE), int(Label.HEAD_SKIN))
    label = torch.where(own[:, 1] > 0.5, int(Label.HAIR), label)
    label = torch.where(own[:, 3] < -11.5, int(Label.CLOTHES), label)
    label = torch.where((region == Region.EYEBALL_L) | (region == Region.EYEBALL_R), int(Label.EYEBALL), label)
    inner = (region == Region.MOUTH_SOCKET) | (region == Region.GUMS) | (region == Region.TEETH)
    label = torch.where(inner, int(Label.MOUTH_INTERIOR), label)
    on_mesh = surface.image(label, -1).numpy()
    rows, columns = np.mgrid[0:CROP_PX, 0:CROP_PX]
    chin, top = portrait.landmarks[CHIN], portrait.landmarks[FOREHEAD_TOP]
    height = float(np.linalg.norm(chin - top))
    aside = np.abs(columns - (chin[0] + top[0]) / 2) / height
    shoulder = chin[1] - height * np.clip(0.9 * (aside - 0.42), 0, 0.5)  # shoulders begin higher beside the neck
    around = np.where(rows < shoulder, int(Label.HAIR), int(Label.CLOTHES))
    outside = np.where(portrait.person > 0.5, around, int(Label.BACKGROUND))
    labels = np.where(on_mesh >= 0, on_mesh, outside).astype(np.uint8)
    face = surface.image(own[:, 0]).numpy() > 0.6
    return labels, face


def _eye_colours(portrait: FittedPortrait, photo: Tensor) -> tuple[tuple[float, float, float], Tensor]:
    """Colour of the irises and the light on the whites, measured in the photo."""
    y, x = np.mgrid[0:CROP_PX, 0:CROP_PX] + 0.5
    irises, whites = [], []
    flat = photo.permute(1, 2, 0).numpy()
    for eye in (0, 1):
        centre = portrait.landmarks[IRIS_CENTRE[eye]]
        radius = float(np.linalg.norm(portrait.landmarks[list(IRIS_RIM[eye])] - centre, axis=1).mean())
        lids = portrait.landmarks[[*LID_UPPER[eye], *LID_LOWER[eye][::-1]]]
        opening = np.zeros((CROP_PX, CROP_PX), np.uint8)
        cv2.fillPoly(opening, [np.round(lids).astype(np.int32)], 1)
        opening = cv2.erode(opening, np.ones((3, 3)))
        r = np.hypot(x - centre[0], y - centre[1]) / max(radius, 1)
        irises.append(flat[(opening > 0) & (r > 0.5) & (r < 0.85)])
        whites.append(flat[(opening > 0) & (r > 1.25)])
    iris = np.quantile(np.concatenate(irises), 0.5, 0) if sum(map(len, irises)) > 8 else np.array([0.06, 0.04, 0.03])
    white = np.quantile(np.concatenate(whites), 0.6, 0) if sum(map(len, whites)) > 8 else np.full(3, 0.3)
    light = np.clip(white / np.array([0.50, 0.47, 0.45]), 0.15, 1.6)
    own = np.clip(iris / light / 0.62, 0.008, 0.5)
    return (float(own[0]), float(own[1]), float(own[2])), torch.tensor(light, dtype=torch.float32)


def _layers(portrait: FittedPortrait, labels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """The person's outline, and the background with the person painted out."""
    person = np.maximum(portrait.person, (labels > 0) * (portrait.person > 0.2))
    soft = np.clip((person - 0.25) / 0.5, 0, 1)
    inside = cv2.dilate((person > 0.15).astype(np.uint8), np.ones((9, 9)))
    known = (1 - inside).astype(np.float32)
    photo = portrait.photo.astype(np.float32) / 255
    filled, total = photo * known[..., None], known
    out = photo.copy()
    missing = inside.astype(bool)
    for sigma in (4, 10, 24, 60, 140):
        spread = cv2.GaussianBlur(filled, (0, 0), sigma) / (cv2.GaussianBlur(total, (0, 0), sigma)[..., None] + 1e-4)
        enough = cv2.GaussianBlur(total, (0, 0), sigma) > 0.04
        now = missing & enough
        out[now] = spread[now]
        missing &= ~enough
    smooth = cv2.GaussianBlur(out, (0, 0), 3)
    out = np.where(inside[..., None] > 0, smooth, photo)
    behind = torch.from_numpy(lighting.linear_of(out)).permute(2, 0, 1).contiguous()
    return torch.from_numpy(soft.astype(np.float32))[None], behind


def _rest_gaze(head: StudioHead, portrait: FittedPortrait) -> Array:
    """Yaw, pitch in degrees relative to the camera, from the irises' place on the eyeballs."""
    fit, angles = portrait.fit, []
    for side, mark in ((1, IRIS_CENTRE[0]), (0, IRIS_CENTRE[1])):
        centre = head.eye_centre[side].numpy() @ fit.rotation.T + fit.translation
        px = to_pixels(torch.from_numpy(centre[None].astype(np.float32)), CROP_PX)[0].numpy()
        off = (portrait.landmarks[mark] - px[:2]) * (2 * px[2] / (FOCAL * CROP_PX)) / head.eye_radius[side]
        yaw, pitch = np.degrees(np.arcsin(np.clip(off, -0.6, 0.6)))
        to_camera = np.degrees([np.arctan2(-centre[0], -centre[2]), np.arctan2(centre[1], -centre[2])])
        angles.append(np.array([yaw, pitch]) - to_camera)
    return np.asarray(np.mean(angles, 0), np.float32)


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
        level = _harmonics(person.normals) @ person.light.T
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
        change = (_harmonics(posed.normals) @ person.light.T - self._source_level).clamp(-0.45, 0.45)
        table = torch.cat([person.texture, change, self.rest, torch.from_numpy(rig.face_share)[:, None]], 1)
        own = surface.interpolate(self.faces, table)
        kind = self.kind[surface.triangle]
        seen, mirrored = own[:, 4:5].clamp(0, 1), own[:, 5:6].clamp(0, 1)
        skin = self._read_photo(own[:, 0:2])
        other = self._read_photo(own[:, 2:4])
        first, second = seen, mirrored * (1 - seen)
        rest = (1 - first - second).clamp(min=0)
        level = (_harmonics(F.normalize(surface.interpolate(self.faces, posed.normals), dim=1)) @ person.light.T).exp()
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
