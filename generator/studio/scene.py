"""What a take is made of: person, setting, moments; and what drawing a moment gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

from generator.studio.hair_points import HairPoints
from generator.studio.head_model import StudioHead
from generator.studio.lighting import Light
from generator.studio.props import Glasses, Mesh, Neckline

EYE_MAP_CM = 1.7  # half side of the picture of an eyeball
GARMENT, GLASSES_FRAME = 100, 101  # kinds of triangles beside the rig's regions


class Label(IntEnum):
    """Of a pixel."""

    BACKGROUND, FACE, MOUTH_INTERIOR, EYEBALL, HAIR, HEAD_SKIN, CLOTHES, HIDDEN, GLASSES = range(9)


class AtlasMap(IntEnum):
    """Channels of a person's skin maps: linear colour, cover of lips and of painted hair, heights in cm (static,
    then those of `wrinkle_heights`), whether the texel counts as face, baked occlusion."""

    RED, GREEN, BLUE, LIP, HAIR, STATIC, BROW_UP, BROW_DOWN, SMILE, SQUINT, CHIN, FACE, OPEN = range(13)


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

    light: Light
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
