"""The gate's end of reader processes: what an upload is, and what a clip that came back carries.

Each task has a process of its own. One can be started ahead, while something else is waited for.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

from policy.canonical import b64url, sha256_hex
from policy.confined_process import Account, ConfinedProcess
from policy.errors import ProcessError
from policy.face_commitment import FaceEmbedding
from policy.handed_files import handed_in, read_only, take_over
from policy.live_recording import read_live
from policy.marked_clip import ClipMeasures, ReadBack
from policy.media_facts import (
    MAX_AUDIO_BYTES,
    MAX_PORTRAIT_BYTES,
    AudioFacts,
    MediaFacts,
    PortraitFacts,
    unreadable_audio,
    unreadable_portrait,
)
from policy.process_messages import (
    Drawn,
    DrawPlot,
    FoundMark,
    Inspect,
    ReadClip,
    ReadMarks,
    Ready,
    SeenAudio,
    SeenPortrait,
    Unreadable,
)
from provenance import ProvenanceError, frame_aspect
from watermark import Detection, MarkKey, Payload

READER = "policy.clip_reader:read"
MOST_READ_S = 7200.0
MOST_FINGERPRINT_BYTES = 16 << 20
MOST_PLOT_BYTES = 64 << 20
LEAST_MARKED_SHARE = 0.9


class RemoteReader:
    """Starts and asks readers for one gate. `hidden`: its state folder; `work_folder`: for its files."""

    def __init__(self, account: Account | None, *, hidden: Path, work_folder: Path) -> None:
        self._account, self._hidden, self._work_folder = account, hidden, work_folder
        self._ahead: ConfinedProcess | None = None

    def expect_task(self) -> None:
        """Start a process for the next task now; `close` ends it when there is none."""
        if self._ahead is None:
            self._ahead = self._start()

    def close(self) -> None:
        """End the process that waits for a task, if any."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def try_out(self) -> Ready:
        """Start a process and end it: what it says of itself. Raises ProcessError, StateError."""
        with self._start() as process:
            return process.ready()

    def inspect(self, portrait: bytes, audio: bytes) -> MediaFacts:
        """As `policy.media_facts.inspect_media`; whatever goes wrong makes both files unreadable, which refuses."""
        too_large = len(portrait) > MAX_PORTRAIT_BYTES, len(audio) > MAX_AUDIO_BYTES
        try:
            picture, sound = self._looked_at(b"" if too_large[0] else portrait, b"" if too_large[1] else audio)
        except ProcessError as error:
            picture = sound = Unreadable(fact=f"it could not be looked at: {error}"[:600])
        if too_large[0]:
            picture = Unreadable(fact=f"it has {len(portrait)} bytes, at most {MAX_PORTRAIT_BYTES} are taken")
        if too_large[1]:
            sound = Unreadable(fact=f"it has {len(audio)} bytes, at most {MAX_AUDIO_BYTES} are taken")
        if read_live(audio) is not None:
            sound = Unreadable(fact="it is still to come; a gate with a worker process takes whole files")
        unreadable, embeddings = {}, tuple[FaceEmbedding, ...]()
        portrait_facts, audio_facts = None, None
        if isinstance(picture, Unreadable):
            unreadable["portrait"] = unreadable_portrait(picture.fact)
        else:
            portrait_facts, embeddings = _portrait_facts(picture), tuple(map(tuple, picture.embeddings))
        if isinstance(sound, Unreadable):
            unreadable["audio"] = unreadable_audio(sound.fact)
        else:
            audio_facts = _audio_facts(sound)
        return MediaFacts(sha256_hex(portrait), sha256_hex(audio), portrait_facts, audio_facts, unreadable, embeddings)

    def _looked_at(self, portrait: bytes, audio: bytes) -> tuple[SeenPortrait | Unreadable, SeenAudio | Unreadable]:
        with self._next() as process, handed_in(portrait, audio) as files:
            process.ready()
            process.tell(Inspect(), files)
            picture = process.receive(SeenPortrait, Unreadable)
            assert isinstance(picture, SeenPortrait | Unreadable)
            if isinstance(picture, SeenPortrait):
                faces = {len(picture.face_heights_px), len(picture.face_places), len(picture.embeddings)}
                if len(faces) != 1:
                    raise ProcessError("the reader: it named a different number of faces, heights and places")
            sound = process.receive(SeenAudio, Unreadable)
            assert isinstance(sound, SeenAudio | Unreadable)
            return picture, sound

    def read_back(self, clip: BinaryIO, key: MarkKey, *, look: Callable[[], None]) -> ReadBack:
        """Marks, fingerprint and measures of a clip that came back; raises ProcessError.

        A clip that shows its mark in less than nine tenths of its picture reads as one without a mark.
        """
        with ExitStack() as open_now:
            process = open_now.enter_context(self._next())
            process.ready(waiting=look)
            filled = open_now.enter_context(tempfile.TemporaryFile("w+b", dir=self._work_folder))
            own = open_now.enter_context(tempfile.TemporaryFile("w+b", dir=self._work_folder))
            twice = [open_now.enter_context(read_only(clip)).fileno() for _ in range(2)]
            process.tell(ReadClip(mark_key=b64url(key.to_bytes())), [*twice, filled.fileno()])
            read = process.follow(ReadMarks, most_s=MOST_READ_S, waiting=look)
            take_over(filled, own, most_bytes=MOST_FINGERPRINT_BYTES)
            fingerprint = own.read()
        try:
            frame_aspect(fingerprint)
        except ProvenanceError as error:
            raise ProcessError(f"the reader: {error}") from error
        if read.marked_s < LEAST_MARKED_SHARE * read.duration_s:
            read = read.model_copy(update={"video": read.video.model_copy(update={"manifest_id": None})})
        fps = Fraction(read.fps_numerator, read.fps_denominator)
        measures = ClipMeasures(read.width_px, read.height_px, fps, read.duration_s, read.tracks)
        return ReadBack(_detection("video", read.video), _detection("audio", read.audio), fingerprint, measures)

    def draw(
        self, numbers: bytes, audio: bytes, wishes: bytes, kind: Literal["png", "svg"], *, look: Callable[[], None]
    ) -> bytes:
        """A plot of a motion that a worker told, drawn by who has never seen a face; raises ProcessError."""
        with ExitStack() as open_now:
            process = open_now.enter_context(self._next())
            process.ready(waiting=look)
            files = open_now.enter_context(handed_in(numbers, audio, wishes))
            filled = open_now.enter_context(tempfile.TemporaryFile("w+b", dir=self._work_folder))
            own = open_now.enter_context(tempfile.TemporaryFile("w+b", dir=self._work_folder))
            process.tell(DrawPlot(picture=kind), [*files, filled.fileno()])
            process.receive(Drawn, waiting=look)
            take_over(filled, own, most_bytes=MOST_PLOT_BYTES)
            return own.read()

    def _next(self) -> ConfinedProcess:
        process, self._ahead = self._ahead, None
        return process or self._start()

    def _start(self) -> ConfinedProcess:
        return ConfinedProcess.start(READER, what="the reader", account=self._account, hidden=self._hidden)


def _portrait_facts(seen: SeenPortrait) -> PortraitFacts:
    heights, places = tuple(seen.face_heights_px), tuple(seen.face_places)
    return PortraitFacts(seen.width_px, seen.height_px, seen.pixels_sha256, heights, places)


def _audio_facts(seen: SeenAudio) -> AudioFacts:
    return AudioFacts(seen.duration_s, -math.inf if seen.loudest_dbfs is None else seen.loudest_dbfs)


def _detection(medium: Literal["video", "audio"], found: FoundMark) -> Detection:
    payload = None if found.manifest_id is None else Payload(int(found.manifest_id, 16))
    return Detection(medium, payload, found.key_id, found.log10_false_positive, found.pilot_z, found.seconds_used)
