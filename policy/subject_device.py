"""The depicted person's device: makes WebAuthn assertions. A passkey in a browser, or this one in software.

`SoftwareAuthenticator` keeps a P-256 key and a counter in one private file. It is for tests, for the demo and for
people without a browser at hand; whoever can read its file can sign, so it proves less than hardware.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policy.canonical import b64url, b64url_decode, canonical_json, strict_json_object
from policy.errors import KeyFileError
from policy.keys import read_secret, write_secret
from policy.webauthn import (
    USER_PRESENT,
    USER_VERIFIED,
    Assertion,
    RelyingParty,
    authenticator_data,
    encode_subject_key,
)

FILE_KIND = "vasari software authenticator v1"


@dataclass(frozen=True)
class Credential:
    """What a registry enrols: the credential's id and the public key (SubjectPublicKeyInfo), both base64url."""

    credential_id: str
    public_key: str


class SubjectDevice(Protocol):
    """Whatever signs for the depicted person."""

    @property
    def credential(self) -> Credential:
        """What to enrol."""
        ...

    def sign(self, challenge: bytes, party: RelyingParty) -> Assertion:
        """`navigator.credentials.get()` with user verification."""
        ...


class SoftwareAuthenticator:
    """An authenticator in one file of mode 0600, or in memory only when `path` is None."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, credential_id: str, sign_count: int, path: Path | None) -> None:
        self._key = key
        self._credential_id = credential_id
        self._sign_count = sign_count
        self._path = path

    @classmethod
    def create(cls, path: Path | None = None) -> SoftwareAuthenticator:
        """A new key; raises KeyFileError when the file is there already."""
        made = cls(ec.generate_private_key(ec.SECP256R1()), b64url(secrets.token_bytes(16)), 0, path)
        if path is not None:
            write_secret(path, made._content())
        return made

    @classmethod
    def open(cls, path: Path) -> SoftwareAuthenticator:
        """Read the file; raises KeyFileError."""
        try:
            members = strict_json_object(read_secret(path))
            if set(members) != {"kind", "key", "credential_id", "sign_count"} or members["kind"] != FILE_KIND:
                raise ValueError("unknown members")
            key = serialization.load_der_private_key(b64url_decode(members["key"]), password=None)
            credential_id, count = str(members["credential_id"]), int(members["sign_count"])
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{path}: expected a software authenticator's file") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyFileError(f"{path}: expected a P-256 key")
        return cls(key, credential_id, count, path)

    @property
    def credential(self) -> Credential:
        """What to enrol."""
        return Credential(self._credential_id, encode_subject_key(self._key.public_key()))

    def sign(self, challenge: bytes, party: RelyingParty) -> Assertion:
        """Sign as a present and verified user; the counter is on the disk before the signature leaves."""
        self._sign_count += 1
        if self._path is not None:
            write_secret(self._path, self._content(), overwrite=True)
        client = {
            "type": "webauthn.get", "challenge": b64url(challenge), "origin": party.origins[0], "crossOrigin": False,
        }  # fmt: skip
        return assertion_of(
            self._key,
            credential_id=self._credential_id,
            client=client,
            data=authenticator_data(rp_id=party.id, flags=USER_PRESENT | USER_VERIFIED, sign_count=self._sign_count),
        )

    def _content(self) -> bytes:
        der = self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return canonical_json(
            {"kind": FILE_KIND, "key": b64url(der), "credential_id": self._credential_id,
             "sign_count": self._sign_count}
        )  # fmt: skip


def assertion_of(
    key: ec.EllipticCurvePrivateKey, *, credential_id: str, client: Mapping[str, object], data: bytes
) -> Assertion:
    """Sign authenticator data and client data as an ES256 authenticator does (section 6.3.3)."""
    client_bytes = json.dumps(client, separators=(",", ":")).encode()
    signature = key.sign(data + hashlib.sha256(client_bytes).digest(), ec.ECDSA(hashes.SHA256()))
    return Assertion(
        credential_id=credential_id,
        authenticator_data=b64url(data),
        client_data=b64url(client_bytes),
        signature=b64url(signature),
    )
