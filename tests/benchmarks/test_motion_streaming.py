"""The hour's benchmark compares two minutes that begin alike."""

import pytest

from benchmarks.motion_streaming import MINUTE_FRAMES, last_minute
from generator.motion_transformer import BLOCK


@pytest.mark.parametrize("cycle", [100, 225, 227])
def test_both_minutes_begin_with_a_block_and_with_the_voice(cycle: int) -> None:
    frames = 60 * MINUTE_FRAMES
    later = last_minute(frames, cycle)
    assert later % cycle == 0
    assert later % BLOCK == 0
    assert 0 <= frames - MINUTE_FRAMES - later < cycle * BLOCK
    assert MINUTE_FRAMES % BLOCK == 0
