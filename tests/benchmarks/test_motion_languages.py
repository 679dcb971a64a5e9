"""How far unseen languages fall behind: relative to trained ones, every language with equal weight."""

import numpy as np
import pytest

from benchmarks.motion_languages import TRAINED, UNSEEN, drop_row


def test_the_drop_is_relative_and_weighs_languages_equally() -> None:
    half, all_right = np.array([True, False] * 10), np.ones(20, bool)
    right = {name: [all_right, all_right] for name in TRAINED} | {name: [half, half] for name in UNSEEN}
    right[TRAINED[0]] = [np.ones(2000, bool)] * 2  # a talkative language counts no more than others
    row = drop_row(right)
    assert row["value"] == pytest.approx(50)
    assert row["ci95"] == pytest.approx([50, 50])
    assert not set(TRAINED) & set(UNSEEN)
