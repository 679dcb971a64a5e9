"""The trained networks at work beside the warp: a portrait's codes, once, and what the decoder adds to each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.errors import GeneratorError
from generator.face_networks import (
    CODE_PX,
    CROP,
    READ_OUT,
    AppearanceEncoder,
    Decoder,
    DynamicsReadOut,
    HeadPlace,
    IdentityEncoder,
    MotionEncoder,
    spread,
    to_canonical,
)
from generator.face_state import Box, FaceCodes, FaceState
from generator.head_motion import HeadMotion, project
from generator.warp import pixel_centres
from generator.working_picture import SIZE_PX


@dataclass(frozen=True)
class Warped:
    """Of N frames, the portrait's own pixels at their new places, in a box of h x w pixels. Outside all is as at rest.
    colours: float32 [N, 3, h, w] in 0..255; open: [N, 1, h, w] in 0..1, where openings show what lies behind the skin;
    source: [N, 2, h, w], where in the portrait the skin at a pixel comes from, px; skin: [N, 1, h, w], how much of a
    pixel is skin of either sheet."""

    colours: Tensor
    open: Tensor
    source: Tensor
    skin: Tensor
    box: Box

    @property
    def person(self) -> Tensor:
        """[N, 1, h, w] in 0..1: where the person is."""
        return torch.maximum(self.skin, self.open)

    def whole(self, face: FaceState) -> Warped:
        """The same with the rest of the square around the box."""
        grid = pixel_centres((0, 0, SIZE_PX, SIZE_PX), self.colours.device)
        still = (face.still_colours, torch.zeros_like(grid[:1]), grid, face.still_skin[3:])
        left, top, right, bottom = self.box
        parts = []
        for around, part in zip(still, (self.colours, self.open, self.source, self.skin), strict=True):
            parts.append(around.expand(len(part), -1, -1, -1).clone())
            parts[-1][:, :, top:bottom, left:right] = part
        colours, opened, source, skin = parts
        return Warped(colours, opened, source, skin, (0, 0, SIZE_PX, SIZE_PX))

    def half_size(self) -> tuple[Tensor, Tensor]:
        """Of a whole square: [N, 3, 192, 192] in 0..1 and layers [N, 2, 192, 192] of the face crop."""
        left, top, right, bottom = CROP
        inside = (slice(None), slice(None), slice(top, bottom), slice(left, right))
        layers = torch.cat([self.open[inside], self.person[inside]], 1)
        return F.avg_pool2d(self.colours[inside], 2) / 255, F.avg_pool2d(layers, 2)


class FaceNetworks:
    """Appearance encoder, identity encoder, read-out and decoder of one checkpoint, in half precision where the
    machine computes it."""

    def __init__(self, nets: Mapping[str, nn.Module], read_out: DynamicsReadOut, device: torch.device) -> None:
        self._dtype = _dtype(device)
        for net in (*nets.values(), read_out):
            net.eval().requires_grad_(False).to(device)
        self._appearance, self._identity = nets["appearance"], nets["identity"]
        self._decoder = nets["decoder"].to(self._dtype).to(memory_format=torch.channels_last)
        self._motion, self._read_out = nets["motion"], read_out

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> FaceNetworks | None:
        """From tensors named `render.appearance.*`, `render.decoder.*` ...; None when there are none."""
        nets: dict[str, nn.Module] = {
            "appearance": AppearanceEncoder(),
            "decoder": Decoder(),
            "identity": IdentityEncoder(),
            "motion": MotionEncoder(),
        }
        read_out = DynamicsReadOut()
        if not any(name.startswith("render.decoder.") for name in tensors):
            return None
        for name, net in (*nets.items(), ("read_out", read_out)):
            prefix = f"render.{name}."
            own = {key.removeprefix(prefix): t.float() for key, t in tensors.items() if key.startswith(prefix)}
            try:
                net.load_state_dict(own)
            except RuntimeError as error:
                raise GeneratorError(f"the checkpoint's {name} does not fit this release: {error}") from error
        return cls(nets, read_out, device)

    @torch.inference_mode()
    def encode(self, at_rest: Warped, place: HeadPlace) -> FaceCodes:
        """Codes of a portrait drawn at rest."""
        picture, layers = at_rest.half_size()
        small = F.interpolate(picture, size=(CODE_PX, CODE_PX), mode="area")
        canonical = to_canonical(self._appearance(picture, layers), place).to(self._dtype)
        codes = FaceCodes(canonical, self._identity(small), self._motion(small).dynamics, None)
        change = torch.zeros(1, READ_OUT, device=picture.device)
        return replace(codes, rest_light=self._decode(at_rest, codes, place, change))

    def _decode(self, warped: Warped, codes: FaceCodes, place: HeadPlace, change: Tensor) -> Tensor:
        picture, layers = warped.half_size()
        dynamics = self._read_out.changed(codes.dynamics, change)
        canonical = codes.canonical.expand(len(change), -1, -1, -1, -1)
        identity = codes.identity.expand(len(change), -1)
        return torch.as_tensor(self._decoder(canonical, place, dynamics, identity, picture, layers))

    @torch.inference_mode()
    def complete(self, warped: Warped, codes: FaceCodes, place: HeadPlace, change: Tensor) -> None:
        """Changes the colours of a whole square in place. change [N, 55]: expression weights added to the portrait's,
        turn of the gaze / 20 degrees."""
        light = self._decode(warped, codes, place, change)
        if codes.rest_light is not None:
            light = light - codes.rest_light
        left, top, right, bottom = CROP
        layers = warped.half_size()[1]
        added = F.interpolate(spread(light, layers), scale_factor=2.0, mode="bilinear", align_corners=False)
        warped.colours[:, :, top:bottom, left:right] += 255 * added


def head_place(motion: HeadMotion, turn_at_rest: Tensor) -> HeadPlace:
    """Where the head of each frame is, in the crop's own measure."""
    left, top, right, bottom = CROP
    at = project(motion.pivot) + motion.shift_px
    middle = torch.tensor([(left + right) / 2, (top + bottom) / 2], device=at.device)
    return HeadPlace(motion.turn @ turn_at_rest, (at - middle) / ((right - left) / 2), motion.scale)


def _dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is computed in hardware, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.bfloat16 if supported is not None and supported() else torch.float32
