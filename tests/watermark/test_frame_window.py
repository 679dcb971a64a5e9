"""Large frames are remembered as small ones would be."""

import torch

from benchmarks.watermark_clips import talking_head
from watermark.frame_window import reduced_luma


def test_halving_large_frames_changes_no_mean() -> None:
    small = talking_head(1, side=256, seed=3)[0]
    for factor in (2, 4, 8):
        large = small.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        assert torch.allclose(reduced_luma(large), reduced_luma(small), atol=1e-3)
        assert min(reduced_luma(large[:, 1:, 3:]).shape) == 256
