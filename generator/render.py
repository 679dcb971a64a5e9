"""Draws frames: the portrait's own pixels on two sheets of skin, eyeballs and teeth behind them, a still background.

For each frame the fields of `FaceState` say where every cell of the portrait goes; that map is inverted by a damped
Newton iteration and sampled. A few frames are drawn side by side, which saves most of the time between operations; no
number of one depends on another, so equal inputs give equal bits however a clip is cut into blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from generator.errors import GeneratorError
from generator.expression_rules import settle_expression
from generator.face_codes import FaceNetworks, Warped, head_place
from generator.face_encoder import encode_portrait, encode_working_picture
from generator.face_state import Box, EyeState, FaceState, OpeningState
from generator.frame_windows import FrameWindows
from generator.framing import Framing
from generator.head_motion import HeadMotion, head_motion, move_points, place_cells, project
from generator.motion_block import MotionBlock
from generator.mouth_interior import draw_mouth
from generator.mouth_refiner import MouthTouch, mouth_window
from generator.paste_back import paste
from generator.rig_fit import RigShape
from generator.warp import invert_map, invert_nearby, sample_pixels
from generator.working_picture import CELL_PX, SIZE_PX, WorkingPicture

SPRITES = tuple(
    f"{side}_teeth{part}" for side in ("upper", "lower") for part in ("", "_centre", "_identity", "_expression")
)
BATCH = 4  # frames drawn side by side
# Pixels that a target window is larger than its opening's cells: left, top, right, bottom.
SEEN_MARGIN_PX = 2
LEAST_SEEN = 1e-3  # of what lies under the skin: less is a quarter of a grey level
MARGINS = {"eye_left": (14, 14, 14, 14), "eye_right": (14, 14, 14, 14), "mouth": (22, 18, 22, 64)}


class Renderer:
    """Portrait -> `FaceState` once; motion -> frames."""

    def __init__(
        self,
        rig: RigShape,
        sprites: Mapping[str, Tensor],
        sprite_cm_per_px: float,
        networks: FaceNetworks | None,
        device: torch.device,
        touch: MouthTouch | None = None,
    ) -> None:
        self._rig, self._sprites = rig, dict(sprites)
        self._sprite_cm_per_px = sprite_cm_per_px
        self._networks, self._touch = networks, touch
        self.device = device

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], config: Mapping[str, object], device: str | torch.device = "cpu"
    ) -> Renderer:
        """From tensors named `render.*` and the checkpoint's "render" settings."""
        if config.get("kind") != "rig_warp" or config.get("version") != 1:
            raise GeneratorError(
                f"renderer settings name kind {config.get('kind')!r} version {config.get('version')!r};"
                " this release reads kind 'rig_warp' version 1"
            )
        missing = [name for name in SPRITES if f"render.{name}" not in tensors]
        if missing:
            raise GeneratorError(f"the checkpoint lacks render.{missing[0]}; build it with build_render_tensors")
        sprites = {name: tensors[f"render.{name}"] for name in SPRITES}
        scale = float(str(config.get("sprite_cm_per_px", 0.025)))
        place = torch.device(device)
        networks, touch = FaceNetworks.from_tensors(tensors, place), MouthTouch.from_tensors(tensors, place)
        return cls(RigShape.from_tensors(tensors), sprites, scale, networks, place, touch)

    def encode(self, portrait: Tensor, framing: Framing | None = None) -> FaceState:
        """uint8 [3, H, W] RGB. Raises `GeneratorError`: no face, several, too small, cut off, turned too far."""
        chosen = framing or Framing()
        with _one_blas_thread():
            face = encode_portrait(portrait, self._rig, self._sprites, self._sprite_cm_per_px, self.device, chosen)
        return self._with_codes(face)

    def encode_known(self, work: WorkingPicture) -> FaceState:
        """A working picture with known landmarks. Raises `GeneratorError` when the head is turned too far."""
        rig, sprites, framing = self._rig, self._sprites, Framing()
        square = torch.from_numpy(work.texture).permute(2, 0, 1)
        with _one_blas_thread():
            face = encode_working_picture(work, rig, sprites, self._sprite_cm_per_px, self.device, framing, square)
        return self._with_codes(face)

    @torch.inference_mode()
    def _with_codes(self, face: FaceState) -> FaceState:
        if self._networks is None:
            return face
        rest = MotionBlock.still(1)
        motion = head_motion(face, rest.pose.to(self.device))
        gaze = torch.tensor([face.eye_layers[0].gaze_deg])
        warped = _warp(face, MotionBlock(rest.pose, rest.expression, gaze).to(self.device), motion).whole(face)
        return replace(face, codes=self._networks.encode(warped, head_place(motion, face.turn)))

    @torch.inference_mode()
    def render(self, face: FaceState, block: MotionBlock) -> Tensor:
        """uint8 [N, 3, H, W] RGB on the renderer's device, H x W as `face.size_px`."""
        width, height = face.size_px
        frames = torch.empty(len(block), 3, height, width, dtype=torch.uint8, device=self.device)
        for start in range(0, len(block), BATCH):
            self._draw(face, block[start : start + BATCH].to(self.device), frames[start : start + BATCH])
        return frames

    def _draw(self, face: FaceState, block: MotionBlock, frames: Tensor) -> None:
        motion = head_motion(face, block.pose)
        warped = self._complete(face, block, motion, _warp(face, block, motion))
        inside = _inside(warped.box)
        if face.paste is not None:
            changes = face.moves[inside] * (warped.colours - face.picture[:, *inside])
            for row, change in enumerate(changes):
                frames[row] = paste(face.paste, change, warped.source[row], warped.skin[row, 0])
            return
        frames[:] = face.still_frame
        part = torch.lerp(face.picture[:, *inside], warped.colours, face.moves[inside])
        frames[:, :, *inside] = part.add_(0.5).clamp_(0, 255).to(torch.uint8)

    def _complete(self, face: FaceState, block: MotionBlock, motion: HeadMotion, warped: Warped) -> Warped:
        """With what the networks add; of a whole square where it has to be one."""
        if self._touch is not None:
            self._touch.add(face, block, motion, warped)
        if face.paste is not None or face.codes is not None:
            warped = warped.whole(face)
        if self._networks is not None and face.codes is not None:
            gaze = block.gaze - torch.tensor(face.eye_layers[0].gaze_deg, device=self.device)
            change = torch.cat([block.expression.clamp(0, 1), gaze / 20], 1)
            self._networks.complete(warped, face.codes, head_place(motion, face.turn), change)
        return warped

    @torch.inference_mode()
    def warp(self, face: FaceState, block: MotionBlock) -> Warped:
        """What the networks start from and are trained on."""
        placed = block.to(self.device)
        return _warp(face, placed, head_motion(face, placed.pose)).whole(face)


def _one_blas_thread() -> threadpool_limits:
    """Products of an encoding are so small that threads only wait for one another, on busy cores most of the time."""
    return threadpool_limits(limits=1, user_api="blas")


def _inside(box: Box) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(top, bottom), slice(left, right)


def _warp(face: FaceState, block: MotionBlock, motion: HeadMotion) -> Warped:
    """Only the box that can have changed is drawn; the rest is the portrait at rest."""
    device, count = block.pose.device, len(block)
    settled = settle_expression(face, block.expression, block.gaze)
    upper = _upper_cells(face, settled.weights, settled.shifts, motion)
    openings = (*face.eyes, face.mouth)
    windows = [_target_windows(opening, motion) for opening in openings]
    box = _moving_box(face, upper, [*windows, mouth_window(face, motion)])
    inside = _inside(box)
    at = invert_map(upper, origin=face.moving_box[:2], target=box)  # [N, 2, h, w] of the box, as all below
    skin = sample_pixels(face.upper_texture, at)  # [N, 4, h, w]
    cover = torch.where(skin[:, 3:] > 1 - LEAST_SEEN, 1, skin[:, 3:])  # [N, 1, h, w]
    behind = face.background[None, :, *inside].expand(count, -1, -1, -1).clone()
    opened, covered = torch.zeros_like(cover), cover.clone()
    for opening, shift, window in zip(openings, settled.shifts, windows, strict=True):
        shown = _uncovered(window.within(box).cut(cover))
        if shown is None:
            continue
        seen = window.part(shown)
        here = seen.within(box)
        source = here.cut(at)
        lower = _lower_cells(face, opening, settled.weights, shift, motion)
        under = _lower_source(opening, lower, seen, source)
        sheet = sample_pixels(face.lower_texture, under)  # [N, 5, h, w] of what is seen
        bare = (1 - here.cut(cover)) * (1 - sheet[:, 3:4])
        target = seen.centres(device)
        if opening.name == "mouth":
            layer = draw_mouth(face, settled.weights, motion, target, bare)
        else:
            layer = _draw_eye(
                opening, face.eye_layers[0 if opening.name == "eye_left" else 1], block.gaze, motion, target
            )
        layer = torch.lerp(layer, sheet[:, :3], sheet[:, 3:4])
        here.put(behind, torch.lerp(here.cut(behind), layer, sheet[:, 4:]))
        here.put(opened, here.cut(opened) + sheet[:, 4:] * bare)
        shows = (1 - here.cut(covered)) * sheet[:, 3:4] * sheet[:, 4:]  # the lower sheet: the skin comes from there
        here.put(at, torch.where(shows > 0.5, under, source))
        here.put(covered, here.cut(covered) + shows)
    return Warped(torch.lerp(behind, skin[:, :3], cover), opened, at, covered, box)


def _uncovered(cover: Tensor) -> Box | None:
    """The part of an opening's windows [N, 1, h, w] where the upper sheet lets anything through, with a margin, in
    steps of 16 pixels from their corner; None where all are shut."""
    through = (cover < 1).any(0)[0]
    rows, columns = through.any(1).nonzero(), through.any(0).nonzero()
    if not len(rows):
        return None

    def span(at: Tensor, size: int) -> tuple[int, int]:
        return max(int(at[0]) - SEEN_MARGIN_PX, 0) // 16 * 16, min((int(at[-1]) + SEEN_MARGIN_PX) // 16 * 16 + 16, size)

    (left, right), (top, bottom) = span(columns, through.shape[1]), span(rows, through.shape[0])
    return left, top, right, bottom


def _lower_source(opening: OpeningState, lower: Tensor, seen: FrameWindows, upper_source: Tensor) -> Tensor:
    """[N, 2, h, w]: where the lower sheet in the windows comes from; found at every second pixel, starting from where
    the upper sheet comes from there."""
    aim = seen.centres(lower.device, CELL_PX)
    start = F.interpolate(upper_source, scale_factor=1 / CELL_PX, mode="bilinear", align_corners=False)
    origin = (opening.left * CELL_PX, opening.top * CELL_PX)
    offset = invert_nearby(lower, origin=origin, aim=aim, start=start) - aim
    fine = F.interpolate(offset, scale_factor=float(CELL_PX), mode="bilinear", align_corners=False)
    return seen.centres(lower.device) + fine


def _moving_box(face: FaceState, placed: Tensor, windows: Sequence[FrameWindows]) -> Box:
    """In pixels, multiples of 16: around where the moving part of the person is and was, and all windows."""
    left, top, right, bottom = (edge // CELL_PX for edge in face.moving_box)
    moved = placed[:, :, face.moving_cells[top:bottom, left:right]]  # [N, 2, cells]
    low = torch.minimum(moved.amin((0, 2)), face.moving_px[0]).tolist()
    high = torch.maximum(moved.amax((0, 2)), face.moving_px[1]).tolist()
    bounds = [window.bounds for window in windows]
    x0, y0 = (max(min(int(low[axis]) - 16, *(b[axis] for b in bounds)) // 16 * 16, 0) for axis in (0, 1))
    x1, y1 = (
        min(max(int(high[axis]) + 32, *(b[axis + 2] + 15 for b in bounds)) // 16 * 16, SIZE_PX) for axis in (0, 1)
    )
    return x0, y0, x1, y1


def _upper_cells(
    face: FaceState, weights: Tensor, shifts: tuple[tuple[Tensor, Tensor], ...], motion: HeadMotion
) -> Tensor:
    """[N, 2, h, w]: where the cells of the upper sheet go, in pixels; those of `face.moving_box`."""
    left, top, right, bottom = (edge // CELL_PX for edge in face.moving_box)
    inside = (slice(top, bottom), slice(left, right))
    position = face.position[None, :, *inside].repeat(len(weights), 1, 1, 1)
    box_top, box_left, height, width = face.face_box
    rows = slice(box_top - top, box_top - top + height)
    columns = slice(box_left - left, box_left - left + width)
    position[:, :, rows, columns] += _shaped(weights, face.upper).view(-1, 3, height, width)
    for opening, (shift, lower_shift) in zip((*face.eyes, face.mouth), shifts, strict=True):
        rows = slice(opening.top - top, opening.top - top + opening.height)
        columns = slice(opening.left - left, opening.left - left + opening.width)
        _push_down(position[:, :, rows, columns], opening, shift, opening.upper_bumps)
        _push_down(position[:, :, rows, columns], opening, lower_shift, opening.follow_bumps)
    return place_cells(position, face.turn_weight[inside], face.move_weight[inside], motion)


def _shaped(weights: Tensor, shapes: Tensor) -> Tensor:
    """[N, 53] @ [53, M]; always in rows of four, since a product of other size may be added up in another order."""
    missing = -len(weights) % 4
    return (F.pad(weights, (0, 0, 0, missing)) @ shapes)[: len(weights)]


def _lower_cells(
    face: FaceState, opening: OpeningState, weights: Tensor, shift: tuple[Tensor, Tensor], motion: HeadMotion
) -> Tensor:
    """[N, 2, h, w]: where the cells of the lower sheet in an opening's window go."""
    rows = slice(opening.top, opening.top + opening.height)
    columns = slice(opening.left, opening.left + opening.width)
    moved = _shaped(weights, opening.lower.flatten(1)).view(-1, 3, opening.height, opening.width)
    position = face.position[:, rows, columns] + moved
    _push_down(position, opening, shift[1], opening.lower_bumps)
    return place_cells(position, face.turn_weight[rows, columns], face.move_weight[rows, columns], motion)


def _push_down(position: Tensor, opening: OpeningState, shift_px: Tensor, bumps: Tensor) -> None:
    """Adds a downward shift per knot [N, K] (pixels at rest) in place to positions [N, 3, h, w]."""
    amount = _shaped(shift_px, bumps.flatten(1)).view(-1, *bumps.shape[1:]) * opening.cm_per_px
    position[:, 0] += amount * opening.down[0]
    position[:, 1] -= amount * opening.down[1]


def _target_windows(opening: OpeningState, motion: HeadMotion) -> FrameWindows:
    """Move with the head in whole pixels; of constant size, multiples of 16."""
    left, top, right, bottom = MARGINS[opening.name]
    width = -(-(opening.width * CELL_PX + left + right) // 16) * 16
    height = -(-(opening.height * CELL_PX + top + bottom) // 16) * 16
    corner = torch.tensor([opening.left * CELL_PX - left, opening.top * CELL_PX - top], device=motion.shift_px.device)
    return FrameWindows.near((corner + motion.shift_at(opening.centre_px)).tolist(), width, height)


def _draw_eye(opening: OpeningState, eye: EyeState, gaze: Tensor, motion: HeadMotion, target: Tensor) -> Tensor:
    """[N, 3, h, w] at frame pixels `target` [N, 2, h, w]: white of the eye moving with the head, iris turned to the
    gaze [N, 2]."""
    axes = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, -1, 0]], device=gaze.device)
    front = eye.eyeball_cm + torch.tensor([0, 0, eye.radius_cm], device=gaze.device)
    rest = project(front + axes)  # [3, 2]: centre, one cm right, one cm down
    now = move_points(front + axes, motion)  # [N, 3, 2]
    to_rest = (rest[1:] - rest[:1]).T @ torch.linalg.inv((now[:, 1:] - now[:, :1]).mT)  # [N, 2, 2]
    turned = eye.radius_cm * direction(gaze)[:, None]
    centre = move_points(eye.eyeball_cm[None], motion, turned_offset=turned)[:, 0]  # [N, 2]
    own = direction(torch.tensor([eye.gaze_deg], device=gaze.device))[0]
    was = project(eye.eyeball_cm + eye.radius_cm * own)
    iris_shift = (to_rest @ (centre - now[:, 0])[..., None])[..., 0] + rest[0] - was  # [N, 2]
    along = torch.tensor([opening.down[1], -opening.down[0]], device=gaze.device)
    asked = (iris_shift * along).sum(1, keepdim=True)
    iris_shift = iris_shift + (asked.clamp(*eye.reach_px) - asked) * along
    origin = torch.tensor([opening.left, opening.top], device=gaze.device) * CELL_PX
    shift = rest[0] - origin - (to_rest @ now[:, 0, :, None])[..., 0]
    source = (to_rest @ target.flatten(2) + shift[..., None]).view_as(target)
    size = (opening.width * CELL_PX, opening.height * CELL_PX)
    white = sample_pixels(eye.white[None], source, size=size)
    iris = sample_pixels(eye.iris[None], source - iris_shift[:, :, None, None], size=size)
    return torch.lerp(white, iris[:, :3], iris[:, 3:])


def direction(gaze_deg: Tensor) -> Tensor:
    """[N, 2] yaw, pitch in degrees -> unit vectors [N, 3] in camera axes."""
    yaw, pitch = torch.deg2rad(gaze_deg).unbind(1)
    return torch.stack([yaw.sin() * pitch.cos(), -pitch.sin(), yaw.cos() * pitch.cos()], 1)
