"""What `verify` and `scan` compare a clip with: the local authority where there is one, else nobody is trusted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vasari.cli.public_folder import CLAIM_ROOT, LOG_KEY, REVOCATION_LISTS, TIME_ROOT
from vasari.cli.session import CommandError, Session

if TYPE_CHECKING:
    from detector import Detector
    from provenance import CredentialsReport, TrustAnchors
    from vasari.clip_audit import ClipAuditor
    from vasari.evidence import LogEvidence


@contextmanager
def open_auditor(session: Session, trust: Path | None = None) -> Iterator["ClipAuditor"]:
    """An auditor with the authority's anchors, mark keys, repository and log, or with the public folder `trust`.

    Without either it still runs the detector, and says so.
    """
    from policy import Authority
    from vasari.clip_audit import ClipAuditor
    from vasari.log_evidence import check_log_with

    detector = _detector(session)
    if trust is not None:
        yield ClipAuditor(anchors=read_anchors(trust), check_log=_log_check(trust), detector=detector)
        return
    if not session.state.exists():
        session.note(f"{session.state}: no authority here; neither credentials nor marks can be judged")
        yield ClipAuditor(detector=detector)
        return
    with Authority.open(session.state) as authority:
        yield ClipAuditor(
            anchors=authority.trust_anchors,
            mark_keys=authority.mark_keys,
            repository=authority.repository,
            check_log=check_log_with(authority.log, authority.log_public_key),
            detector=detector,
        )


def read_anchors(public: Path) -> "TrustAnchors":
    """The root certificates and revocation lists in an authority's public folder."""
    from provenance import ProvenanceError, TrustAnchors

    lists = public / REVOCATION_LISTS

    try:
        return TrustAnchors(
            manifest_pem=(public / CLAIM_ROOT).read_text(encoding="ascii"),
            tsa_pem=(public / TIME_ROOT).read_text(encoding="ascii"),
            crl_pem=lists.read_text(encoding="ascii") if lists.exists() else "",
        )
    except (OSError, UnicodeDecodeError, ProvenanceError) as error:
        raise CommandError(
            f"{public}: expected the public folder of an authority with {CLAIM_ROOT} and {TIME_ROOT} ({error})"
        ) from error


def _log_check(public: Path) -> "Callable[[CredentialsReport], LogEvidence] | None":
    """A check of log proofs by the log's public key, where the folder holds it."""
    from provenance import ProofError, parse_log_key
    from vasari.log_evidence import check_log_offline

    path = public / LOG_KEY
    if not path.exists():
        return None
    try:
        return check_log_offline(*parse_log_key(path.read_text(encoding="utf-8")))
    except (ProofError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}") from error


def _detector(session: Session) -> "Detector | None":
    """The detector; without its weights the other evidence is still worth having, and the report says so."""
    from detector import Detector, DetectorError

    try:
        return Detector.load()
    except DetectorError as error:
        session.note(f"the detector does not run: {error}")
        return None
