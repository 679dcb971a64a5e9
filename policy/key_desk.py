"""Changes to the keys of a state folder: moved, encrypted, rotated, revoked, believed; each an entry of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policy.broker_folder import broker_address
from policy.canonical import b64url_decode
from policy.errors import PolicyError, StateError
from policy.event_receipt import EventReceipt
from policy.key_change import rotate_claim_key, rotate_kek
from policy.key_ring import Role
from policy.keys import thumbprint
from policy.mark_keys import rotate_mark_key
from policy.open_state import OpenState
from watermark import MarkKey

CertificateChange = Literal["certificate.rotated", "certificate.installed", "certificate.revoked"]


class KeyDesk(OpenState):
    """What is done with keys; most of it takes effect when the folder is opened next."""

    @property
    def mark_key(self) -> MarkKey:
        """The key that marks new clips."""
        return self.mark_keys[0]

    def rotate_mark_key(self, *, new_pilot: bool = False) -> EventReceipt:
        """Mark new clips with a new key from now on; the old one still reads the clips it marked. Logged."""
        old, new = rotate_mark_key(self.folder / "keys", new_pilot=new_pilot)
        self.mark_keys = tuple(one.key for one in self.stored_mark_keys())
        return self._log("mark_key.rotated", {"retired": old.key_id, "active": new.key_id})

    def move_key(self, role: Role, uri: str) -> EventReceipt:
        """Use the same key at another place from now on; logged. Raises KeyFileError when another key lies there."""
        self.key_ring = self.key_ring.moved(role, uri)
        return self._key_event("key.moved", role)

    def protect_key(self, role: Role, passphrase: bytes, *, passphrase_file: Path | None = None) -> EventReceipt:
        """Encrypt a key's file; logged."""
        self.key_ring = self.key_ring.protected(role, passphrase, passphrase_file=passphrase_file)
        return self._key_event("key.protected", role)

    def rotate_key(self, role: Role, uri: str | None = None) -> EventReceipt:
        """A new key for a role, from `uri` or made here; logged. Takes effect when the folder is opened next."""
        if role == "kek" and broker_address(self.folder) is not None:
            raise StateError(f"{self.folder}: its key broker has a folder of its own; the key lies there")
        if role == "kek":
            self.key_ring = rotate_kek(self.folder, self.key_ring, uri)
        elif role == "claim":
            self.key_ring = rotate_claim_key(self.folder, self.key_ring, uri, now=self.clock())
        else:
            self.key_ring = self.key_ring.rotated(role, uri, self.clock())
        return self._key_event("key.rotated", role)

    def believe_key(self, role: Role, public_key: str) -> EventReceipt:
        """Take another public key (base64url) of a registry elsewhere, which rotated it there; logged.

        What the old key signed stays good until it is revoked here too. Takes effect when the folder is opened next.
        """
        try:
            key = Ed25519PublicKey.from_public_bytes(b64url_decode(public_key))
        except ValueError as error:
            raise PolicyError(
                f"{public_key!r:.80}: expected a public Ed25519 key as `vasari key show` prints it"
            ) from error
        self.key_ring = self.key_ring.believed(role, key, self.clock())
        return self._key_event("key.believed", role, thumbprint(key))

    def revoke_key(self, role: Role, kid: str) -> EventReceipt:
        """Take nothing any more that a retired key signed; logged. Takes effect when the folder is opened next."""
        self.key_ring = self.key_ring.revoked(role, kid, self.clock())
        return self._key_event("key.revoked", role, kid)

    def certificate_event(self, event: CertificateChange, name: str, serial: int, reason: str = "") -> EventReceipt:
        """Log that a certificate of this authority was rotated, installed or revoked; serial and reason are public."""
        detail = {"certificate": name, "serial": f"{serial:x}", "reason": reason}
        return self._log(event, detail, public=detail)

    def _key_event(self, event: str, role: Role, kid: str = "") -> EventReceipt:
        return self._log(event, {"role": role, "kid": kid})
