"""A claim-signing certificate from a certificate authority outside: request (PKCS #10), and installing what comes back.

The new key waits as `claim_signing.next.key` until the chain for it is installed; clips are signed with the old one
meanwhile. Old roots stay trusted, so that clips signed before keep verifying.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from asn1crypto import core
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provenance.certificate_rules import (
    ASSURANCE_LEVEL_1,
    ASSURANCE_LEVEL_EXTENSION,
    CLAIM_SIGNING_EKU,
    CLAIM_SIGNING_POLICY,
    UNREADABLE_CERTIFICATE,
    require_claim_chain,
)
from provenance.errors import CertificateError
from provenance.pki import CLAIM_ROOT_NAME, CLAIM_SIGNING_NAME, key_usage, read_chain, read_key, write_key
from provenance.whole_file import write_whole

NEXT_KEY = "claim_signing.next.key"


def make_request(folder: Path, *, country: str, organisation: str, common_name: str) -> bytes:
    """PEM of a request for a new key, which stays in `folder`; asking again takes the key that waits.

    It asks for what the C2PA leaf profile wants; the authority decides. Raises CertificateError for a bad name.
    """
    path = folder / NEXT_KEY
    if not path.exists():
        write_key(path, ec.generate_private_key(ec.SECP256R1()))
    key = read_key(path)
    try:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, country),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
    except ValueError as error:
        raise CertificateError(f"certificate request: {error}") from error
    level = x509.UnrecognizedExtension(ASSURANCE_LEVEL_EXTENSION, core.ObjectIdentifier(ASSURANCE_LEVEL_1).dump())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    wanted: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(leaf=True, non_repudiation=True), True),
        (x509.ExtendedKeyUsage([CLAIM_SIGNING_EKU, ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
        (x509.CertificatePolicies([x509.PolicyInformation(CLAIM_SIGNING_POLICY, None)]), False),
        (level, False),
    ]
    for extension, critical in wanted:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def install_chain(folder: Path, chain_pem: bytes, root_pem: bytes, *, now: datetime) -> tuple[x509.Certificate, ...]:
    """Sign with the certificate that came back from now on; returns its chain, leaf first.

    Raises CertificateError, with nothing changed, unless the chain is for the waiting key, keeps every rule of the
    profile, and ends at the one root in `root_pem`.
    """
    chain, roots = _load(chain_pem, "chain"), _load(root_pem, "root")
    key = read_key(folder / NEXT_KEY)
    if chain[0].public_key() != key.public_key():
        raise CertificateError(
            f"{folder / NEXT_KEY}: the certificate is for another key; leaf first, from this request"
        )
    require_claim_chain(chain, now=now.astimezone(UTC))
    if len(roots) != 1 or not _issued(chain[-1], roots[0]):
        raise CertificateError("certificate chain: it does not end at the root given")
    trusted = read_chain(folder, CLAIM_ROOT_NAME)
    if roots[0] not in trusted:
        write_whole(folder / f"{CLAIM_ROOT_NAME}.pem", _pem([*trusted, roots[0]]), mode=0o644)
    without_root = [certificate for certificate in chain if certificate != roots[0]]
    write_key(folder / f"{CLAIM_SIGNING_NAME}.key", key)
    write_whole(folder / f"{CLAIM_SIGNING_NAME}.pem", _pem(without_root), mode=0o644)
    (folder / NEXT_KEY).unlink()
    return tuple(without_root)


def _load(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except UNREADABLE_CERTIFICATE as error:
        raise CertificateError(f"certificate {what}: expected PEM certificates, got {error}") from error


def _issued(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    if certificate == root:
        return True
    try:
        certificate.verify_directly_issued_by(root)
    except (*UNREADABLE_CERTIFICATE, InvalidSignature):
        return False
    return True


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
