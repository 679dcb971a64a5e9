"""A gate whose media work is done by confined processes (`vasari worker split`): `worker.json` of the state folder.

One process makes a job's clip, with the opened weights and the mark key. Another kind, a reader, decodes: the upload
before the decision, and the clip that came back. The gate's own process, which holds the keys that sign, the ledger
and the log, opens no picture, sound or video of others.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import StringConstraints

from policy.canonical import b64url, canonical_json, sha256_hex, strict_json_object
from policy.claims import Strict, parse_claims
from policy.confined_process import Account, ConfinedProcess
from policy.errors import ProcessError, StateError, TokenError
from policy.face_commitment import FaceEmbedding
from policy.handed_files import handed_in, read_only, take_over
from policy.keys import read_secret, write_secret
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
from policy.process_messages import FoundMark, Inspect, ReadClip, ReadMarks, Ready, SeenAudio, SeenPortrait, Unreadable
from policy.remote_performer import ENTRY, RemotePerformer
from provenance import ProvenanceError, frame_aspect
from watermark import Detection, MarkKey, Payload

WORKER_FILE = "worker.json"
READER = "policy.clip_reader:read"
MOST_READ_S = 7200.0
MOST_FINGERPRINT_BYTES = 16 << 20
LEAST_MARKED_SHARE = 0.9


class WorkerSettings(Strict):
    """`worker.json`: under which user, or (null) under the gate's own, with Landlock alone between them."""

    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] | None


@dataclass(frozen=True)
class SplitWorker:
    """Starts and asks the confined processes of one gate. `hidden`: its state folder; `work_folder`: for its files."""

    account: Account | None
    hidden: Path
    work_folder: Path
    entry: str = ENTRY

    def performer(self, weights: Path) -> RemotePerformer:
        """A worker process for one job, starting."""
        return RemotePerformer(
            weights, account=self.account, hidden=self.hidden, work_folder=self.work_folder, entry=self.entry
        )

    def try_out(self) -> Ready:
        """Start a process and end it: what it says of itself. Raises ProcessError, StateError."""
        with self._reader() as process:
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
        with self._reader() as process, handed_in(portrait, audio) as files:
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
            process = open_now.enter_context(self._reader())
            process.ready(waiting=look)
            filled = open_now.enter_context(tempfile.TemporaryFile("w+b", dir=self.work_folder))
            own = open_now.enter_context(tempfile.TemporaryFile("w+b", dir=self.work_folder))
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

    def _reader(self) -> ConfinedProcess:
        return ConfinedProcess.start(READER, what="the reader", account=self.account, hidden=self.hidden)


def read_worker_settings(folder: Path) -> SplitWorker | None:
    """How a state folder's gate has its media work done; None: in its own process. Raises StateError."""
    path = folder / WORKER_FILE
    if not path.exists():
        return None
    try:
        user = parse_claims(WorkerSettings, strict_json_object(read_secret(path))).user
    except (ValueError, TokenError) as error:
        raise StateError(f"{path}: not as `vasari worker split` writes it: {error}") from error
    return SplitWorker(None if user is None else Account.named(user), folder, folder / "work")


def split_worker(folder: Path, user: str | None) -> Ready:
    """Have media work done by confined processes from now on, once one was started; what it said of itself.

    Raises StateError and ProcessError, and then nothing is changed.
    """
    account = None if user is None else Account.named(user)
    if account is not None:
        account.require_code()
    ready = SplitWorker(account, folder, folder / "work").try_out()
    settings = WorkerSettings(user=user)
    write_secret(folder / WORKER_FILE, canonical_json(settings.model_dump()), overwrite=True)
    return ready


def end_split(folder: Path) -> None:
    """Have media work done in the gate's own process again; raises StateError where it is."""
    try:
        (folder / WORKER_FILE).unlink()
    except FileNotFoundError:
        raise StateError(f"{folder}: its gate has no worker process") from None


def _portrait_facts(seen: SeenPortrait) -> PortraitFacts:
    heights, places = tuple(seen.face_heights_px), tuple(seen.face_places)
    return PortraitFacts(seen.width_px, seen.height_px, seen.pixels_sha256, heights, places)


def _audio_facts(seen: SeenAudio) -> AudioFacts:
    return AudioFacts(seen.duration_s, -math.inf if seen.loudest_dbfs is None else seen.loudest_dbfs)


def _detection(medium: Literal["video", "audio"], found: FoundMark) -> Detection:
    payload = None if found.manifest_id is None else Payload(int(found.manifest_id, 16))
    return Detection(medium, payload, found.key_id, found.log10_false_positive, found.pilot_z, found.seconds_used)
