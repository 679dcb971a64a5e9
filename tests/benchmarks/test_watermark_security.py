"""The attackers of the bench work as described, and the statistic is what theory says, on a small scale."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import watermark_false_positives as null
from benchmarks import watermark_peers as peers
from benchmarks import watermark_security as security
from benchmarks.watermark_clips import talking_head
from media import ClipWriter
from watermark import MarkKey


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "head.mp4"
    with ClipWriter(path, width=256, height=256, fps=Fraction(25), sample_rate=None, crf=10) as writer:
        writer.write_frames(talking_head(80, side=256, seed=7))
    return path


def test_averaging_finds_what_alternates_and_nothing_where_no_mark_is(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_mark = security.average([clip], 16).alternating
    monkeypatch.setattr(security, "marked", lambda frames, *_: frames)
    without = security.average([clip], 16).alternating
    assert with_mark.shape == (256, 256)
    assert float(with_mark.square().mean()) > 2 * float(without.square().mean())


def test_a_pasted_template_turns_its_sign_with_every_segment() -> None:
    grey = torch.full((8, 3, 4, 4), 100, dtype=torch.uint8)
    out = security.pasted(grey, torch.ones(4, 4), 3.0)
    assert [int(frame[0, 0, 0]) for frame in out] == [103] * 4 + [97] * 4


def test_regeneration_draws_every_frame_anew() -> None:
    network = security.TwinAutoencoder(security.AUTOENCODER).eval()
    picture = np.full((64, 64, 3), 90, np.uint8)
    ((_, drawn),) = security.regenerated(iter([(Fraction(0), picture)]), network=network)
    assert drawn.shape == picture.shape
    assert not np.array_equal(drawn, picture)


def test_wrong_keys_are_counted_find_nothing_and_weigh_what_theory_says(clip: Path) -> None:
    stretches, tally = null.stretches_of(clip), null.Tally()
    random = np.random.default_rng(0)
    for _ in range(32):
        null.look(stretches, MarkKey(random.bytes(32), 5), random, tally)
    assert tally.windows == 32 * len(stretches) * null.PHASES == int(tally.histogram.sum())
    assert (tally.found, tally.found_by_wrong_key) == (0, 0)
    centres = (null.EDGES[:-1] + null.EDGES[1:]) / 2
    mean = float((centres * tally.histogram).sum() / tally.windows)
    deviation = float(((centres - mean) ** 2 * tally.histogram).sum() / tally.windows) ** 0.5
    assert mean == pytest.approx(0, abs=0.1)
    assert deviation == pytest.approx(1, abs=0.1)


def test_the_right_key_weighs_far_beyond_chance(clip: Path) -> None:
    with_mark = next(one for one in null.stretches_of(clip) if one.coded is not None)
    words = null.words_of(with_mark.tori[0], null.KEY)
    excess = (words.square().sum(1) - null.CODED_BITS) / (2 * null.CODED_BITS) ** 0.5
    assert float(excess.max()) > 20


def test_a_peer_that_is_not_installed_is_named() -> None:
    absent = peers.Peer("absent", "no_such_package", False, lambda p, b: p, lambda p: np.zeros(peers.BITS))
    assert "no_such_package is not installed" in peers.prepare(absent) or "pywt" in peers.prepare(absent)


@pytest.mark.parametrize("factor", [0.25, 0.15])
def test_a_shrunk_picture_comes_back_to_its_size(factor: float) -> None:
    picture = np.full((512, 506, 3), 90, np.uint8)
    ((_, back),) = security.shrunk(iter([(Fraction(0), picture)]), factor=factor)
    assert back.shape == picture.shape
