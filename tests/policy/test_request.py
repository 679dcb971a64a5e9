"""What can be asked for is exactly what the generator can do."""

from __future__ import annotations

import dataclasses

import pytest

import generator
from policy import CONTROL_RANGES, EMOTIONS, Controls
from policy.request import OUTPUT_FPS, OUTPUT_SIZE_PX


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
