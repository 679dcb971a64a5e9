"""What `verify` and `scan` compare a clip with: the local authority where there is one, else nobody is trusted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vasari.cli.session import Session

if TYPE_CHECKING:
    from detector import Detector
    from vasari.clip_audit import ClipAuditor


@contextmanager
def open_auditor(session: Session) -> Iterator["ClipAuditor"]:
    """An auditor with the authority's anchors, mark keys, repository and log.

    Without a state folder it still checks integrity and runs the detector, and says so.
    """
    from policy import Authority
    from vasari.clip_audit import ClipAuditor
    from vasari.log_evidence import check_log_with

    detector = _detector(session)
    if not session.state.exists():
        session.note(f"{session.state}: no authority here; nobody's signature is trusted and no mark can be read")
        yield ClipAuditor(anchors=None, detector=detector)
        return
    with Authority.open(session.state) as authority:
        yield ClipAuditor(
            anchors=authority.trust_anchors,
            mark_keys=(authority.mark_key,),
            repository=authority.repository,
            check_log=check_log_with(authority.log, authority.log_public_key),
            detector=detector,
        )


def _detector(session: Session) -> "Detector | None":
    """The detector; without its weights the other evidence is still worth having, and the report says so."""
    from detector import Detector, DetectorError

    try:
        return Detector.load()
    except DetectorError as error:
        session.note(f"the detector does not run: {error}")
        return None
