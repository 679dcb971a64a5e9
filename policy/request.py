"""What a researcher asks for: one portrait, one recording, controls, tokens, and a proof made for exactly this."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy.canonical import b64url, digest_of, sha256_hex, utf8
from policy.control_curves import EmotionKeys, Keys, emotion_faults, keys_faults, number_faults
from policy.proof_of_possession import sign_proof

OUTPUT_SIZE_PX = 512
OUTPUT_FPS = 25
LONGEST_SIDE_PX = 1280
MAX_FACES = 16
FRAMES = ("square", "portrait")
SHOULDERS = ("still", "follow")
EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised", "afraid", "disgusted")

CONTROL_RANGES: dict[str, tuple[float, float]] = {
    "gaze_yaw_deg": (-30.0, 30.0),
    "gaze_pitch_deg": (-20.0, 20.0),
    "distance": (0.8, 1.25),
    "emotion_strength": (0.0, 1.0),
    "head_motion": (0.0, 2.0),
    "blink_rate_per_min": (0.0, 60.0),
    "expression_strength": (0.0, 1.5),
}


@dataclass(frozen=True)
class Controls:
    """How the clip should look. Angles in degrees; distance 1 = as in the portrait; ranges in CONTROL_RANGES.

    Each is a constant, or a curve over time as `Keys` or `EmotionKeys`; `emotion_strength` scales the latter.
    """

    gaze_yaw_deg: float | Keys = 0.0
    gaze_pitch_deg: float | Keys = 0.0
    distance: float | Keys = 1.0
    emotion: str | EmotionKeys = "neutral"
    emotion_strength: float | Keys = 1.0
    head_motion: float | Keys = 1.0
    blink_rate_per_min: float | Keys = 17.0
    expression_strength: float | Keys = 1.0

    @classmethod
    def of_members(cls, members: Mapping[str, Any]) -> Controls:
        """From JSON members, whose curves are lists."""
        return cls(
            **{
                name: tuple(tuple(key) for key in value) if isinstance(value, list) else value
                for name, value in members.items()
            }
        )

    def faults(self) -> tuple[str, ...]:
        """Every control that is out of its range, in words; empty when all are fine."""
        wrong: list[str] = []
        for name, limits in CONTROL_RANGES.items():
            value = getattr(self, name)
            wrong += (
                keys_faults(name, value, limits) if isinstance(value, tuple) else number_faults(name, value, limits)
            )
        return (*wrong, *emotion_faults(self.emotion, EMOTIONS))

    def as_members(self) -> dict[str, Any]:
        """The controls as JSON members; equal controls give equal bytes (1 and 1.0 are equal)."""
        return {part.name: _member(getattr(self, part.name)) for part in fields(self)}


def _member(value: Any) -> Any:
    """Text as it is, numbers as floats, curves as lists of such."""
    if isinstance(value, tuple):
        return [_member(one) for one in value]
    return value if isinstance(value, str) else float(value)


@dataclass(frozen=True)
class Framing:
    """What of the portrait is shown. `face`: its number from the left, None for the only one; `frame`: "square" is
    512x512 around the head, "portrait" the whole picture; `shoulders`: "still", or "follow" the head a little."""

    face: int | None = None
    frame: str = "square"
    shoulders: str = "still"

    def faults(self) -> tuple[str, ...]:
        """Every member that has no such value, in words."""
        wrong = []
        if self.face is not None and not (type(self.face) is int and 1 <= self.face <= MAX_FACES):
            wrong.append(f"face is {self.face!r:.40}, allowed 1 to {MAX_FACES}")
        for name, allowed in (("frame", FRAMES), ("shoulders", SHOULDERS)):
            if (value := getattr(self, name)) not in allowed:
                wrong.append(f"{name} is {value!r:.40}, allowed {', '.join(allowed)}")
        return tuple(wrong)

    def size_px(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the frames made of a portrait of this size, as the generator makes them."""
        if self.frame == "square":
            return OUTPUT_SIZE_PX, OUTPUT_SIZE_PX
        shrink = min(1.0, LONGEST_SIDE_PX / max(width, height))
        return max(2, int(width * shrink) // 2 * 2), max(2, int(height * shrink) // 2 * 2)

    def as_members(self) -> dict[str, Any]:
        """JSON members."""
        return dict(vars(self))


@dataclass(frozen=True)
class GenerationRequest:
    """One request. `portrait` and `audio` are whole files; the tokens are compact JWS.

    `delegations`: the hops from the consent to the researcher, if it was handed on. `script` and `language`
    say what is spoken; they are needed where the consent names texts or languages.
    """

    portrait: bytes = field(repr=False)
    audio: bytes = field(repr=False)
    consent: str = field(repr=False)
    accreditation: str = field(repr=False)
    proof: str = field(repr=False)
    purpose: str
    controls: Controls = field(default_factory=Controls)
    seed: int = 0
    fps: int = OUTPUT_FPS
    framing: Framing = field(default_factory=Framing)
    delegations: tuple[str, ...] = field(default=(), repr=False)
    script: str = field(default="", repr=False)
    language: str = ""


@dataclass(frozen=True)
class RequestFacts:
    """The request as the rules see it: hashes in place of pictures, sound, text and tokens."""

    portrait_sha256: str
    audio_sha256: str
    consent_sha256: str
    accreditation_sha256: str
    purpose: str
    controls: Controls
    seed: int
    fps: int
    framing: Framing = field(default_factory=Framing)
    delegations_sha256: tuple[str, ...] = ()
    script_sha256: str = ""
    language: str = ""

    @classmethod
    def of(cls, request: GenerationRequest) -> RequestFacts:
        """Hash a request."""
        return cls.with_media(request, sha256_hex(request.portrait), sha256_hex(request.audio))

    @classmethod
    def with_media(cls, request: GenerationRequest, portrait_sha256: str, audio_sha256: str) -> RequestFacts:
        """Hash a request whose portrait and recording were hashed already, by whoever looked at them."""
        return cls(
            portrait_sha256=portrait_sha256,
            audio_sha256=audio_sha256,
            consent_sha256=sha256_hex(utf8(request.consent)),
            accreditation_sha256=sha256_hex(utf8(request.accreditation)),
            purpose=request.purpose,
            controls=request.controls,
            seed=request.seed,
            fps=request.fps,
            framing=request.framing,
            delegations_sha256=tuple(sha256_hex(utf8(token)) for token in request.delegations),
            script_sha256=script_digest(request.script) if request.script else "",
            language=request.language,
        )

    @property
    def presented_hash(self) -> str:
        """base64url SHA-256 of the token that the researcher presents: the last hop, else the consent."""
        presented = self.delegations_sha256[-1] if self.delegations_sha256 else self.consent_sha256
        return b64url(bytes.fromhex(presented))

    @cached_property
    def as_members(self) -> Mapping[str, Any]:
        """JSON members, as they are hashed and kept in the decision record; not to be changed."""
        return {
            **{part.name: getattr(self, part.name) for part in fields(self)},
            "controls": self.controls.as_members(),
            "framing": self.framing.as_members(),
        }

    @cached_property
    def digest(self) -> str:
        """base64url SHA-256 of the canonical request: what the researcher's proof signs as `req`."""
        return digest_of(self.as_members)


def script_digest(text: str) -> str:
    """SHA-256 (hex) of a text in NFC with single spaces, so that line breaks don't matter."""
    return hashlib.sha256(utf8(" ".join(unicodedata.normalize("NFC", text).split()))).hexdigest()


def sign_request(
    researcher_key: Ed25519PrivateKey,
    portrait: bytes,
    audio: bytes,
    consent: str,
    accreditation: str,
    *,
    gate_id: str,
    purpose: str,
    now: datetime,
    controls: Controls | None = None,
    seed: int = 0,
    fps: int = OUTPUT_FPS,
    framing: Framing | None = None,
    delegations: Sequence[str] = (),
    script: str = "",
    language: str = "",
) -> GenerationRequest:
    """A request with its proof of possession; the proof is good for one use within a minute.

    Raises ValueError when a control or a choice of framing is none that is known.
    """
    chosen, framing = controls or Controls(), framing or Framing()
    if wrong := chosen.faults() + framing.faults():
        raise ValueError("; ".join(wrong))
    unsigned = GenerationRequest(
        portrait, audio, consent, accreditation, "", purpose, chosen, seed, fps, framing, tuple(delegations), script,
        language,
    )  # fmt: skip
    presented, digest = (consent, *delegations)[-1], RequestFacts.of(unsigned).digest
    proof = sign_proof(researcher_key, consent=presented, request_digest=digest, gate_id=gate_id, now=now)
    return replace(unsigned, proof=proof)
