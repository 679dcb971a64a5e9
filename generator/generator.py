"""Portrait and voice -> frames: the motion model and the renderer joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from generator.controls import Controls
from generator.errors import GeneratorError
from generator.face_state import FaceState
from generator.framing import Framing
from generator.kept_memory import keep_freed_memory
from generator.motion import MotionModel, SpeechMotionState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.working_picture import SIZE_PX


class Generator:
    """One set of weights. `encode` a portrait once; `start`, then `motion` and `render` block by block.

    Equal portraits, sound, controls and seeds give bit-equal frames, however the sound is cut into blocks.
    """

    size_px: Final = SIZE_PX

    def __init__(self, motion: MotionModel, renderer: Renderer) -> None:
        keep_freed_memory()
        self._motion, self._renderer = motion, renderer

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, device: str | torch.device = "cpu"
    ) -> Generator:
        """Tensors named `motion.*` and `render.*`; config = {"motion": {...}, "render": {...}}."""
        for part in ("motion", "render"):
            if not isinstance(config.get(part), Mapping):
                raise GeneratorError(f"the checkpoint's config has no section {part!r}; pack it with training/pack.py")
            if not any(name.startswith(f"{part}.") for name in tensors):
                raise GeneratorError(f"the checkpoint has no tensors named {part}.*; pack it with training/pack.py")
        spoken = {name.removeprefix("motion."): t for name, t in tensors.items() if name.startswith("motion.")}
        motion = MotionModel.from_tensors(spoken, config["motion"])
        return cls(motion, Renderer.from_tensors(tensors, config["render"], device))

    def encode(
        self, portrait: Tensor, *, face: int | None = None, frame: str = "square", shoulders: str = "still"
    ) -> FaceState:
        """uint8 [3, H, W] RGB, any shape; `face`, `frame`, `shoulders` as in `Framing`.

        Raises `GeneratorError`: no face, several and none chosen, too small, cut off, turned too far.
        """
        return self._renderer.encode(portrait, Framing(face, frame, shoulders))

    def frame_size(self, face: FaceState) -> tuple[int, int]:
        """Width and height of its frames."""
        return face.size_px

    def start(self, *, controls: Controls, seed: int) -> SpeechMotionState:
        """State before the first sample."""
        return self._motion.start(controls, seed)

    def motion(
        self, audio: Tensor, state: SpeechMotionState, *, final: bool = False
    ) -> tuple[MotionBlock, SpeechMotionState]:
        """float32 [n] at 16 kHz -> the frames now due, and the next state; `final` flushes and closes the mouth."""
        return self._motion.step(audio, state, final)

    def render(self, face: FaceState, block: MotionBlock) -> Tensor:
        """uint8 [N, 3, H, W] RGB on the generator's device; 512x512, or the whole portrait."""
        return self._renderer.render(face, block)
