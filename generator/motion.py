"""The motion model: speech in, head pose, face weights and gaze out, streaming, causal, with explicit state.

Sound is handled in units of one frame (40 ms): the audio encoder answers for frame t when it has heard unit t + 3
(`generator.speech_hearing`). Four answered frames make a block, which the transformer turns into motion
(`generator.motion_sampler`). How far the lips open is said apart (`generator.lip_opening`), rules keep all right
(`generator.motion_face`), and blinks and gaze shifts join (`generator.motion_processes`). The look-ahead is
`LOOK_AHEAD_S`, from the start of a block's first frame to the last sample it needs. Each unit and each block is
computed alone with fixed shapes, so any chunking of the sound gives bit-equal motion; all randomness is counter-based,
so equal seeds do too. The state has the same size after an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from generator.audio_encoder import DELAY_FRAMES, AudioEncoder, EncoderConfig
from generator.audio_features import UNIT
from generator.controls import FPS, Controls
from generator.errors import GeneratorError
from generator.lip_opening import LipOpening, LipState, ruled_lips
from generator.motion_block import MotionBlock
from generator.motion_face import assemble_frame, mouth_with_opening, smoothstep, speech_mouth
from generator.motion_latent import MOOD, MOUTH, POSE
from generator.motion_processes import LivingState, start_living, step_living
from generator.motion_sampler import block_noise, sample_block
from generator.motion_transformer import BLOCK, Cache, MotionTransformer, TransformerConfig, condition_vector
from generator.rig import EXPRESSION_NAMES
from generator.speech_hearing import HeardBlock, Hearing, HearingState

LOOK_AHEAD_S: Final = (DELAY_FRAMES + BLOCK) / FPS
ENDING: Final = (0.6, 0.25, 0.0)  # the last frames of a recording close the mouth
ARTICULATION: Final = 1.15  # prediction shrinks movements towards their mean
FLOW_LIPS: Final = 0.5  # share of the transformer's mouth; the rest is what the encoder regresses
HEAD_FOLLOWS: Final = 0.75  # per frame, twice: what few steps leave of the noise in the head's motion is smoothed
SETTLING_FRAMES: Final = 20  # a clip begins at the portrait's own head pose


@dataclass(frozen=True)
class SpeechMotionState:
    """Everything between two calls; a `MotionState`."""

    controls: Controls
    seed: int
    remainder: Tensor  # [< 640] samples of the unfinished unit
    samples_heard: int
    units_heard: int
    hearing: HearingState
    lips: LipState
    cache: Cache
    head: Tensor  # [2, 6] both stages of smoothing
    living: LivingState
    frames_made: int
    finished: bool


class MotionModel:
    """Speech to motion. Build with `from_tensors`; `start` gives a state, `step` consumes sound."""

    def __init__(self, encoder: AudioEncoder, flow: MotionTransformer, lips: LipOpening) -> None:
        self.hearing = Hearing(encoder)
        self.flow = flow.eval().requires_grad_(False)
        self.lips = lips.eval().requires_grad_(False)

    @property
    def encoder(self) -> AudioEncoder:
        return self.hearing.encoder

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> MotionModel:
        """Tensors `encoder.*`, `flow.*`, `lips.*`, `config` = sizes of the first two; raises `GeneratorError`."""
        try:
            lips = LipOpening()
            encoder = AudioEncoder(EncoderConfig(**config["encoder"]))
            flow = MotionTransformer(TransformerConfig(**config["flow"]))
            for name, network in (("encoder", encoder), ("flow", flow), ("lips", lips)):
                own = {k.removeprefix(f"{name}."): v.float() for k, v in tensors.items() if k.startswith(f"{name}.")}
                network.load_state_dict(own)
        except (KeyError, TypeError, RuntimeError) as error:
            raise GeneratorError(
                f"these tensors are not a motion checkpoint ({error}); pack it again with generator.training.pack"
            ) from error
        return cls(encoder, flow, lips)

    def start(self, controls: Controls, seed: int) -> SpeechMotionState:
        return SpeechMotionState(
            controls, seed, torch.zeros(0), 0, 0, self.hearing.start(), LipState(), self.flow.start(2),
            torch.zeros(2, 6), start_living(controls, seed), 0, False,
        )  # fmt: skip

    @torch.inference_mode()
    def step(
        self, audio: Tensor, state: SpeechMotionState, final: bool = False
    ) -> tuple[MotionBlock, SpeechMotionState]:
        """`audio` float32 [n] at 16 kHz, any n -> the frames now due, and the next state.

        `final` flushes: all frames together are then ceil(seconds · 25), and the last one has its mouth closed.
        Raises `GeneratorError` after `final`, or if `audio` is not a finite float32 vector.
        """
        if state.finished:
            raise GeneratorError("this motion has ended (final was given); begin a new one with start()")
        if audio.ndim != 1 or audio.dtype != torch.float32 or not bool(torch.isfinite(audio).all()):
            came = f"{audio.dtype} {list(audio.shape)}"
            raise GeneratorError(f"sound must be a finite float32 vector at 16 kHz, but is {came}")
        sound = torch.cat([state.remainder, audio.cpu()])
        whole = len(sound) // UNIT
        rest = sound[whole * UNIT :].clone()
        state = replace(state, samples_heard=state.samples_heard + len(audio), remainder=rest)
        rows: list[Tensor] = []
        for index in range(whole):
            row, state = self._hear(sound[index * UNIT : (index + 1) * UNIT], state)
            rows += row
        if final:
            ended, state = self._end(state)
            rows += ended
        return _block(rows), state

    def _end(self, state: SpeechMotionState) -> tuple[list[Tensor], SpeechMotionState]:
        """Silence after the last sample until every frame of the recording is answered."""
        total = -(-state.samples_heard // UNIT)
        rows: list[Tensor] = []
        while state.frames_made < total:
            unit = torch.zeros(UNIT)
            unit[: len(state.remainder)] = state.remainder
            row, state = self._hear(unit, replace(state, remainder=torch.zeros(0)), ends_at=total)
            rows += row
        surplus = state.frames_made - total  # of the last block
        return rows[: len(rows) - surplus], replace(state, frames_made=total, finished=True)

    def _hear(
        self, unit: Tensor, state: SpeechMotionState, ends_at: int | None = None
    ) -> tuple[list[Tensor], SpeechMotionState]:
        """One unit in; none or a block of rows [61] = pose 6, expression 53, gaze 2 out."""
        heard, hearing = self.hearing.step(unit, state.hearing)
        state = replace(state, hearing=hearing, units_heard=state.units_heard + 1)
        return self._move(heard, state, ends_at) if heard else ([], state)

    def _move(
        self, heard: HeardBlock, state: SpeechMotionState, ends_at: int | None
    ) -> tuple[list[Tensor], SpeechMotionState]:
        """The rows of a block."""
        first = state.frames_made
        audio = torch.cat([heard.audio, torch.ones(BLOCK, 1)], -1)[None]
        wanted = torch.stack([condition_vector(state.controls.at(first + i)) for i in range(BLOCK)])[None]
        noise = block_noise(state.seed, first // BLOCK)
        motion, cache = sample_block(self.flow, noise, audio, heard.mouth[None], wanted, state.cache)
        mouths = torch.lerp(heard.mouth, motion[0, :, MOUTH], FLOW_LIPS)
        block, lips = ruled_lips(heard, state.lips)
        state, opening_cm, rows = replace(state, lips=lips, cache=cache), self.lips(block).tolist(), []
        for index, latent in enumerate(motion[0]):
            left = ends_at - state.frames_made if ends_at is not None else 0
            closing = ENDING[-left] if 1 <= left <= len(ENDING) else 1.0
            strength = state.controls.at(state.frames_made).expression_strength
            gate = float(block.gate[index]) * closing
            mouth = speech_mouth(mouths[index] * ARTICULATION, float(block.shut[index]), gate, strength)
            part = closing * (strength * ARTICULATION if opening_cm[index] > 0 else 1.0)
            mouth = mouth_with_opening(mouth, opening_cm[index] * part)
            row, state = self._frame(mouth, latent, state)
            rows.append(row)
        return rows, state

    def _frame(self, mouth: Tensor, latent: Tensor, state: SpeechMotionState) -> tuple[Tensor, SpeechMotionState]:
        """Mouth [17] and latent motion [36] -> row [61]."""
        wanted = state.controls.at(state.frames_made)
        living, living_state = step_living(state.living, state.controls, state.seed)
        first = torch.lerp(state.head[0], latent[POSE], HEAD_FOLLOWS)
        head = torch.stack([first, torch.lerp(state.head[1], first, HEAD_FOLLOWS)])
        settled = smoothstep(state.frames_made, 0, SETTLING_FRAMES)
        row = assemble_frame(mouth, latent[MOOD], head[1] * settled, living, wanted)
        return row, replace(state, head=head, living=living_state, frames_made=state.frames_made + 1)


def _block(rows: list[Tensor]) -> MotionBlock:
    frames = torch.stack(rows) if rows else torch.zeros(0, 8 + len(EXPRESSION_NAMES))
    return MotionBlock(frames[:, :6].clone(), frames[:, 6:-2].clone(), frames[:, -2:].clone())
