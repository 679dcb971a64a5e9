"""The gate's end of a worker process: a `Performer` whose work is done, and whose weights lie, elsewhere.

What comes back is bytes in a file that nobody but the gate can write any more. Nothing is believed about them; the
release reads the marks back and looks at the clip's measures by `policy.remote_reader`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from policy.canonical import b64url, b64url_decode
from policy.confined_process import STEP_WITHIN_S, Account, ConfinedProcess
from policy.errors import ProcessError
from policy.handed_files import handed_in, take_over
from policy.marked_clip import Mark
from policy.performer import Look, PlotKind, Wishes
from policy.process_messages import (
    Begin,
    Begun,
    Made,
    MakeClip,
    MotionTold,
    Opened,
    OpenWeights,
    Rehearse,
    Rehearsed,
    TellMotion,
)
from policy.remote_reader import RemoteReader
from policy.worker import PerformanceWishes

ENTRY = "policy.worker:generate"
MOST_S_PER_FRAME = 10.0
MOST_BYTES_PER_FRAME = 256 << 10
LEAST_BYTES = 16 << 20
MOST_REHEARSAL_S = 3600.0
MOST_MOTION_BYTES = 64 << 20


class RemotePerformer:
    """One worker process for one job. `look` is called at least once a second."""

    def __init__(
        self,
        weights: Path,
        *,
        account: Account | None,
        hidden: Path,
        work_folder: Path,
        reader: RemoteReader,
        entry: str = ENTRY,
    ) -> None:
        self._weights, self._work_folder, self._reader = weights, work_folder, reader
        reader.expect_task()  # the look at the upload
        self._process = ConfinedProcess.start(entry, what="the worker", account=account, hidden=hidden)
        self._public: bytes | None = None

    @property
    def public_bytes(self) -> bytes:
        """See Performer; waits until the worker is confined and has told it. Raises ProcessError."""
        if self._public is None:
            key = self._process.ready().public_key
            if key is None:
                raise ProcessError("the worker named no key")
            self._public = b64url_decode(key)
        return self._public

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()
        self._reader.close()

    def open(self, wrapped: bytes, grant_id: str, *, look: Look) -> None:
        """See Performer; the key stays wrapped here."""
        with self._weights.open("rb") as file:
            self._process.tell(OpenWeights(grant=grant_id, wrapped=b64url(wrapped)), [file.fileno()])
        self._process.receive(Opened, waiting=look)

    def begin(self, wishes: Wishes, *, look: Look) -> tuple[int, int]:
        """See Performer."""
        self._wishes = wishes
        with handed_in(wishes.portrait, wishes.audio, PerformanceWishes.of(wishes)) as files:
            self._process.tell(Begin(), files)
        begun = self._process.receive(Begun, waiting=look)
        said = begun.width_px, begun.height_px
        if wishes.framing.size_px(*said) != said:  # of square frames the size is known, of others what it can be
            raise ProcessError(f"the worker: it announced frames of {said[0]}x{said[1]}, which nobody asked for")
        return said

    def rehearse(self, wishes: Wishes, *, look: Look) -> None:
        """See Performer."""
        self._wishes = wishes
        with handed_in(wishes.portrait, wishes.audio, PerformanceWishes.of(wishes)) as files:
            self._process.tell(Rehearse(), files)
        self._process.follow(Rehearsed, most_s=MOST_REHEARSAL_S, waiting=look)

    def plot(self, kind: PlotKind, *, look: Look) -> bytes:
        """See Performer; it is drawn by a reader from the worker's numbers, so that nothing but curves can be in it."""
        with (
            tempfile.TemporaryFile("w+b", dir=self._work_folder) as filled,
            tempfile.TemporaryFile("w+b", dir=self._work_folder) as own,
        ):
            self._process.tell(TellMotion(), [filled.fileno()])
            self._process.receive(MotionTold, waiting=look)
            take_over(filled, own, most_bytes=MOST_MOTION_BYTES)
            numbers = own.read()
        return self._reader.draw(numbers, self._wishes.audio, PerformanceWishes.of(self._wishes), kind, look=look)

    def make(self, mark: Mark, frames: int, sink: BinaryIO, *, look: Look, on_block: Callable[[int], None]) -> None:
        """See Performer; `sink` is the gate's copy."""
        task = MakeClip(
            mark_key=b64url(mark.key.to_bytes()),
            manifest_id=f"{mark.payload.manifest_id:016x}",
            video_strength=mark.video_strength,
            audio_strength=mark.audio_strength,
            frames=frames,
        )

        def progress(done: int) -> None:
            if done > frames:
                raise ProcessError(f"the worker: it made {done} frames, expected {frames}")
            on_block(done)

        self._reader.expect_task()  # the reading back
        with tempfile.TemporaryFile("w+b", dir=self._work_folder) as filled:
            self._process.tell(task, [filled.fileno()])
            most_s = STEP_WITHIN_S + frames * MOST_S_PER_FRAME
            self._process.follow(Made, most_s=most_s, on_progress=progress, waiting=look)
            take_over(filled, sink, most_bytes=LEAST_BYTES + frames * MOST_BYTES_PER_FRAME)
