"""The fingerprint knows a clip again after re-compression and tells it from other content."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from media import FrameBlock, codec_round_trip, read_frames
from provenance import (
    MATCH_DISTANCE,
    ProvenanceError,
    align_fingerprints,
    clip_fingerprint,
    fingerprint_distance,
    fingerprint_duration_s,
    frame_aspect,
)
from provenance.clip_fingerprint import join_fingerprints


def moving_clip(picture: int, motion: int, *, frames: int = 50) -> Tensor:
    """Blobs on a textured ground, uint8 [N, 3, 128, 128]: `picture` seeds the ground, `motion` the movement."""
    seeded = torch.Generator().manual_seed(picture)
    ground = interpolate(torch.rand(1, 3, 8, 8, generator=seeded), size=128, mode="bicubic") * 180 + 30
    seeded = torch.Generator().manual_seed(motion)
    rates, phases = torch.rand(4, 2, generator=seeded) * 6 + 1, torch.rand(4, 2, generator=seeded) * 6.28
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij"))
    blobs = []
    for index in range(frames):
        centres = 0.6 * torch.sin(rates * index / 25 + phases)
        distance = ((grid[None] - centres[:, :, None, None]) ** 2).sum(1)
        blobs.append(torch.exp(-distance * 12).sum(0))
    return (ground + torch.stack(blobs)[:, None] * 60).clamp(0, 255).to(torch.uint8)


def blocks(frames: Tensor, *, size: int = 16) -> Iterator[FrameBlock]:
    for start in range(0, len(frames), size):
        part = frames[start : start + size]
        yield FrameBlock(part, tuple(Fraction(start + n, 25) for n in range(len(part))))


def resize(frames: Tensor, size: int) -> Tensor:
    return interpolate(frames.float(), size=(size, size), mode="bilinear", antialias=True).round().to(torch.uint8)


CLIP = moving_clip(1, 1)
PRINT = clip_fingerprint(blocks(CLIP))


@pytest.mark.parametrize("crf", [28, 35])
def test_a_recompressed_clip_is_known_again(crf: int) -> None:
    copy = codec_round_trip(CLIP, crf=crf)
    assert fingerprint_distance(PRINT, clip_fingerprint(blocks(copy))) < MATCH_DISTANCE


def test_a_scaled_brighter_and_trimmed_copy_is_known_again() -> None:
    copy = (resize(codec_round_trip(CLIP, crf=28), 96).float() * 1.1).clamp(0, 255).to(torch.uint8)[12:]
    assert fingerprint_distance(PRINT, clip_fingerprint(blocks(copy))) < MATCH_DISTANCE


def test_other_content_is_told_apart() -> None:
    for picture, motion in ((2, 2), (1, 2), (2, 1)):
        other = clip_fingerprint(blocks(moving_clip(picture, motion)))
        assert fingerprint_distance(PRINT, other) > MATCH_DISTANCE


def test_a_still_picture_is_told_from_another() -> None:
    still = [moving_clip(seed, seed, frames=1).repeat(30, 1, 1, 1) for seed in (1, 2)]
    first, second = (clip_fingerprint(blocks(clip)) for clip in still)
    assert fingerprint_distance(first, first) == 0
    assert fingerprint_distance(first, second) > MATCH_DISTANCE


def test_block_size_does_not_matter_and_the_distance_is_symmetric() -> None:
    assert clip_fingerprint(blocks(CLIP, size=7)) == PRINT
    other = clip_fingerprint(blocks(moving_clip(3, 3, frames=35)))
    assert fingerprint_distance(PRINT, other) == fingerprint_distance(other, PRINT)
    assert fingerprint_distance(PRINT, PRINT) == pytest.approx(0, abs=1e-6)


def test_a_fingerprint_stays_small() -> None:
    assert len(PRINT) <= 2 * 640 + 8


def test_a_fingerprint_says_the_shape_of_the_frame_and_an_older_one_is_still_read() -> None:
    assert frame_aspect(PRINT) == 1
    assert frame_aspect(clip_fingerprint(blocks(CLIP[:, :, :96]))) == pytest.approx(128 / 96)
    older = b"VFP1" + PRINT[8:]
    assert frame_aspect(older) is None
    assert fingerprint_distance(PRINT, older) == pytest.approx(0, abs=1e-6)
    assert fingerprint_duration_s(older) == fingerprint_duration_s(PRINT)


def test_only_parts_of_one_size_are_joined() -> None:
    assert fingerprint_duration_s(join_fingerprints([PRINT, PRINT])) == 2 * fingerprint_duration_s(PRINT)
    for parts in ([], [PRINT, clip_fingerprint(blocks(CLIP[:, :, :96]))], [PRINT, b"VFP1" + PRINT[8:]]):
        with pytest.raises(ProvenanceError, match="one size"):
            join_fingerprints(parts)


@pytest.mark.parametrize("broken", [
    b"", b"VFP1", b"VFP2", PRINT[:6], PRINT[:8], PRINT[:-1], b"VFP3" + PRINT[4:], b"VFP1" + PRINT[4:],
    b"VFP2\0\0" + PRINT[6:], PRINT[:6] + b"\0\0" + PRINT[8:],
])  # fmt: skip
def test_a_malformed_fingerprint_is_refused(broken: bytes) -> None:
    with pytest.raises(ProvenanceError, match="VFP2"):
        fingerprint_distance(PRINT, broken)


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(ProvenanceError, match="at least one frame"):
        clip_fingerprint([])


@pytest.mark.skipif("VASARI_DATA" not in os.environ, reason="needs real recordings: set VASARI_DATA to their folder")
def test_real_talkers_are_told_apart_and_known_again() -> None:
    files = sorted(Path(os.environ["VASARI_DATA"]).glob("grid/*.mpg"))[:4]
    assert len(files) == 4, "VASARI_DATA has no grid/ with recordings"
    clips = [torch.cat([block.frames for block in read_frames(file, end_s=2.0)]) for file in files]
    prints = [clip_fingerprint(blocks(clip)) for clip in clips]
    for index, clip in enumerate(clips):
        copy = clip_fingerprint(blocks(codec_round_trip(clip, crf=28)))
        distances = [fingerprint_distance(copy, other) for other in prints]
        assert distances[index] < MATCH_DISTANCE
        assert min(distances[:index] + distances[index + 1 :]) > MATCH_DISTANCE


def test_a_fingerprint_tells_how_long_its_clip_is() -> None:
    assert fingerprint_duration_s(PRINT) == 2.0
    with pytest.raises(ProvenanceError):
        fingerprint_duration_s(b"VFP1")


def test_a_piece_out_of_a_long_clip_is_found_in_it() -> None:
    draw = np.random.default_rng(0)
    walk = 1000 + np.cumsum(draw.normal(0, 8, (9000, 64)), axis=0)  # half an hour
    whole = b"VFP1" + walk.clip(0, 2040).astype("<u2").tobytes()
    piece = b"VFP1" + (walk[4321:5321].clip(0, 2040) * 0.95).astype("<u2").tobytes()
    foreign = b"VFP1" + draw.integers(0, 2040, (1000, 64)).astype("<u2").tobytes()
    assert fingerprint_distance(whole, piece) < 0.01
    assert fingerprint_distance(whole, foreign) > MATCH_DISTANCE


def test_a_trimmed_copy_is_placed_on_the_time_line_of_the_release() -> None:
    long = moving_clip(1, 1, frames=100)
    whole = clip_fingerprint(blocks(long))
    copy = codec_round_trip(long[30:85], crf=28)
    found = align_fingerprints(clip_fingerprint(blocks(copy)), whole)
    assert (found.start_s, found.overlap_s) == (pytest.approx(1.2), pytest.approx(2.2))
    assert found.distance < MATCH_DISTANCE
    assert found.changed == ()
    assert [time for time, _ in found.differences][:2] == [0.0, 0.2]
    reversed_roles = align_fingerprints(whole, clip_fingerprint(blocks(copy)))
    assert reversed_roles.start_s == pytest.approx(-1.2)
    assert reversed_roles.differences[0][0] == pytest.approx(1.2)


def test_a_changed_stretch_is_named_with_its_place() -> None:
    long = moving_clip(1, 1, frames=100)
    edited = long.clone()
    edited[50:75, :, 32:96, 32:96] = 20
    found = align_fingerprints(clip_fingerprint(blocks(edited)), clip_fingerprint(blocks(long)))
    assert found.changed == ((2.0, 3.0),)
    inside = [level for time, level in found.differences if 2.0 <= time < 3.0]
    outside = [level for time, level in found.differences if not 2.0 <= time < 3.0]
    assert min(inside) > 2 * max(outside)


def test_what_is_too_short_is_not_aligned() -> None:
    with pytest.raises(ProvenanceError, match="overlap"):
        align_fingerprints(clip_fingerprint(blocks(CLIP[:10])), PRINT)
