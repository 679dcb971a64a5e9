"""The second, independent engine: encypher-c2pa, offline, without its bundled trust lists, telemetry off."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["ENCYPHER_C2PA_TELEMETRY"] = "off"  # read when the engine is loaded and at each call
os.environ["ENCYPHER_C2PA_ONLINE"] = "off"

import encypher_c2pa

from provenance.credentials_report import EngineState, EngineVerdict, Finding
from provenance.engine_c2pa import ingredient_findings, status_findings
from provenance.pki import TrustAnchors
from provenance.status_codes import TRUST_FAILURES, plain_words

ENGINE = "encypher-c2pa"
MAX_FILE_BYTES = 128 << 20  # the engine's own limit


def read_with_encypher(
    path: Path, media_type: str, anchors: TrustAnchors, validation_time: datetime | None
) -> tuple[EngineVerdict, tuple[Finding, ...]]:
    """Validate `path`, as of `validation_time` (now when None)."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        return _not_run(f"the file has {size} bytes, the engine takes at most {MAX_FILE_BYTES}")
    if media_type not in encypher_c2pa.supported_mime_types():
        return _not_run(f"the engine does not read {media_type}")
    at = validation_time.astimezone(UTC).isoformat().replace("+00:00", "Z") if validation_time else None
    try:
        report = encypher_c2pa.verify(
            path,
            media_type,
            trust_pem=anchors.manifest_pem,
            tsa_trust_pem=anchors.tsa_pem or None,
            no_default_trust=True,
            validation_time=at,
            online=False,
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  the native module raises unrelated types, a Rust panic among them
        finding = Finding("vasari.unreadable", "failure", plain_words("vasari.unreadable", str(error)), ENGINE)
        return _verdict("unreadable", str(error)), (finding,)
    if not report.get("present"):
        return _verdict("absent"), ()
    findings = tuple(_findings(report))
    return _verdict(_state(report, findings), _reason(report)), findings


def _findings(report: Mapping[str, Any]) -> Iterator[Finding]:
    yield from status_findings(report.get("validation_results") or {}, "", ENGINE)
    manifests = (report.get("manifest_report") or {}).get("manifests") or {}
    for label, manifest in manifests.items():
        yield from ingredient_findings(manifest, str(label), ENGINE)


def _state(report: Mapping[str, Any], findings: tuple[Finding, ...]) -> EngineState:
    failed = {finding.code for finding in findings if finding.severity == "failure"}
    if report.get("integrity") != "valid" or failed - TRUST_FAILURES:
        return "untrusted" if failed and failed <= TRUST_FAILURES else "broken"
    trust = (report.get("trust") or {}).get("status")
    return "verified" if trust == "valid_for_supplied_material" and not failed else "untrusted"


def _reason(report: Mapping[str, Any]) -> str:
    trust = (report.get("trust") or {}).get("status")
    return f"integrity {report.get('integrity')}, trust {trust}"


def _not_run(reason: str) -> tuple[EngineVerdict, tuple[Finding, ...]]:
    code = "vasari.secondEngineNotRun"
    return _verdict("not_run", f"second engine not run: {reason}"), (
        Finding(code, "warning", plain_words(code, reason), ENGINE),
    )


def _verdict(state: EngineState, reason: str = "") -> EngineVerdict:
    return EngineVerdict(ENGINE, encypher_c2pa.__version__, state, reason)
