"""What can be asked for is exactly what the generator can do."""

from __future__ import annotations

import dataclasses

import pytest

import generator
import media
from policy import CONTROL_RANGES, EMOTIONS, Controls, Framing
from policy.request import FRAMES, MAX_FACES, OUTPUT_FPS, OUTPUT_SIZE_PX, SHOULDERS
from vasari.cli.generate import FRAMES as CLI_FRAMES
from vasari.cli.generate import SHOULDERS as CLI_SHOULDERS


def test_controls_are_those_of_the_generator() -> None:
    assert Controls().as_members() == dataclasses.asdict(generator.Controls())
    assert EMOTIONS == generator.EMOTIONS
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
