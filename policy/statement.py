"""What the depicted person is shown and signs: a statement made of the consent's own claims.

The statement is the canonical JSON of every claim but `iat` and the signature itself, the place in the status list
included: a withdrawn consent can't be issued again at another place. Its SHA-256 is the WebAuthn challenge, so gate and
auditor rebuild it from the token alone. It holds the hash of `notice_text`, the plain words on the person's screen,
which are rebuilt from the claims too: what was signed is what was shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from policy.canonical import canonical_json, sha256_hex
from policy.consent_token import PURPOSES, ConsentClaims, LikenessGeneration
from policy.strict_jws import utc_text

STATEMENT_LABEL = "vasari consent statement v1"
NOTICE_LANGUAGE = "en"
AFTER_THE_ACT = frozenset({"iat"})

VOICES: Mapping[str, str] = {
    "any": "",
    "own-recording": " They hold my own voice.",
    "synthetic": " They hold a synthetic voice, not mine.",
}


def statement_of(claims: Mapping[str, Any]) -> bytes:
    """The signed statement of a consent's members, with or without the signature."""
    kept = {name: value for name, value in claims.items() if name not in AFTER_THE_ACT}
    subject = {name: value for name, value in claims["subject"].items() if name != "assertion"}
    return canonical_json({**kept, "subject": subject, "statement": STATEMENT_LABEL})


def challenge_of(claims: Mapping[str, Any]) -> bytes:
    """The WebAuthn challenge: SHA-256 of the statement (32 bytes)."""
    return hashlib.sha256(statement_of(claims)).digest()


def notice_text(allowed: LikenessGeneration, *, gate: str, grantee: str, begins: int, ends: int, depth: int) -> str:
    """The words that the person is shown, in NOTICE_LANGUAGE. `begins`, `ends`: seconds since 1970."""
    video = allowed.video
    return "\n".join(
        [
            "I am 18 or older and I allow clips to be made by computer in which my face seems to speak.",
            "",
            "For these purposes and no other:",
            *(f"- {PURPOSES[purpose]}" for purpose in allowed.purposes),
            "",
            f"From one picture of me only (file {allowed.portrait.sha256}, pixels {allowed.portrait.pixels_sha256}, "
            f"face {allowed.portrait.commitment.sha256 if allowed.portrait.commitment else 'unknown'}).",
            "I am the only person in it."
            if allowed.portrait.face is None
            else f"I am number {allowed.portrait.face} from the left in it; nobody else in it may be shown speaking.",
            _sound(allowed),
            _script(allowed),
            f"At most {allowed.uses} clips of at most {video.max_seconds} seconds each, "
            f"{allowed.total_seconds} seconds together,",
            f"at most {video.max_width} x {video.max_height} pixels and {video.max_fps} frames per second.",
            f"Only the holder of the key {grantee} may ask for them,",
            f"only at {gate}, with the generator {allowed.model}.",
            "They may not hand this on."
            if depth == 0
            else f"They may hand on all or less of this, through at most {depth} further hands.",
            f"From {utc_text(begins)} to {utc_text(ends)}; it is not renewed by itself.",
            "",
            "Every clip carries an invisible mark and signed credentials that say it was made by computer.",
            "I can see every use, and withdraw at any time without giving a reason: what runs stops, nothing new",
            "starts. Clips that were handed out before can't be called back.",
            "",
        ]
    )


def notice_of(claims: ConsentClaims) -> str:
    """`notice_text` of a consent."""
    return notice_text(
        claims.allows,
        gate=claims.aud,
        grantee=claims.cnf.jkt,
        begins=claims.nbf,
        ends=claims.exp,
        depth=claims.delegation.max_depth,
    )


def notice_digest(text: str) -> str:
    """`sha256:...` of a notice."""
    return f"sha256:{sha256_hex(text.encode())}"


def _sound(allowed: LikenessGeneration) -> str:
    if allowed.audio.mode == "any":
        return "With any recording of a voice."
    hashes = ", ".join(allowed.audio.sha256)
    return f"With {len(allowed.audio.sha256)} recordings only ({hashes}).{VOICES[allowed.audio.voice]}"


def _script(allowed: LikenessGeneration) -> str:
    languages = f" In: {', '.join(allowed.script.languages)}." if allowed.script.languages else " In any language."
    if allowed.script.mode == "any":
        return f"With any words.{languages}"
    return f"With {len(allowed.script.sha256)} texts only ({', '.join(allowed.script.sha256)}).{languages}"
