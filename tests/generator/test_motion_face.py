"""Rules over what the networks say: lips shut where a closure stands out, at its surest frame."""

import pytest

from generator.motion_face import CONTRAST_FRAMES, LARGEST_LOGIT, HeardClosures, lips_shut


def after(logit: float) -> HeardClosures:
    """Open lips, and this logit until now."""
    return HeardClosures((logit,) * CONTRAST_FRAMES)


QUIET = after(-5.0)


def test_lips_shut_where_a_closure_is_heard_and_not_elsewhere() -> None:
    shut, _ = lips_shut([-5.0, 2.0, -4.0, -5.0], QUIET)
    assert shut == [0, 1, 0, 0]


def test_lips_shut_at_the_surest_frame_and_not_on_the_way_to_it() -> None:
    rising, _ = lips_shut([-4.0, -1.5, 1.0, -4.0], after(-3.0))
    assert rising == [0, 0, 1, 0]
    alone, _ = lips_shut([-4.0, -1.5, -4.0, -4.0], after(-3.0))
    assert alone[1] > 0.5


def test_shut_lips_do_not_part_for_a_frame_on_the_way_to_a_surer_one() -> None:
    shut, _ = lips_shut([-3.0, 1.0, -1.0, 3.0], after(-3.0))
    assert shut[1:] == [1, 1, 1]
    _, held = lips_shut([1.0], after(-3.0))
    assert lips_shut([-1.0, 3.0], held)[0] == [1, 1]
    assert lips_shut([-1.0, 3.0], after(-3.0))[0][0] < 0.5


def test_a_long_closure_stays_shut() -> None:
    shut, before = lips_shut([4.0] * 4, QUIET)
    assert shut == [1] * 4
    assert lips_shut([4.0] * 4, before)[0] == [1] * 4


def test_a_voice_that_always_sounds_a_little_shut_is_heard_against_itself() -> None:
    a_little = -1.6
    shut, before = lips_shut([a_little] * 4, after(a_little))
    assert max(shut) < 0.6
    assert lips_shut([a_little] * 4, QUIET)[0][0] == 1
    assert before.logits == (a_little,) * CONTRAST_FRAMES


@pytest.mark.parametrize("cuts", [[1, 3], [2, 2], [3, 1]])
def test_what_was_heard_is_carried_from_block_to_block(cuts: list[int]) -> None:
    """But for the last frame of a block, which can't know the next one."""
    logits = [-2.0, -3.0, 1.0, 0.5]
    first, before = lips_shut(logits[: cuts[0]], HeardClosures())
    second, before = lips_shut(logits[cuts[0] :], before)
    whole, at_once = lips_shut(logits, HeardClosures())
    assert before == at_once
    known = [i for i in range(4) if i != cuts[0] - 1]
    assert [(first + second)[i] for i in known] == [whole[i] for i in known]


def test_digital_certainty_counts_no_more_than_the_largest_logit() -> None:
    _, before = lips_shut([-1e9, 1e9], HeardClosures())
    assert before.logits == (-LARGEST_LOGIT, LARGEST_LOGIT)
