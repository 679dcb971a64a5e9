"""A state folder on the disk: made whole or not at all, read back strictly.

authority.json     who this is (no secret); site.json  the site's own limits and addresses
keys/              registry, accreditation, gate and log keys; mark keys; broker's key-encryption key
pki/               certificates that sign clips
content-keys.json  the content keys of the sealed weights, wrapped
"""

from __future__ import annotations

import secrets
import shutil
import stat
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from policy.broker import KeyVault
from policy.canonical import canonical_json, strict_json_object
from policy.errors import SealError, StateError
from policy.key_ring import KeyRing
from policy.keys import thumbprint, write_private_key, write_secret
from policy.mark_keys import create_mark_key
from policy.seal import CONTENT_KEY_BYTES, open_sealed, read_sealed_header
from policy.site_policy import SITE_FILE, SitePolicy
from provenance import create_pki

SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "generator.sealed"
SHIPPED_RELEASE_KEY = Path(__file__).parent / "weights" / "release.key"
ROLES = ("registry", "accreditation", "gate", "log")
SCHEMA_VERSION = 2


@dataclass(frozen=True)
class AuthorityRecord:
    """The content of authority.json. `weights` is where the sealed weights lie."""

    schema: int
    organisation: str
    created_at: str
    gate_id: str
    registry_id: str
    accreditation_id: str
    log_origin: str
    model_digest: str
    weights: str


def create_state(
    folder: Path, *, organisation: str, site: SitePolicy, now: datetime, weights: Path, release_key: Path
) -> None:
    """Make a state folder; raises StateError when something is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StateError(f"{folder} is there already and not empty; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.part")
    part.mkdir(mode=0o700)
    try:
        _fill(part, organisation=organisation, site=site, now=now, weights=weights, release_key=release_key)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def read_state(folder: Path) -> AuthorityRecord:
    """The content of authority.json; raises StateError for a missing, damaged, older or open folder."""
    try:
        mode = folder.stat().st_mode
        members = strict_json_object((folder / "authority.json").read_bytes())
        schema = members.get("schema")
        if schema != SCHEMA_VERSION:
            raise StateError(
                f"{folder}: made by another version (schema {schema}, this one reads {SCHEMA_VERSION}); "
                "make a new one with `vasari init`: consents of before lack what is asked now"
            )
        record = AuthorityRecord(**members)
    except OSError as error:
        raise StateError(f"{folder}: no state folder ({error.strerror}); make one with `vasari init`") from error
    except (ValueError, TypeError) as error:
        raise StateError(f"{folder / 'authority.json'}: damaged: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StateError(f"{folder}: other users can enter it; run: chmod 700 {folder}")
    return record


def write_record(folder: Path, record: AuthorityRecord) -> None:
    """Write authority.json, in place of an older one."""
    write_secret(folder / "authority.json", canonical_json(asdict(record)), overwrite=True)


def log_origin_of(key: Ed25519PublicKey) -> str:
    """The name of a log, by its key."""
    return f"vasari.local/log/{thumbprint(key)[:16]}"


def vault_of(folder: Path) -> KeyVault:
    """The wrapped content keys of a state folder."""
    return KeyVault(kek=KeyRing.read(folder).kek(), keys_path=folder / "content-keys.json")


def read_release_key(path: Path) -> bytes:
    """A content key as 64 hexadecimal digits; raises SealError."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise SealError(f"{path}: expected a content key in hexadecimal: {error}") from error
    if len(key) != CONTENT_KEY_BYTES:
        raise SealError(f"{path}: a content key has {CONTENT_KEY_BYTES} bytes, this one {len(key)}")
    return key


def _fill(
    folder: Path, *, organisation: str, site: SitePolicy, now: datetime, weights: Path, release_key: Path
) -> None:
    for name in ("keys", "evidence", "work"):
        (folder / name).mkdir(mode=0o700)
    keys = {role: Ed25519PrivateKey.generate() for role in ROLES}
    for role, key in keys.items():
        write_private_key(folder / "keys" / f"{role}.pem", key)
    create_mark_key(folder / "keys")
    write_secret(folder / "keys" / "pseudonym.key", secrets.token_bytes(32))
    write_secret(folder / "keys" / "broker.kek", secrets.token_bytes(32))
    create_pki(folder / "pki", organisation=organisation, now=now)
    model_digest = read_sealed_header(weights).model_digest
    content_key = read_release_key(release_key)
    open_sealed(weights, content_key)  # a key that does not fit is found now, not in the first job
    vault_of(folder).store(model_digest, content_key)
    names = {role: thumbprint(key)[:16] for role, key in keys.items()}
    record = AuthorityRecord(
        schema=SCHEMA_VERSION,
        organisation=organisation,
        created_at=now.isoformat(timespec="seconds"),
        gate_id=f"urn:vasari:gate:{names['gate']}",
        registry_id=f"urn:vasari:registry:{names['registry']}",
        accreditation_id=f"urn:vasari:accreditation:{names['accreditation']}",
        log_origin=log_origin_of(keys["log"].public_key()),
        model_digest=model_digest,
        weights="" if weights == SHIPPED_WEIGHTS else str(weights.resolve()),
    )
    write_secret(folder / SITE_FILE, site.as_bytes())
    write_record(folder, record)
