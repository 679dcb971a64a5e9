"""Which seconds of a clip carry a mark that was read: a second pass, with the payload known.

Once the code word is known, every segment has a pattern that it ought to show, and one number says whether it does:
normal with deviation 1 where the mark is not, with a higher mean where it is. The likeliest sequence of marked and
unmarked segments (two states, Viterbi) draws the borders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from watermark.code import encode
from watermark.detection import Detection
from watermark.errors import WatermarkError
from watermark.frame_window import SLOT_S, SLOTS_PER_SEGMENT, FrameWindow
from watermark.key import MarkKey
from watermark.payload import Payload, pack
from watermark.pose import Pose, fold, on_lattice
from watermark.soft_bits import demodulate
from watermark.video_detector import FrameBlockLike
from watermark.video_pattern import SEGMENTS, VideoPattern

WINDOW_S = 20.0
SWITCH_COST = 6.0  # nats for a change between marked and unmarked
WEAKEST_MEAN = 1.0  # of a marked segment's number; below it a border can't be drawn


@dataclass(frozen=True)
class MarkedStretch:
    """From when to when a mark is in picture or sound, in seconds of the received clip.

    Borders are good to about a segment of the picture, 0.16 s, or half a second of sound.
    """

    start_s: float
    end_s: float
    payload: Payload


def locate_mark(
    blocks: Iterable[FrameBlockLike], found: Detection, keys: Sequence[MarkKey]
) -> tuple[MarkedStretch, ...]:
    """Where in the clip the mark of `found` lies. `blocks` are read from the clip's start, 20 s at a time.

    Raises `WatermarkError` when nothing was found, or its key is not among `keys`.
    """
    key = next((one for one in keys if one.key_id == found.key_id), None)
    if found.payload is None or found.pose is None or key is None:
        raise WatermarkError("only a mark that was read in a video can be located, with the key that read it")
    coded = torch.from_numpy(encode(pack(found.payload, key))).float() * 2 - 1
    starts, strengths = [], []
    for window in _windows(blocks):
        at_s, z = _segment_strengths(window, found.pose, key, coded)
        starts.append(at_s)
        strengths.append(z)
    if not starts:
        return ()
    at_s, z = torch.cat(starts), torch.cat(strengths)
    length_s = float(SLOTS_PER_SEGMENT * SLOT_S) / found.pose.speed
    return tuple(
        MarkedStretch(max(0.0, float(at_s[first])), float(at_s[last]) + length_s, found.payload)
        for first, last in runs_of(likely_states(z))
    )


def _windows(blocks: Iterable[FrameBlockLike]) -> Iterator[FrameWindow]:
    window = FrameWindow()
    for block in blocks:
        for frame, time in zip(block.frames, block.times, strict=True):
            window.push(frame[None], [time])
            if window.seconds >= WINDOW_S:
                yield window
                window.clear()
    if window.seconds > float(2 * SLOTS_PER_SEGMENT * SLOT_S):
        yield window


def _segment_strengths(window: FrameWindow, pose: Pose, key: MarkKey, coded: Tensor) -> tuple[Tensor, Tensor]:
    """When each segment begins, in seconds [T], and how strongly it shows its pattern, in deviations of chance [T]."""
    slots, pictures = window.pictures()
    top, left, cells, seen = on_lattice(pictures, pose)
    border = pose.phase_slots % SLOTS_PER_SEGMENT
    numbers, values = demodulate(slots * pose.speed, cells, border)
    tori = fold(values * seen, top, left).flatten(1)
    pattern = VideoPattern.of(key)
    expected = pattern.signs.float() * coded[pattern.owner.long()]  # [S, G*G]
    z = tori @ expected.T / tori.norm(dim=1, keepdim=True).clamp(min=1e-9)  # [T, S]
    first = torch.arange(SEGMENTS)[:, None]
    by_start = z[torch.arange(len(numbers)), (numbers + first) % SEGMENTS]  # [S, T]
    best = by_start.clamp(min=0).square().sum(1).argmax()
    at_s = (numbers * SLOTS_PER_SEGMENT + border) / pose.speed * float(SLOT_S)
    return at_s, by_start[best]


def likely_states(z: Tensor) -> list[bool]:
    """The likeliest states of segments whose numbers are `z` [T]; nan where nothing can be told."""
    told = z[~z.isnan()]
    if len(told) == 0:
        return [False] * len(z)
    mean = max(WEAKEST_MEAN, float(told.topk(max(1, len(told) // 4)).values.median()))
    gains = (mean * z - mean**2 / 2).nan_to_num(0.0).tolist()
    unmarked, marked, back = 0.0, 0.0, []
    for gain in gains:
        from_marked = (marked - SWITCH_COST > unmarked, marked >= unmarked - SWITCH_COST)
        unmarked, marked = max(unmarked, marked - SWITCH_COST), gain + max(marked, unmarked - SWITCH_COST)
        back.append(from_marked)
    state = marked > unmarked
    states = []
    for to_unmarked, to_marked in reversed(back):
        states.append(state)
        state = to_marked if state else to_unmarked
    return states[::-1]


def runs_of(states: list[bool]) -> Iterator[tuple[int, int]]:
    """First and last index of each run of True."""
    start = None
    for index, state in enumerate([*states, False]):
        if state and start is None:
            start = index
        elif not state and start is not None:
            yield start, index - 1
            start = None
