"""The certificate rules, checked one by one and named, before anything is signed.

The engine answers ten different faults with "the certificate is invalid"; this linter says which rule is
broken. Rules: C2PA leaf profile, the time-stamping profile of RFC 3161 section 2.3, what c2pa-rs asks for.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from asn1crypto import core
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from provenance.errors import CertificateError

CLAIM_SIGNING_EKU = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
DOCUMENT_SIGNING_EKU = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
CLAIM_SIGNING_POLICY = x509.ObjectIdentifier("1.3.6.1.4.1.62558.1.1")
ASSURANCE_LEVEL_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.62558.3")
ASSURANCE_LEVEL_1 = "1.3.6.1.4.1.62558.3.10"
ASSURANCE_LEVEL_2 = "1.3.6.1.4.1.62558.3.20"
PRODUCT_RECORD_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.62558.4")
MAX_DAYS = {ASSURANCE_LEVEL_1: 366, ASSURANCE_LEVEL_2: 90}
MAX_TIME_STAMPING_DAYS = 4110
SIGNATURE_HASHES = ("sha256", "sha384", "sha512")
SIGNING_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

UNREADABLE_CERTIFICATE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises, late, where a part of a certificate can't be read."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True)
class BrokenRule:
    """One rule a certificate does not keep. An "error" stops signing; "advice" does not."""

    rule: str
    severity: Literal["error", "advice"]
    explanation: str


def lint_claim_chain(chain: Sequence[x509.Certificate], *, now: datetime) -> tuple[BrokenRule, ...]:
    """Every broken rule of a claim-signing chain, leaf first, its root left out or last."""
    if not chain:
        return (BrokenRule("chain_present", "error", "expected a chain with the leaf first, got no certificate"),)
    return (*_claim_leaf_rules(chain[0], now), *_chain_rules(chain, now))


def lint_time_stamping_certificate(leaf: x509.Certificate, *, now: datetime) -> tuple[BrokenRule, ...]:
    """Every broken rule of a time-stamping leaf."""
    return tuple(_time_stamping_rules(leaf, now))


def require_claim_chain(chain: Sequence[x509.Certificate], *, now: datetime) -> None:
    """Raise CertificateError with every broken rule of severity "error"."""
    _require("claim-signing chain", lint_claim_chain(chain, now=now))


def require_time_stamping_certificate(leaf: x509.Certificate, *, now: datetime) -> None:
    """Raise CertificateError with every broken rule of severity "error"."""
    _require("time-stamping certificate", lint_time_stamping_certificate(leaf, now=now))


def _require(what: str, broken: Sequence[BrokenRule]) -> None:
    errors = [f"{rule.rule}: {rule.explanation}" for rule in broken if rule.severity == "error"]
    if errors:
        raise CertificateError(f"{what} breaks {len(errors)} rule(s): " + "; ".join(errors))


def _claim_leaf_rules(leaf: x509.Certificate, now: datetime) -> Iterator[BrokenRule]:
    yield from _common_leaf_rules(leaf, now)
    names = {attribute.oid for attribute in leaf.subject}
    wanted = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
    missing = [short for short, oid in wanted.items() if oid not in names]
    if missing:
        yield BrokenRule("subject_names", "error", f"expected C, O and CN in the subject, missing {missing}")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not (usage.value.digital_signature and usage.value.content_commitment):
        yield BrokenRule("key_usage", "error", "expected key usage digitalSignature and nonRepudiation")
    yield from _claim_purpose_rules(leaf)
    yield from _claim_profile_rules(leaf)


def _claim_purpose_rules(leaf: x509.Certificate) -> Iterator[BrokenRule]:
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    oids = set(purposes.value) if purposes else set()
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in oids:
        yield BrokenRule("eku_any", "error", "extended key usage must not be anyExtendedKeyUsage")
    if ExtendedKeyUsageOID.TIME_STAMPING in oids:
        yield BrokenRule("eku_time_stamping", "error", "a claim signer must not be a time-stamping authority too")
    if CLAIM_SIGNING_EKU not in oids:
        yield BrokenRule("eku_claim_signing", "error", f"expected extended key usage {CLAIM_SIGNING_EKU.dotted_string}")
    if not oids & {ExtendedKeyUsageOID.EMAIL_PROTECTION, DOCUMENT_SIGNING_EKU}:
        yield BrokenRule("eku_companion", "error", "expected emailProtection or documentSigning beside claimSigning")


def _claim_profile_rules(leaf: x509.Certificate) -> Iterator[BrokenRule]:
    policies = _extension(leaf, x509.CertificatePolicies)
    if CLAIM_SIGNING_POLICY not in {p.policy_identifier for p in (policies.value if policies else ())}:
        yield BrokenRule("policy", "error", f"expected certificate policy {CLAIM_SIGNING_POLICY.dotted_string}")
    level = _read_der(leaf, ASSURANCE_LEVEL_EXTENSION, core.ObjectIdentifier)
    if level not in MAX_DAYS:
        yield BrokenRule("assurance_level", "error", f"expected id-c2pa-al {ASSURANCE_LEVEL_1} or {ASSURANCE_LEVEL_2}")
    days = (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / timedelta(days=1)
    allowed_days = MAX_DAYS.get(level or ASSURANCE_LEVEL_1, MAX_DAYS[ASSURANCE_LEVEL_1])
    if days > allowed_days:
        yield BrokenRule("validity_length", "error", f"valid for {days:.0f} days, at most {allowed_days} are allowed")
    if not _is_uuid(_read_der(leaf, PRODUCT_RECORD_EXTENSION, core.UTF8String)):
        yield BrokenRule("product_record", "error", "expected the conforming-products record id, a UUID")
    access = _extension(leaf, x509.AuthorityInformationAccess)
    ocsp = [
        d.access_location.value
        for d in (access.value if access else ())
        if d.access_method == AuthorityInformationAccessOID.OCSP
    ]
    if not any(isinstance(url, str) and url.startswith("http://") for url in ocsp):
        yield BrokenRule("ocsp_address", "advice", "no OCSP address over HTTP: revocation can't be looked up")


def _time_stamping_rules(leaf: x509.Certificate, now: datetime) -> Iterator[BrokenRule]:
    yield from _common_leaf_rules(leaf, now)
    if isinstance(leaf.public_key(), ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        yield BrokenRule("no_eddsa", "error", "a time-stamping key must not be EdDSA")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.value.digital_signature:
        yield BrokenRule("key_usage", "error", "expected key usage digitalSignature")
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if purposes is None or list(purposes.value) != [ExtendedKeyUsageOID.TIME_STAMPING] or not purposes.critical:
        yield BrokenRule("eku_time_stamping", "error", "expected a critical extended key usage, exactly timeStamping")
    days = (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / timedelta(days=1)
    if days > MAX_TIME_STAMPING_DAYS:
        yield BrokenRule(
            "validity_length",
            "error",
            f"valid for {days:.0f} days, at most {MAX_TIME_STAMPING_DAYS} are allowed",
        )


def _common_leaf_rules(leaf: x509.Certificate, now: datetime) -> Iterator[BrokenRule]:
    if leaf.version != x509.Version.v3:
        yield BrokenRule("version", "error", f"expected X.509 v3, got {leaf.version.name}")
    yield from _algorithm_rules(leaf)
    yield from _validity_rules(leaf, now)
    for rule, kind in (
        ("subject_key_identifier", x509.SubjectKeyIdentifier),
        ("authority_key_identifier", x509.AuthorityKeyIdentifier),
    ):
        if _extension(leaf, kind) is None:
            yield BrokenRule(rule, "error", f"expected the extension {kind.__name__}")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.critical or usage.value.key_cert_sign:
        yield BrokenRule("key_usage_critical", "error", "expected a critical key usage without keyCertSign")
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is None or not constraints.critical or constraints.value.ca:
        yield BrokenRule("not_a_ca", "error", "expected critical basic constraints with cA=false")


def _algorithm_rules(certificate: x509.Certificate) -> Iterator[BrokenRule]:
    key = certificate.public_key()
    digest = certificate.signature_hash_algorithm
    if digest is not None and digest.name not in SIGNATURE_HASHES:
        yield BrokenRule("signature_hash", "error", f"expected SHA-256 or stronger, got {digest.name}")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            yield BrokenRule("key_size", "error", f"expected RSA of at least 2048 bits, got {key.key_size}")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, SIGNING_CURVES):
            yield BrokenRule("key_curve", "error", f"expected P-256, P-384 or P-521, got {key.curve.name}")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        yield BrokenRule("key_kind", "error", f"expected RSA, ECDSA or Ed25519, got {type(key).__name__}")


def _validity_rules(certificate: x509.Certificate, now: datetime) -> Iterator[BrokenRule]:
    at = now.astimezone(UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        yield BrokenRule(
            "valid_now",
            "error",
            f"valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, asked for {at:%Y-%m-%d %H:%M}",
        )


def _chain_rules(chain: Sequence[x509.Certificate], now: datetime) -> Iterator[BrokenRule]:
    if chain[0].issuer == chain[0].subject:
        yield BrokenRule("leaf_first", "error", "the first certificate is self-signed; the leaf must come first")
    for child, parent in itertools.pairwise(chain):
        yield from _validity_rules(parent, now)
        constraints = _extension(parent, x509.BasicConstraints)
        if constraints is None or not constraints.value.ca:
            yield BrokenRule("issuer_is_ca", "error", f"{parent.subject.rfc4514_string()} is no CA")
        try:
            child.verify_directly_issued_by(parent)
        except (*UNREADABLE_CERTIFICATE, InvalidSignature):
            yield BrokenRule(
                "chain_order",
                "error",
                f"{child.subject.rfc4514_string()} was not issued by {parent.subject.rfc4514_string()}",
            )


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except (x509.ExtensionNotFound, *UNREADABLE_CERTIFICATE):
        return None


def _read_der(certificate: x509.Certificate, oid: x509.ObjectIdentifier, kind: type[core.Asn1Value]) -> str | None:
    try:
        extension = certificate.extensions.get_extension_for_oid(oid).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        load: Callable[..., core.Asn1Value] = kind.load
        value = load(extension.value, strict=True)
        return str(value.dotted if isinstance(value, core.ObjectIdentifier) else value.native)
    except (x509.ExtensionNotFound, *UNREADABLE_CERTIFICATE):
        return None


def _is_uuid(text: str | None) -> bool:
    try:
        return text is not None and str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
