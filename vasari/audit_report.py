"""An audit as a report that others can check: canonical JSON, one HTML page, and a signed note over both.

The same clip, lists and time give the same bytes, so that whoever holds them can make the report again and compare. The
note is a C2SP signed note (Ed25519): readable text, checked offline by `vasari report check` or, without any of this
code, by `docs/outsider/check_log.py note`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

import vasari
from provenance import ProofError, load_revocation_lists, sign_note, verify_note
from vasari.audit_json import audit_json
from vasari.clip_audit import ClipAudit, ClipAuditor
from vasari.reports import clip_page

FORMAT = "vasari.org/audit-report/v1"
DECIMALS = 4
"""Figures of detector and fingerprint are rounded, so that the last bits of a processor don't change a report."""


class ReportError(Exception):
    """A report does not hold, or is no report; the message says where."""


@dataclass(frozen=True)
class AuditReport:
    """The bytes of a report. `note` is empty when nobody signed it."""

    json: bytes
    html: bytes
    note: str = ""


def make_report(audit: ClipAudit, auditor: ClipAuditor) -> AuditReport:
    """The unsigned report of an audit; what depends on this machine (folder, speed) is left out."""
    placeless = replace(audit, path=audit.name, took_s=0.0)
    content = audit_json(placeless)
    del content["took_s"]
    report = {
        "format": FORMAT,
        "made_by": {"name": "vasari", "version": vasari.__version__},
        "time": audit.audited_at.astimezone(UTC).isoformat(),
        "lists": lists_of(auditor, audit.audited_at),
        "audit": _rounded(content),
    }
    text = json.dumps(report, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    return AuditReport(text.encode(), clip_page(placeless).encode())


def sign_report(report: AuditReport, *, auditor: str, key: Ed25519PrivateKey) -> AuditReport:
    """The report with a note signed under the name `auditor`; raises ProofError for a name with spaces or `+`."""
    return replace(report, note=sign_note(_statement(report), name=auditor, key=key))


def check_report(report: AuditReport, keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """What a report says, after its note was found to be signed by one of `keys` over exactly these files.

    Raises ReportError.
    """
    try:
        statement = verify_note(report.note, keys)
    except ProofError as error:
        raise ReportError(f"the note does not hold: {error}") from error
    try:
        content: dict[str, Any] = json.loads(report.json)
        expected = _statement(report)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReportError("the JSON file is no report") from error
    for said, found in zip(statement.splitlines(), expected.splitlines(), strict=False):
        if said != found:
            raise ReportError(f"the note signs {said!r}, the files give {found!r}")
    if statement != expected:
        raise ReportError("the note signs something else")
    return content


def lists_of(auditor: ClipAuditor, at: datetime) -> dict[str, Any]:
    """Whom and what the audit relied on: every list with its hash and age at the time `at`."""
    anchors = auditor.anchors
    if anchors is None:
        return {}
    crls = load_revocation_lists(anchors.crl_pem)
    return {
        "claim_signers": _roots(anchors.manifest_pem),
        "time_stampers": _roots(anchors.tsa_pem),
        "revocation_lists": [
            {
                "issuer": crl.issuer.rfc4514_string(),
                "sha256": crl.fingerprint(hashes.SHA256()).hex(),
                "issued": crl.last_update_utc.isoformat(),
                "due": crl.next_update_utc.isoformat() if crl.next_update_utc else None,
                "age_days": max(0, (at - crl.last_update_utc).days),
                "revoked": len(list(crl)),
            }
            for crl in crls
        ],
        "mark_keys": sorted(key.key_id for key in auditor.mark_keys),
        "log_checked": auditor.check_log is not None,
        "repository": auditor.repository is not None,
    }


def _roots(pem: str) -> list[dict[str, Any]]:
    roots = x509.load_pem_x509_certificates(pem.encode()) if pem.strip() else []
    return [
        {
            "name": root.subject.rfc4514_string(),
            "sha256": root.fingerprint(hashes.SHA256()).hex(),
            "not_after": root.not_valid_after_utc.isoformat(),
        }
        for root in roots
    ]


def _statement(report: AuditReport) -> str:
    """The signed text: what the report is about, its verdict, and the hashes of its files."""
    content = json.loads(report.json)
    if content["format"] != FORMAT:
        raise KeyError("format")
    audit = content["audit"]
    return (
        f"{FORMAT}\n"
        f"clip sha256:{audit['sha256']}\n"
        f"verdict {audit['verdict']['state']}\n"
        f"time {content['time']}\n"
        f"json sha256:{hashlib.sha256(report.json).hexdigest()}\n"
        f"html sha256:{hashlib.sha256(report.html).hexdigest()}\n"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {str(name): _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
