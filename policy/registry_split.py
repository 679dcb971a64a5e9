"""Registry and gate on two machines: the gate's part of a state folder goes to a folder of its own.

Moved with the gate: its key, log, marks, certificates, ledger, manifests, wrapped content keys. What stays is the
registry's: its keys, the secret of the pseudonyms, what it issued, the records with names. Each side keeps only the
public half of the other's keys (`public:` in its ring), so a thief at the gate can issue nothing, and one at the
registry can sign no grant and no clip. The registry begins a log of its own: two machines that sign one log would be
two logs.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy.canonical import canonical_json
from policy.errors import StateError
from policy.key_ring import KEPT_AFTER_ROTATION, RING_FILE, KeyRing, RingFile, Role, public_uri
from policy.keys import write_private_key, write_secret
from policy.state_folder import log_origin_of, read_state, write_record
from policy.status_feed import FEED_FILE, write_feed_address

BOTH = ("authority.json", "site.json", "site.cedar")
OF_THE_GATE = (
    "keys/gate*.pem", "keys/log*.pem", "keys/mark*.key", "keys/*.kek", "pki", "public", "service", "stores.json",
    "broker-address.json", "broker-tls", "content-keys.json", "worker.json",
)  # fmt: skip
DATABASES_OF_THE_GATE = ("gate.sqlite", "log.sqlite", "repository.sqlite", "broker.sqlite")
REGISTRY_LOG_KEY = "keys/registry-log.pem"


def split_registry(state: Path, gate: Path, address: str) -> None:
    """Make the gate's folder at `gate`, which follows the registry at `address`; `state` stays the registry's.

    Nothing else may use the folder meanwhile. Raises StateError before anything is moved, for a folder that was split
    before or follows another registry, and for a place that is taken; PolicyError for what is no address.
    """
    record, ring = read_state(state), KeyRing.read(state)
    if gate.exists():
        raise StateError(f"{gate} is there already; choose another folder")
    if not all(map(ring.holds, (*KEPT_AFTER_ROTATION, "gate"))) or (state / FEED_FILE).exists():
        raise StateError(f"{state}: registry and gate were split before")
    moved = sorted({path for pattern in OF_THE_GATE for path in state.glob(pattern)} | set(_own_files(ring)))
    part = gate.with_name(f".{gate.name}.{secrets.token_hex(6)}.part")
    (part / "keys").mkdir(mode=0o700, parents=True)
    part.chmod(0o700)
    try:
        for path in (*moved, *(state / name for name in BOTH if (state / name).exists())):
            _copy(path, part / path.relative_to(state))
        for name in DATABASES_OF_THE_GATE:
            _copy_database(state / name, part / name)
        (part / "work").mkdir(mode=0o700)
        _write_ring(part, ring, {role: public_uri(ring.public_key(role)) for role in KEPT_AFTER_ROTATION})
        write_feed_address(part, address)
        part.rename(gate)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    log_key = Ed25519PrivateKey.generate()
    write_private_key(state / REGISTRY_LOG_KEY, log_key)
    _write_ring(
        state, ring, {"gate": public_uri(ring.public_key("gate")), "log": f"file:{REGISTRY_LOG_KEY}"},
        without=("claim", "kek"),
    )  # fmt: skip
    write_record(state, replace(record, log_origin=log_origin_of(log_key.public_key())))
    for path in moved:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in DATABASES_OF_THE_GATE:
        for file in state.glob(f"{name}*"):
            file.unlink()


def _own_files(ring: KeyRing) -> Iterator[Path]:
    """Files of the gate's keys that the ring names within the folder."""
    for role, uri in ring.file.uris.items():
        path = ring.folder / uri.removeprefix("file:").partition("?")[0]
        if role not in KEPT_AFTER_ROTATION and uri.startswith("file:") and path.is_relative_to(ring.folder):
            yield path


def _write_ring(folder: Path, ring: KeyRing, elsewhere: dict[Role, str], *, without: tuple[Role, ...] = ()) -> None:
    uris = {role: uri for role, uri in ring.file.uris.items() if role not in without}
    retired = {role: keys for role, keys in ring.file.retired.items() if role in KEPT_AFTER_ROTATION or not without}
    file = RingFile(uris={**uris, **elsewhere}, retired=retired)
    write_secret(folder / "keys" / RING_FILE, canonical_json(file.model_dump(mode="json")), overwrite=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)  # with its mode, and the time by which retired mark keys are ordered


def _copy_database(source: Path, target: Path) -> None:
    """Whole, whatever part of it still lies in its write-ahead log."""
    if not source.exists():
        return
    write_secret(target, b"")
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)
