"""An audit as plain JSON: what `vasari verify --json` and each line of a scan say."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from detector import DetectorReport
from provenance import CredentialsReport
from vasari.clip_audit import ClipAudit, UnreadableClip
from vasari.evidence import RepositoryEvidence
from watermark import Detection


def audit_json(clip: ClipAudit) -> dict[str, Any]:
    """The whole audit; manifest ids are 16 hex digits, times ISO 8601, the detector's log ratio natural."""
    found = clip.evidence
    return {
        "path": clip.path,
        "sha256": clip.sha256,
        "size_bytes": clip.size_bytes,
        "duration_s": round(clip.info.duration_s, 3) if clip.info is not None else None,
        "width": clip.info.width if clip.info is not None else None,
        "height": clip.info.height if clip.info is not None else None,
        "verdict": {
            "state": str(clip.verdict.state),
            "title": clip.verdict.title,
            "decided_by": clip.verdict.decided_by,
            "explanation": list(clip.verdict.explanation),
            "conflicts": list(clip.verdict.conflicts),
        },
        "checks": [asdict(check) for check in clip.checks],
        "credentials": _credentials(found.credentials),
        "watermark": {"video": _mark(found.video_mark), "audio": _mark(found.audio_mark)},
        "repository": _repository(found.repository),
        "log": {"state": found.log.state, "index": found.log.index, "explanation": found.log.explanation},
        "detector": _detector(found.detector),
        "audited_at": clip.audited_at.isoformat(),
        "took_s": round(clip.took_s, 3),
    }


def unreadable_json(file: UnreadableClip) -> dict[str, Any]:
    """The line of a file that could not be read."""
    return {"path": file.path, "error": file.error}


def _credentials(report: CredentialsReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "state": report.state,
        "engines_agree": report.engines_agree,
        "engines": [_plain(asdict(engine)) for engine in report.engines],
        "findings": [
            asdict(finding) | {"clause": finding.clause, "meaning": finding.meaning, "topic": finding.topic}
            for finding in report.findings
        ],
        "manifest_id": _hex(report.manifest_id),
        "signer": report.signer,
        "signed_at": _iso(report.signed_at),
        "ingredients": [_plain(asdict(ingredient)) for ingredient in report.ingredients],
        "sources": [_plain(asdict(step)) for step in report.sources],
        "portrait_sha256": report.portrait_sha256,
        "audio_sha256": report.audio_sha256,
        "consent_sha256": report.consent_sha256,
        "decision_sha256": report.decision_sha256,
        "soft_binding": report.soft_binding_value.hex() if report.soft_binding_value is not None else None,
        "unhashed_bytes": report.unhashed_bytes,
        "uncovered": [asdict(gap) for gap in report.uncovered],
    }


def _mark(mark: Detection | None) -> dict[str, Any] | None:
    if mark is None:
        return None
    return {
        "found": mark.found,
        "manifest_id": _hex(mark.payload.manifest_id) if mark.found and mark.payload is not None else None,
        "key_id": mark.key_id,
        "log10_false_positive": round(mark.log10_false_positive, 2),
        "pilot_z": round(mark.pilot_z, 2),
        "seconds_used": round(mark.seconds_used, 2),
    }


def _repository(found: RepositoryEvidence | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "manifest_id": _hex(found.manifest_id),
        "registered": found.registered,
        "created_at": _iso(found.created_at),
        "fingerprint_distance": found.fingerprint_distance,
        "same_content": found.same_content,
        "longer_by_s": round(found.longer_by_s, 2),
        "alignment": asdict(found.alignment) if found.alignment is not None else None,
        "recovered": _recovered(found),
    }


def _recovered(found: RepositoryEvidence) -> dict[str, Any] | None:
    facts = found.recovered
    if facts is None:
        return None
    return {
        "label": facts.label,
        "signer": facts.signer,
        "signed_at": _iso(facts.signed_at),
        "trusted": facts.trusted,
        "log": found.recovered_log.state if found.recovered_log is not None else "not_checked",
    }


def _detector(report: DetectorReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "state": report.state,
        "probability": report.probability,
        "log_likelihood_ratio": report.log_likelihood_ratio,
        "reason": report.reason,
        "model_digest": report.model_digest,
        "frames": [
            {
                "time_s": round(float(frame.time_s), 3),
                "score": frame.score,
                "face_px": frame.face_px,
                "box": list(frame.box) if frame.box is not None else None,
            }
            for frame in report.frames
        ],
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


def _hex(manifest_id: int | None) -> str | None:
    return None if manifest_id is None else f"{manifest_id:016x}"


def _iso(moment: datetime | str | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if isinstance(moment, datetime) else moment
