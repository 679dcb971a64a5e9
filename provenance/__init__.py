"""Where a clip comes from: C2PA signing, two-engine verification, manifest repository, transparency log."""

from provenance.archive import RESERVED as RESERVED_ALGORITHMS
from provenance.archive import ArchivedManifest, ManifestArchive
from provenance.certificate_request import install_chain as install_certificate_chain
from provenance.certificate_request import make_request as make_certificate_request
from provenance.certificate_rules import RULES as CERTIFICATE_RULES
from provenance.certificate_rules import (
    BrokenRule,
    lint_certificates,
    lint_claim_chain,
    lint_issuing_certificate,
    lint_time_stamping_certificate,
)
from provenance.checkpoint import Checkpoint, verify_checkpoint
from provenance.clip_fingerprint import (
    MATCH_DISTANCE,
    Alignment,
    align_fingerprints,
    clip_fingerprint,
    fingerprint_distance,
    fingerprint_duration_s,
    frame_aspect,
)
from provenance.cosignature import verify_cosignatures
from provenance.credentials_report import CredentialsReport, EngineVerdict, Finding, SourceStep, UncoveredBytes
from provenance.database import Place, read_places
from provenance.errors import (
    CertificateError,
    KeySourceError,
    LogError,
    ProofError,
    ProvenanceError,
    RepositoryError,
    SettingsError,
    SigningError,
    TimeStampError,
)
from provenance.key_uri import encrypted_pem, open_signing_key
from provenance.log_export import verify_log_export
from provenance.manifest import SOFT_BINDING_ALGORITHM, ClipManifest, Ingredient
from provenance.pkcs11_key import HsmSecretKey
from provenance.pki import CERTIFICATES as PKI_CERTIFICATES
from provenance.pki import (
    REVOCATION_LISTS,
    SigningIdentity,
    TrustAnchors,
    create_pki,
    read_chain,
    renew_claim_signing,
)
from provenance.placed_fingerprint import Placement, align_placed
from provenance.repository import ManifestRepository, StoredManifest
from provenance.revocation import load_revocation_lists
from provenance.revocation_list import renew_revocation_lists, revoke_certificate
from provenance.rfc6962 import leaf_hash, verify_consistency, verify_inclusion
from provenance.signed_note import decode_base64, sign_note, verify_note
from provenance.signing import sign_clip
from provenance.sqlite_file import make_private_file
from provenance.stored_manifest import MAX_STORED_BYTES, SoftBinding, StoredManifestFacts, read_stored_manifest
from provenance.stream_place import StreamPlace
from provenance.tiles import export_tiles, verify_tiles
from provenance.tlog_proof import CheckedProof, carried_entry, verify_log_proof
from provenance.transparency_log import TransparencyLog
from provenance.verification import verify_clip
from provenance.verifier_key import format_log_key, format_witness_key, parse_log_key, parse_witness_key
from provenance.witness import Witness, WitnessAnswer
from provenance.witness import format_request as format_witness_request

__all__ = [
    "CERTIFICATE_RULES",
    "MATCH_DISTANCE",
    "MAX_STORED_BYTES",
    "PKI_CERTIFICATES",
    "RESERVED_ALGORITHMS",
    "REVOCATION_LISTS",
    "SOFT_BINDING_ALGORITHM",
    "Alignment",
    "ArchivedManifest",
    "BrokenRule",
    "CertificateError",
    "CheckedProof",
    "Checkpoint",
    "ClipManifest",
    "CredentialsReport",
    "EngineVerdict",
    "Finding",
    "HsmSecretKey",
    "Ingredient",
    "KeySourceError",
    "LogError",
    "ManifestArchive",
    "ManifestRepository",
    "Place",
    "Placement",
    "ProofError",
    "ProvenanceError",
    "RepositoryError",
    "SettingsError",
    "SigningError",
    "SigningIdentity",
    "SoftBinding",
    "SourceStep",
    "StoredManifest",
    "StoredManifestFacts",
    "StreamPlace",
    "TimeStampError",
    "TransparencyLog",
    "TrustAnchors",
    "UncoveredBytes",
    "Witness",
    "WitnessAnswer",
    "align_fingerprints",
    "align_placed",
    "carried_entry",
    "clip_fingerprint",
    "create_pki",
    "decode_base64",
    "encrypted_pem",
    "export_tiles",
    "fingerprint_distance",
    "fingerprint_duration_s",
    "format_log_key",
    "format_witness_key",
    "format_witness_request",
    "frame_aspect",
    "install_certificate_chain",
    "leaf_hash",
    "lint_certificates",
    "lint_claim_chain",
    "lint_issuing_certificate",
    "lint_time_stamping_certificate",
    "load_revocation_lists",
    "make_certificate_request",
    "make_private_file",
    "open_signing_key",
    "parse_log_key",
    "parse_witness_key",
    "read_chain",
    "read_places",
    "read_stored_manifest",
    "renew_claim_signing",
    "renew_revocation_lists",
    "revoke_certificate",
    "sign_clip",
    "sign_note",
    "verify_checkpoint",
    "verify_clip",
    "verify_consistency",
    "verify_cosignatures",
    "verify_inclusion",
    "verify_log_export",
    "verify_log_proof",
    "verify_note",
    "verify_tiles",
]
