"""Token files: one line of text. What is read here is not verified; the gate and the registry judge it."""

import base64
import json
from pathlib import Path
from typing import Any

from vasari.cli.session import CommandError, Exit

MAX_BYTES = 64 * 1024


def read_token(path: Path) -> str:
    """The token without surrounding white space; whatever else the file holds is read as signs no token has."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES).decode("ascii", errors="replace").strip()


def claims_of(token: str, path: Path) -> dict[str, Any]:
    """What the token says, unverified: good for finding it, for nothing else."""
    claims = unverified_claims(token)
    if claims is None:
        raise CommandError(f"{path}: not a token (three base64url parts with dots)", Exit.VERIFICATION_FAILED)
    return claims


def unverified_claims(token: str) -> dict[str, Any] | None:
    """The claims, or None where there are none to read."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def only_purpose(token: str) -> str:
    """The consent's purpose when it names exactly one, else nothing: then the gate says what is missing."""
    claims = unverified_claims(token) or {}
    details = claims.get("authorization_details")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    purposes = first.get("purposes")
    return str(purposes[0]) if isinstance(purposes, list) and len(purposes) == 1 else ""
