"""`vasari pki`: the certificates that sign clips: show, check, rotate, revoke, or get them from a real authority."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.public_folder import publish_certificates
from vasari.cli.session import FILE, CommandError, Exit, Session, styled, table, with_session
from vasari.cli.whole_file import write_bytes
from vasari.plain_text import printable

if TYPE_CHECKING:
    from cryptography import x509

    from policy.key_desk import CertificateChange

HORIZON_DAYS = 30
NAMES = ("claim_signing", "issuing_ca", "time_stamping")
REASON_NAMES = ("unspecified", "key-compromise", "superseded", "cessation-of-operation")
KINDS = ("claim", "issuing", "time-stamping")

horizon_option = click.option(
    "--horizon",
    type=click.IntRange(min=0),
    default=HORIZON_DAYS,
    show_default=True,
    help="Days ahead in which an expiry is reported.",
)


@click.group()
def pki() -> None:
    """The certificates that sign clips: show, check, rotate, revoke, or get them from a real authority."""


@pki.command(short_help="All certificates, until when, revoked or not.")
@horizon_option
@with_session
def show(session: Session, horizon: int) -> None:
    """Show every certificate of the local authority: name, fingerprint, how long it is valid, whether it is revoked.

    Ends with exit code 6 when one has expired, expires within --horizon days, or is revoked.

    \b
    Example:
      vasari pki show --horizon 60
    """
    from provenance import PKI_CERTIFICATES, read_chain

    folder, now = _folder(session), datetime.now(UTC)
    revoked = _revoked_serials(folder)
    rows = [_described(name, read_chain(folder, name)[0], now, revoked) for name in PKI_CERTIFICATES]
    lines = []
    for row in rows:
        soon = row["days_left"] < horizon
        state = "revoked" if row["revoked"] else "expires soon" if soon else "valid"
        colour = "green" if state == "valid" else "red" if row["revoked"] or row["days_left"] < 0 else "yellow"
        lines.append(f"{styled(row['name'], bold=True)}: {styled(state, fg=colour)}, {row['days_left']:.0f} days left")
        lines += table((key.replace("_", " "), row[key]) for key in ("subject", "serial", "sha256", "valid_until"))
    session.result({"certificates": rows}, lines)
    if any(row["revoked"] or row["days_left"] < horizon for row in rows):
        raise SystemExit(Exit.NOTHING_FOUND)


@pki.command(short_help="Check certificates against every rule, by name.")
@click.argument("chain", type=FILE, required=False)
@click.option("--kind", type=click.Choice(KINDS), default="claim", show_default=True, help="What CHAIN is for.")
@horizon_option
@with_session
def lint(session: Session, chain: Path | None, kind: str, horizon: int) -> None:
    """Check certificates rule by rule: those of the local authority, or a PEM file CHAIN with the leaf first.

    Every rule is named with where it stands, kept or broken. Exit code 5 when a rule is broken; advice does not count.

    \b
    Example:
      vasari pki lint signer.pem --kind claim
    """
    from provenance import PKI_CERTIFICATES, read_chain

    now = datetime.now(UTC)
    if chain is not None:
        checked = {chain.name: (kind, _load(chain))}
    else:
        folder = _folder(session)
        checked = {name: (kind_, read_chain(folder, name)) for name, kind_ in PKI_CERTIFICATES.items()}
    results = {name: _linted(kind_, certificates, now, horizon) for name, (kind_, certificates) in checked.items()}
    lines = []
    for name, rules in results.items():
        lines.append(styled(printable(name), bold=True))
        for rule in rules:
            mark, colour = {"kept": ("+", "green"), "error": ("x", "red"), "advice": ("!", "yellow")}[rule["result"]]
            lines.append(f"  {styled(mark, fg=colour)} {rule['rule']}: {printable(rule['explanation'] or rule['asks'])}"
                         f" {styled('[' + rule['clause'] + ']', dim=True)}")  # fmt: skip
    session.result(results, lines)
    if any(rule["result"] == "error" for rules in results.values() for rule in rules):
        raise SystemExit(Exit.VERIFICATION_FAILED)


@pki.command(short_help="A certificate request for a real authority.")
@click.option("--country", required=True, help="Two letters, ISO 3166.")
@click.option("--organisation", required=True, help="Legal name, as the authority will check it.")
@click.option("--common-name", required=True, help="Name of the signing product or service.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The request, PKCS #10.")
@with_session
def csr(session: Session, country: str, organisation: str, common_name: str, out: Path) -> None:
    """Ask a real certificate authority for a claim-signing certificate; the new key never leaves the state folder.

    Until the answer is installed (`vasari pki install`), clips are signed with the old key.

    \b
    Example:
      vasari pki csr --country DE --organisation "Example Lab" --common-name "Example Lab Release" --out lab.csr
    """
    from provenance import make_certificate_request

    pem = make_certificate_request(
        _folder(session), country=country, organisation=organisation, common_name=common_name
    )
    write_bytes(out, pem)
    session.result(
        {"request": str(out)}, [f"request: {out}", "Next: vasari pki install, with the chain that comes back"]
    )


@pki.command(short_help="Install the chain that an authority issued.")
@click.argument("chain", type=FILE)
@click.option("--root", type=FILE, required=True, help="The root certificate that CHAIN leads to.")
@with_session
def install(session: Session, chain: Path, root: Path) -> None:
    """Sign with the certificate in CHAIN (PEM, leaf first) from now on. Every rule is checked before; exit code 5 when
    one is broken, and then nothing is changed.

    \b
    Example:
      vasari pki install lab-chain.pem --root public-root.pem
    """
    from provenance import CertificateError, install_certificate_chain

    folder = _folder(session)
    _require_key_file(session)
    try:
        installed = install_certificate_chain(folder, chain.read_bytes(), root.read_bytes(), now=datetime.now(UTC))
    except CertificateError as error:
        raise CommandError(f"{chain}, {root}: {error}", Exit.VERIFICATION_FAILED) from error
    publish_certificates(session.state)
    _log(session, "certificate.installed", "claim_signing", installed[0])
    row = _described("claim_signing", installed[0], datetime.now(UTC), set())
    session.result(row, _told(row))


@pki.command(short_help="A new signing key and certificate.")
@with_session
def rotate(session: Session) -> None:
    """Replace the claim-signing key and certificate; clips signed before stay valid by their time stamps.

    \b
    Example:
      vasari pki rotate
    """
    from provenance import read_chain, renew_claim_signing, renew_revocation_lists

    folder, now = _folder(session), datetime.now(UTC)
    _require_key_file(session)
    renew_claim_signing(folder, now=now)
    renew_revocation_lists(folder, now=now)
    publish_certificates(session.state)
    made = read_chain(folder, "claim_signing")[0]
    _log(session, "certificate.rotated", "claim_signing", made)
    row = _described("claim_signing", made, now, set())
    session.result(row, _told(row))


@pki.command(short_help="Put a certificate on the revocation list.")
@click.argument("name", type=click.Choice(NAMES))
@click.option("--reason", type=click.Choice(REASON_NAMES), required=True, help="Why; RFC 5280, 5.3.1.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]),
    help="When a stolen key was stolen (UTC); without it nothing that the key ever signed counts.",
)
@with_session
def revoke(session: Session, name: str, reason: str, since: datetime | None) -> None:
    """Revoke the certificate NAME and publish the lists; verifiers that hold them see it offline.

    Rotate afterwards (`vasari pki rotate`), or nothing can be released.

    \b
    Example:
      vasari pki revoke claim_signing --reason key-compromise
    """
    from provenance import revoke_certificate

    folder, now = _folder(session), datetime.now(UTC)
    since = since.replace(tzinfo=UTC) if since else None
    certificate = revoke_certificate(folder, name, reason=reason, now=now, invalid_since=since)
    publish_certificates(session.state)
    _log(session, "certificate.revoked", name, certificate, reason)
    row = _described(name, certificate, now, {certificate.serial_number})
    session.result(row, _told(row))


@pki.command(short_help="Renew the revocation lists, publish roots and lists.")
@with_session
def publish(session: Session) -> None:
    """Date the revocation lists anew (they are good for 30 days) and put roots and lists into the public folder.

    \b
    Example:
      vasari pki publish
    """
    from provenance import renew_revocation_lists

    folder = _folder(session)
    renew_revocation_lists(folder, now=datetime.now(UTC))
    publish_certificates(session.state)
    session.result({"public": str(session.state / "public")}, [f"published in {session.state / 'public'}"])


def _folder(session: Session) -> Path:
    folder = session.state / "pki"
    if not folder.is_dir():
        raise CommandError(f"{session.state}: no authority here; make one with `vasari init`")
    return folder


def _require_key_file(session: Session) -> None:
    """A key in a hardware module or key service is changed by `vasari key`, which knows its place."""
    from policy import KeyRing

    if "claim" in (ring := KeyRing.read(session.state)).file.uris:
        raise CommandError(f"the signing key lies at {ring.uri('claim')}; use `vasari key rotate claim --to URI`")


def _log(
    session: Session, event: "CertificateChange", name: str, certificate: "x509.Certificate", reason: str = ""
) -> None:
    from policy import Authority

    with Authority.open(session.state) as authority:
        authority.certificate_event(event, name, certificate.serial_number, reason)


def _revoked_serials(folder: Path) -> set[int]:
    from provenance import TrustAnchors, load_revocation_lists

    lists = load_revocation_lists(TrustAnchors.from_folder(folder).crl_pem)
    return {entry.serial_number for crl in lists for entry in crl}


def _described(name: str, certificate: "x509.Certificate", now: datetime, revoked: set[int]) -> dict[str, Any]:
    from cryptography.hazmat.primitives import hashes

    return {
        "name": name,
        "subject": printable(certificate.subject.rfc4514_string()),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "valid_until": certificate.not_valid_after_utc.strftime("%Y-%m-%d"),
        "days_left": (certificate.not_valid_after_utc - now) / timedelta(days=1),
        "revoked": certificate.serial_number in revoked,
    }


def _told(row: dict[str, Any]) -> list[str]:
    """A described certificate for people."""
    shown = row | {"days_left": f"{row['days_left']:.0f}", "revoked": "yes" if row["revoked"] else "no"}
    return table((name.replace("_", " "), value) for name, value in shown.items())


def _load(path: Path) -> "tuple[x509.Certificate, ...]":
    from cryptography import x509

    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except ValueError as error:
        raise CommandError(f"{path}: expected PEM certificates, got {error}") from error


def _linted(kind: str, chain: "tuple[x509.Certificate, ...]", now: datetime, horizon: int) -> list[dict[str, Any]]:
    """Every rule of this kind with its result."""
    from provenance import CERTIFICATE_RULES, lint_certificates

    broken = {fault.rule: fault for fault in lint_certificates(kind, chain, now=now, horizon=timedelta(days=horizon))}
    return [
        {
            "rule": rule,
            "asks": asks,
            "clause": clause,
            "result": broken[rule].severity if rule in broken else "kept",
            "explanation": broken[rule].explanation if rule in broken else "",
        }
        for rule, (asks, clause) in CERTIFICATE_RULES[kind].items()
    ]
