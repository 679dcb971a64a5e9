"""What the warp lacks around the mouth, learnt from real talkers: light on lips, depth and teeth between them.

A small network sees a window that follows the mouth, at half size: the frame's pixels, the portrait's own, where skin
is open, where each pixel comes from. It returns a small flow, which moves the drawn pixels, and a residual, which is
added to them. Both are bounded, smooth (half size), zero at the window's edge, off the person and where nothing moves:
what the warp leaves in place is right already. What moves is told by pixels alone, not by the names of expressions: a
tracker and a motion model use those in different mixtures.
Colours count in units of the portrait's own mean colour there: another gain of a channel is another gain of the
residual, and a grey portrait stays grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.box_mean import box_mean
from generator.errors import GeneratorError
from generator.face_codes import Warped
from generator.face_networks import Residual
from generator.face_state import FaceState
from generator.frame_windows import FrameWindows
from generator.head_motion import HeadMotion
from generator.motion_block import MotionBlock
from generator.warp import blend, pixel_centres

WIDTH_PX, HEIGHT_PX, ABOVE_PX = 160, 144, 60  # of the window; above the middle of the lips
EDGE_PX = 16  # over which all changes fade out
MOST = 0.45  # of the portrait's mean colour, that is added or taken at most
MOST_FLOW = 2.5  # half-size pixels, in each direction
PLANES = 11
UNIT_PX = 48  # of the planes that hold coordinates
STILL_PX, MOVED_PX = 0.25, 6.0  # of a pixel against the mouth's own shift: less changes nothing, more everything
WIDE_FROM, WIDE_TO = 0.45, 0.65  # open share of 30 px around: wider mouths were not in the training, and keep the rig's
STIRRED = 0.25  # sum of what is asked at which changes are made in full


class MouthRefiner(nn.Module):
    """Planes of a `MouthView` [B, 11, 72, 80] -> residual [B, 3, 72, 80] in -0.45..0.45
    and flow [B, 2, 72, 80] in -2.5..2.5."""

    def __init__(self) -> None:
        super().__init__()
        self.fine_in = nn.Conv2d(PLANES, 24, 3, padding=1)
        self.middle_in = nn.Conv2d(24, 48, 4, stride=2, padding=1)
        self.coarse_in = nn.Conv2d(48, 64, 4, stride=2, padding=1)
        self.coarse = nn.ModuleList([Residual(64), Residual(64)])
        self.middle_up = nn.Conv2d(64, 48, 1)
        self.middle_out = Residual(48)
        self.fine_up = nn.Conv2d(48, 24, 1)
        self.last = nn.Conv2d(24, 5, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine_in(planes)
        middle = self.middle_in(F.relu(fine))
        coarse = self.coarse_in(F.relu(middle))
        for block in self.coarse:
            coarse = block(coarse)
        middle = middle + F.interpolate(self.middle_up(coarse), scale_factor=2.0, mode="nearest")
        middle = self.middle_out(middle)
        fine = fine + F.interpolate(self.fine_up(F.relu(middle)), scale_factor=2.0, mode="nearest")
        bounded = torch.tanh(self.last(F.relu(fine)))
        return MOST * bounded[:, :3], MOST_FLOW * bounded[:, 3:]


def moved(planes: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """[B, C, h, w] sampled `flow` [B, 2, h, w] pixels (right, down) away."""
    height, width = planes.shape[2:]
    base = pixel_centres((0, 0, width, height), planes.device) + flow
    size = torch.tensor([width, height], device=planes.device)[:, None, None]
    where = (base * 2 / size - 1).permute(0, 2, 3, 1)
    return F.grid_sample(planes, where, mode=mode, padding_mode="border", align_corners=False)


def mouth_window(face: FaceState, motion: HeadMotion) -> FrameWindows:
    """Follows the mouth in steps of two pixels."""
    x, y = face.mouth.centre_px
    corner = torch.tensor([x - WIDTH_PX / 2, y - ABOVE_PX], device=motion.shift_px.device)
    return FrameWindows.near((motion.shift_at((x, y)) + corner).tolist(), WIDTH_PX, HEIGHT_PX, step=2)


@dataclass(frozen=True)
class MouthView:
    """What the network sees. planes [N, 11, 72, 80]: the frame's colours, the portrait's, where skin is open, where
    each pixel comes from, where it is; moves [N, 1, 72, 80] in 0..1: where it may change something; mean
    [1, 3, 1, 1] in 0..255: of the portrait, what colours are counted in, less one."""

    planes: Tensor
    moves: Tensor
    mean: Tensor


def mouth_view(face: FaceState, warped: Warped, motion: HeadMotion) -> MouthView:
    window = mouth_window(face, motion)
    rest = torch.eye(3).to(motion.turn)[None], motion.pivot, torch.ones_like(motion.scale[:1]), 0 * motion.shift_px[:1]
    own = _half(mouth_window(face, HeadMotion(*rest)).cut(face.picture[None]))
    mean = F.avg_pool2d(own, own.shape[2:]).clamp(min=12)  # in one order, on any number of threads
    here = window.within(warped.box)
    now = _half(here.cut(warped.colours))
    opened, skin = here.cut(warped.open), here.cut(warped.skin)  # [N, 1, 144, 160]
    centre = torch.tensor(face.mouth.centre_px, device=now.device)[:, None, None]
    shift = motion.shift_at(face.mouth.centre_px)[:, :, None, None]
    source = here.cut(warped.source)
    place = window.centres(now.device) - shift
    way = (source - place).square().sum(1, keepdim=True).sqrt()
    moves = torch.maximum(_smooth_step((way - STILL_PX) / MOVED_PX) * skin, (1.2 * opened).clamp(0, 1))
    half = _half(torch.cat([moves, opened, (source - centre) / UNIT_PX * skin, (place - centre) / UNIT_PX], 1))
    smooth = box_mean(half[:, :1], 2)
    wide = (box_mean(half[:, 1:2], 7) - WIDE_FROM) / (WIDE_TO - WIDE_FROM)
    known = 1 - _smooth_step(wide)
    colours = [now / mean - 1, (own / mean - 1).expand(len(now), -1, -1, -1)]
    return MouthView(torch.cat([*colours, half[:, 1:]], 1), smooth * known, mean)


def _half(planes: Tensor) -> Tensor:
    """Means of 2 by 2 pixels; in one order on any number of threads, as `F.interpolate`'s are not."""
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) * 0.25


def _smooth_step(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def stirred(block: MotionBlock) -> Tensor:
    """[N] in 0..1 of what frames ask for: nothing at rest."""
    rest = torch.tensor([0.0, 0, 0, 0, 0, 1], device=block.pose.device)
    unit = torch.tensor([20.0, 20, 20, 0.5, 0.5, 0.5], device=block.pose.device)
    asked = ((block.pose - rest) / unit).abs().sum(1) + block.expression.clamp(0, 1).sum(1)
    return _smooth_step(asked / STIRRED)


def edge_fade(device: torch.device) -> Tensor:
    """[144, 160] in 0..1: none at the window's edge."""

    def along(size: int) -> Tensor:
        at = torch.arange(size, device=device) + 0.5
        return _smooth_step(torch.minimum(at, size - at) / EDGE_PX)

    return along(HEIGHT_PX)[:, None] * along(WIDTH_PX)


class MouthTouch:
    """The trained network of a checkpoint, at work on frames."""

    def __init__(self, network: MouthRefiner, device: torch.device) -> None:
        self._network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self._fade = edge_fade(device)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> MouthTouch | None:
        """From tensors named `render.mouth.*`; None when there are none."""
        prefix = "render.mouth."
        own = {name.removeprefix(prefix): t.float() for name, t in tensors.items() if name.startswith(prefix)}
        if not own:
            return None
        network = MouthRefiner()
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise GeneratorError(f"the checkpoint's mouth network does not fit this release: {error}") from error
        return cls(network, device)

    @torch.inference_mode()
    def add(self, face: FaceState, block: MotionBlock, motion: HeadMotion, warped: Warped) -> None:
        """Moves and changes `warped.colours` in place; the skin's source moves along. A frame at rest stays."""
        amount = stirred(block).to(warped.colours.device)[:, None, None, None]
        view = mouth_view(face, warped, motion)
        residual, flow = self._network(view.planes.contiguous(memory_format=torch.channels_last))
        grey = residual.mean(1, keepdim=True)
        residual = (grey + _colourful(face) * (residual - grey)) * view.mean
        changes = (torch.cat([residual, 2 * flow], 1) * (view.moves * amount)).contiguous()
        fine = F.interpolate(changes, scale_factor=2.0, mode="bilinear", align_corners=False) * self._fade
        window = mouth_window(face, motion).within(warped.box)
        before = torch.cat([window.cut(warped.colours), window.cut(warped.source)], 1)
        after = moved(before, fine[:, 3:])
        after[:, :3] += fine[:, :3]
        person = torch.maximum(window.cut(warped.skin), window.cut(warped.open))
        changed = torch.where(amount > 0, blend(before, after, person), before)
        window.put(warped.colours, changed[:, :3])
        window.put(warped.source, changed[:, 3:])


def _colourful(face: FaceState) -> float:
    """0 for a grey portrait, 1 for a coloured one."""
    return float((face.mouth_interior.depth_tint[1] - 1) / 0.6)
