"""What the service answers, apart from HTTP: bindings to manifests, manifests by id, storing, receipts."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from provenance import (
    RESERVED_ALGORITHMS,
    SOFT_BINDING_ALGORITHM,
    ArchivedManifest,
    ManifestArchive,
    ManifestRepository,
    ProofError,
    RepositoryError,
    TransparencyLog,
    carried_entry,
    decode_base64,
    read_stored_manifest,
    verify_log_proof,
)
from vasari.service.access import Caller
from vasari.service.content_match import ContentMatch

RELEASE_PREFIX = "urn:vasari:release:"
PROOF_ALGORITHM = "c2sp.org/tlog-proof@v1"
RECEIPT_TYPE = "org.c2pa.manifest-receipt"
MAX_MANIFEST_ID = 256


class RequestError(Exception):
    """The request can't be answered; `status` is the HTTP one."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Resolver:
    """Releases of this authority (by watermark number) and manifests stored by clients (by label)."""

    repository: ManifestRepository
    archive: ManifestArchive
    log: TransparencyLog
    base_url: str
    clock: Callable[[], datetime]

    def by_binding(self, algorithm: str, value: str, limit: int) -> list[dict[str, Any]]:
        """Matches of one soft-binding value (base64); no match is an empty list."""
        raw = _binding_value(value)
        found: list[str] = []
        if algorithm == SOFT_BINDING_ALGORITHM and len(raw) == 8:
            release = int.from_bytes(raw, "big")
            found += [release_urn(release)] if self.repository.find(release) else []
        found += self.archive.find(algorithm, raw, limit)
        return [{"manifestId": manifest_id, "similarityScore": 100} for manifest_id in found[:limit]]

    def by_content(self, matches: Sequence[ContentMatch], limit: int) -> list[dict[str, Any]]:
        """Matches of a clip as the API writes them."""
        return [
            {"manifestId": release_urn(match.release)}
            | ({} if match.similarity is None else {"similarityScore": match.similarity})
            for match in matches[:limit]
        ]

    def manifest(self, manifest_id: str) -> bytes:
        """The whole manifest store; RequestError 404, the same for unknown and deleted ones."""
        release = _release_of(manifest_id)
        if release is not None:
            kept = self.repository.find(release)
            if kept is not None:
                return kept.manifest_store
        else:
            stored = self.archive.get(manifest_id)
            if stored is not None:
                return stored.store
        raise RequestError(404, "no such manifest")

    def store(self, store: bytes, caller: Caller) -> str:
        """Keep a manifest whose signature holds; its id. It needs no trusted signer: whoever fetches it judges."""
        try:
            facts = read_stored_manifest(store)
        except RepositoryError as error:
            raise RequestError(400, str(error)) from error
        if not 0 < len(facts.label) <= MAX_MANIFEST_ID or facts.label.startswith(RELEASE_PREFIX):
            raise RequestError(400, "the label of the active manifest can't be an id here")
        try:
            self.archive.put(ArchivedManifest(facts.label, store, caller.client_id, self.clock()))
        except RepositoryError as error:
            raise RequestError(400, "another manifest with this label is stored, or was") from error
        for binding in facts.bindings:
            if binding.algorithm not in RESERVED_ALGORITHMS:
                self.archive.bind(binding.algorithm, binding.value, facts.label)
        return facts.label

    def bind(self, value: str, manifest_id: str, caller: Caller) -> None:
        """Lead a value to a manifest of the caller's, if the manifest itself signs that value."""
        raw, kept = _binding_value(value), self._own(manifest_id, caller)
        signed = [binding for binding in read_stored_manifest(kept.store).bindings if binding.value == raw]
        if not signed:
            raise RequestError(403, "the manifest does not sign this binding")
        for binding in signed:
            if binding.algorithm in RESERVED_ALGORITHMS:
                raise RequestError(403, f"{binding.algorithm} is bound by releases alone")
            self.archive.bind(binding.algorithm, raw, manifest_id)

    def delete(self, manifest_id: str, caller: Caller) -> None:
        """Forget a manifest of the caller's; releases stay."""
        self._own(manifest_id, caller)
        self.archive.delete(manifest_id)

    def receipts(self, manifest_id: str) -> list[dict[str, Any]]:
        """The receipts of a manifest; RequestError 404 when there is none."""
        self.manifest(manifest_id)
        found = [json.loads(receipt) for receipt in self.archive.receipts(manifest_id)]
        if not found:
            raise RequestError(404, "no receipt")
        return found

    def anchor(self, manifest_id: str) -> dict[str, Any]:
        """Log that this manifest is held here, and hand out the proof of it as a receipt."""
        entry = json.dumps(
            {
                "event": "manifest.held",
                "manifest": manifest_id,
                "sha256": hashlib.sha256(self.manifest(manifest_id)).hexdigest(),
                "at": int(self.clock().timestamp()),
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        proof = self.log.prove(self.log.append(entry))
        receipt = {
            "@context": {"@vocab": "https://c2pa.org/"},
            "@type": RECEIPT_TYPE,
            "repository": {"uri": self.base_url, "manifestId": manifest_id},
            "anchor": {
                "uri": f"{self.base_url}/log",
                "proof": {"alg": PROOF_ALGORITHM, "value": base64.b64encode(proof.encode()).decode()},
            },
        }
        self.archive.add_receipt(manifest_id, json.dumps(receipt))
        return receipt

    def receipt_holds(self, manifest_id: str, receipt: dict[str, Any]) -> bool:
        """Whether a receipt proves that this manifest, as it is held now, was logged."""
        try:
            named = receipt["repository"]["manifestId"] == manifest_id
            proof = receipt["anchor"]["proof"]
            text = decode_base64(proof["value"]).decode("utf-8")
            entry = carried_entry(text) or b""
            key = self.log.public_key
            if key is None or proof["alg"] != PROOF_ALGORITHM:
                return False
            verify_log_proof(text, entry, origin=self.log.origin, public_key=key)
            said = json.loads(entry)
            held = hashlib.sha256(self.manifest(manifest_id)).hexdigest()
            return bool(named and said["manifest"] == manifest_id and said["sha256"] == held)
        except (ProofError, KeyError, TypeError, ValueError, RecursionError):
            return False

    def _own(self, manifest_id: str, caller: Caller) -> ArchivedManifest:
        """A manifest of the caller's; others' are as unknown as none."""
        kept = self.archive.get(manifest_id)
        if kept is None or kept.owner != caller.client_id:
            raise RequestError(404, "no such manifest")
        return kept


def release_urn(release: int) -> str:
    """The manifest id of a release of this authority."""
    return f"{RELEASE_PREFIX}{release:016x}"


def _release_of(manifest_id: str) -> int | None:
    digits = manifest_id.removeprefix(RELEASE_PREFIX)
    if digits == manifest_id or len(digits) != 16 or not set(digits) <= set("0123456789abcdef"):
        return None
    return int(digits, 16)


def _binding_value(value: str) -> bytes:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, "value: expected base64") from error
    if not 0 < len(raw) <= 1024:
        raise RequestError(400, "value: expected 1 to 1024 bytes")
    return raw
