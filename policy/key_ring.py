"""Where the keys of the roles lie, and which keys of before are still trusted: `keys/ring.json`.

Without that file each key lies in its own file under `keys/`. A role's key can be moved (the same key elsewhere),
rotated (a new key from now on) and, once it is no longer the active one, revoked (nothing that it signed is taken
any more). A role that lives on another machine has `public:KEY` in place of its key.

What a rotation leaves trusted: tokens that registry and accreditation authority signed before live on until
they expire or their key is revoked; grants of the gate's old key don't. The log's key stays: it is the log's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from policy.canonical import b64url, b64url_decode, canonical_json, strict_json_object
from policy.claims import Seconds, Strict, Thumbprint, parse_claims
from policy.errors import KeyFileError, PolicyError, TokenError
from policy.kek import KeyEncryptionKey, open_kek
from policy.keys import read_secret, thumbprint, write_private_key, write_secret
from provenance import KeySourceError, encrypted_pem, open_signing_key

Role = Literal["registry", "accreditation", "gate", "log", "claim", "kek"]
SIGNING_ROLES: tuple[Role, ...] = ("registry", "accreditation", "gate", "log")
KEPT_AFTER_ROTATION: tuple[Role, ...] = ("registry", "accreditation")
DEFAULTS: Mapping[Role, str] = {
    **{role: f"file:keys/{role}.pem" for role in SIGNING_ROLES},
    "claim": "file:pki/claim_signing.key",
    "kek": "file:keys/broker.kek",
}
RING_FILE = "ring.json"
PUBLIC_SCHEME = "public:"
"""In place of a private key that lies on another machine: its public half, in base64url."""


class RetiredKey(Strict):
    """A key of before: `x` is the raw public key, `revoked_at` None while what it signed is still taken."""

    x: Thumbprint
    retired_at: Seconds
    revoked_at: Seconds | None = None

    @property
    def public(self) -> Ed25519PublicKey:
        """The public key."""
        return Ed25519PublicKey.from_public_bytes(b64url_decode(self.x))


class RingFile(Strict):
    """The whole file."""

    schema_version: Literal[1] = 1
    uris: dict[Role, str] = Field(default_factory=dict)
    retired: dict[Role, list[RetiredKey]] = Field(default_factory=dict)


@dataclass(frozen=True)
class KeyRing:
    """The keys of one state folder. A change is a new KeyRing, written before it is returned."""

    folder: Path
    file: RingFile

    @classmethod
    def read(cls, folder: Path) -> KeyRing:
        """The ring of a state folder; raises KeyFileError for a damaged or open file."""
        path = folder / "keys" / RING_FILE
        if not path.exists():
            return cls(folder, RingFile())
        try:
            return cls(folder, parse_claims(RingFile, strict_json_object(read_secret(path))))
        except (ValueError, TokenError) as error:
            raise KeyFileError(f"{path}: not as expected: {error}") from error

    def uri(self, role: Role) -> str:
        """Where the key of a role lies; holds no secret."""
        return self.file.uris.get(role, DEFAULTS[role])

    def holds(self, role: Role) -> bool:
        """False for a role whose private key lies on another machine."""
        return not self.uri(role).startswith(PUBLIC_SCHEME)

    def public_key(self, role: Role) -> Ed25519PublicKey:
        """The public half of a role's active key, wherever the private one lies; raises KeyFileError."""
        if self.holds(role):
            return self.signing_key(role).public_key()
        try:
            return Ed25519PublicKey.from_public_bytes(b64url_decode(self.uri(role).removeprefix(PUBLIC_SCHEME)))
        except ValueError as error:
            raise KeyFileError(f"{self.folder}/keys/{RING_FILE}: the {role}'s public key is damaged") from error

    def signing_key(self, role: Role) -> Ed25519PrivateKey:
        """The active key of a role that signs tokens or checkpoints; raises KeyFileError."""
        if not self.holds(role):
            raise KeyFileError(f"the {role}'s private key lies on another machine; run this there")
        key = self._open(self.uri(role))
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{self.uri(role)}: the {role} needs an Ed25519 key, got {type(key).__name__}")
        return key

    def claim_key(self) -> ec.EllipticCurvePrivateKey | None:
        """The key that signs clips where it lies outside the PKI folder, else None; raises KeyFileError."""
        if "claim" not in self.file.uris:
            return None
        return self._p256(self.uri("claim"))

    def kek(self) -> KeyEncryptionKey:
        """The key-encryption key of the broker."""
        return open_kek(self.uri("kek"), base=self.folder)

    def trusted(self, role: Role, active: Ed25519PublicKey) -> Mapping[str, Ed25519PublicKey]:
        """The active key and those of before that are not revoked, by `kid`."""
        kept = [old.public for old in self.file.retired.get(role, ()) if old.revoked_at is None]
        return {thumbprint(key): key for key in (active, *kept)}

    def moved(self, role: Role, uri: str) -> KeyRing:
        """The same key at another place; raises KeyFileError when there is another key."""
        if role == "kek":
            raise PolicyError("a key-encryption key is rotated, not moved: `vasari key rotate kek --to URI`")
        there = self._p256(uri) if role == "claim" else self._open(uri)
        here = self._p256(self.uri(role)) if role == "claim" else self.signing_key(role)
        if there.public_key() != here.public_key():
            raise KeyFileError(f"{uri}: holds another key than {self.uri(role)}; `vasari key rotate` takes a new one")
        return self._with_uri(role, uri)

    def protected(self, role: Role, passphrase: bytes, *, passphrase_file: Path | None) -> KeyRing:
        """Encrypt the key file of a role in place; asks for the passphrase from then on unless a file is named."""
        key = self._p256(self.uri(role)) if role == "claim" else self.signing_key(role)
        place = self.uri(role).partition("?")[0]
        if not place.startswith("file:"):
            raise PolicyError(f"{place}: only a key in a file can be encrypted here")
        try:
            write_secret(self.folder / place.removeprefix("file:"), encrypted_pem(key, passphrase), overwrite=True)
        except KeySourceError as error:
            raise KeyFileError(str(error)) from error
        return self._with_uri(
            role, place + (f"?passphrase-file={passphrase_file.resolve()}" if passphrase_file else "")
        )

    def rotated(self, role: Role, uri: str | None, now: datetime) -> KeyRing:
        """A new key for a role, made here in a file unless `uri` names one; the old one is retired."""
        if role not in ("registry", "accreditation", "gate"):
            raise PolicyError(f"the key of {role} is not rotated here: a log keeps its key, see docs/OPERATORS.md")
        old = self.signing_key(role).public_key()
        if uri is None:
            number = len(self.file.retired.get(role, ())) + 2
            uri = f"file:keys/{role}-{number}.pem"
            write_private_key(self.folder / f"keys/{role}-{number}.pem", Ed25519PrivateKey.generate())
        new = self._open(uri)
        if not isinstance(new, Ed25519PrivateKey) or new.public_key() == old:
            raise KeyFileError(f"{uri}: expected an Ed25519 key other than the active one")
        clock = int(now.timestamp())
        gone = None if role in KEPT_AFTER_ROTATION else clock
        retired = RetiredKey(x=b64url(old.public_bytes_raw()), retired_at=clock, revoked_at=gone)
        before = self.file.retired.get(role, [])
        return self._written(
            uris={**self.file.uris, role: uri}, retired={**self.file.retired, role: [*before, retired]}
        )

    def revoked(self, role: Role, kid: str, now: datetime) -> KeyRing:
        """Take nothing any more that a retired key signed; raises PolicyError for the active or an unknown one."""
        if thumbprint(self.public_key(role)) == kid:
            raise PolicyError(f"{kid} is the active key; run `vasari key rotate {role}` first, then revoke the old one")
        retired = self.file.retired.get(role, [])
        if kid not in {thumbprint(old.public) for old in retired}:
            raise PolicyError(f"{role} had no key {kid!r:.80}; `vasari key show` lists them")
        clock = int(now.timestamp())
        ended = [
            old.model_copy(update={"revoked_at": old.revoked_at or clock}) if thumbprint(old.public) == kid else old
            for old in retired
        ]
        return self._written(retired={**self.file.retired, role: ended})

    def believed(self, role: Role, key: Ed25519PublicKey, now: datetime) -> KeyRing:
        """Another public key for a role on another machine, which was rotated there; what the old one signed lives on.

        Raises PolicyError for a role that is here, or a key that is active already.
        """
        if role not in KEPT_AFTER_ROTATION or self.holds(role):
            raise PolicyError(f"the key of {role} lies here; `vasari key rotate {role}` makes a new one")
        old = self.public_key(role)
        if key == old:
            raise PolicyError(f"{thumbprint(key)} is the {role}'s key already")
        retired = RetiredKey(x=b64url(old.public_bytes_raw()), retired_at=int(now.timestamp()))
        before = self.file.retired.get(role, [])
        return self._written(
            uris={**self.file.uris, role: public_uri(key)}, retired={**self.file.retired, role: [*before, retired]}
        )

    def with_place(self, role: Role, uri: str) -> KeyRing:
        """Note where a key lies, once it is known to be the right one."""
        return self._with_uri(role, uri)

    def _with_uri(self, role: Role, uri: str) -> KeyRing:
        return self._written(uris={**self.file.uris, role: uri})

    def _written(self, **changes: object) -> KeyRing:
        file = self.file.model_copy(update=changes)
        data = canonical_json(file.model_dump(mode="json"))
        write_secret(self.folder / "keys" / RING_FILE, data, overwrite=True)
        return KeyRing(self.folder, file)

    def _open(self, uri: str) -> Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
        try:
            return open_signing_key(uri, base=self.folder)
        except KeySourceError as error:
            raise KeyFileError(str(error)) from error

    def _p256(self, uri: str) -> ec.EllipticCurvePrivateKey:
        key = self._open(uri)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyFileError(f"{uri}: signing clips needs a P-256 key, got {type(key).__name__}")
        return key


def public_uri(key: Ed25519PublicKey) -> str:
    """`public:` and the key, for the ring of who must not have the private one."""
    return PUBLIC_SCHEME + b64url(key.public_bytes_raw())
