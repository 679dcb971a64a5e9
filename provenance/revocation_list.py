"""Making revocation lists (RFC 5280 section 5) for the certificates of `pki`, and rotating what was revoked."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from provenance.errors import CertificateError
from provenance.pki import REVOCATION_LISTS, read_chain, read_key
from provenance.revocation import load_revocation_lists
from provenance.whole_file import write_whole

LIST_DAYS = 30
"""How long a list is good; make it anew before, even when nothing changed."""

ISSUERS = {"claim_signing": "issuing_ca", "issuing_ca": "claim_root", "time_stamping": "time_root"}
"""Which certificate of the folder may be revoked, and whose list says so."""

REASONS = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
}


def revoke_certificate(
    folder: Path, name: str, *, reason: str, now: datetime, invalid_since: datetime | None = None
) -> x509.Certificate:
    """Put the certificate now called `name` on its issuer's list and renew all lists; returns it.

    `invalid_since` says when a stolen key was stolen; without it nothing that the key ever signed counts. Raises
    CertificateError for an unknown name or reason, or a folder that holds no PKI.
    """
    if name not in ISSUERS or reason not in REASONS:
        raise CertificateError(f"revocation: expected one of {sorted(ISSUERS)} and a reason of {sorted(REASONS)}")
    certificate = read_chain(folder, name)[0]
    if certificate.issuer != read_chain(folder, ISSUERS[name])[0].subject:
        raise CertificateError(f"{folder / name}.pem: issued outside; ask that authority to revoke it")
    at = now.astimezone(UTC).replace(microsecond=0)
    entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(at)
    if reason != "unspecified":  # RFC 5280 section 5.3.1: leave it out then
        entry = entry.add_extension(x509.CRLReason(REASONS[reason]), critical=False)
    if invalid_since is not None:
        entry = entry.add_extension(x509.InvalidityDate(invalid_since.astimezone(UTC)), critical=False)
    _write_lists(folder, {ISSUERS[name]: entry.build()}, at)
    return certificate


def renew_revocation_lists(folder: Path, *, now: datetime) -> None:
    """The same lists with a new date, so that verifiers see that nothing happened since."""
    _write_lists(folder, {}, now.astimezone(UTC).replace(microsecond=0))


def _write_lists(folder: Path, added: dict[str, x509.RevokedCertificate], at: datetime) -> None:
    """All lists in one PEM file, replaced whole. An entry once made stays."""
    path = folder / REVOCATION_LISTS
    held = load_revocation_lists(path.read_text(encoding="ascii")) if path.exists() else ()
    made = []
    for issuer_name in dict.fromkeys(ISSUERS.values()):
        issuer = read_chain(folder, issuer_name)[0]
        old = [crl for crl in held if crl.issuer == issuer.subject]
        made.append(_make_list(issuer, read_key(folder / f"{issuer_name}.key"), old, added.get(issuer_name), at))
    write_whole(path, b"".join(crl.public_bytes(Encoding.PEM) for crl in made), mode=0o644)


def _make_list(
    issuer: x509.Certificate,
    key: object,
    old: Sequence[x509.CertificateRevocationList],
    added: x509.RevokedCertificate | None,
    at: datetime,
) -> x509.CertificateRevocationList:
    entries = {entry.serial_number: entry for crl in old for entry in crl}
    if added is not None:
        entries.setdefault(added.serial_number, added)
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in old]
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(at)
        .next_update(at + timedelta(days=LIST_DAYS))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.CRLNumber(max(numbers, default=0) + 1), critical=False)
    )
    for entry in entries.values():
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # read_key gives a P-256 key
