"""One byte string for one value: canonical JSON, base64url, digests. Strict in what it reads."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; NaN and infinities raise ValueError."""
    return utf8(_CANONICAL.encode(value))


def utf8(text: str) -> bytes:
    """Bytes of any Python string; lone surrogates, which strangers can send in JSON, don't raise."""
    return text.encode("utf-8", "surrogatepass")


def strict_json_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object; duplicate keys, NaN, infinities and non-objects raise ValueError."""
    try:
        value = _STRICT.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"JSON member given twice: {', '.join(twice)}")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits:.40} is beyond every JSON number that is read here")
    return number


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_STRICT = json.JSONDecoder(object_pairs_hook=_unique_members, parse_constant=_no_constant, parse_float=_finite)


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """The one canonical form only: padding, other alphabets and non-zero spare bits raise ValueError."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url without padding")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64url without padding") from error
    if b64url(data) != text:
        raise ValueError("base64url is not in its canonical form")
    return data


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Mapping[str, object]) -> str:
    """base64url SHA-256 of the canonical JSON of `value`."""
    return b64url(hashlib.sha256(canonical_json(value)).digest())


def commitment(salt: bytes, value: bytes) -> str:
    """Salted commitment for the public log; without the salt (32 bytes) it says nothing about `value`."""
    return hashlib.sha256(b"vasari commitment\x00" + salt + value).hexdigest()
