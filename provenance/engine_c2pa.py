"""The first engine: c2pa-python (c2pa-rs), every result and every exception turned into findings."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import c2pa
from c2pa import C2paError, Reader

from provenance.credentials_report import EngineVerdict, Finding, Severity, State
from provenance.engine_settings import CLAIM_LIST, EngineSettings
from provenance.pki import TrustAnchors
from provenance.status_codes import TRUST_FAILURES, plain_words

ENGINE = "c2pa-python"
STORE_MEDIA_TYPE = "application/c2pa"
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Reading:
    """The first engine's view: verdict, findings, all manifests as the engine reports them.

    `bound` is the label of the manifest whose hash binds the content: the active one, or for an update manifest the
    nearest parent that has a hash.
    """

    verdict: EngineVerdict
    findings: tuple[Finding, ...]
    manifests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    active: str = ""
    bound: str = ""
    signed_at: datetime | None = None
    excluded_bytes: int | None = None  # what a `c2pa.hash.data` leaves out; None for other kinds of hash

    @property
    def active_manifest(self) -> Mapping[str, Any]:
        """What signed last."""
        return self.manifests.get(self.active, {})

    @property
    def bound_manifest(self) -> Mapping[str, Any]:
        """What vouches for the content."""
        return self.manifests.get(self.bound, {})


def read_with_c2pa(
    file: BinaryIO,
    media_type: str,
    anchors: TrustAnchors,
    store: bytes | None,
    *,
    has_store: bool,
    at: datetime | None = None,
) -> Reading:
    """Validate `file`; `store` is its manifest store where its place is certain (else None).

    The engine judges certificates by the clock; only what we add to it judges by the time `at` (now when None).
    A file the engine chokes on is "broken" if it `has_store`, else "unreadable".
    """
    try:
        report = _read(file, media_type, EngineSettings.for_anchors(anchors))
    except C2paError.ManifestNotFound:
        return Reading(_verdict("absent"), ())
    except (C2paError.NotSupported, C2paError.Io, C2paError.FileNotFound) as error:
        return _unreadable("vasari.unreadable", "unreadable", error)
    except (C2paError, ValueError, RecursionError) as error:
        return _unreadable("general.error", "broken" if has_store else "unreadable", error)
    findings = list(_findings(report))
    findings += _trust_findings(report, findings)
    stamped, stamp_findings = _time_stamp(file, media_type, anchors, store, report, at)
    findings += stamp_findings
    return Reading(
        verdict=_verdict(_state(report, findings)),
        findings=tuple(findings),
        manifests=_manifests(report),
        active=str(report.get("active_manifest")),
        bound=report["bound"],
        signed_at=stamped,
        excluded_bytes=report["excluded_bytes"],
    )


def _read(file: BinaryIO, media_type: str, settings: EngineSettings) -> dict[str, Any]:
    file.seek(0)
    with Reader(media_type, file, context=settings.context()) as reader:
        report: dict[str, Any] = json.loads(reader.json())
        if settings.manifest_anchors_pem:
            label = report.get("active_manifest")
            report["certificate"] = _certificate(json.loads(reader.crjson()), label)
            stores = _assertion_stores(json.loads(reader.detailed_json()))
            report["bound"] = _bound_label(_manifests(report), stores, str(label))
            report["excluded_bytes"] = _excluded_bytes(stores.get(report["bound"], {}))
    return report


def _certificate(crjson: Mapping[str, Any], label: object) -> Mapping[str, Any]:
    for manifest in crjson.get("manifests", []):
        if manifest.get("label") == label:
            found = manifest.get("signature", {}).get("certificateInfo", {})
            return found if isinstance(found, Mapping) else {}
    return {}


def _assertion_stores(detailed: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every manifest's assertions by label. `json` does not show the data hash, `detailed_json` does."""
    manifests = detailed.get("manifests", {}).items()
    return {str(label): manifest.get("assertion_store") or {} for label, manifest in manifests}


def _bound_label(
    manifests: Mapping[str, Mapping[str, Any]], stores: Mapping[str, Mapping[str, Any]], active: str
) -> str:
    """The manifest whose hash binds the content: an update manifest has none, its parent's counts (section 11.2)."""
    label = active
    for _ in range(_MAX_DEPTH):
        if any(name.startswith("c2pa.hash.") for name in stores.get(label, {})):
            return label
        parents = [
            entry.get("active_manifest")
            for entry in manifests.get(label, {}).get("ingredients", [])
            if entry.get("relationship") == "parentOf"
        ]
        if len(parents) != 1 or parents[0] not in manifests:
            break
        label = str(parents[0])
    return active


def _excluded_bytes(assertions: Mapping[str, Any]) -> int | None:
    """How many bytes the data hash leaves out."""
    data = assertions.get("c2pa.hash.data")
    if not isinstance(data, Mapping):
        return None
    lengths = [entry.get("length") for entry in data.get("exclusions") or [] if isinstance(entry, Mapping)]
    return sum(length for length in lengths if isinstance(length, int))


def _manifests(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = report.get("manifests", {})
    return {str(label): manifest for label, manifest in found.items() if isinstance(manifest, Mapping)}


def _active_manifest(report: Mapping[str, Any]) -> Mapping[str, Any]:
    return _manifests(report).get(str(report.get("active_manifest")), {})


def _findings(report: Mapping[str, Any]) -> Iterator[Finding]:
    """The active manifest's results, the ingredient deltas, and every ingredient of every manifest."""
    results = report.get("validation_results", {})
    yield from status_findings(results.get("activeManifest", {}), "")
    for delta in results.get("ingredientDeltas", []):
        yield from status_findings(delta.get("validationDeltas", {}), "a source")
    for label, manifest in report.get("manifests", {}).items():
        yield from ingredient_findings(manifest, str(label))


def ingredient_findings(manifest: Mapping[str, Any], label: str, engine: str = ENGINE) -> Iterator[Finding]:
    """Failures recorded in a manifest's ingredients: a clean edit over a tampered parent shows only here."""
    for ingredient in manifest.get("ingredients", []):
        where = f"source {ingredient.get('title', '?')!r} of {label}"
        results = ingredient.get("validation_results") or {}
        yield from status_findings(results.get("activeManifest", {}), where, engine, failures_only=True)
        for delta in results.get("ingredientDeltas", []):
            yield from status_findings(delta.get("validationDeltas", {}), where, engine, failures_only=True)
        for entry in ingredient.get("validation_status") or []:  # the older form
            if not entry.get("success", False):
                yield _finding(entry, "failure", where, engine)


def status_findings(
    statuses: Mapping[str, Any], where: str, engine: str = ENGINE, *, failures_only: bool = False
) -> Iterator[Finding]:
    """Findings of one {success, informational, failure} record."""
    for entry in statuses.get("failure") or []:
        yield _finding(entry, "failure", where, engine)
    if failures_only:
        return
    for entry in statuses.get("informational") or []:
        yield _finding(entry, "note", where, engine)
    for entry in statuses.get("success") or []:
        yield _finding(entry, "passed", where, engine)


def _finding(entry: Mapping[str, Any], severity: Severity, where: str, engine: str) -> Finding:
    code = str(entry.get("code", "general.error"))
    detail = "; ".join(filter(None, (where, str(entry.get("explanation", "")))))
    return Finding(code, severity, plain_words(code, detail), engine, str(entry.get("url", "")), source=where)


def _trust_findings(report: Mapping[str, Any], findings: list[Finding]) -> Iterator[Finding]:
    """Trusted alone is not enough: it must come from our list of claim signers."""
    state = report.get("validation_state")
    list_uri = report.get("validation_results", {}).get("trustListUri")
    if state == "Trusted" and list_uri != CLAIM_LIST:
        detail = f"trusted through {list_uri}"
        yield _own("vasari.signerNotOnClaimList", "failure", detail)
    elif state == "Trusted":
        yield _own("vasari.signerOnClaimList", "passed", "")
    elif not any(f.severity == "failure" for f in findings):
        yield _own("vasari.invalidWithoutReason", "failure", f"state {state}")


def _time_stamp(
    file: BinaryIO,
    media_type: str,
    anchors: TrustAnchors,
    store: bytes | None,
    report: Mapping[str, Any],
    at: datetime | None,
) -> tuple[datetime | None, list[Finding]]:
    """The time of signing, if an authority on our list of time stampers alone vouches for it.

    Read once more with those anchors only, because a claim anchor would vouch for a time stamp too.
    """
    settings = EngineSettings(tsa_anchors_pem=anchors.tsa_pem)
    codes: set[str] = set()
    if anchors.tsa_pem.strip():
        try:
            source, kind = (io.BytesIO(store), STORE_MEDIA_TYPE) if store else (file, media_type)
            second = _read(source, kind, settings)
            active = second.get("validation_results", {}).get("activeManifest", {})
            codes = {str(entry.get("code")) for entry in active.get("success", [])}
        except (C2paError, ValueError):
            codes = set()
    if "timeStamp.trusted" in codes:
        time = _active_manifest(report).get("signature_info", {}).get("time")
        return _parse_time(time), [_own("vasari.timeStamped", "passed", str(time))]
    valid_now = _valid_at(report.get("certificate", {}), at or datetime.now(UTC))
    severity: Severity = "warning" if valid_now else "failure"
    return None, [
        _own(
            "vasari.notTimeStamped",
            severity,
            "" if valid_now else "and that certificate is not valid at the time of the check",
        )
    ]


def _valid_at(certificate: Mapping[str, Any], at: datetime) -> bool:
    validity = certificate.get("validity", {})
    start, end = _parse_time(validity.get("notBefore")), _parse_time(validity.get("notAfter"))
    return start is not None and end is not None and start <= at <= end


def _parse_time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def _state(report: Mapping[str, Any], findings: list[Finding]) -> State:
    failed = {finding.code for finding in findings if finding.severity == "failure"}
    if failed - TRUST_FAILURES:
        return "broken"
    if failed or report.get("validation_state") != "Trusted":
        return "untrusted"
    return "verified"


def _unreadable(code: str, state: State, error: Exception) -> Reading:
    finding = Finding(code, "failure", plain_words(code, str(error)), ENGINE)
    return Reading(_verdict(state, str(error)), (finding,))


def _own(code: str, severity: Severity, detail: str) -> Finding:
    return Finding(code, severity, plain_words(code, detail), ENGINE)


def _verdict(state: State, reason: str = "") -> EngineVerdict:
    return EngineVerdict(ENGINE, c2pa.sdk_version(), state, reason)
