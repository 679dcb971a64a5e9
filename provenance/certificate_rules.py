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


_PROFILE = "C2PA certificate policy, claim-signing leaf"
_ENGINE_ASKS = "C2PA 2.3, 14.5 X.509 Certificates"
_X509 = "RFC 5280, 4.2"
_STAMP = "RFC 3161, 2.3"

_COMMON_RULES = {
    "version": ("X.509 version 3", _ENGINE_ASKS),
    "signature_hash": ("signed with SHA-256 or stronger", _ENGINE_ASKS),
    "key_size": ("RSA keys of at least 2048 bits", _ENGINE_ASKS),
    "key_curve": ("curve P-256, P-384 or P-521", _ENGINE_ASKS),
    "key_kind": ("a key of RSA, ECDSA or Ed25519", _ENGINE_ASKS),
    "valid_now": ("valid at the time of the check", f"{_X509} and 4.1.2.5"),
    "expires_soon": ("does not expire within the horizon", "Vasari: rotate in time"),
    "subject_key_identifier": ("subject key identifier", _X509),
    "authority_key_identifier": ("authority key identifier", _ENGINE_ASKS),
}
_LEAF_RULES = {
    "key_usage_critical": ("critical key usage without keyCertSign", _ENGINE_ASKS),
    "not_a_ca": ("critical basic constraints, cA=false", _PROFILE),
}
RULES: dict[str, dict[str, tuple[str, str]]] = {
    "claim": _COMMON_RULES
    | _LEAF_RULES
    | {
        "chain_present": ("a chain with the leaf first", _ENGINE_ASKS),
        "leaf_first": ("the leaf first, no self-signed certificate there", _ENGINE_ASKS),
        "issuer_is_ca": ("every issuer is a CA", _X509),
        "chain_order": ("each certificate issued by the next", "RFC 5280, 6.1"),
        "subject_names": ("C, O and CN in the subject", _PROFILE),
        "key_usage": ("key usage digitalSignature and nonRepudiation", _PROFILE),
        "eku_any": ("extended key usage is not anyExtendedKeyUsage", _ENGINE_ASKS),
        "eku_time_stamping": ("extended key usage without timeStamping", _ENGINE_ASKS),
        "eku_claim_signing": (f"extended key usage claimSigning ({CLAIM_SIGNING_EKU.dotted_string})", _PROFILE),
        "eku_companion": ("extended key usage emailProtection or documentSigning beside it", _PROFILE),
        "policy": (f"certificate policy {CLAIM_SIGNING_POLICY.dotted_string}", _PROFILE),
        "assurance_level": ("id-c2pa-al with assurance level 1 or 2", _PROFILE),
        "validity_length": ("valid for at most 366 days (level 1) or 90 days (level 2)", _PROFILE),
        "product_record": ("record id of the conforming products list, a UUID", _PROFILE),
        "ocsp_address": ("an OCSP address over HTTP", _PROFILE),
    },
    "issuing": _COMMON_RULES
    | {
        "is_a_ca": ("critical basic constraints, cA=true", f"{_X509}.1.9"),
        "path_length": ("path length 0: it issues leaves only", f"{_X509}.1.9"),
        "ca_key_usage": ("critical key usage keyCertSign and cRLSign", f"{_X509}.1.3"),
        "eku_any": ("extended key usage is not anyExtendedKeyUsage", _ENGINE_ASKS),
        "issuer_names": ("O and CN in the subject", f"{_X509} and 4.1.2.6"),
    },
    "time-stamping": _COMMON_RULES
    | _LEAF_RULES
    | {
        "no_eddsa": ("no EdDSA key", "C2PA certificate policy, time-stamping leaf"),
        "key_usage": ("key usage digitalSignature", _X509),
        "eku_time_stamping": ("critical extended key usage, exactly timeStamping", _STAMP),
        "validity_length": (
            f"valid for at most {MAX_TIME_STAMPING_DAYS} days",
            "C2PA certificate policy, time-stamping leaf",
        ),
    },
}
"""Every rule by kind of certificate: what it asks, and where that stands."""


def lint_claim_chain(chain: Sequence[x509.Certificate], *, now: datetime) -> tuple[BrokenRule, ...]:
    """Every broken rule of a claim-signing chain, leaf first, its root left out or last."""
    if not chain:
        return (BrokenRule("chain_present", "error", "expected a chain with the leaf first, got no certificate"),)
    return (*_claim_leaf_rules(chain[0], now), *_chain_rules(chain, now))


def lint_time_stamping_certificate(leaf: x509.Certificate, *, now: datetime) -> tuple[BrokenRule, ...]:
    """Every broken rule of a time-stamping leaf."""
    return tuple(_time_stamping_rules(leaf, now))


def lint_issuing_certificate(issuer: x509.Certificate, *, now: datetime) -> tuple[BrokenRule, ...]:
    """Every broken rule of a certificate that issues claim signers."""
    return tuple(_issuing_rules(issuer, now))


def lint_certificates(
    kind: str, chain: Sequence[x509.Certificate], *, now: datetime, horizon: timedelta
) -> tuple[BrokenRule, ...]:
    """Every broken rule of a `kind` in `RULES`, expiry within `horizon` among them; the leaf of `chain` comes first."""
    if not chain:
        raise CertificateError(f"expected a {kind} certificate, got none")
    found = {
        "claim": lambda: lint_claim_chain(chain, now=now),
        "issuing": lambda: lint_issuing_certificate(chain[0], now=now),
        "time-stamping": lambda: lint_time_stamping_certificate(chain[0], now=now),
    }[kind]()
    return (*found, *expiry_advice(chain[0], now=now, horizon=horizon))


def expiry_advice(certificate: x509.Certificate, *, now: datetime, horizon: timedelta) -> tuple[BrokenRule, ...]:
    """Advice when a certificate that is valid now expires within `horizon`."""
    left = certificate.not_valid_after_utc - now.astimezone(UTC)
    if not timedelta(0) < left < horizon:
        return ()
    return (BrokenRule("expires_soon", "advice", f"expires in {left / timedelta(days=1):.1f} days; rotate it"),)


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


def _issuing_rules(issuer: x509.Certificate, now: datetime) -> Iterator[BrokenRule]:
    yield from _common_rules(issuer, now, is_root=issuer.issuer == issuer.subject)
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.critical or not constraints.value.ca:
        yield BrokenRule("is_a_ca", "error", "expected critical basic constraints with cA=true")
    elif constraints.value.path_length != 0 and issuer.issuer != issuer.subject:
        yield BrokenRule("path_length", "advice", "expected path length 0, so that it can't make further authorities")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is None or not usage.critical or not (usage.value.key_cert_sign and usage.value.crl_sign):
        yield BrokenRule("ca_key_usage", "error", "expected critical key usage keyCertSign and cRLSign")
    purposes = _extension(issuer, x509.ExtendedKeyUsage)
    if purposes is not None and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes.value:
        yield BrokenRule("eku_any", "error", "extended key usage must not be anyExtendedKeyUsage")
    names = {attribute.oid for attribute in issuer.subject}
    if not {NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME} <= names:
        yield BrokenRule("issuer_names", "error", "expected O and CN in the subject")


def _common_rules(certificate: x509.Certificate, now: datetime, *, is_root: bool = False) -> Iterator[BrokenRule]:
    if certificate.version != x509.Version.v3:
        yield BrokenRule("version", "error", f"expected X.509 v3, got {certificate.version.name}")
    yield from _algorithm_rules(certificate)
    yield from _validity_rules(certificate, now)
    wanted: list[tuple[str, type[x509.ExtensionType]]] = [("subject_key_identifier", x509.SubjectKeyIdentifier)]
    if not is_root:
        wanted.append(("authority_key_identifier", x509.AuthorityKeyIdentifier))
    for rule, kind in wanted:
        if _extension(certificate, kind) is None:
            yield BrokenRule(rule, "error", f"expected the extension {kind.__name__}")


def _common_leaf_rules(leaf: x509.Certificate, now: datetime) -> Iterator[BrokenRule]:
    yield from _common_rules(leaf, now)
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
