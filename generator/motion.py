"""The motion model: speech in, head pose, face weights and gaze out, streaming, causal, with explicit state.

Sound is handled in units of one frame (40 ms). Frame t is returned as soon as unit t + 3 is complete: the look-ahead
is `LOOK_AHEAD_S` = 160 ms from the frame's start. Each unit is computed alone with fixed shapes, so any chunking of
the sound gives bit-equal motion; all randomness is counter-based, so equal seeds do too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from generator.audio_encoder import DELAY_FRAMES, AudioEncoder, EncoderConfig, EncoderState, Reading
from generator.audio_features import MEL_BANDS, UNIT, AudioFeatures, FeatureState
from generator.controls import FPS, Controls, ControlValues
from generator.errors import GeneratorError
from generator.motion_block import MotionBlock
from generator.motion_emotion import HEAD_PITCH_DEG, emotion_offset
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, REST_GAP_CM, columns
from generator.motion_processes import Living, LivingState, start_living, step_living
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES

LOOK_AHEAD_S: Final = (DELAY_FRAMES + 1) / FPS
QUIET_DB: Final = -68.0  # sound below this level (dB of full scale) is silence, whatever the network says
GATE_ATTACK, GATE_RELEASE = 0.65, 0.4  # per frame
ENDING: Final = (0.6, 0.25, 0.0)  # the last frames of a recording close the mouth
ARTICULATION: Final = 1.15  # regression shrinks movements towards their mean
CLOSING: Final = (0.15, 0.5)  # probability of a closure at which the lips begin to shut, and are shut
DEEPEST_GAP_CM: Final = -0.06  # lips press, but don't pass through each other
BROW_SHARE: Final = {"browInnerUp": 1.0, "browOuterUp": 0.7}
LID_RANGE_DEG: Final = {"yaw": 35.0, "up": 22.0, "down": 23.0}  # eye rotation at which an eyeLook* shape is 1

_GAPS: Final = torch.tensor([LIP_GAP_CM[axis] for axis in MOUTH_AXES])
_ROUND: Final = torch.tensor([axis in ("mouthPucker", "mouthFunnel") for axis in MOUTH_AXES])
_CLOSE: Final = MOUTH_AXES.index("mouthClose")
_SHUT: Final = torch.tensor(
    [
        {"mouthClose": 0.035, "mouthPress": 0.34, "mouthRollLower": 0.1, "mouthRollUpper": 0.08, "jawOpen": 0.038}.get(
            a, 0.0
        )
        for a in MOUTH_AXES
    ]
)
_SPREAD: Final = torch.zeros(len(MOUTH_AXES), len(EXPRESSION_NAMES))  # axis -> rig columns
for _row, _axis in enumerate(MOUTH_AXES):
    _SPREAD[_row, list(columns(_axis))] = 1.0


@dataclass(frozen=True)
class SpeechMotionState:
    """Everything between two calls; a `MotionState`. `waiting` are loudnesses (dB) of units not yet answered."""

    controls: Controls
    seed: int
    remainder: Tensor  # [< 640] samples of the unfinished unit
    samples_heard: int
    units_heard: int
    features: FeatureState
    network: EncoderState
    waiting: tuple[float, ...]
    gate: float
    living: LivingState
    frames_made: int
    finished: bool


class MotionModel:
    """Speech to motion. Build with `from_tensors`; `start` gives a state, `step` consumes sound."""

    def __init__(self, network: AudioEncoder) -> None:
        self.network = network.eval().requires_grad_(False)
        self.audio = AudioFeatures()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> MotionModel:
        """Tensors by the names of `AudioEncoder`, `config` = {"network": sizes}; raises `GeneratorError`."""
        try:
            network = AudioEncoder(EncoderConfig(**config["network"]))
            network.load_state_dict({name: value.float() for name, value in tensors.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise GeneratorError(
                f"these tensors are not a motion checkpoint ({error}); pack it again with generator.training.pack"
            ) from error
        return cls(network)

    def start(self, controls: Controls, seed: int) -> SpeechMotionState:
        return SpeechMotionState(
            controls, seed, torch.zeros(0), 0, 0, self.audio.start(), self.network.start(), (), 0.0,
            start_living(controls, seed), 0, False,
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
            left = total - state.frames_made
            closing = ENDING[-left] if left <= len(ENDING) and state.units_heard >= DELAY_FRAMES else 1.0
            row, state = self._hear(unit, replace(state, remainder=torch.zeros(0)), closing)
            rows += row
        return rows, replace(state, finished=True)

    def _hear(
        self, unit: Tensor, state: SpeechMotionState, closing: float = 1.0
    ) -> tuple[list[Tensor], SpeechMotionState]:
        """One unit in; none or one row [61] = pose 6, expression 53, gaze 2 out."""
        features, audio_state = self.audio.step(unit[None], state.features)
        reading, network_state = self.network(features[:, None], state.network)
        loudness = (float(features[0, :, MEL_BANDS + 1].amax()) * 20) - 40  # dB of full scale
        waiting = (*state.waiting, loudness)
        state = replace(
            state, features=audio_state, network=network_state, waiting=waiting, units_heard=state.units_heard + 1
        )
        if len(waiting) <= DELAY_FRAMES:
            return [], state
        row, state = self._frame(reading, replace(state, waiting=waiting[1:]), waiting, closing)
        return [row], state

    def _frame(
        self, reading: Reading, state: SpeechMotionState, loudness_db: tuple[float, ...], closing: float
    ) -> tuple[Tensor, SpeechMotionState]:
        heard = max(loudness_db) > QUIET_DB
        active = _smoothstep(float(reading.active[0, 0].sigmoid()), 0.35, 0.65) if heard else 0.0
        gate = state.gate + (GATE_ATTACK if active > state.gate else GATE_RELEASE) * (active - state.gate)
        gate = 0.0 if gate < 0.03 else gate
        closed = _smoothstep(float(reading.closed[0, 0].sigmoid()), *CLOSING)
        wanted = state.controls.at(state.frames_made)
        mouth = speech_mouth(reading.mouth[0, 0], closed, gate * closing, wanted.expression_strength)
        living, living_state = step_living(
            state.living, state.controls, state.seed, loudness_db=loudness_db[0], active=active
        )
        row = assemble_frame(mouth, living, wanted)
        return row, replace(state, gate=gate, living=living_state, frames_made=state.frames_made + 1)


def speech_mouth(mouth: Tensor, closed: float, gate: float, strength: float) -> Tensor:
    """[17] raw weights -> [17] weights 0..1: scaled by `strength`, shut by `closed`, at rest when `gate` is 0.

    The closure is laid on after the scaling, so no strength opens it.
    """
    mouth = (mouth * (strength * ARTICULATION)).clamp(0, 1)
    shut = torch.where(_ROUND, mouth * 0.6, _SHUT)
    shut[_CLOSE] += max(0.0, float(shut[_ROUND] @ _GAPS[_ROUND])) / -LIP_GAP_CM["mouthClose"]
    mouth = (mouth + closed * (shut - mouth)) * gate
    too_deep = DEEPEST_GAP_CM - (float(mouth @ _GAPS) + REST_GAP_CM)
    if too_deep > 0:
        mouth[0] += too_deep / LIP_GAP_CM["jawOpen"]
    return mouth.clamp(0, 1)


def assemble_frame(mouth: Tensor, living: Living, controls: ControlValues) -> Tensor:
    """[61] one frame: pose 6, expression 53, gaze 2."""
    expression = mouth @ _SPREAD + emotion_offset(controls.emotion, controls.emotion_strength)
    for axis, share in BROW_SHARE.items():
        expression[list(columns(axis))] += living.brow * share
    pitch_deg = living.pitch_deg
    if controls.head_motion > 0:
        pitch_deg += HEAD_PITCH_DEG.get(controls.emotion, 0.0) * controls.emotion_strength
    gaze = (controls.gaze_yaw_deg + living.gaze_yaw_deg, controls.gaze_pitch_deg + living.gaze_pitch_deg)
    _set_lids(expression, gaze[0] - living.yaw_deg, gaze[1] - pitch_deg, living.blink)
    pose = [living.yaw_deg, pitch_deg, living.roll_deg, living.tx, living.ty, living.scale / controls.distance]
    return torch.cat([torch.tensor(pose), expression.clamp(0, 1), torch.tensor(gaze)])


def _set_lids(expression: Tensor, yaw_deg: float, pitch_deg: float, blink: float) -> None:
    """Lids follow the eye in the head; a blink covers all else. The person's left eye is right in the picture."""
    right, left = max(0.0, yaw_deg) / LID_RANGE_DEG["yaw"], max(0.0, -yaw_deg) / LID_RANGE_DEG["yaw"]
    down, up = max(0.0, pitch_deg) / LID_RANGE_DEG["down"], max(0.0, -pitch_deg) / LID_RANGE_DEG["up"]
    open_part = 1 - blink
    for name, weight in (
        ("eyeLookOut_L", right), ("eyeLookIn_R", right), ("eyeLookIn_L", left), ("eyeLookOut_R", left),
        ("eyeLookDown_L", down), ("eyeLookDown_R", down), ("eyeLookUp_L", up), ("eyeLookUp_R", up),
    ):  # fmt: skip
        expression[EXPRESSION_INDEX[name]] += weight * open_part
    for side in ("L", "R"):
        expression[EXPRESSION_INDEX[f"eyeWide_{side}"]] *= open_part
        expression[EXPRESSION_INDEX[f"eyeSquint_{side}"]] *= open_part
        expression[EXPRESSION_INDEX[f"eyeBlink_{side}"]] = blink


def _smoothstep(x: float, low: float, high: float) -> float:
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _block(rows: list[Tensor]) -> MotionBlock:
    frames = torch.stack(rows) if rows else torch.zeros(0, 8 + len(EXPRESSION_NAMES))
    return MotionBlock(frames[:, :6].clone(), frames[:, 6:-2].clone(), frames[:, -2:].clone())
