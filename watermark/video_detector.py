"""Reads the mark out of a video without the original, its start time or its crop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from watermark.detection import Detection, TagCheck
from watermark.errors import TooShortError, WatermarkError
from watermark.frame_window import SLOTS_PER_SEGMENT, FrameWindow
from watermark.key import MarkKey, by_pilot
from watermark.payload import Payload
from watermark.pilot import Pilot
from watermark.pilot_fit import fit, rendered, strength
from watermark.pilot_wave import levelled, phase_slots, waves, white
from watermark.pose import Pose, identity_matrix
from watermark.pose_search import Spectra, search_linear
from watermark.soft_bits import folded, soft_words
from watermark.video_pattern import VideoPattern

SHORTEST_S = 1.0
QUICK_LOOKS_S = (3.0, 6.0)  # uncropped pose only
FULL_LOOKS_S = (10.0, 20.0)  # with the pose search; the last one ends the window
WORTH_A_POSE = 6.0  # pilot z below which a searched pose is chance
SURE_OF_TIME = 6.0  # pilot z below which every time phase is tried at the plain pose
SURE_OF_POSE = 15.0  # pilot z beyond which no other pose is looked for
SPEEDS = tuple(round(1 + sign * step * 0.016, 3) for step in range(1, 8) for sign in (1, -1))


class FrameBlockLike(Protocol):
    """Frames uint8 [N, 3, H, W] with their presentation times in seconds."""

    @property
    def frames(self) -> Tensor: ...
    @property
    def times(self) -> Sequence[Fraction]: ...


def detect_video(blocks: Iterable[FrameBlockLike], keys: Sequence[MarkKey]) -> Detection:
    """Look for a mark of any of `keys`; stop at the first genuine one.

    Reads at most 20 s into memory (reduced, see `frame_window`), looks, and goes on with the next
    20 s. Raises `WatermarkError` for fewer than 1 s of video, frames below 64 px, or no key.
    """
    if not keys:
        raise WatermarkError("no key to look with: give at least one MarkKey")
    search, window = _Search(keys), FrameWindow()
    looks = _looks()
    start_s, searched_s = 0.0, 0.0
    for block in blocks:
        for frame, time in zip(block.frames, block.times, strict=True):
            window.push(frame[None], [time])
            due = next((look for look in looks if window.seconds >= look), None)
            if due is None:
                continue
            looks.remove(due)
            search.look(window, full=due in FULL_LOOKS_S)
            if search.ended:
                return search.detection(start_s + window.seconds)
            if due in FULL_LOOKS_S:
                searched_s = window.seconds
            if not looks:
                start_s += window.seconds
                window.clear()
                looks, searched_s = _looks(), 0.0
    if start_s + window.seconds < SHORTEST_S:
        raise TooShortError(f"only {window.seconds:.2f} s of video: a mark needs {SHORTEST_S:g} s at least")
    if window.seconds - searched_s >= SHORTEST_S:
        search.look(window, full=True)
    return search.detection(start_s + window.seconds)


def _looks() -> list[float]:
    return sorted((*QUICK_LOOKS_S, *FULL_LOOKS_S))


class _View:
    """A window as one look sees it; what pilots look at is made once for all of them."""

    def __init__(self, window: FrameWindow) -> None:
        self.slots, self.pictures = window.pictures()
        self.changes = levelled(self.pictures)
        self._spectra: dict[tuple[float, ...], Spectra] = {}

    def spectra(self, speeds: tuple[float, ...]) -> Spectra:
        if speeds not in self._spectra:
            every = white(waves(self.slots, self.changes, torch.tensor(speeds, dtype=torch.float64)))
            self._spectra[speeds] = Spectra.of(every, speeds)
        return self._spectra[speeds]


class _Search:
    """The state of one search: attempts counted, best pilot, and the payload once read."""

    def __init__(self, keys: Sequence[MarkKey]) -> None:
        self._groups = [(Pilot.of(pilot), group) for pilot, group in by_pilot(keys)]
        self._first = keys[0]
        self._check = TagCheck()
        self._best_z = 0.0
        self._key_id: int | None = None
        self._pose: Pose | None = None
        self.payload: Payload | None = None

    @property
    def ended(self) -> bool:
        """Whether a payload was read, or as many tags were compared as the bound allows."""
        return self.payload is not None or self._check.exhausted

    def look(self, window: FrameWindow, *, full: bool) -> None:
        view = _View(window)
        plain = identity_matrix(*view.pictures.shape[1:])
        wave = white(waves(view.slots, view.changes, torch.ones(1)))[0]
        for pilot, keys in self._groups:
            pose = strength(wave, plain, 1.0, pilot)
            sure = pose.z >= SURE_OF_TIME
            # where no pilot is seen, a quick look tries the first key alone: many others would cost most of it
            tried = keys if sure or full else [key for key in keys if key == self._first]
            self._read(view, pose, tried, blind=not sure)
            if self.ended:
                return
        for pilot, keys in self._groups if full else ():
            for pose in search_poses(view, pilot):
                self._read(view, pose, keys)
                if self.ended:
                    return

    def _read(self, view: _View, pose: Pose, keys: Sequence[MarkKey], *, blind: bool = False) -> None:
        """Try the keys at a pose, until the search is over."""
        self._best_z = max(self._best_z, pose.z)
        phases = [pose.phase_slots + s for s in range(SLOTS_PER_SEGMENT)] if blind else [pose.phase_slots]
        seen = list(folded(view.slots, view.pictures, pose, phases)) if keys else []
        for key in keys:
            for word in soft_words(seen, VideoPattern.of(key)):
                self.payload = self._check.read(word, key)
                if self.payload is not None:
                    self._key_id, self._best_z, self._pose = key.key_id, pose.z, pose
                if self.ended:
                    return

    def detection(self, seconds: float) -> Detection:
        return Detection(
            medium="video",
            payload=self.payload,
            key_id=self._key_id,
            log10_false_positive=self._check.log10_false_positive,
            pilot_z=self._best_z,
            seconds_used=seconds,
            pose=self._pose,
        )


def search_poses(view: _View, pilot: Pilot) -> Iterator[Pose]:
    """The likeliest poses of a pilot over all turns, scales, stretches, mirrors and tilts.

    Other speeds are searched only where the speed as made shows no pilot beyond doubt.
    """
    for speeds in ((1.0,), SPEEDS):
        spectra = view.spectra(speeds)
        likely = search_linear(spectra, pilot)
        starts = [[hypothesis.matrix(sign) for sign in (1, -1)] for hypothesis in likely]
        shown = spectra.waves[[speeds.index(hypothesis.speed) for hypothesis in likely]]
        for pose in fit(shown, starts, [hypothesis.speed for hypothesis in likely], pilot):
            if pose.z >= WORTH_A_POSE:
                yield _timed(view.slots, view.changes, pose, pilot)
            if pose.z >= SURE_OF_POSE:
                return


def _timed(slots: Tensor, changes: Tensor, pose: Pose, pilot: Pilot) -> Pose:
    """The pose at the finest speed: a hundred near by are compared, and what is nearly 1 is 1."""
    shown = rendered(pose, pilot, *changes.shape[1:])
    series = (changes * shown).sum((1, 2))
    speeds = pose.speed + torch.linspace(-0.016, 0.016, 65)
    peaks = waves(slots, series[:, None, None], speeds).flatten()
    at = int(peaks.abs().argmax())
    speed = float(speeds[at])
    plain = waves(slots, series[:, None, None], torch.ones(1)).flatten()[0]
    if abs(speed - 1) < 0.01 and float(plain.abs()) > 0.95 * float(peaks.abs().max()):
        return replace(pose, speed=1.0, phase_slots=phase_slots(complex(plain.item())))
    return replace(pose, speed=speed, phase_slots=phase_slots(complex(peaks[at].item())))
