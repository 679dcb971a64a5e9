"""Every reader sees every block once; none can stop or starve the others."""

from collections.abc import Iterator

import pytest

from vasari.fan_out import BLOCKS_IN_FLIGHT, fan_out


def test_each_reader_gets_every_block_in_order() -> None:
    assert fan_out(range(50), [list, sum, max]) == [list(range(50)), sum(range(50)), 49]


def test_a_reader_that_stops_early_does_not_stop_the_others() -> None:
    assert fan_out(range(50), [next, list]) == [0, list(range(50))]


def test_a_readers_error_takes_its_results_place() -> None:
    def fail(blocks: Iterator[int]) -> int:
        raise ValueError(f"at {next(blocks)}")

    failed, total = fan_out(range(10), [fail, sum])
    assert isinstance(failed, ValueError)
    assert total == 45


def test_an_error_of_the_source_is_raised_after_all_readers_ended() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("truncated")

    seen: list[list[int]] = []
    with pytest.raises(OSError, match="truncated"):
        fan_out(source(), [lambda blocks: seen.append(list(blocks))])
    assert seen == [[1]]


def test_the_source_never_runs_far_ahead_of_the_slowest_reader() -> None:
    made = 0
    furthest = 0

    def source() -> Iterator[int]:
        nonlocal made
        while made < 30:
            made += 1
            yield made

    def slow(blocks: Iterator[int]) -> None:
        nonlocal furthest
        for taken in blocks:
            furthest = max(furthest, made - taken)

    fan_out(source(), [slow, list])
    assert furthest <= BLOCKS_IN_FLIGHT + 2
