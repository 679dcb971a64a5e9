"""A private PKI for the embedded default: two separate trees, one for claims and one for time stamps.

    claim root  ->  issuing CA  ->  claim-signing leaf (ES256, C2PA leaf profile, one year)
    time root   ->  time-stamping leaf (critical EKU exactly timeStamping)

The trees are separate because the C2PA engine lets an anchor given for one purpose vouch for the other;
`TrustAnchors` therefore refuses a key that stands in both lists.

The leaf carries the C2PA policy, assurance-level and product-record extensions so that its *shape* is the
profile's. That is no claim of membership in the C2PA conformance programme: its root is on no public list,
and a verifier trusts it only if given this root. No OCSP address is written, because no responder runs.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provenance.certificate_rules import (
    ASSURANCE_LEVEL_1,
    ASSURANCE_LEVEL_EXTENSION,
    CLAIM_SIGNING_EKU,
    CLAIM_SIGNING_POLICY,
    PRODUCT_RECORD_EXTENSION,
    require_claim_chain,
    require_time_stamping_certificate,
)
from provenance.errors import CertificateError
from provenance.revocation import load_revocation_lists
from provenance.time_stamping import TimeStampAuthority
from provenance.whole_file import write_whole

LEAF_DAYS = 365
ISSUING_CA_DAYS = 5 * 365
ROOT_DAYS = 10 * 365
TIME_LEAF_DAYS = 4000  # the profile allows 4110
LONGEST_NAME = 64  # characters, X.520 upper bounds; the role at the end of a common name always stays
UNKNOWN_COUNTRY = "ZZ"  # ISO 3166 user-assigned code: no country stated

REVOCATION_LISTS = "revoked.crl.pem"

_ROOT, _ISSUING, _CLAIM = "claim_root", "issuing_ca", "claim_signing"
_TIME_ROOT, _TIME = "time_root", "time_stamping"
CLAIM_ROOT_NAME, CLAIM_SIGNING_NAME = _ROOT, _CLAIM
CERTIFICATES = {_ROOT: "issuing", _ISSUING: "issuing", _CLAIM: "claim", _TIME_ROOT: "issuing", _TIME: "time-stamping"}
"""The certificates of a PKI folder by name, with the kind of rules that each must keep."""

_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class TrustAnchors:
    """PEM roots a verifier trusts: one list for claim signers, one for time-stamping authorities.

    `crl_pem` holds the revocation lists that the verifier knows; empty: nobody's revocation can be seen.
    """

    manifest_pem: str
    tsa_pem: str
    crl_pem: str = ""

    def __post_init__(self) -> None:
        load_revocation_lists(self.crl_pem)
        manifest, tsa = anchor_keys(self.manifest_pem), anchor_keys(self.tsa_pem)
        if not manifest:
            raise CertificateError("trust anchors: expected at least one claim root in manifest_pem, found none")
        shared = manifest & tsa
        if shared:
            raise CertificateError(
                "trust anchors: the same key stands in the manifest and the time-stamping list "
                f"(SHA-256 {sorted(shared)[0][:16]}...); the engines would let it vouch for both. "
                "Remove it from one list."
            )

    def roots(self) -> tuple[x509.Certificate, ...]:
        """Every root of both lists."""
        lists = (self.manifest_pem, self.tsa_pem)
        return tuple(root for pem in lists if pem.strip() for root in x509.load_pem_x509_certificates(pem.encode()))

    @classmethod
    def from_folder(cls, folder: Path) -> "TrustAnchors":
        """Read the two roots that `create_pki` wrote, and the revocation lists where there are any."""
        lists = folder / REVOCATION_LISTS
        return cls(
            manifest_pem=_read_text(folder / f"{_ROOT}.pem"),
            tsa_pem=_read_text(folder / f"{_TIME_ROOT}.pem"),
            crl_pem=_read_text(lists) if lists.exists() else "",
        )


@dataclass(frozen=True)
class SigningIdentity:
    """Who signs claims: chain (leaf first), ES256 key, time-stamping authority, and the anchors of both."""

    chain_pem: str
    key: _Key = field(repr=False)
    time_stamps: TimeStampAuthority = field(repr=False)
    anchors: TrustAnchors = field(repr=False)

    @classmethod
    def from_folder(cls, folder: Path, *, claim_key: _Key | None = None) -> "SigningIdentity":
        """Load what `create_pki` wrote; `claim_key` stands in for the file where the key lies elsewhere.

        Raises CertificateError naming the file that is missing, damaged, or readable by others.
        """
        chain_pem, key = _read_pair(folder, _CLAIM, claim_key)
        time_chain_pem, time_key = _read_pair(folder, _TIME)
        time_chain = tuple(x509.load_pem_x509_certificates(time_chain_pem.encode()))
        return cls(
            chain_pem=chain_pem,
            key=key,
            time_stamps=TimeStampAuthority(chain=time_chain, key=time_key),
            anchors=TrustAnchors.from_folder(folder),
        )

    def sign(self, message: bytes) -> bytes:
        """ES256 as COSE wants it: r and s as 32 big-endian bytes each, 64 in all."""
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def create_pki(folder: Path, *, organisation: str, now: datetime, country: str = UNKNOWN_COUNTRY) -> None:
    """Make both trees in `folder` (created 0700): `<name>.pem` beside `<name>.key` (0600).

    `now` starts every validity period. Refuses a folder that already holds a PKI.
    """
    if not organisation.strip():
        raise CertificateError("PKI: expected the name of the organisation, got an empty text")
    if (folder / f"{_ROOT}.pem").exists():
        raise CertificateError(f"{folder}: already holds a PKI; choose another folder or use the one there")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    start = now.astimezone(UTC).replace(microsecond=0) - timedelta(minutes=5)

    root_key, root = _make_root(_name(country, organisation, "Claim Root"), start, ROOT_DAYS)
    issuing_key = ec.generate_private_key(ec.SECP256R1())
    issuing = _make_issuing_ca(_name(country, organisation, "Claim Issuing CA"), issuing_key, root, root_key, start)
    claim_key = ec.generate_private_key(ec.SECP256R1())
    claim = _make_claim_leaf(
        _name(country, organisation, "Claim Signing"), claim_key.public_key(), issuing, issuing_key, start
    )
    time_root_key, time_root = _make_root(_name(country, organisation, "Time Root"), start, TIME_LEAF_DAYS + 10)
    time_key = ec.generate_private_key(ec.SECP256R1())
    time_leaf = _make_time_leaf(
        _name(country, organisation, "Time Stamping"), time_key, time_root, time_root_key, start
    )
    require_claim_chain([claim, issuing], now=now)
    require_time_stamping_certificate(time_leaf, now=now)

    keys = {
        _ROOT: root_key,
        _ISSUING: issuing_key,
        _CLAIM: claim_key,
        _TIME_ROOT: time_root_key,
        _TIME: time_key,
    }
    for name, key in keys.items():
        write_key(folder / f"{name}.key", key)
    chains = {_ISSUING: [issuing], _CLAIM: [claim, issuing], _TIME: [time_leaf], _TIME_ROOT: [time_root]}
    for name, chain in (chains | {_ROOT: [root]}).items():  # the claim root last: it marks a whole PKI
        _write_certificates(folder / f"{name}.pem", chain)


def renew_claim_signing(folder: Path, *, now: datetime, public: ec.EllipticCurvePublicKey | None = None) -> None:
    """Replace the claim-signing leaf by a new one, valid from `now` on for a year.

    For a new key in a file, or for `public`, whose private half lies elsewhere; the old file is then deleted.

    Clips signed before stay valid through their time stamps. Raises CertificateError when the issuing CA has
    expired, the leaf came from an authority outside, or `folder` holds no PKI.
    """
    (issuing,) = read_chain(folder, _ISSUING)
    old = read_chain(folder, _CLAIM)[0]
    if old.issuer != issuing.subject:
        raise CertificateError(f"{folder / _CLAIM}.pem: issued outside; ask that authority again (`vasari pki csr`)")
    start = now.astimezone(UTC).replace(microsecond=0) - timedelta(minutes=5)
    key = ec.generate_private_key(ec.SECP256R1())
    issuing_key = read_key(folder / f"{_ISSUING}.key")
    leaf = _make_claim_leaf(old.subject, public or key.public_key(), issuing, issuing_key, start)
    require_claim_chain([leaf, issuing], now=now)
    if public is None:
        write_key(folder / f"{_CLAIM}.key", key)
    _write_certificates(folder / f"{_CLAIM}.pem", [leaf, issuing])
    if public is not None:
        (folder / f"{_CLAIM}.key").unlink(missing_ok=True)


def anchor_keys(pem: str) -> set[str]:
    """SHA-256 of each public key in a PEM bundle of certificates, lower-case hex; an empty bundle has none."""
    if not pem.strip():
        return set()
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
        keys = [c.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for c in certificates]
    except ValueError as error:
        raise CertificateError(f"trust anchors: expected PEM certificates, got something else ({error})") from error
    return {hashlib.sha256(key).hexdigest() for key in keys}


def _name(country: str, organisation: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:LONGEST_NAME]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organisation[: LONGEST_NAME - 1 - len(role)]} {role}"),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def key_usage(*, leaf: bool, non_repudiation: bool = False) -> x509.KeyUsage:
    """Of a leaf, or of an authority that signs certificates and revocation lists."""
    return x509.KeyUsage(
        digital_signature=leaf,
        content_commitment=non_repudiation,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _make_root(name: x509.Name, start: datetime, days: int) -> tuple[_Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), start, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(leaf=False), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def _make_issuing_ca(
    name: x509.Name, key: _Key, root: x509.Certificate, root_key: _Key, start: datetime
) -> x509.Certificate:
    builder = _builder(name, root.subject, key.public_key(), start, ISSUING_CA_DAYS)
    builder = builder.add_extension(_authority_key(root), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(key_usage(leaf=False), critical=True)
    return builder.sign(root_key, hashes.SHA256())


def _make_claim_leaf(
    name: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Certificate, issuer_key: _Key, start: datetime
) -> x509.Certificate:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (_authority_key(issuer), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(leaf=True, non_repudiation=True), True),
        (x509.ExtendedKeyUsage([CLAIM_SIGNING_EKU, ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
        (x509.CertificatePolicies([x509.PolicyInformation(CLAIM_SIGNING_POLICY, None)]), False),
        (_der_extension(ASSURANCE_LEVEL_EXTENSION, core.ObjectIdentifier(ASSURANCE_LEVEL_1)), False),
        (_der_extension(PRODUCT_RECORD_EXTENSION, core.UTF8String(str(uuid.uuid4()))), False),
    ]
    builder = _builder(name, issuer.subject, key, start, LEAF_DAYS)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _make_time_leaf(
    name: x509.Name, key: _Key, issuer: x509.Certificate, issuer_key: _Key, start: datetime
) -> x509.Certificate:
    builder = _builder(name, issuer.subject, key.public_key(), start, TIME_LEAF_DAYS)
    builder = builder.add_extension(_authority_key(issuer), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(leaf=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _der_extension(oid: x509.ObjectIdentifier, value: core.Asn1Value) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(oid, value.dump())


def write_key(path: Path, key: _Key) -> None:
    """A private key as PEM, mode 0600."""
    pem = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(path, pem, mode=0o600)


def _write_certificates(path: Path, chain: Sequence[x509.Certificate]) -> None:
    write_whole(path, b"".join(c.public_bytes(Encoding.PEM) for c in chain), mode=0o644)


def _read_pair(folder: Path, name: str, key: _Key | None = None) -> tuple[str, _Key]:
    """A chain as PEM and the private key of its leaf (from its file unless given), which must belong together."""
    pem = _read_text(folder / f"{name}.pem")
    key = key or read_key(folder / f"{name}.key")
    leaf = read_chain(folder, name)[0]
    if leaf.public_key() != key.public_key():
        raise CertificateError(
            f"{folder / name}.key: does not fit the certificate beside it, as after an interrupted renewal; renew again"
        )
    return pem, key


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CertificateError(f"{path}: expected a PEM file made by create_pki, got {error}") from error


def read_chain(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    """The certificates in `<name>.pem`, leaf first; raises CertificateError."""
    path = folder / f"{name}.pem"
    try:
        return tuple(x509.load_pem_x509_certificates(_read_text(path).encode()))
    except ValueError as error:
        raise CertificateError(f"{path}: expected PEM certificates, got {error}") from error


def read_key(path: Path) -> _Key:
    """A P-256 private key that only its owner may read; raises CertificateError."""
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise CertificateError(f"{path}: a private key must be for its owner only, mode is {mode:o}; chmod 600")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{path}: expected a PEM private key, got {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(f"{path}: expected a P-256 private key, got another kind")
    return key
