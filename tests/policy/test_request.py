"""What can be asked for is exactly what the generator can do."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import generator
import media
from policy import CONTROL_RANGES, EMOTIONS, Controls, Framing
from policy.canonical import canonical_json, digest_of
from policy.control_curves import MAX_KEYS
from policy.performer import performed_controls
from policy.request import FRAMES, MAX_FACES, OUTPUT_FPS, OUTPUT_SIZE_PX, SHOULDERS
from vasari.cli.generate import FRAMES as CLI_FRAMES
from vasari.cli.generate import SHOULDERS as CLI_SHOULDERS


def test_controls_are_those_of_the_generator() -> None:
    assert Controls().as_members() == dataclasses.asdict(generator.Controls())
    assert EMOTIONS == generator.EMOTIONS
    assert MAX_KEYS == generator.controls.MAX_KEYS
    assert (OUTPUT_SIZE_PX, OUTPUT_FPS) == (generator.SIZE_PX, generator.FPS)


@pytest.mark.parametrize("name", CONTROL_RANGES)
def test_the_generator_takes_the_same_ranges(name: str) -> None:
    for value, step in zip(CONTROL_RANGES[name], (-0.01, 0.01), strict=True):
        assert Controls(**{name: value}).faults() == ()
        generator.Controls(**{name: value})
        beyond = {name: value + step}
        assert len(Controls(**beyond).faults()) == 1
        with pytest.raises(generator.GeneratorError):
            generator.Controls(**beyond)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", None])
def test_a_control_that_is_no_number_is_a_fault(value: object) -> None:
    assert Controls(distance=value).faults() == ("distance is not a number",)  # type: ignore[arg-type]


def test_framing_is_that_of_the_generator() -> None:
    assert Framing().as_members() == dataclasses.asdict(generator.Framing())
    assert (FRAMES, SHOULDERS, MAX_FACES) == (generator.FRAMES, generator.SHOULDERS, media.MAX_FACES)
    assert (FRAMES, SHOULDERS) == (CLI_FRAMES, CLI_SHOULDERS)


@pytest.mark.parametrize("size", [(675, 825), (128, 128), (4000, 3001), (1281, 300)])
def test_frames_have_the_size_that_the_consent_was_compared_with(size: tuple[int, int]) -> None:
    for frame in FRAMES:
        assert Framing(frame=frame).size_px(*size) == generator.frame_size_px(*size, frame)


@pytest.mark.parametrize("choice", [{"face": 0}, {"face": 17}, {"face": True}, {"frame": "wide"}, {"shoulders": ""}])
def test_what_the_generator_can_not_frame_is_a_fault(choice: dict[str, object]) -> None:
    assert len(Framing(**choice).faults()) == 1  # type: ignore[arg-type]
    with pytest.raises(generator.GeneratorError):
        generator.Framing(**choice)  # type: ignore[arg-type]


GAZE = ((0.0, -10.0), (2.0, 10.0))
FELT = ((0.0, "happy", 1.0), (2.0, "sad", 0.5))


def test_curves_are_signed_with_the_request_and_come_back_from_its_record() -> None:
    one, other = (Controls(gaze_yaw_deg=keys, emotion=FELT) for keys in (GAZE, (*GAZE, (3.0, 0.0))))
    assert not one.faults() + other.faults()
    assert digest_of(one.as_members()) != digest_of(other.as_members()) != digest_of(Controls().as_members())
    written = json.loads(canonical_json(one.as_members()))
    assert Controls.of_members(written) == one
    whole = Controls(gaze_yaw_deg=((0, -10), (2, 10)), emotion=FELT)
    assert canonical_json(whole.as_members()) == canonical_json(one.as_members())


@pytest.mark.parametrize(
    ("curve", "fault"),
    [
        ({"distance": ((0.0, 1.0), (1.5, 2.0))}, "at 1.5 s distance is 2, allowed 0.8 to 1.25"),
        ({"distance": ((0.0, float("nan")),)}, "at 0 s distance is not a number"),
        ({"distance": ((0.0, "1"),)}, "at 0 s distance is not a number"),
        ({"distance": ()}, "the curve of distance has 0 keys"),
        ({"distance": ((1.0, 1.0), (1.0, 1.0))}, "do not rise"),
        ({"distance": ((-1.0, 1.0),)}, "do not rise"),
        ({"distance": ((0.0, 1.0, 1.0),)}, "keys of 2 values"),
        ({"distance": ((float("inf"), 1.0),)}, "keys of 2 values"),
        ({"distance": tuple((float(n), 1.0) for n in range(MAX_KEYS + 1))}, "allowed 1 to 4096"),
        ({"emotion": ((0.0, "smug", 1.0),)}, "at 0 s emotion is 'smug'"),
        ({"emotion": ((0.0, "happy", 1.5),)}, "at 0 s emotion_strength is 1.5"),
        ({"emotion": ((0.0, "happy"),)}, "keys of 3 values"),
        ({"emotion": None}, "emotion is None"),
    ],
)
def test_a_curve_beyond_the_limits_or_of_another_form_is_a_fault(curve: dict[str, Any], fault: str) -> None:
    faults = Controls(**curve).faults()
    assert len(faults) == 1
    assert fault in faults[0]


def test_curves_reach_the_generator_as_they_were_asked() -> None:
    performed = performed_controls(Controls(gaze_yaw_deg=GAZE, emotion=FELT, distance=1.1))
    assert performed == generator.Controls(
        gaze_yaw_deg=generator.Curve(GAZE), emotion=generator.EmotionCurve(FELT), distance=1.1
    )
