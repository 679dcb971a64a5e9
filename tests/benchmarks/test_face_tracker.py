"""The trackers' measures give known answers on made-up landmarks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.face_tracker import load_encoder, mirror_error_pct, mirror_order, upright


def symmetric_shape() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """468 points, point 2k + 1 the mirror image of point 2k; 33 and 263 are the eyes' corners."""
    rng = np.random.default_rng(0)
    half = np.stack([rng.uniform(5, 60, 234), rng.uniform(-60, 60, 234)], 1)
    points = np.empty((468, 2))
    points[0::2], points[1::2] = half * [-1, 1], half
    left, right = [33, 263], [[-40, -20], [40, -20]]
    points[left] = right
    points[[32, 262]] = [[40, -20], [-40, -20]]
    return (points + 100).astype(np.float32)


def test_mirror_images_are_paired() -> None:
    order = mirror_order(symmetric_shape()[None])
    assert np.array_equal(order[order], np.arange(468)) or (order[0], order[1]) == (1, 0)
    assert (order[100], order[101]) == (101, 100)


def test_upright_takes_out_place_size_and_tilt() -> None:
    shape = symmetric_shape()
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    moved = (shape @ turn.T * 1.7 + [30, -12]).astype(np.float32)
    assert np.allclose(upright(moved), upright(shape), atol=1e-4)


def test_a_tracker_that_agrees_with_itself_has_no_mirror_error() -> None:
    shape, order = symmetric_shape(), mirror_order(symmetric_shape()[None])
    picture = torch.zeros(3, 200, 200, dtype=torch.uint8)
    assert mirror_error_pct(lambda _: shape, picture, order) == pytest.approx(0, abs=1e-4)
    calls = iter((shape, shape + np.float32(8)))
    off = mirror_error_pct(lambda _: next(calls), picture, order)
    assert off == pytest.approx(100 * np.hypot(8, 8) / 80, rel=1e-3)


def test_a_checkpoint_without_the_encoder_is_named(tmp_path: Path) -> None:
    save_file({"render.neutral": torch.zeros(1)}, tmp_path / "rig.safetensors")
    with pytest.raises(SystemExit, match=r"rig\.safetensors has no tensors"):
        load_encoder(tmp_path / "rig.safetensors")
