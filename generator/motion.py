"""The motion model: speech in, head pose, face weights and gaze out, streaming, causal, with explicit state.

Sound is handled in units of one frame (40 ms): the audio encoder answers for frame t when it has heard unit t + 3. Four
answered frames make a block, which the transformer turns into motion (`generator.motion_sampler`), rules keep right
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

from generator.audio_encoder import (
    DELAY_FRAMES,
    LEVEL_CHANNEL,
    AudioEncoder,
    EncoderConfig,
    EncoderState,
    heard,
)
from generator.audio_features import MEL_BANDS, UNIT, AudioFeatures, FeatureState
from generator.controls import FPS, Controls
from generator.errors import GeneratorError
from generator.motion_block import MotionBlock
from generator.motion_face import HeardClosures, assemble_frame, lips_shut, smoothstep, speech_mouth
from generator.motion_latent import MOOD, MOUTH, POSE
from generator.motion_processes import LivingState, start_living, step_living
from generator.motion_sampler import block_noise, sample_block
from generator.motion_transformer import BLOCK, Cache, MotionTransformer, TransformerConfig, condition_vector
from generator.rig import EXPRESSION_NAMES

LOOK_AHEAD_S: Final = (DELAY_FRAMES + BLOCK) / FPS
QUIET_DB: Final = -68.0  # sound below this level (dB of full scale) is silence, whatever the network says
GATE_ATTACK, GATE_RELEASE = 0.65, 0.4  # per frame
ENDING: Final = (0.6, 0.25, 0.0)  # the last frames of a recording close the mouth
ARTICULATION: Final = 1.15  # prediction shrinks movements towards their mean
FLOW_LIPS: Final = 0.5  # share of the transformer's lips; the rest is what the encoder regresses
HEAD_FOLLOWS: Final = 0.75  # per frame, twice: what few steps leave of the noise in the head's motion is smoothed
SETTLING_FRAMES: Final = 20  # a clip begins at the portrait's own head pose


@dataclass(frozen=True)
class Level:
    """Of one unit: decibels of full scale, and relative to the running level as a feature."""

    full_scale_db: float
    relative: float


@dataclass(frozen=True)
class HeardFrame:
    """A frame that the encoder has answered for."""

    audio: Tensor  # [n], see `audio_encoder.heard`
    mouth: Tensor  # [17]
    closed: float  # logit: the lips are shut
    active: float  # 0 to 1: somebody speaks


@dataclass(frozen=True)
class SpeechMotionState:
    """Everything between two calls; a `MotionState`."""

    controls: Controls
    seed: int
    remainder: Tensor  # [< 640] samples of the unfinished unit
    samples_heard: int
    units_heard: int
    features: FeatureState
    encoder: EncoderState
    levels: tuple[Level, ...]  # of units not yet answered
    frames: tuple[HeardFrame, ...]  # of the unfinished block
    closures: HeardClosures  # before it
    cache: Cache
    gate: float
    head: Tensor  # [2, 6] both stages of smoothing
    living: LivingState
    frames_made: int
    finished: bool


class MotionModel:
    """Speech to motion. Build with `from_tensors`; `start` gives a state, `step` consumes sound."""

    def __init__(self, encoder: AudioEncoder, flow: MotionTransformer) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.flow = flow.eval().requires_grad_(False)
        self.audio = AudioFeatures()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> MotionModel:
        """Tensors named `encoder.*` and `flow.*`, `config` = sizes of both; raises `GeneratorError`."""
        try:
            encoder = AudioEncoder(EncoderConfig(**config["encoder"]))
            flow = MotionTransformer(TransformerConfig(**config["flow"]))
            for name, network in (("encoder", encoder), ("flow", flow)):
                own = {k.removeprefix(f"{name}."): v.float() for k, v in tensors.items() if k.startswith(f"{name}.")}
                network.load_state_dict(own)
        except (KeyError, TypeError, RuntimeError) as error:
            raise GeneratorError(
                f"these tensors are not a motion checkpoint ({error}); pack it again with generator.training.pack"
            ) from error
        return cls(encoder, flow)

    def start(self, controls: Controls, seed: int) -> SpeechMotionState:
        return SpeechMotionState(
            controls, seed, torch.zeros(0), 0, 0, self.audio.start(), self.encoder.start(), (), (), HeardClosures(),
            self.flow.start(2), 0.0, torch.zeros(2, 6), start_living(controls, seed), 0, False,
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
        features, audio_state = self.audio.step(unit[None], state.features)
        reading, encoder_state = self.encoder(features[:, None], state.encoder)
        loudest = features[0].amax(0)
        newest = Level(float(loudest[MEL_BANDS + 1]) * 20 - 40, float(loudest[LEVEL_CHANNEL]))
        levels = (*state.levels, newest)
        state = replace(
            state, features=audio_state, encoder=encoder_state, levels=levels, units_heard=state.units_heard + 1
        )
        if len(levels) <= DELAY_FRAMES:
            return [], state
        audio = heard(reading, torch.tensor([[levels[0].relative]]), torch.tensor([[newest.relative]]))
        audible = max(level.full_scale_db for level in levels) > QUIET_DB
        active = smoothstep(float(reading.active.sigmoid()), 0.35, 0.65) if audible else 0.0
        frame = HeardFrame(audio[0, 0], reading.mouth[0, 0], float(reading.closed), active)
        state = replace(state, levels=levels[1:], frames=(*state.frames, frame))
        return self._move(state, ends_at) if len(state.frames) == BLOCK else ([], state)

    def _move(self, state: SpeechMotionState, ends_at: int | None) -> tuple[list[Tensor], SpeechMotionState]:
        """The block of `state.frames` is complete: its rows."""
        first = state.frames_made
        audio = torch.stack([torch.cat([frame.audio, torch.ones(1)]) for frame in state.frames])[None]
        audio_mouth = torch.stack([frame.mouth for frame in state.frames])[None]
        wanted = torch.stack([condition_vector(state.controls.at(first + i)) for i in range(BLOCK)])[None]
        noise = block_noise(state.seed, first // BLOCK)
        motion, cache = sample_block(self.flow, noise, audio, audio_mouth, wanted, state.cache)
        closed, closures = lips_shut([frame.closed for frame in state.frames], state.closures)
        rows = []
        for latent, frame, shut in zip(motion[0], state.frames, closed, strict=True):
            left = ends_at - state.frames_made if ends_at is not None else 0
            closing = ENDING[-left] if 1 <= left <= len(ENDING) else 1.0
            row, state = self._frame(latent, frame, shut, closing, state)
            rows.append(row)
        return rows, replace(state, frames=(), closures=closures, cache=cache)

    def _frame(
        self, latent: Tensor, frame: HeardFrame, shut: float, closing: float, state: SpeechMotionState
    ) -> tuple[Tensor, SpeechMotionState]:
        """Latent motion [36] and how far the lips are shut -> row [61]."""
        gate = state.gate + (GATE_ATTACK if frame.active > state.gate else GATE_RELEASE) * (frame.active - state.gate)
        gate = 0.0 if gate < 0.03 else gate
        wanted = state.controls.at(state.frames_made)
        lips = torch.lerp(frame.mouth, latent[MOUTH], FLOW_LIPS)
        mouth = speech_mouth(lips * ARTICULATION, shut, gate * closing, wanted.expression_strength)
        living, living_state = step_living(state.living, state.controls, state.seed)
        first = torch.lerp(state.head[0], latent[POSE], HEAD_FOLLOWS)
        head = torch.stack([first, torch.lerp(state.head[1], first, HEAD_FOLLOWS)])
        settled = smoothstep(state.frames_made, 0, SETTLING_FRAMES)
        row = assemble_frame(mouth, latent[MOOD], head[1] * settled, living, wanted)
        return row, replace(state, gate=gate, head=head, living=living_state, frames_made=state.frames_made + 1)


def _block(rows: list[Tensor]) -> MotionBlock:
    frames = torch.stack(rows) if rows else torch.zeros(0, 8 + len(EXPRESSION_NAMES))
    return MotionBlock(frames[:, :6].clone(), frames[:, 6:-2].clone(), frames[:, -2:].clone())
