"""Cuts a performance into segments, each a complete marked MP4 in an anonymous file of its own.

The mark runs on from one segment to the next. What was marked too weakly to be read back is marked again, stronger,
from the raw frames and samples of that one segment, which are kept in memory no longer than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO

import torch
from torch import Tensor

from media import ClipWriter, start_fragments_at
from policy.marked_clip import SOUND_RATE, Mark
from policy.request import OUTPUT_FPS
from watermark import AudioEmbedder, VideoEmbedder

SEGMENT_S = 2
SEGMENT_FRAMES = SEGMENT_S * OUTPUT_FPS
SAMPLES_PER_FRAME = SOUND_RATE // OUTPUT_FPS


class SegmentMaker:
    """Takes frames and sound of one size as they come; `cut` gives the segments that are complete.

    `total` tells how many frames there will be, None as long as nobody knows. The last segment takes what would be
    left over, so it is two to four seconds long; a shorter one could not carry the mark.
    """

    def __init__(
        self,
        mark: Mark,
        size_px: tuple[int, int],
        open_file: Callable[[], BinaryIO],
        total: Callable[[], int | None],
    ) -> None:
        self.mark = mark
        self.number = 0
        self.start_frame = 0
        self._size_px = size_px
        self._open_file, self._total = open_file, total
        self._queue: deque[Tensor] = deque()
        self._raw_sound = torch.zeros(0)  # from the start of this segment on
        self._marked_sound = torch.zeros(0)
        self._raw_frames: list[Tensor] = []
        self._frames = self._frames_before = 0
        self._writer: ClipWriter
        self._begin_marking()
        self._begin_segment()

    def push(self, frames: Tensor) -> None:
        """Frames uint8 [N, 3, H, W] in order."""
        self._queue.append(frames)

    def hear(self, samples: Tensor) -> None:
        """Sound at 48 kHz, ahead of the frames or in step with them."""
        self._raw_sound = torch.cat([self._raw_sound, samples])
        self._marked_sound = torch.cat([self._marked_sound, self._sound.push(samples)])

    def cut(self, *, ended: bool = False) -> Iterator[Segment]:
        """Segments that are complete now; `ended`: no more sound comes. Take each before the next is asked for."""
        while True:
            total = self._total()
            frames = SEGMENT_FRAMES
            if total is not None and total - self.start_frame < 2 * SEGMENT_FRAMES:
                frames = total - self.start_frame
            while self._queue and self._frames < frames:
                piece = self._queue.popleft()
                self._take(piece[: frames - self._frames])
                if len(rest := piece[frames - self._frames_before :]):
                    self._queue.appendleft(rest)
            last = total is not None and self.start_frame + frames == total
            enough = len(self._marked_sound) >= frames * SAMPLES_PER_FRAME or (ended and last)
            if not frames or self._frames < frames or not enough or (total is None and ended):
                return
            segment = Segment(self, last)
            yield segment
            self._go_on(frames)
            if last:
                return

    def _take(self, frames: Tensor) -> None:
        self._frames_before = self._frames
        self._frames += len(frames)
        self._raw_frames.append(frames)
        self._writer.write_frames(self._video.push(frames))

    def _begin_marking(self) -> None:
        mark, (width, height) = self.mark, self._size_px
        self._video = VideoEmbedder(
            mark.key,
            mark.payload,
            width=width,
            height=height,
            fps=Fraction(OUTPUT_FPS),
            strength=mark.video_strength,
        )
        self._sound = AudioEmbedder(mark.key, mark.payload, sample_rate=SOUND_RATE, strength=mark.audio_strength)
        self._marked_sound = self._sound.push(self._raw_sound)
        self._flushed = False

    def _begin_segment(self) -> None:
        self._raw_frames, self._frames, self._frames_before = [], 0, 0
        self.file = self._open_file()
        self._writer = self._new_writer()

    def _new_writer(self) -> ClipWriter:
        width, height = self._size_px
        return ClipWriter(
            self.file,
            width=width,
            height=height,
            fps=Fraction(OUTPUT_FPS),
            sample_rate=SOUND_RATE,
            fragmented=True,
        )

    def _finish(self, *, last: bool) -> None:
        """Complete the file of this segment."""
        if last and not self._flushed:
            self._marked_sound = torch.cat([self._marked_sound, self._sound.flush()])
            self._flushed = True
        self._writer.write_audio(self._marked_sound[: self._frames * SAMPLES_PER_FRAME])
        self._writer.close()
        start_fragments_at(self.file, Fraction(self.start_frame, OUTPUT_FPS))

    def _mark_again(self, mark: Mark) -> None:
        """Mark this segment, and all that follow, with other strengths; the mark starts anew with it."""
        frames = self._raw_frames
        self.mark = mark
        self._begin_marking()
        self._raw_frames, self._frames = [], 0
        self._writer = self._new_writer()
        for piece in frames:
            self._take(piece)

    def _go_on(self, frames: int) -> None:
        samples = frames * SAMPLES_PER_FRAME
        self._raw_sound = self._raw_sound[samples:].clone()
        self._marked_sound = self._marked_sound[samples:].clone()
        self.number += 1
        self.start_frame += frames
        self._begin_segment()

    def close(self) -> None:
        """Throw away what is not complete."""
        self._writer.abort()
        self.file.close()


class Segment:
    """One complete segment; `file` holds it, marked and encoded, not signed."""

    def __init__(self, maker: SegmentMaker, last: bool) -> None:
        self._maker = maker
        self.last = last
        self.number, self.start_frame, self.frames = maker.number, maker.start_frame, maker._frames
        maker._finish(last=last)
        self.file = maker.file

    @property
    def mark(self) -> Mark:
        """With which it is marked."""
        return self._maker.mark

    def mark_again(self, *, video_strength: float, audio_strength: float) -> None:
        """The same frames and sound, marked with other strengths; only before the next segment is asked for."""
        maker = self._maker
        maker._mark_again(replace(maker.mark, video_strength=video_strength, audio_strength=audio_strength))
        maker._finish(last=self.last)
