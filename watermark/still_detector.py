"""Reads the mark out of one picture: a frame saved as a still, or a screenshot of one.

A still holds a single segment's pattern against the whole detail of the picture, where a clip holds dozens against
what changes from frame to frame. So it is found less often, and a still without a mark says little; what is found
has the same proven bound, because it is the same tag that decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from watermark.code import CODED_BITS
from watermark.detection import Detection, TagCheck
from watermark.errors import WatermarkError
from watermark.frame_window import reduced_luma
from watermark.key import MarkKey, by_pilot
from watermark.pilot import Pilot
from watermark.pilot_fit import fit, strength
from watermark.pilot_wave import reduced, white
from watermark.pose import Pose, fold, identity_matrix, on_lattice
from watermark.pose_search import Spectra, search_linear
from watermark.video_pattern import VideoPattern
from watermark.visibility import blur, received_mask

POSES = 10  # detail imitates plane waves: the pilot's place is not always the likeliest
CANDIDATES = 4
WORTH_DECODING = 3.0  # energy of the soft bits over chance, in standard deviations


def detect_still(frame: Tensor, keys: Sequence[MarkKey]) -> Detection:
    """Look for a mark of any of `keys` in one picture uint8 [3, H, W]; stop at the first genuine one.

    `seconds_used` is 0. Raises `TooSmallError` for pictures below 64 px, `WatermarkError` for another type or no key.
    """
    if not keys:
        raise WatermarkError("no key to look with: give at least one MarkKey")
    if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[0] != 3:
        raise WatermarkError(f"a still must be uint8 [3, H, W], got {frame.dtype} {list(frame.shape)}")
    picture = reduced_luma(frame)
    check, best_z = TagCheck(), 0.0
    fine = reduced(_whitened(picture)[None])[0]
    wave = white(torch.complex(fine, torch.zeros_like(fine))[None])[0]
    spectra = Spectra.of(wave[None], (1.0,))
    for pilot_key, group in by_pilot(keys):
        pilot = Pilot.of(pilot_key)
        plain = strength(wave, identity_matrix(*fine.shape), 1.0, pilot)
        starts = [[h.matrix(sign) for sign in (1, -1)] for h in search_linear(spectra, pilot, best=POSES)]
        likely = fit(wave.expand(len(starts), -1, -1), starts, [1.0] * len(starts), pilot)
        for pose in (plain, *likely):
            best_z = max(best_z, pose.z)
            torus = _torus(picture, pose)
            for key in group:
                for word in _soft_words(torus, VideoPattern.of(key)):
                    payload = check.read(word.double().numpy(), key)
                    if payload is not None:
                        return Detection("video", payload, key.key_id, check.log10_false_positive, pose.z, 0.0)
    return Detection("video", None, None, check.log10_false_positive, best_z, 0.0)


def _whitened(picture: Tensor) -> Tensor:
    """The picture [H, W] without what is smooth, weighted by how much of what is left may be the mark."""
    detail = picture - blur(picture[None], 3)[0]
    deviation = blur(detail.square()[None], 7)[0].clamp(min=0).sqrt().clamp(min=0.5)
    share = (received_mask(picture[None] + 128)[0] / deviation).clamp(max=1)
    return (detail / deviation).clamp(-2.5, 2.5) * share


def _torus(picture: Tensor, pose: Pose) -> Tensor:
    """Weighted chip values [1, G*G] of a picture [H, W] at a pose."""
    top, left, cells, seen = on_lattice(picture[None], pose)
    detail = cells - blur(cells, 3)
    detail = detail - blur(detail, 3)
    deviation = blur(detail.square(), 3).clamp(min=0).sqrt().clamp(min=0.5)
    weight = received_mask(cells + 128) / deviation * seen
    return fold((detail / deviation).clamp(-2, 2) * weight, top, left).flatten(1)


def _soft_words(torus: Tensor, pattern: VideoPattern) -> list[Tensor]:
    """Soft code words [512] of the likeliest segments, best first."""
    variance = float(torus.square().sum()) / CODED_BITS
    words = pattern.correlate(torus)[..., 0]
    excess = (words.square().sum(1) / max(variance, 1e-12) - CODED_BITS) / (2 * CODED_BITS) ** 0.5
    order = excess.argsort(descending=True)[:CANDIDATES]
    return [words[s] for s in order if excess[s] >= WORTH_DECODING]
