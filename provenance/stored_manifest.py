"""A manifest store by itself, without the file that it describes: who signed it, what it binds to.

Its signature and its own hashes are checked; that it fits a file is for whoever has the file.
"""

import base64
import binascii
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from c2pa import C2paError, Reader

from provenance.engine_settings import CLAIM_LIST, EngineSettings
from provenance.errors import ProvenanceError, RepositoryError
from provenance.jumbf import cbor_fault, check_store_layout
from provenance.manifest import RELEASE_LABEL, SOFT_BINDING_LABEL, read_release
from provenance.pki import TrustAnchors

MAX_STORED_BYTES = 16 << 20
STORE_MEDIA_TYPE = "application/c2pa"
_ABOUT_THE_FILE = ("assertion.bmffHash.", "assertion.dataHash.", "assertion.boxesHash.", "assertion.collectionHash.")
_ABOUT_TRUST = ("signingCredential.untrusted", "timeStamp.untrusted", "signingCredential.expired")
MAX_BINDINGS = 100


@dataclass(frozen=True)
class SoftBinding:
    """One value that a signed assertion binds to a manifest."""

    algorithm: str
    value: bytes


@dataclass(frozen=True)
class StoredManifestFacts:
    """What a store says and what of it holds. `trusted`: its signer is on the list of claim signers given."""

    label: str
    signer: str | None
    signed_at: datetime | None
    trusted: bool
    bindings: tuple[SoftBinding, ...]
    manifest_id: int | None = None
    log_proof: str | None = None
    decision_sha256: str | None = None


def read_stored_manifest(store: bytes, anchors: TrustAnchors | None = None) -> StoredManifestFacts:
    """Check a manifest store; raises RepositoryError when it is malformed or anything in it was changed."""
    if not 0 < len(store) <= MAX_STORED_BYTES:
        raise RepositoryError(f"manifest store: expected 1 to {MAX_STORED_BYTES} bytes, got {len(store)}")
    if fault := cbor_fault(store) or check_store_layout(store):
        raise RepositoryError(f"manifest store: {fault}")
    settings = EngineSettings.for_anchors(anchors) if anchors else EngineSettings()
    try:
        with Reader(STORE_MEDIA_TYPE, io.BytesIO(store), context=settings.context()) as reader:
            report: dict[str, Any] = json.loads(reader.json())
    except (C2paError, ValueError, RecursionError) as error:
        raise RepositoryError(f"manifest store: can't be read: {error}") from error
    results = report.get("validation_results", {})
    failed = [str(entry.get("code")) for entry in results.get("activeManifest", {}).get("failure", [])]
    wrong = [code for code in failed if not code.startswith(_ABOUT_THE_FILE) and code not in _ABOUT_TRUST]
    if wrong:
        raise RepositoryError(f"manifest store: {wrong[0]}")
    label = str(report.get("active_manifest"))
    manifest = report.get("manifests", {}).get(label, {})
    passed = {str(entry.get("code")) for entry in results.get("activeManifest", {}).get("success", [])}
    return _facts(
        label, manifest, trusted="signingCredential.trusted" in passed and results.get("trustListUri") == CLAIM_LIST
    )


def _facts(label: str, manifest: Mapping[str, Any], *, trusted: bool) -> StoredManifestFacts:
    info = manifest.get("signature_info", {})
    release = None
    for assertion in manifest.get("assertions", []):
        if assertion.get("label") == RELEASE_LABEL:
            try:
                release = read_release(assertion.get("data"))
            except ProvenanceError as error:
                raise RepositoryError(f"manifest store: {error}") from error
    return StoredManifestFacts(
        label=label,
        signer=info.get("common_name") or info.get("issuer"),
        signed_at=_time(info.get("time")),
        trusted=trusted,
        bindings=tuple(_bindings(manifest))[:MAX_BINDINGS],
        manifest_id=release.manifest_id if release else None,
        log_proof=release.log_proof if release else None,
        decision_sha256=release.decision_sha256 if release else None,
    )


def _bindings(manifest: Mapping[str, Any]) -> Iterator[SoftBinding]:
    for assertion in manifest.get("assertions", []):
        data = assertion.get("data")
        if not str(assertion.get("label", "")).startswith(SOFT_BINDING_LABEL) or not isinstance(data, Mapping):
            continue
        for block in data.get("blocks") or []:
            try:
                value = base64.b64decode(block["value"], validate=True)
            except (TypeError, KeyError, binascii.Error, ValueError):
                continue
            yield SoftBinding(str(data.get("alg", "")), value)


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None
