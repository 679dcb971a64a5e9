"""What an authority may hand to anyone: the files in its `public` folder."""

from pathlib import Path

from vasari.cli.whole_file import write_bytes, write_text

CLAIM_ROOT = "claim-root.pem"
TIME_ROOT = "time-root.pem"
LOG_KEY = "log.vkey"
REVOCATION_LISTS = "revoked.crl.pem"


def publish_log_key(state: Path) -> None:
    """The key and name under which the log of the authority in `state` can be checked."""
    from policy import Authority
    from provenance import format_log_key

    with Authority.open(state) as authority:
        line = format_log_key(authority.log.origin, authority.log_public_key)
    write_text(state / "public" / LOG_KEY, line + "\n")


def publish_certificates(state: Path) -> None:
    """Root certificates and revocation lists of the authority in `state`; keys never leave its other folders."""
    from provenance import REVOCATION_LISTS as HELD_LISTS
    from provenance import TrustAnchors

    folder, public = state / "pki", state / "public"
    anchors = TrustAnchors.from_folder(folder)
    write_bytes(public / CLAIM_ROOT, anchors.manifest_pem.encode())
    write_bytes(public / TIME_ROOT, anchors.tsa_pem.encode())
    if (folder / HELD_LISTS).exists():
        write_bytes(public / REVOCATION_LISTS, anchors.crl_pem.encode())
