"""New keys for clips and for the wrapping of content keys: changes that touch more than the ring."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from policy.errors import KeyFileError, PolicyError
from policy.kek import open_kek
from policy.key_ring import KeyRing
from policy.keys import write_secret
from policy.state_folder import vault_of
from provenance import KeySourceError, ProvenanceError, open_signing_key, renew_claim_signing


def rotate_kek(folder: Path, ring: KeyRing, uri: str | None) -> KeyRing:
    """Wrap all content keys under another key-encryption key: at `uri`, else a new one in a file.

    The new place is noted last: cut off before, the folder names a key that no longer fits, and says so; run it again
    with the place that was meant.
    """
    if uri is None:
        name = f"broker-{secrets.token_hex(4)}.kek"
        write_secret(folder / "keys" / name, secrets.token_bytes(32))
        uri = f"file:keys/{name}"
    vault = vault_of(folder)
    before = vault.keys_path.read_bytes()
    vault.rewrap(open_kek(uri, base=folder))
    try:
        return ring.with_place("kek", uri)
    except BaseException:
        write_secret(vault.keys_path, before, overwrite=True)
        raise


def rotate_claim_key(folder: Path, ring: KeyRing, uri: str | None, *, now: datetime) -> KeyRing:
    """A new claim-signing certificate from the embedded authority for the P-256 key at `uri`."""
    if uri is None:
        raise PolicyError("name the key's place with --to; `vasari pki rotate` makes one in a file")
    try:
        key = open_signing_key(uri, base=folder)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyFileError(f"{uri}: signing clips needs a P-256 key, got {type(key).__name__}")
        key.sign(b"vasari: does this key answer?", ec.ECDSA(hashes.SHA256()))
        renew_claim_signing(folder / "pki", now=now, public=key.public_key())
    except KeySourceError as error:
        raise KeyFileError(str(error)) from error
    except ProvenanceError as error:
        raise PolicyError(str(error)) from error
    return ring.with_place("claim", uri)
