"""Whether a signer was revoked, judged offline by revocation lists (RFC 5280 section 5) that the verifier was given.

The engines look nothing up offline. A list counts only when the issuer of the certificate signed it and it is a whole
one (no delta, no part: RFC 5280 section 5.2). Whoever stands on any such list is revoked, also when a newer one forgot
them. A signature with a
trusted time stamp from before the revocation stays good, unless the reason says that the key was stolen: then the time
of the theft is unknown, and only the list's own invalidity date can save it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from provenance.certificate_rules import UNREADABLE_CERTIFICATE
from provenance.credentials_report import Finding, Severity
from provenance.errors import CertificateError
from provenance.status_codes import plain_words

_ENGINE = "vasari"
_STOLEN = (x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise, x509.ReasonFlags.aa_compromise)
_PEM_END = b"-----END X509 CRL-----"
MAX_LISTS = 100


def load_revocation_lists(pem: str) -> tuple[x509.CertificateRevocationList, ...]:
    """The lists of a PEM bundle; raises CertificateError when one can't be read."""
    parts = pem.encode("ascii", "replace").split(_PEM_END)[:-1]
    if len(parts) > MAX_LISTS or (pem.strip() and not parts):
        raise CertificateError(f"revocation lists: expected 1 to {MAX_LISTS} in PEM, got {len(parts)}")
    try:
        return tuple(x509.load_pem_x509_crl(part.strip() + b"\n" + _PEM_END) for part in parts)
    except UNREADABLE_CERTIFICATE as error:
        raise CertificateError(f"revocation lists: one can't be read: {error}") from error


def signer_revocation(
    chain: Sequence[x509.Certificate],
    roots_pem: str,
    lists: Sequence[x509.CertificateRevocationList],
    *,
    at: datetime,
    signed_at: datetime | None,
) -> Iterator[Finding]:
    """What `lists` say about a signer's `chain` (leaf first), judged at `at`; `signed_at` is a trusted time only."""
    for position, (certificate, own) in enumerate(_with_lists(chain, roots_pem, lists, at)):
        is_leaf = position == 0
        if not own:
            if is_leaf:
                yield _finding("vasari.revocationListMissing", "note")
            continue
        crl = own[0]
        issued, due = crl.last_update_utc, crl.next_update_utc
        if due is not None and due < at:
            yield _finding("vasari.revocationListStale", "warning", f"of {issued:%Y-%m-%d}, due again {due:%Y-%m-%d}")
        entry = _entry(own, certificate)
        if entry is None and is_leaf:
            yield _finding("vasari.signerNotRevoked", "passed", f"list of {issued:%Y-%m-%d}")
        elif entry is not None and signed_at is not None and signed_at < _bad_since(entry):
            yield _finding("vasari.signerRevokedLater", "note", _when_and_why(entry))
        elif entry is not None:
            code = "vasari.signerRevoked" if is_leaf else "vasari.issuerRevoked"
            yield _finding(code, "failure", _when_and_why(entry))


def time_stamp_revocation(
    chain: Sequence[x509.Certificate],
    roots_pem: str,
    lists: Sequence[x509.CertificateRevocationList],
    *,
    at: datetime,
    stamped_at: datetime | None,
) -> Iterator[Finding]:
    """A failure when the authority behind a time stamp was revoked before it stamped, or lost its key."""
    for certificate, own in _with_lists(chain, roots_pem, lists, at):
        entry = _entry(own, certificate)
        if entry is not None and (stamped_at is None or stamped_at >= _bad_since(entry)):
            yield _finding("vasari.timeStampAuthorityRevoked", "failure", _when_and_why(entry))


def _with_lists(
    chain: Sequence[x509.Certificate],
    roots_pem: str,
    lists: Sequence[x509.CertificateRevocationList],
    at: datetime,
) -> Iterator[tuple[x509.Certificate, list[x509.CertificateRevocationList]]]:
    """Each certificate that is no root, with the lists of its issuer as of `at`, newest first."""
    issuers = [*chain, *(x509.load_pem_x509_certificates(roots_pem.encode()) if roots_pem.strip() else ())]
    for certificate in chain:
        if certificate.issuer != certificate.subject:
            own = [crl for crl in lists if _made_by_issuer(crl, certificate, issuers) and crl.last_update_utc <= at]
            yield certificate, sorted(own, key=lambda crl: crl.last_update_utc, reverse=True)


def _entry(
    lists: Sequence[x509.CertificateRevocationList], certificate: x509.Certificate
) -> x509.RevokedCertificate | None:
    for crl in lists:
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None:
            return None if _reason(entry) is x509.ReasonFlags.remove_from_crl else entry
    return None


def _bad_since(entry: x509.RevokedCertificate) -> datetime:
    """From when on nothing that the key signed counts: for a stolen key, always, unless the list says since when."""
    if _reason(entry) not in _STOLEN:
        return entry.revocation_date_utc
    return _invalid_since(entry) or datetime.min.replace(tzinfo=UTC)


def _when_and_why(entry: x509.RevokedCertificate) -> str:
    reason = _reason(entry)
    return f"on {entry.revocation_date_utc:%Y-%m-%d %H:%M} UTC, reason {reason.value if reason else 'not given'}"


def _made_by_issuer(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, issuers: Sequence[x509.Certificate]
) -> bool:
    if crl.issuer != certificate.issuer or _is_partial(crl):
        return False
    for issuer in issuers:
        if issuer.subject != certificate.issuer:
            continue
        try:
            certificate.verify_directly_issued_by(issuer)
            if crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]  # DSA and others raise TypeError
                return True
        except (*UNREADABLE_CERTIFICATE, InvalidSignature):
            continue
    return False


def _is_partial(crl: x509.CertificateRevocationList) -> bool:
    """Whether a list has critical extensions (delta or part of a whole), or can't be read."""
    try:
        return any(extension.critical for extension in crl.extensions)
    except UNREADABLE_CERTIFICATE:
        return True


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, *UNREADABLE_CERTIFICATE):
        return None


def _invalid_since(entry: x509.RevokedCertificate) -> datetime | None:
    try:
        return entry.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
    except (x509.ExtensionNotFound, *UNREADABLE_CERTIFICATE):
        return None


def _finding(code: str, severity: Severity, detail: str = "") -> Finding:
    return Finding(code, severity, plain_words(code, detail), _ENGINE)
