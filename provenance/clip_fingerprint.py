"""A coarse perceptual fingerprint of a clip: 8x8 mean luma to an eighth of a grey level, five times a second.

Before them stand the frame's width and height, by which the place of a crop is known (`placed_fingerprint`).
It survives re-compression and scaling, and tells a watermark copied onto other content from the released
clip. It is no identification of persons: 64 grey values per sample are far below a recognisable face.

Limits: a crop reads as other content unless its place is known (`placed_fingerprint`), and so few cells can't see that
only the lips were changed. The distance is one number for the whole overlap: a short stretch of another take with the
same portrait can hide in it.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from provenance.errors import ProvenanceError

if TYPE_CHECKING:  # torch is loaded only when a clip is fingerprinted
    from torch import Tensor

Grey = NDArray[Any]  # uint16 or float32 grey values

MAGIC = b"VFP2"
MAGIC_WITHOUT_SIZE = b"VFP1"  # of releases before, whose frame is taken for square
_HEADER = struct.Struct("<4sHH")
GRID = 8
SAMPLES_PER_S = 5
LEVELS_PER_GREY = 8
MAX_SAMPLES = SAMPLES_PER_S * 3600 * 4
MAX_SHIFTS = 50  # tried in full
PROBE_SAMPLES = 40  # looked at to choose them
MIN_OVERLAP = 5  # samples: one second
MATCH_DISTANCE = 0.15  # measured in benchmarks/provenance.py: copies stay below, other clips above
CHANGED_GREY_LEVELS = 6.0  # RMS over the grid; re-compression and scaling stay far below
_FITS = 4
MOTION_FLOOR = 0.3  # grey levels; below this much movement only the still picture is compared
_LUMA = (0.2126, 0.7152, 0.0722)  # BT.709


class Frames(Protocol):
    """A block of frames: uint8 [N, 3, H, W] with one presentation time in seconds each."""

    @property
    def frames(self) -> "Tensor": ...

    @property
    def times(self) -> tuple[Fraction, ...]: ...


def clip_fingerprint(blocks: Iterable[Frames]) -> bytes:
    """Fingerprint of a stream of frame blocks, in bounded memory; the first frame's time counts as zero."""
    seen = _Watched(blocks)
    samples = list(_sample_grids(seen))
    if not samples:
        raise ProvenanceError("clip fingerprint: expected at least one frame, got none")
    return _HEADER.pack(MAGIC, *seen.size_px) + bytes(np.stack(samples).tobytes())


class _Watched:
    """Blocks that pass by, and the `size_px` (width, height) of their frames."""

    def __init__(self, blocks: Iterable[Frames]) -> None:
        self._blocks, self.size_px = blocks, (0, 0)

    def __iter__(self) -> Iterator[Frames]:
        for block in self._blocks:
            height, width = block.frames.shape[2:]
            self.size_px = int(width), int(height)
            yield block


def frame_aspect(fingerprint: bytes) -> float | None:
    """Width over height of the frames; None where an older fingerprint does not say. Raises ProvenanceError."""
    header, _ = _parts(fingerprint)
    if header == MAGIC_WITHOUT_SIZE:
        return None
    _, width, height = _HEADER.unpack(header)
    return float(width / height)


def fingerprint_distance(a: bytes, b: bytes) -> float:
    """0 (same pictures at the same times) to 1; the shorter clip is slid along the longer one.

    The larger of two parts: how much the still pictures differ, and how much the movements differ. Above
    `MATCH_DISTANCE` the clips are not the same content.
    """
    short, long = sorted((grids_of(a), grids_of(b)), key=len)
    overlap = len(short)
    if overlap < MIN_OVERLAP and overlap != len(long):
        raise ProvenanceError(f"clip fingerprint: at least {MIN_OVERLAP} samples must overlap, got {overlap}")
    return min(_aligned_distance(short, long[shift : shift + overlap]) for shift in _likely_shifts(short, long))


@dataclass(frozen=True)
class Alignment:
    """Where a clip lies on a release's time line, and how different its pictures are there.

    `start_s` is where in the release the clip begins (negative: the release begins inside the clip); `differences`
    holds one pair per fifth of a second: time in the clip, and difference in grey levels (root mean square over the
    grid, brightness and contrast of the whole overlap taken out). `changed` are the stretches above
    `CHANGED_GREY_LEVELS`. `cells`: how many of the 64 cells of the release's frame were compared; fewer than all for a
    crop.
    """

    start_s: float
    overlap_s: float
    distance: float
    differences: tuple[tuple[float, float], ...]
    changed: tuple[tuple[float, float], ...]
    cells: int = GRID**2


def align_fingerprints(clip: bytes, release: bytes) -> Alignment:
    """The best place of `clip` along `release`, the difference at each moment; ProvenanceError if too short."""
    return align_grids(grids_of(clip), grids_of(release))


def align_grids(a: Grey, b: Grey) -> Alignment:
    """`align_fingerprints` of grey values [samples, cells] of a clip and of a release, the same cells of both."""
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    overlap = len(short)
    if overlap < MIN_OVERLAP and overlap != len(long):
        raise ProvenanceError(f"clip fingerprint: at least {MIN_OVERLAP} samples must overlap, got {overlap}")
    shift = min(_likely_shifts(short, long), key=lambda at: _aligned_distance(short, long[at : at + overlap]))
    part = long[shift : shift + overlap]
    clip_is_short = short is a
    mine, theirs = (short, part) if clip_is_short else (part, short)
    levels = _differences(mine, theirs)
    first = 0 if clip_is_short else shift
    times = [(first + number) / SAMPLES_PER_S for number in range(overlap)]
    return Alignment(
        start_s=(shift if clip_is_short else -shift) / SAMPLES_PER_S,
        overlap_s=overlap / SAMPLES_PER_S,
        distance=_aligned_distance(short, part),
        differences=tuple((time, round(float(level), 2)) for time, level in zip(times, levels, strict=True)),
        changed=tuple(_stretches(times, levels)),
        cells=a.shape[1],
    )


def _differences(a: Grey, b: Grey) -> Grey:
    """[samples] grey levels between [samples, 64] each, after a common gain and offset.

    Both are fitted to the half of the samples that agree best, so that an edited stretch does not pull them its way.
    """
    levels: Grey = np.zeros(len(a), np.float32)
    kept = np.ones(len(a), bool)
    for _ in range(_FITS):
        mean_a, mean_b = a[kept].mean(), b[kept].mean()
        power = float(((b[kept] - mean_b) ** 2).sum())
        product = float(((a[kept] - mean_a) * (b[kept] - mean_b)).sum())
        gain = float(np.clip(product / power, 0.5, 2.0)) if power > 1e-6 else 1.0
        levels = np.sqrt(((a - mean_a - gain * (b - mean_b)) ** 2).mean(1))
        kept = levels <= np.median(levels)
    return levels


def _stretches(times: list[float], levels: Grey) -> Iterator[tuple[float, float]]:
    """Runs of samples above the threshold, as (start, end) in seconds."""
    start: float | None = None
    for time, level in zip(times, levels, strict=True):
        if level > CHANGED_GREY_LEVELS and start is None:
            start = time
        elif level <= CHANGED_GREY_LEVELS and start is not None:
            yield start, time
            start = None
    if start is not None:
        yield start, times[-1] + 1 / SAMPLES_PER_S


def join_fingerprints(parts: Sequence[bytes]) -> bytes:
    """The fingerprint of clips played one after the other; raises ProvenanceError."""
    split = [_parts(part) for part in parts]
    if len({header for header, _ in split}) != 1:
        raise ProvenanceError("clip fingerprint: only clips of one size can be joined, and at least one")
    return split[0][0] + b"".join(body for _, body in split)


def fingerprint_duration_s(fingerprint: bytes) -> float:
    """How much of a clip the fingerprint describes, to a fifth of a second; raises ProvenanceError."""
    return len(grids_of(fingerprint)) / SAMPLES_PER_S


def _likely_shifts(short: Grey, long: Grey) -> list[int]:
    """Where along `long` the clip `short` may begin: the best few by a look at a few of its samples."""
    shifts = range(len(long) - len(short) + 1)
    if len(shifts) <= MAX_SHIFTS:
        return list(shifts)
    probe = np.unique(np.linspace(0, len(short) - 1, PROBE_SAMPLES).round().astype(int))
    return sorted(shifts, key=lambda shift: _aligned_distance(short[probe], long[probe + shift]))[:MAX_SHIFTS]


def _sample_grids(blocks: Iterable[Frames]) -> Iterator[Grey]:
    start: Fraction | None = None
    due = 0
    for block in blocks:
        for frame, time in zip(block.frames, block.times, strict=True):
            start = time if start is None else start
            while (time - start) * SAMPLES_PER_S >= due:
                if due >= MAX_SAMPLES:
                    raise ProvenanceError(f"clip fingerprint: longer than {MAX_SAMPLES // SAMPLES_PER_S} s")
                due += 1
                yield _grid(frame)


def _grid(frame: "Tensor") -> Grey:
    """[3, H, W] uint8 -> [64] mean luma in eighths of a grey level, little-endian uint16."""
    from torch.nn.functional import adaptive_avg_pool2d

    cells = adaptive_avg_pool2d(luma_of(frame)[None], GRID)
    grid: Grey = (cells * LEVELS_PER_GREY).round().flatten().cpu().numpy().astype("<u2")
    return grid


def luma_of(frame: "Tensor") -> "Tensor":
    """[3, H, W] uint8 -> [H, W] grey levels as floats (BT.709)."""
    red, green, blue = frame.float()
    luma: Tensor = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return luma


def grids_of(fingerprint: bytes) -> Grey:
    """[samples, 64] float32 grey levels; raises ProvenanceError."""
    _, body = _parts(fingerprint)
    return np.frombuffer(body, "<u2").reshape(-1, GRID**2).astype(np.float32) / LEVELS_PER_GREY


def _parts(fingerprint: bytes) -> tuple[bytes, bytes]:
    """Header and samples; raises ProvenanceError."""
    length = len(MAGIC_WITHOUT_SIZE) if fingerprint.startswith(MAGIC_WITHOUT_SIZE) else _HEADER.size
    header, body = fingerprint[:length], fingerprint[length:]
    whole = len(header) == _HEADER.size and header.startswith(MAGIC)
    known = header == MAGIC_WITHOUT_SIZE or (whole and all(_HEADER.unpack(header)[1:]))
    if not body or len(body) % (2 * GRID**2) or not known:
        raise ProvenanceError("clip fingerprint: expected the format VFP2 or VFP1, got something else")
    return header, body


def _aligned_distance(a: Grey, b: Grey) -> float:
    """[samples, 64] each."""
    still = _decorrelation(a.mean(0) - a.mean(), b.mean(0) - b.mean())
    moving_a, moving_b = a - a.mean(0), b - b.mean(0)
    if max(moving_a.std(), moving_b.std()) < MOTION_FLOOR:
        return still
    return max(still, _decorrelation(moving_a, moving_b))


def _decorrelation(a: Grey, b: Grey) -> float:
    """(1 - correlation) / 2 of two zero-mean arrays; 0 when both are flat, 1/2 when only one is."""
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm < 1e-6:
        return 0.0 if np.linalg.norm(a - b) < 1e-3 * a.size else 0.5
    return min(1.0, max(0.0, (1 - float((a * b).sum()) / norm) / 2))
