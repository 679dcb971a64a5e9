"""The trained half of the renderer: face codes and the decoder, after VASA-1 (Xu et al. 2024) and MegaPortraits
(Drobyshev et al. 2022), small enough for a processor.

A portrait becomes a canonical 3D feature volume and an identity code, once; a frame becomes a head pose and a dynamics
code that holds lips, expression, gaze and blink together. Rigid motion and a small learned flow move the volume in
front of the camera; the decoder sees it beside the portrait's own warped pixels and returns what those lack: light that
changes with pose and expression. Sharpness stays with the warped pixels.

All pictures here are the face crop of the 512 px working picture, `CROP` in its pixels, at half size: [B, 3, 192, 192].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CROP = (64, 80, 448, 464)  # left, top, right, bottom of the working picture
HALF_PX = 192  # side of the crop at half size
CODE_PX = 128  # side of the crop as the encoders of identity and motion see it
DYNAMICS, IDENTITY, POSE, READ_OUT = 48, 64, 6, 55  # widths; read-out: 53 expression weights, gaze yaw and pitch / 20
LANDMARKS = 478
GRID_PX, DEPTH, FEATURES = 24, 8, 16  # the volume: columns and rows, slices, channels
LAYERS = 2  # beside the colours: where openings show what is behind the skin, where the person is


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity; `code` scales and shifts between them (FiLM)."""

    def __init__(self, width: int, code: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(code, 2 * width) if code else None
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        h = self.first(F.relu(x))
        if self.film is not None and code is not None:
            scale, shift = self.film(code)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        return torch.as_tensor(x + self.second(F.relu(h)))


class FaceTrunk(nn.Module):
    """[B, 3, 128, 128] in 0..1 -> [B, 192, 4, 4]; 0.4 GFLOP."""

    WIDTHS = (24, 48, 96, 144, 192)

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 3
        for index, width in enumerate(self.WIDTHS):
            stages += [nn.Conv2d(before, width, 4 if index else 6, stride=2, padding=1 if index else 2)]
            stages += [Residual(width) for _ in range(0 if index == 0 else 2)]
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]

    def features(self, x: Tensor) -> list[Tensor]:
        """One map per resolution, fine to coarse: 64, 32, 16, 8, 4."""
        h, maps = x * 2 - 1, []
        for index, stage in enumerate(self.stages):
            if index and isinstance(stage, nn.Conv2d):
                maps.append(h)
            h = stage(h)
        return [*maps, h]


@dataclass(frozen=True)
class FrameCodes:
    """pose [B, 6]: yaw, pitch, roll / 30 degrees, shift right and down / half a crop, log of the scale;
    dynamics [B, 48]; landmarks [B, 478, 2] in crops, 0..1."""

    pose: Tensor
    dynamics: Tensor
    landmarks: Tensor


class MotionEncoder(nn.Module):
    """A frame [B, 3, 128, 128] -> pose, holistic dynamics code, landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = FaceTrunk()
        wide = FaceTrunk.WIDTHS[-1] * 16
        self.body = nn.Linear(wide, 384)
        self.pose = nn.Linear(384, POSE)
        self.dynamics = nn.Linear(384, DYNAMICS)
        self.landmarks = nn.Linear(384, LANDMARKS * 2)
        nn.init.zeros_(self.landmarks.weight)

    def forward(self, x: Tensor) -> FrameCodes:
        h = F.relu(self.body(F.relu(self.trunk(x)).flatten(1)).float())
        marks = self.landmarks(h).view(-1, LANDMARKS, 2) + 0.5
        return FrameCodes(self.pose(h), self.dynamics(h), marks)


class DynamicsReadOut(nn.Module):
    """Linear maps between the dynamics code and what has a name: 53 expression weights and the gaze / 20 degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.back = nn.Linear(DYNAMICS, READ_OUT), nn.Linear(READ_OUT, DYNAMICS)

    def forward(self, dynamics: Tensor) -> Tensor:
        """[B, 48] -> [B, 55]"""
        return torch.as_tensor(self.out(dynamics))

    def code_of(self, named: Tensor) -> Tensor:
        """[B, 55] -> [B, 48]: the code of a face with this expression and gaze."""
        return torch.as_tensor(self.back(named))

    def changed(self, dynamics: Tensor, change: Tensor) -> Tensor:
        """A face's own code [B, 48] after a change by numbers [B, 55]."""
        return dynamics + F.linear(change, self.back.weight)


class IdentityEncoder(nn.Module):
    """A picture of a face [B, 3, 128, 128] -> unit vector [B, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = FaceTrunk()
        self.code = nn.Linear(FaceTrunk.WIDTHS[-1] * 16, IDENTITY)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.code(F.relu(self.trunk(x)).flatten(1)).float(), dim=1)


class AppearanceEncoder(nn.Module):
    """Portrait [B, 3, 192, 192] in 0..1 and its layers [B, 2, 192, 192] -> volume [B, 16, 8, 24, 24] as the camera
    sees it: slices from far to near, rows down."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d((3 + LAYERS) * 4, 32, 3, padding=1)
        self.fine_residual = Residual(32)
        self.down = nn.Conv2d(32, 64, 4, stride=2, padding=1)
        self.residuals = nn.ModuleList([Residual(64) for _ in range(3)])
        self.slices = nn.Conv2d(64, FEATURES * DEPTH, 4, stride=2, padding=1)

    def forward(self, picture: Tensor, layers: Tensor) -> Tensor:
        h = F.pixel_unshuffle(torch.cat([picture * 2 - 1, layers], 1), 2)
        h = self.down(self.fine_residual(self.fine(h)))
        for block in self.residuals:
            h = block(h)
        return torch.as_tensor(self.slices(F.relu(h))).view(-1, FEATURES, DEPTH, GRID_PX, GRID_PX)


@dataclass(frozen=True)
class HeadPlace:
    """Where a head is, for the volume. turn [B, 3, 3]: head to camera axes (x right, y up, z to the viewer);
    centre [B, 2]: the head's centre in the crop, -1..1, y down; scale [B]: 1 as in the portrait."""

    turn: Tensor
    centre: Tensor
    scale: Tensor


def to_canonical(volume: Tensor, place: HeadPlace) -> Tensor:
    """The volume in front of the camera, turned back to the head's own axes around its centre."""
    batch = volume.shape[0]
    points = _grid(volume)  # [D, H, W, 3] in head axes
    seen = torch.einsum("bij,dhwj->bdhwi", place.turn, points)
    flip = torch.tensor([1.0, -1.0, 1.0], device=volume.device)
    shift = torch.cat([place.centre, torch.zeros(batch, 1, device=volume.device)], 1)
    where = seen * place.scale[:, None, None, None, None] * flip + shift[:, None, None, None]
    return F.grid_sample(volume, where.to(volume.dtype), padding_mode="border", align_corners=False)


def to_camera(canonical: Tensor, place: HeadPlace, flow: Tensor) -> Tensor:
    """The canonical volume as the camera sees it at `place`; `flow` [B, 3, 8, 24, 24] bends it, head axes."""
    batch = canonical.shape[0]
    flip = torch.tensor([1.0, -1.0, 1.0], device=canonical.device)
    points = _grid(canonical)  # [D, H, W, 3], y down
    shift = torch.cat([place.centre, torch.zeros(batch, 1, device=canonical.device)], 1)
    seen = (points - shift[:, None, None, None]) * flip / place.scale[:, None, None, None, None]
    where = torch.einsum("bji,bdhwj->bdhwi", place.turn, seen) + flow.permute(0, 2, 3, 4, 1)
    return F.grid_sample(canonical, where.to(canonical.dtype), padding_mode="border", align_corners=False)


def _grid(volume: Tensor) -> Tensor:
    """[D, H, W, 3] = x, y, z in -1..1 of the cell centres."""
    axes = [(torch.arange(n, device=volume.device, dtype=torch.float32) * 2 + 1) / n - 1 for n in volume.shape[2:]]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], -1)


LIGHT_PX = 32  # side of the map of light: what changes more finely stays with the warped pixels
MOST_LIGHT = 0.25
RIM_PX = 13  # of the half-size crop: towards the person's outline light fades over half of it


def spread(light: Tensor, layers: Tensor) -> Tensor:
    """Light [B, 3, 32, 32] and the layers [B, 2, 192, 192] -> what is added, [B, 3, 192, 192] in -0.25..0.25.

    Nothing is added in openings, nor at the person's outline, where background and head change places.
    """
    opened, person = layers[:, :1], layers[:, 1:]
    inner = F.avg_pool2d(person, RIM_PX, stride=1, padding=RIM_PX // 2, count_include_pad=False)
    inner = (2 * inner - 1).clamp(0, 1) * person * (1 - opened)
    smooth = F.interpolate(light, size=person.shape[2:], mode="bilinear", align_corners=False)
    return smooth.clamp(-MOST_LIGHT, MOST_LIGHT) * inner


class Decoder(nn.Module):
    """Canonical volume, codes and warped pixels -> light that the warped pixels lack; about 2.5 GFLOP a frame."""

    def __init__(self) -> None:
        super().__init__()
        code = DYNAMICS + IDENTITY + 9 + 3
        self.code = nn.Sequential(nn.Linear(code, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.flow = nn.Linear(96, 3 * 4 * 6 * 6)
        self.volume = nn.Conv2d(FEATURES * DEPTH, 64, 1)
        self.warped = nn.Conv2d((3 + LAYERS) * 16, 64, 1)
        self.coarse = nn.ModuleList([Residual(64, 96) for _ in range(4)])
        self.up = nn.Conv2d(64, 128, 3, padding=1)
        self.fine_in = nn.Conv2d((3 + LAYERS) * 4, 32, 3, padding=1)
        self.fine = nn.ModuleList([Residual(32) for _ in range(2)])
        self.last = nn.Conv2d(32, 3, 3, padding=1)
        for layer in (self.flow, self.last):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self, canonical: Tensor, place: HeadPlace, dynamics: Tensor, identity: Tensor, warped: Tensor, layers: Tensor
    ) -> Tensor:
        """warped [B, 3, 192, 192] in 0..1, layers [B, 2, 192, 192] -> light [B, 3, 32, 32]; see `spread`."""
        position = torch.cat([place.turn.flatten(1), place.centre, place.scale[:, None].log()], 1)
        code = self.code(torch.cat([dynamics, identity, position], 1).to(self.volume.weight.dtype))
        flow = 0.2 * torch.tanh(self.flow(code).float()).view(-1, 3, 4, 6, 6)
        flow = F.interpolate(flow, size=(DEPTH, GRID_PX, GRID_PX), mode="trilinear", align_corners=False)
        posed = to_camera(canonical, place, flow).flatten(1, 2)
        seen = torch.cat([warped * 2 - 1, layers], 1).to(posed.dtype)
        h = F.interpolate(self.volume(posed), scale_factor=2.0, mode="nearest") + self.warped(
            F.pixel_unshuffle(seen, 4)
        )
        for block in self.coarse:
            h = block(h, code)
        h = F.pixel_shuffle(self.up(F.relu(h)), 2) + self.fine_in(F.pixel_unshuffle(seen, 2))
        for block in self.fine:
            h = block(h)
        return F.avg_pool2d(self.last(F.relu(h)).float(), HALF_PX // 2 // LIGHT_PX)
