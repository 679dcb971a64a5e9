"""The key broker's own folder, once it is a process of its own: what it needs and nothing else.

    broker.json         the gate's id and public key, the log's origin and public key
    keys/broker.kek     (or keys/ring.json, which names a key in a hardware module)
    content-keys.json   the content keys, wrapped
    broker.sqlite       grants that were used
    released.jsonl      one line for each key that left, on the disk before it left
    tls/                where the gate asks from another machine: this end's key and certificate, the gate's certificate

The gate's folder keeps `broker-address.json` in their place, and its own end in `broker-tls/`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import StringConstraints

from policy.broker import KeyBroker, KeyVault, RecordRelease
from policy.broker_service import BrokerClient
from policy.canonical import b64url_decode, canonical_json, strict_json_object
from policy.claims import Identifier, Strict, Thumbprint, parse_claims
from policy.clock import Clock
from policy.errors import StateError, TokenError
from policy.grant import GrantClaims, verify_grant
from policy.key_ring import DEFAULTS, RING_FILE, KeyRing, RingFile
from policy.keys import read_secret, thumbprint, write_secret
from policy.mutual_tls import TLS_FOLDER, TlsEnd, create_end, pin_peer
from provenance import verify_log_proof

SETTINGS, ADDRESS, GATE_TLS_FOLDER = "broker.json", "broker-address.json", "broker-tls"
MOVED = ("content-keys.json", "broker.sqlite", "broker.sqlite-wal", "broker.sqlite-shm")
Address = Annotated[str, StringConstraints(min_length=1, max_length=400)]


class BrokerSettings(Strict):
    """Whom the broker believes: grants of this gate, proofs of this log."""

    gate_id: Identifier
    gate_key: Thumbprint
    log_origin: Identifier
    log_key: Thumbprint


class BrokerAddress(Strict):
    """Where the gate finds its broker."""

    address: Address


class RecordingClient(BrokerClient):
    """The gate's end of a split broker: what was released is in the transparency log before the worker has it."""

    def __init__(
        self, address: str, *, tls: TlsEnd | None, gate_key: Ed25519PublicKey, record_release: RecordRelease
    ) -> None:
        super().__init__(address, tls=tls)
        self._gate_keys = {thumbprint(gate_key): gate_key}
        self._record_release = record_release

    def release_key(self, grant: str, entry: bytes, log_proof: str) -> bytes:
        """See BrokerClient; raises PolicyError when the release can't be logged, and then no key comes out."""
        wrapped = super().release_key(grant, entry, log_proof)
        self._record_release(verify_grant(grant, self._gate_keys))
        return wrapped


def split_broker(state: Path, folder: Path, settings: BrokerSettings, address: str, *, now: datetime) -> None:
    """Move the broker's keys out of a state folder into one of their own; raises StateError, and then moves nothing.

    The gate's folder can't open the sealed weights any more. The folder is mode 0700 and belongs to whoever runs this:
    hand it to the broker's user with chown, or, whole, to the machine of an `https://` address: both ends have their
    certificates then.
    """
    secured = address.startswith("https://")
    if not secured:
        BrokerClient(address)  # raises for an address that is none
    if folder.exists():
        raise StateError(f"{folder} is there already; choose another folder")
    if (state / ADDRESS).exists():
        raise StateError(f"{state}: its broker was moved out before, see {ADDRESS}")
    ring = KeyRing.read(state)
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.part")
    (part / "keys").mkdir(mode=0o700, parents=True)
    part.chmod(0o700)
    try:
        write_secret(part / SETTINGS, canonical_json(settings.model_dump()))
        if ring.uri("kek").startswith("file:"):
            write_secret(part / "keys" / "broker.kek", read_secret(state / ring.uri("kek").removeprefix("file:")))
        else:
            file = RingFile(uris={"kek": ring.uri("kek")})
            write_secret(part / "keys" / RING_FILE, canonical_json(file.model_dump(mode="json")))
        for name in MOVED:
            if (state / name).exists():
                shutil.copy(state / name, part / name)
                (part / name).chmod(0o600)
        if secured:
            _introduce(part / TLS_FOLDER, state / GATE_TLS_FOLDER, now)
            BrokerClient(address, tls=TlsEnd.read(state / GATE_TLS_FOLDER))
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    write_secret(state / ADDRESS, canonical_json(BrokerAddress(address=address).model_dump()))
    for path in (*(state / name for name in MOVED), state / "keys" / "broker.kek"):
        path.unlink(missing_ok=True)
    if ring.uri("kek").startswith("file:") and ring.uri("kek") != DEFAULTS["kek"]:
        (state / ring.uri("kek").removeprefix("file:")).unlink(missing_ok=True)


def _introduce(broker: Path, gate: Path, now: datetime) -> None:
    """A certificate for each end, pinned by the other."""
    certificate = create_end(broker, name="Vasari key broker", direction="answers", now=now)
    pin_peer(broker, create_end(gate, name="Vasari gate", direction="asks", now=now), now=now)
    pin_peer(gate, certificate, now=now)


def gate_end(state: Path, address: str) -> TlsEnd | None:
    """The gate's end of the connection to its broker; None where the address needs none. Raises StateError."""
    return TlsEnd.read(state / GATE_TLS_FOLDER) if address.startswith("https://") else None


def broker_end(folder: Path, address: str) -> TlsEnd | None:
    """The broker's end; None where the address needs none. Raises StateError."""
    return TlsEnd.read(folder / TLS_FOLDER) if address.startswith("https://") else None


def renew_broker_end(folder: Path, *, of_broker: bool, now: datetime) -> str:
    """A new key and certificate for one end, in the broker's or the gate's folder; as PEM, for the other end to pin."""
    if of_broker:
        _read_settings(folder)
        return create_end(folder / TLS_FOLDER, name="Vasari key broker", direction="answers", now=now)
    if broker_address(folder) is None:
        raise StateError(f"{folder}: its broker was not moved out (`vasari broker split`)")
    return create_end(folder / GATE_TLS_FOLDER, name="Vasari gate", direction="asks", now=now)


def pin_broker_end(folder: Path, pem: str, *, of_broker: bool, now: datetime) -> datetime:
    """Take the other end's certificate, in the broker's or the gate's folder; when it expires. Raises StateError."""
    end = folder / (TLS_FOLDER if of_broker else GATE_TLS_FOLDER)
    if not end.is_dir():
        raise StateError(f"{end}: missing; run `vasari broker certificate` for this end first")
    return pin_peer(end, pem, now=now)


def broker_address(state: Path) -> str | None:
    """Where the broker of a state folder listens; None while it is part of the folder. Raises StateError."""
    path = state / ADDRESS
    if not path.exists():
        return None
    try:
        return parse_claims(BrokerAddress, strict_json_object(read_secret(path))).address
    except (ValueError, TokenError) as error:
        raise StateError(f"{path}: not as expected: {error}") from error


def believe_gate_key(folder: Path, key: str) -> str:
    """Take grants of this gate key alone (base64url of the 32 bytes) once the broker is started again; the one before.

    Raises StateError for a folder that is no broker's, and for a text that is no Ed25519 key.
    """
    settings = _read_settings(folder)
    try:
        Ed25519PublicKey.from_public_bytes(b64url_decode(key))
    except ValueError as error:
        raise StateError(f"{key!r:.80}: expected a public Ed25519 key as `vasari key show` prints it") from error
    changed = settings.model_copy(update={"gate_key": key})
    write_secret(folder / SETTINGS, canonical_json(changed.model_dump()), overwrite=True)
    return settings.gate_key


def _read_settings(folder: Path) -> BrokerSettings:
    path = folder / SETTINGS
    if not path.exists():
        raise StateError(f"{folder}: no broker's folder; make one with `vasari broker split`")
    try:
        return parse_claims(BrokerSettings, strict_json_object(read_secret(path)))
    except (ValueError, TokenError) as error:
        raise StateError(f"{path}: not as expected: {error}") from error


def open_broker(folder: Path, clock: Clock) -> KeyBroker:
    """The broker of its own folder; raises StateError for a folder that is none."""
    settings = _read_settings(folder)
    log_key = Ed25519PublicKey.from_public_bytes(b64url_decode(settings.log_key))

    def check_proof(proof_text: str, entry: bytes) -> int:
        return verify_log_proof(proof_text, entry, origin=settings.log_origin, public_key=log_key).index

    def record_release(grant: GrantClaims) -> None:
        line = {"at": int(clock().timestamp()), "decision": grant.decision, "grant": grant.jti, "model": grant.model}
        _append_durably(folder / "released.jsonl", canonical_json(line) + b"\n")

    return KeyBroker(
        vault=KeyVault(KeyRing.read(folder).kek(), folder / "content-keys.json"),
        ledger_path=folder / "broker.sqlite",
        gate_id=settings.gate_id,
        gate_key=Ed25519PublicKey.from_public_bytes(b64url_decode(settings.gate_key)),
        check_proof=check_proof,
        record_release=record_release,
        clock=clock,
    )


def _append_durably(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
