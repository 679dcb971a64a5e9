"""What the gate needs to know about a portrait and a recording before it lets anything be made of them."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from media import MediaError, number_faces, probe, read_audio, read_portrait
from policy.canonical import sha256_hex
from policy.consent_token import FaceCommitment
from policy.decision import Denial
from policy.face_commitment import FaceEmbedding, face_embedding, opens
from policy.live_recording import read_live

MAX_PORTRAIT_BYTES = 32 << 20
MAX_AUDIO_BYTES = 256 << 20
MIN_PORTRAIT_PX = 128
MAX_PORTRAIT_PX = 8192
MIN_FACE_PX = 64
MIN_AUDIO_S = 2.0
MAX_AUDIO_S = 3600.0
SILENCE_DBFS = -50.0
ANALYSIS_RATE = 16_000
LOUDNESS_WINDOW_S = 0.1


@dataclass(frozen=True)
class PortraitFacts:
    """`pixels_sha256` hashes the decoded RGB picture; `face_heights_px`: forehead to chin, from left to right;
    `face_places`: where each is, in words. `opens`: whether each opens the consent's commitment, once that is known."""

    width_px: int
    height_px: int
    pixels_sha256: str
    face_heights_px: tuple[float, ...]
    face_places: tuple[str, ...] = ()
    opens: tuple[bool, ...] = ()

    @property
    def faces(self) -> int:
        """How many were found."""
        return len(self.face_heights_px)


@dataclass(frozen=True)
class AudioFacts:
    """`loudest_dbfs` is the level of the loudest tenth of a second; -inf for digital silence.

    `live`: the sound is still to come; `duration_s` is then the most that was asked for, and no level is known.
    """

    duration_s: float
    loudest_dbfs: float
    live: bool = False


@dataclass(frozen=True)
class MediaFacts:
    """Facts of both files; what could not be found out is None, with its reason in `unreadable`.

    `portrait_sha256`, `audio_sha256`: of the files as they are, readable or not. `embeddings`, one for each face, are
    compared with the consent's commitment and go no further: no record keeps them.
    """

    portrait_sha256: str
    audio_sha256: str
    portrait: PortraitFacts | None
    audio: AudioFacts | None
    unreadable: Mapping[str, Denial] = field(default_factory=dict)
    embeddings: tuple[FaceEmbedding, ...] = field(default=(), repr=False)

    def portrait_under(self, commitment: FaceCommitment | None) -> PortraitFacts | None:
        """The portrait's facts, with which of its faces open the commitment."""
        if self.portrait is None:
            return None
        opened = tuple(commitment is not None and opens(commitment, one) for one in self.embeddings)
        return replace(self.portrait, opens=opened)


def inspect_media(portrait: bytes, audio: bytes) -> MediaFacts:
    """Hash and look at both files; too large and unreadable ones become denials, never exceptions."""
    unreadable: dict[str, Denial] = {}
    portrait_facts: PortraitFacts | None = None
    embeddings: tuple[FaceEmbedding, ...] = ()
    audio_facts: AudioFacts | None = None
    try:
        _require_size("portrait", portrait, MAX_PORTRAIT_BYTES)
        portrait_facts, embeddings = inspect_portrait(portrait)
    except MediaError as error:
        unreadable["portrait"] = unreadable_portrait(in_request("portrait", error))
    try:
        _require_size("recording", audio, MAX_AUDIO_BYTES)
        audio_facts = inspect_audio(audio)
    except MediaError as error:
        unreadable["audio"] = unreadable_audio(in_request("recording", error))
    return MediaFacts(sha256_hex(portrait), sha256_hex(audio), portrait_facts, audio_facts, unreadable, embeddings)


def unreadable_portrait(fact: str) -> Denial:
    """The refusal of a portrait that can't be used."""
    return Denial("portrait.unreadable", fact, "Give a PNG, JPEG or WebP picture of one face, 512 pixels or more.")


def unreadable_audio(fact: str) -> Denial:
    """The refusal of a recording that can't be used."""
    return Denial("audio.unreadable", fact, "Give a sound file with speech (WAV, FLAC, MP3, AAC, Opus).")


def in_request(name: str, error: MediaError) -> str:
    """The error in words; the gate gets bytes, so that `media` knows no name of its own for them."""
    return f"The {name}: expected {error.expected}, but {error.came}. {error.remedy}"


def _require_size(name: str, data: bytes, most: int) -> None:
    if len(data) > most:
        raise MediaError(
            name, expected=f"at most {most >> 20} MiB", came=f"{len(data)} bytes", remedy="give a smaller file"
        )


def inspect_portrait(portrait: bytes) -> tuple[PortraitFacts, tuple[FaceEmbedding, ...]]:
    """Decode, find faces, embed each; raises MediaError when it is no picture."""
    image = read_portrait(portrait, min_px=1, max_px=MAX_PORTRAIT_PX)
    height, width = int(image.shape[1]), int(image.shape[2])
    faces = number_faces(image) if min(height, width) >= MIN_PORTRAIT_PX else []
    heights, places = tuple(face.height_px for face in faces), tuple(face.place for face in faces)
    facts = PortraitFacts(width, height, pixels_digest(image), heights, places)
    return facts, tuple(face_embedding(image, face) for face in faces)


def pixels_digest(image: Tensor) -> str:
    """SHA-256 (hex) of the canonical picture: size, then RGB rows. `image`: uint8 [3, H, W]."""
    height, width = int(image.shape[1]), int(image.shape[2])
    digest = hashlib.sha256(f"rgb8 {width} {height}\n".encode())
    digest.update(image.permute(1, 2, 0).contiguous().numpy().tobytes())
    return digest.hexdigest()


def inspect_audio(audio: bytes) -> AudioFacts:
    """Read through once, in bounded memory, at most a second past MAX_AUDIO_S; raises MediaError.

    A file that states a length beyond MAX_AUDIO_S is not decoded: `duration_s` is then what it states.
    """
    if (live := read_live(audio)) is not None:
        return AudioFacts(live.max_s, 0.0, live=True)
    stated_s = probe(audio).duration_s
    if math.isfinite(stated_s) and stated_s > MAX_AUDIO_S + 1:
        return AudioFacts(stated_s, 0.0)
    samples, loudest = 0, 0.0
    window = int(LOUDNESS_WINDOW_S * ANALYSIS_RATE)
    for block in read_audio(io.BytesIO(audio), sample_rate=ANALYSIS_RATE, block_s=1.0):
        samples += block.numel()
        for part in torch.split(block, window):  # type: ignore[no-untyped-call]
            loudest = max(loudest, float(part.square().mean()))
        if samples > (MAX_AUDIO_S + 1) * ANALYSIS_RATE:
            break
    level = 10 * math.log10(loudest) if loudest > 0 else -math.inf
    return AudioFacts(samples / ANALYSIS_RATE, level)
