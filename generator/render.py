"""Draws frames: the portrait's own pixels on two sheets of skin, eyeballs and teeth behind them, a still background.

For each frame the fields of `FaceState` say where every cell of the portrait goes; that map is inverted by a damped
Newton iteration and sampled. Each frame is computed on its own, so equal inputs give equal bits however a clip is
cut into blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from generator.errors import GeneratorError
from generator.expression_rules import settle_expression
from generator.face_codes import FaceNetworks, Warped, head_place
from generator.face_encoder import encode_portrait, encode_working_picture
from generator.face_state import Box, EyeState, FaceState, OpeningState
from generator.framing import Framing
from generator.head_motion import HeadMotion, head_motion, move_points, place_cells
from generator.motion_block import MotionBlock
from generator.mouth_interior import draw_mouth
from generator.mouth_refiner import MouthTouch, mouth_window
from generator.paste_back import paste
from generator.rig_fit import RigShape
from generator.warp import invert_map, pixel_centres, sample_pixels
from generator.working_picture import CELL_PX, SIZE_PX, WorkingPicture

SPRITES = tuple(
    f"{side}_teeth{part}" for side in ("upper", "lower") for part in ("", "_centre", "_identity", "_expression")
)
# Pixels that a target window is larger than its opening's cells: left, top, right, bottom.
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
        face = encode_portrait(portrait, self._rig, self._sprites, self._sprite_cm_per_px, self.device, chosen)
        return self._with_codes(face)

    def encode_known(self, work: WorkingPicture) -> FaceState:
        """A working picture with known landmarks. Raises `GeneratorError` when the head is turned too far."""
        rig, sprites, framing = self._rig, self._sprites, Framing()
        square = torch.from_numpy(work.texture).permute(2, 0, 1)
        face = encode_working_picture(work, rig, sprites, self._sprite_cm_per_px, self.device, framing, square)
        return self._with_codes(face)

    @torch.inference_mode()
    def _with_codes(self, face: FaceState) -> FaceState:
        if self._networks is None:
            return face
        rest = MotionBlock.still(1)
        motion = head_motion(face, rest.pose[0].to(self.device))
        gaze = torch.tensor([face.eye_layers[0].gaze_deg])
        warped = _warp(face, MotionBlock(rest.pose, rest.expression, gaze), motion, self.device)
        return replace(face, codes=self._networks.encode(warped, head_place(motion, face.turn)))

    @torch.inference_mode()
    def render(self, face: FaceState, block: MotionBlock) -> Tensor:
        """uint8 [N, 3, H, W] RGB on the renderer's device, H x W as `face.size_px`."""
        width, height = face.size_px
        frames = torch.empty(len(block), 3, height, width, dtype=torch.uint8, device=self.device)
        for index in range(len(block)):
            moment = block[index : index + 1]
            motion = head_motion(face, moment.pose[0].to(self.device))
            warped = _warp(face, moment, motion, self.device)
            drawn = self._complete(face, moment, motion, warped)
            if face.paste is None:
                left, top, right, bottom = warped.box
                inside = (slice(None), slice(top, bottom), slice(left, right))
                frames[index] = face.still_frame
                part = torch.lerp(face.picture[inside], drawn[inside], face.moves[inside[1:]])
                frames[index][inside] = part.add_(0.5).clamp_(0, 255).to(torch.uint8)
            else:
                frames[index] = paste(face.paste, face.moves * (drawn - face.picture), warped.source, warped.skin)
        return frames

    def _complete(self, face: FaceState, moment: MotionBlock, motion: HeadMotion, warped: Warped) -> Tensor:
        """The warped portrait with what the networks add."""
        if self._touch is not None:
            self._touch.add(face, moment, motion, warped)
        if self._networks is None or face.codes is None:
            return warped.colours
        expression = moment.expression[0].to(self.device).clamp(0, 1)
        gaze = moment.gaze[0].to(self.device) - torch.tensor(face.eye_layers[0].gaze_deg, device=self.device)
        change = torch.cat([expression, gaze / 20])
        return self._networks.complete(warped, face.codes, head_place(motion, face.turn), change)

    @torch.inference_mode()
    def warp(self, face: FaceState, block: MotionBlock) -> list[Warped]:
        """What the networks start from and are trained on."""
        moments = [block[index : index + 1] for index in range(len(block))]
        motions = [head_motion(face, moment.pose[0].to(self.device)) for moment in moments]
        return [_warp(face, *pair, self.device) for pair in zip(moments, motions, strict=True)]


def _warp(face: FaceState, moment: MotionBlock, motion: HeadMotion, device: torch.device) -> Warped:
    """Only the box that can have changed is drawn; the rest is the portrait at rest."""
    gaze = moment.gaze[0].to(device)
    settled = settle_expression(face, moment.expression[0].to(device), gaze)
    upper = _upper_cells(face, settled.weights, settled.shifts, motion)
    openings = (*face.eyes, face.mouth)
    windows = [*(_target_window(opening, motion) for opening in openings), mouth_window(face, motion)]
    box = _moving_box(face, upper, windows)
    left, top, right, bottom = box
    inside = (slice(top, bottom), slice(left, right))
    at = invert_map(upper, origin=(0, 0), target=box)  # [2, h, w] of the box, as all below
    skin = sample_pixels(face.upper_texture, at)  # [4, h, w]
    behind, opened = face.background[:, *inside].clone(), torch.zeros_like(skin[3])
    covered = skin[3].clone()
    for opening, shift, window in zip(openings, settled.shifts, windows[:3], strict=True):
        seen = _uncovered(skin[3], window, box)
        if seen is None:
            continue
        lower = _lower_cells(face, opening, settled.weights, shift, motion)
        under = invert_map(lower, origin=(opening.left * CELL_PX, opening.top * CELL_PX), target=seen)
        sheet = sample_pixels(face.lower_texture, under)  # [5, h, w] of what is seen
        here = (slice(seen[1] - top, seen[3] - top), slice(seen[0] - left, seen[2] - left))
        bare = (1 - skin[3, *here]) * (1 - sheet[3])
        if opening.name == "mouth":
            layer = draw_mouth(face, settled.weights, motion, seen, bare)
        else:
            eye = face.eye_layers[0 if opening.name == "eye_left" else 1]
            layer = _draw_eye(opening, eye, gaze, motion, seen)
        layer = torch.lerp(layer, sheet[:3], sheet[3])
        behind[:, *here] = torch.lerp(behind[:, *here], layer, sheet[4])
        opened[here] += sheet[4] * bare
        _take_lower_sheet(at[:, *here], covered[here], under, sheet)
    grid = pixel_centres((0, 0, SIZE_PX, SIZE_PX), device)
    warped = Warped(
        face.still_colours.clone(), torch.zeros_like(grid[0]), grid.clone(), face.still_skin[3].clone(), box
    )
    warped.colours[:, *inside] = torch.lerp(behind, skin[:3], skin[3])
    warped.open[inside], warped.source[:, *inside], warped.skin[inside] = opened, at, covered
    return warped


def _uncovered(skin: Tensor, window: Box, box: Box) -> Box | None:
    """The part of an opening's window where the upper sheet [h, w] of the box lets anything through, in steps of 16
    pixels from the window's corner; None where it is shut."""
    left, top, right, bottom = window
    through = skin[top - box[1] : bottom - box[1], left - box[0] : right - box[0]] < 1 - LEAST_SEEN
    rows, columns = through.any(1).nonzero(), through.any(0).nonzero()
    if not len(rows):
        return None
    x0, x1 = int(columns[0]) // 16 * 16, int(columns[-1]) // 16 * 16 + 16
    y0, y1 = int(rows[0]) // 16 * 16, int(rows[-1]) // 16 * 16 + 16
    return left + x0, top + y0, min(left + x1, right), min(top + y1, bottom)


def _moving_box(face: FaceState, placed: Tensor, windows: Sequence[Box]) -> Box:
    """In pixels, multiples of 16: around where the moving part of the person is and was, and the openings' windows."""
    moved = placed[:, face.moving_cells]
    low = torch.minimum(moved.amin(1), face.moving_px[0]).tolist()
    high = torch.maximum(moved.amax(1), face.moving_px[1]).tolist()
    left, top = (max(int(min(low[axis] - 16, *(window[axis] for window in windows))) // 16 * 16, 0) for axis in (0, 1))
    right, bottom = (
        min(int(max(high[axis] + 32, *(window[axis + 2] + 15 for window in windows))) // 16 * 16, SIZE_PX)
        for axis in (0, 1)
    )
    return left, top, right, bottom


def _take_lower_sheet(source: Tensor, covered: Tensor, at: Tensor, sheet: Tensor) -> None:
    """In a window, in place: where the lower sheet shows, its pixels are what the skin comes from."""
    shows = (1 - covered) * sheet[3] * sheet[4]
    source.copy_(torch.where(shows > 0.5, at, source))
    covered += shows


def _upper_cells(
    face: FaceState, weights: Tensor, shifts: tuple[tuple[Tensor, Tensor], ...], motion: HeadMotion
) -> Tensor:
    """[2, 256, 256]: where the cells of the upper sheet go, in pixels."""
    top, left, height, width = face.face_box
    position = face.position.clone()
    position[:, top : top + height, left : left + width] += (weights @ face.upper).view(3, height, width)
    for opening, (shift, lower_shift) in zip((*face.eyes, face.mouth), shifts, strict=True):
        rows = slice(opening.top, opening.top + opening.height)
        columns = slice(opening.left, opening.left + opening.width)
        _push_down(position[:, rows, columns], opening, shift, opening.upper_bumps)
        _push_down(position[:, rows, columns], opening, lower_shift, opening.follow_bumps)
    return place_cells(position, face.turn_weight, face.move_weight, motion)


def _lower_cells(
    face: FaceState, opening: OpeningState, weights: Tensor, shift: tuple[Tensor, Tensor], motion: HeadMotion
) -> Tensor:
    """[2, h, w]: where the cells of the lower sheet in an opening's window go."""
    rows = slice(opening.top, opening.top + opening.height)
    columns = slice(opening.left, opening.left + opening.width)
    position = face.position[:, rows, columns].clone()
    position += (weights @ opening.lower.flatten(1)).view(3, opening.height, opening.width)
    _push_down(position, opening, shift[1], opening.lower_bumps)
    return place_cells(position, face.turn_weight[rows, columns], face.move_weight[rows, columns], motion)


def _push_down(position: Tensor, opening: OpeningState, shift_px: Tensor, bumps: Tensor) -> None:
    """Adds a downward shift per knot [K] (pixels at rest) in place to positions [3, h, w]."""
    amount = torch.tensordot(shift_px, bumps, 1) * opening.cm_per_px
    position[0] += amount * opening.down[0]
    position[1] -= amount * opening.down[1]


def _target_window(opening: OpeningState, motion: HeadMotion) -> Box:
    """Left, top, right, bottom in pixels; moves with the head in whole pixels, of constant size."""
    left, top, right, bottom = MARGINS[opening.name]
    x0, y0 = opening.left * CELL_PX - left, opening.top * CELL_PX - top
    width, height = opening.width * CELL_PX + left + right, opening.height * CELL_PX + top + bottom
    dx, dy = motion.shift_at(opening.centre_px)
    x0 = min(max(x0 + round(dx), 0), SIZE_PX - width)
    y0 = min(max(y0 + round(dy), 0), SIZE_PX - height)
    return x0, y0, x0 + width, y0 + height


def _draw_eye(opening: OpeningState, eye: EyeState, gaze: Tensor, motion: HeadMotion, window: Box) -> Tensor:
    """[3, h, w]: white of the eye moving with the head, iris turned to the gaze."""
    axes = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, -1, 0]], device=gaze.device)
    front = eye.eyeball_cm + torch.tensor([0, 0, eye.radius_cm], device=gaze.device)
    rest = motion.project(front + axes)  # [3, 2]: centre, one cm right, one cm down
    now = move_points(front + axes, motion)
    to_rest = (rest[1:] - rest[:1]).T @ torch.linalg.inv((now[1:] - now[:1]).T)
    centre = move_points(eye.eyeball_cm[None], motion, turned_offset=eye.radius_cm * direction(gaze))[0]
    was = motion.project((eye.eyeball_cm + eye.radius_cm * direction(torch.tensor(eye.gaze_deg).to(gaze)))[None])[0]
    iris_shift = to_rest @ (centre - now[0]) + rest[0] - was
    along = torch.tensor([opening.down[1], -opening.down[0]], device=gaze.device)
    asked = iris_shift @ along
    iris_shift = iris_shift + (asked.clamp(*eye.reach_px) - asked) * along
    target = pixel_centres(window, gaze.device)
    source = torch.einsum("ij,jhw->ihw", to_rest, target - now[0][:, None, None]) + rest[0][:, None, None]
    origin = torch.tensor([opening.left, opening.top], device=gaze.device)[:, None, None] * CELL_PX
    white = sample_pixels(eye.white[None], source - origin, size=(opening.width * CELL_PX, opening.height * CELL_PX))
    iris = sample_pixels(
        eye.iris[None],
        source - origin - iris_shift[:, None, None],
        size=(opening.width * CELL_PX, opening.height * CELL_PX),
    )
    return white + iris[3] * (iris[:3] - white)


def direction(gaze_deg: Tensor) -> Tensor:
    """[2] yaw, pitch in degrees -> unit vector [3] in camera axes."""
    yaw, pitch = torch.deg2rad(gaze_deg)
    return torch.stack([yaw.sin() * pitch.cos(), -pitch.sin(), yaw.cos() * pitch.cos()])
