"""Portrait -> `FaceState`: fit the rig, build the fields, take the picture apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.errors import GeneratorError
from generator.face_fields import GRID, Fields, Window, build_fields
from generator.face_landmarks import FACE_OVAL, IRIS_CENTRE, LID_UPPER, LIPS_OUTER_LOWER, LIPS_OUTER_UPPER
from generator.face_openings import Opening, fill, find_openings
from generator.face_state import EyeState, FaceState, MouthState, OpeningState
from generator.framing import Framing, frame_size_px
from generator.glasses import hold_glasses, wears_glasses
from generator.paste_back import prepare_paste
from generator.picture_layers import (
    EyeLayer,
    clean_lips,
    clean_lower_lid,
    fill_behind,
    own_teeth,
    refine_matte,
    skin_alphas,
    snap_to_bytes,
    split_eye,
    whole_pixels,
)
from generator.rig_fit import FOCAL, HEAD_CENTRE, HeadFit, RigShape, fit_head, project
from generator.working_picture import CELL_PX, SIZE_PX, TEXTURE_PX, WorkingPicture, take_working_picture

MAX_YAW_DEG, MAX_PITCH_DEG, MAX_ROLL_DEG = 38.0, 25.0, 30.0
CORNER = 0.17  # of an eye's width, the iris's centre comes no nearer to a corner
EYE_RADIUS_CM = 1.5
MUCOSA = np.array([180, 92, 82], np.float32)  # in plain light
FLESH_OF_LIPS = np.array([0.70, 0.62, 0.62], np.float32)  # inner lips and tongue in the shade of the lips
GAZE_DEAD_ZONE_DEG = np.array([8.0, 14.0])  # yaw, pitch: narrow eyes hide where the iris's centre is
Array = NDArray[np.float32]
ToTensor = Callable[[Array], Tensor]


def encode_portrait(
    portrait: Tensor,
    rig: RigShape,
    sprites: Mapping[str, Tensor],
    cm_per_px: float,
    device: torch.device,
    framing: Framing,
) -> FaceState:
    """uint8 [3, H, W] -> state on `device`. Raises `GeneratorError` when there is no face to work with."""
    work = take_working_picture(portrait, framing.face)
    return encode_working_picture(work, rig, sprites, cm_per_px, device, framing, portrait)


def encode_working_picture(
    work: WorkingPicture,
    rig: RigShape,
    sprites: Mapping[str, Tensor],
    cm_per_px: float,
    device: torch.device,
    framing: Framing,
    portrait: Tensor,
) -> FaceState:
    """The state of a picture whose landmarks are known. Raises `GeneratorError` when the head is turned too far."""
    fit = fit_head(rig, work.landmarks, SIZE_PX)
    _check_pose(fit)
    openings = find_openings(work.landmarks)
    fields = build_fields(rig, fit, work.landmarks, openings, framing)
    texture = snap_to_bytes(work.texture)
    if wears_glasses(texture, work.landmarks):
        fields = hold_glasses(fields, work.landmarks)
    picture = whole_pixels(texture)
    matte = refine_matte(work.person, picture, work.landmarks)
    background = np.round(fill_behind(picture, matte).clip(0, 255))
    upper_alpha, lower_alpha, lenses = skin_alphas(matte, openings)
    teeth = own_teeth(texture, openings[2], fields.windows[2].box)
    clean_lips(texture, work.landmarks, openings[2])
    lid_texture = texture.copy()
    for window in fields.windows[:2]:
        clean_lower_lid(lid_texture, work.landmarks, window.opening)
    eyes = [split_eye(texture, work.landmarks, w.opening, w.box) for w in fields.windows[:2]]

    def planes(a: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1), np.float32)).to(device)

    def as_tensor(a: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(a, np.float32)).to(device)

    box, moves = fields.face_box, _moving_pixels(fields)
    size_px = frame_size_px(portrait.shape[2], portrait.shape[1], framing.frame)
    whole = framing.frame == "portrait"
    pasted = prepare_paste(portrait, size_px, work.crop, picture, matte, moves) if whole else None
    left_eye, right_eye, mouth = (_opening_state(w, as_tensor) for w in fields.windows)
    layers = _eye_states(rig, fit, work.landmarks, eyes, as_tensor)
    return FaceState(
        size_px=size_px,
        picture=planes(picture),
        background=planes(background),
        still_skin=planes(whole_pixels(np.dstack([texture, upper_alpha]))),
        moving_cells=torch.from_numpy(_moving_cells(upper_alpha, moves)).to(device),
        upper_texture=planes(np.dstack([texture, upper_alpha]))[None],
        lower_texture=planes(np.dstack([lid_texture, lower_alpha, lenses]))[None],
        position=as_tensor(_positions(fields)),
        turn_weight=as_tensor(fields.turn_weight),
        move_weight=as_tensor(fields.move_weight),
        moves=as_tensor(moves),
        upper=as_tensor(fields.upper.reshape(len(fields.upper), -1)),
        face_box=(box.top, box.left, box.height, box.width),
        pivot=as_tensor(fit.translation),
        turn=as_tensor(fit.rotation),
        face_width_px=float(np.ptp(work.landmarks[list(FACE_OVAL), 0])),
        rest_expression=as_tensor(fit.expression),
        eyes=(left_eye, right_eye),
        eye_layers=layers,
        mouth=mouth,
        mouth_interior=replace(
            _mouth_state(rig, fit, work, picture, sprites, cm_per_px, as_tensor),
            own=None if teeth is None else as_tensor(teeth),
        ),
        paste=pasted.to(device) if pasted else None,
    )


def _check_pose(fit: HeadFit) -> None:
    """Raises `GeneratorError` with the angle that was measured."""
    limits = (MAX_YAW_DEG, MAX_PITCH_DEG, MAX_ROLL_DEG)
    ways = (("turned to the left", "turned to the right"), ("raised", "lowered"), ("tilted", "tilted"))
    for way, value, limit in zip(ways, fit.yaw_pitch_roll_deg, limits, strict=True):
        if abs(value) > limit:
            remedy = "turn the picture upright" if way[0] == way[1] else "use a portrait that faces the camera more"
            raise GeneratorError(
                f"the head is {way[value > 0]} by {abs(value):.0f} degrees, at most {limit:.0f} work; {remedy}"
            )


def _moving_pixels(fields: Fields) -> Array:
    """[512, 512]: zero where both weights are next to nothing, as on the shoulders at the picture's edge."""
    weight = cv2.resize(np.maximum(fields.turn_weight, fields.move_weight), (SIZE_PX, SIZE_PX))
    t = np.clip(weight / 0.06, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _moving_cells(alpha: Array, moves: Array) -> NDArray[np.bool_]:
    """[256, 256] of the person's alpha on texels and the moving pixels; never empty."""
    person = alpha.reshape(GRID, TEXTURE_PX // GRID, GRID, TEXTURE_PX // GRID).max((1, 3)) > 0
    moving = moves.reshape(GRID, CELL_PX, GRID, CELL_PX).max((1, 3)) > 0
    return np.asarray(person & moving)


def _positions(fields: Fields) -> Array:
    """[3, 256, 256] cm, camera space, of the cell centres."""
    y, x = np.mgrid[0:GRID, 0:GRID].astype(np.float32) * CELL_PX + CELL_PX / 2
    k = fields.depth / (FOCAL * SIZE_PX / 2)
    return np.stack([(x - SIZE_PX / 2) * k, -(y - SIZE_PX / 2) * k, -fields.depth])


def _opening_state(window: Window, as_tensor: ToTensor) -> OpeningState:
    opening, box = window.opening, window.box
    middle = opening.middle().mean(0)
    return OpeningState(
        name=opening.name,
        top=box.top,
        left=box.left,
        height=box.height,
        width=box.width,
        lower=as_tensor(window.lower),
        upper_bumps=as_tensor(window.upper_bumps),
        lower_bumps=as_tensor(window.lower_bumps),
        follow_bumps=as_tensor(window.follow_bumps),
        upper_down_px=as_tensor(window.upper_down_px),
        lower_down_px=as_tensor(window.lower_down_px),
        gap_px=as_tensor(opening.gap_px()),
        down=(-float(opening.along[1]), float(opening.along[0])),
        cm_per_px=window.cm_per_px,
        centre_px=(float(middle[0]), float(middle[1])),
    )


def _eye_states(
    rig: RigShape, fit: HeadFit, landmarks: Array, eyes: list[EyeLayer], as_tensor: ToTensor
) -> tuple[EyeState, EyeState]:
    """Eyeballs in space, and the portrait's own gaze: the mean of both eyes, less what can't be told from 0."""
    centres = rig.eye_centre + np.tensordot(fit.identity, rig.eye_identity, 1)
    centres = (centres @ fit.rotation.T + fit.translation)[::-1]  # the picture's left is the person's right
    px_per_cm = FOCAL * SIZE_PX / 2 / -centres[:, 2]
    corners = np.stack([landmarks[[33, 133]].mean(0), landmarks[[362, 263]].mean(0)])
    rig_corners = _rig_points(rig, fit, [33, 133, 362, 263]).reshape(2, 2, 2).mean(1)
    ahead = project(centres + np.array([0, 0, EYE_RADIUS_CM], np.float32), SIZE_PX) + corners - rig_corners
    off = (landmarks[list(IRIS_CENTRE)] - ahead) / px_per_cm[:, None] / EYE_RADIUS_CM
    angle = np.degrees(np.arcsin(np.clip(off.mean(0), -0.5, 0.5)))
    angle = np.sign(angle) * np.clip(np.abs(angle) - GAZE_DEAD_ZONE_DEG, 0, 20)
    reaches = [_iris_reach(landmarks, which) for which in (0, 1)]
    left, right = (
        EyeState(
            white=as_tensor(eye.white),
            iris=as_tensor(np.concatenate([eye.iris, eye.iris_alpha])),
            eyeball_cm=as_tensor(centre),
            radius_cm=EYE_RADIUS_CM,
            gaze_deg=(float(angle[0]), float(angle[1])),
            reach_px=reach,
        )
        for eye, centre, reach in zip(eyes, centres, reaches, strict=True)
    )
    return left, right


def _iris_reach(landmarks: Array, which: int) -> tuple[float, float]:
    """px along the eye: the iris's centre stays off the corners, where an eye can't turn it."""
    corner, end = landmarks[[LID_UPPER[which][0], LID_UPPER[which][-1]]]
    width = float(np.linalg.norm(end - corner))
    place = float((landmarks[IRIS_CENTRE[which]] - corner) @ (end - corner)) / width
    return min(CORNER * width - place, 0.0), max((1 - CORNER) * width - place, 0.0)


def _rig_points(rig: RigShape, fit: HeadFit, marks: list[int]) -> Array:
    """[len(marks), 2] pixels of the fitted rig at landmarks."""
    at = rig.landmark_vertex[marks]
    shape = (
        rig.neutral[at]
        + np.tensordot(fit.identity, rig.identity[:, at], 1)
        + np.tensordot(fit.expression, rig.expression[:, at], 1)
    )
    return project(shape @ fit.rotation.T + fit.translation, SIZE_PX)


def _mouth_state(
    rig: RigShape,
    fit: HeadFit,
    work: WorkingPicture,
    picture: Array,
    sprites: Mapping[str, Tensor],
    cm_per_px: float,
    as_tensor: ToTensor,
) -> MouthState:
    """Teeth where the fitted rig has them, moved by what the fit misses at the lips, lit like the skin."""
    lips = [*LIPS_OUTER_UPPER, *LIPS_OUTER_LOWER]
    miss = (work.landmarks[lips] - _rig_points(rig, fit, lips)).mean(0)
    jaw = sprites["lower_teeth_expression"].float().cpu().numpy()
    places = []
    for side in ("upper", "lower"):
        centre: Array = sprites[f"{side}_teeth_centre"].float().cpu().numpy() - HEAD_CENTRE
        centre = centre + np.tensordot(fit.identity, sprites[f"{side}_teeth_identity"].float().cpu().numpy(), 1)
        q = centre @ fit.rotation.T + fit.translation
        q[:2] += miss * [1, -1] / (FOCAL * SIZE_PX / 2 / -q[2])
        places.append(q)
    light = _skin_light(picture, work.landmarks)
    colourful = _colourfulness(picture)
    enamel = _enamel_light(picture, find_openings(work.landmarks)[2], light)
    teeth = []
    for side in ("upper", "lower"):
        rgba = sprites[f"{side}_teeth"].float().cpu().numpy().copy()
        rgba[:3] = rgba[:3].mean(0) + colourful * (rgba[:3] - rgba[:3].mean(0))
        alpha = rgba[3:] / 255
        teeth.append(np.concatenate([rgba[:3] * alpha * enamel[:, None, None], alpha]))
    axes = np.stack([fit.rotation[:, 0], -fit.rotation[:, 1]])
    return MouthState(
        upper_teeth=as_tensor(teeth[0]),
        lower_teeth=as_tensor(teeth[1]),
        upper_cm=as_tensor(places[0]),
        lower_cm=as_tensor(places[1]),
        lower_motion=as_tensor(jaw @ fit.rotation.T),
        axes=as_tensor(axes),
        cm_per_px=cm_per_px,
        flesh=as_tensor(_flesh(picture, work.landmarks, light, colourful)),
        depth_tint=as_tensor(1 + colourful * np.array([0.0, 0.6, 0.9], np.float32)),
        own=None,
    )


def _flesh(picture: Array, landmarks: Array, skin_light: Array, colourful: float) -> Array:
    """[3] colour of inner lips and tongue: half the portrait's lips, half mucosa; lips may be painted."""
    mouth = find_openings(landmarks)[2]
    outline = np.concatenate([landmarks[list(LIPS_OUTER_UPPER)], landmarks[list(LIPS_OUTER_LOWER)][::-1]])
    inner = fill(np.concatenate([mouth.upper, mouth.lower[::-1]]), SIZE_PX, 1.0, soft_px=2.0)
    ring = (fill(outline[:, :2], SIZE_PX, 1.0) > 0.9) & (inner < 0.05)
    mucosa = 110 + colourful * (MUCOSA - 110)
    lips = np.median(picture[ring], axis=0) if ring.any() else mucosa * skin_light
    darker = FLESH_OF_LIPS.mean() + colourful * (FLESH_OF_LIPS - FLESH_OF_LIPS.mean())
    return np.asarray(darker * (lips + mucosa * skin_light) / 2, np.float32)


def _enamel_light(picture: Array, mouth: Opening, skin_light: Array) -> Array:
    """[3] that tints the teeth: as the portrait shows them, else like the skin."""
    if mouth.gap_px().max() < 7:
        return skin_light
    inside = fill(np.concatenate([mouth.upper, mouth.lower[::-1]]), SIZE_PX, 1.0) > 0.9
    seen = picture[inside]
    bright = np.median(seen[seen.sum(1) >= np.percentile(seen.sum(1), 70)], axis=0) / 255
    spread = float(bright.max() - bright.min()) / max(float(bright.max()), 1e-3)
    if spread > 0.38 or float(bright.mean()) < 0.55 * float(skin_light.mean()):  # lips or shadow, no teeth
        return skin_light
    return np.asarray(np.clip(bright / [0.80, 0.77, 0.71], 0.55, 1.2), np.float32)


def _skin_light(picture: Array, landmarks: Array) -> Array:
    """[3] colour of the light, from the brighter skin of the cheeks; dark skin is not mistaken for darkness."""
    spots = np.round(landmarks[[50, 280, 101, 330, 151, 9, 117, 346]]).astype(int).clip(4, SIZE_PX - 5)
    skin = np.stack([cv2.mean(picture[y - 3 : y + 4, x - 3 : x + 4])[:3] for x, y in spots]).max(0) / 255
    luma = float(skin @ [0.3, 0.59, 0.11])
    tint = (skin / max(luma, 1e-3)) / np.array([1.20, 0.96, 0.82])
    level = np.clip(0.62 + 0.5 * luma, 0.62, 1.02)
    tint = 1 + _colourfulness(picture) * (np.clip(tint, 0.5, 1.25) ** 0.8 - 1)
    return np.asarray(level * tint, np.float32)


def _colourfulness(picture: Array) -> float:
    """0 for a grey picture, 1 for a coloured one."""
    return float(np.clip((np.ptp(picture, axis=2).mean() - 1) / 8, 0, 1))
