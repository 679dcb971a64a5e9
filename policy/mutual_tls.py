"""Two machines of one operator that know each other: TLS 1.3 in which each end is pinned to the other's certificate.

    tls/own.key    this end's private key (P-256, mode 0600); it never leaves this folder
    tls/own.pem    its certificate, self-signed, for a year
    tls/peer.pem   the only certificates that the other end may show

No authority stands above the two: what is trusted is one certificate, byte for byte, until it expires. Names are
therefore not compared. An end that shows none, another one, one for the other direction, or one out of its time is hung
up on before it is read.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policy.errors import StateError
from policy.keys import read_secret, write_secret

TLS_FOLDER = "tls"
OWN_KEY, OWN_CERTIFICATE, PEER = "own.key", "own.pem", "peer.pem"
LIFE = timedelta(days=365)
MAX_PEERS = 4

Direction = Literal["answers", "asks"]
_USAGES = {"answers": ExtendedKeyUsageOID.SERVER_AUTH, "asks": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class TlsEnd:
    """One end: where its key and certificate lie, and the certificates (DER) that the other end may show."""

    folder: Path
    peers: frozenset[bytes]

    @classmethod
    def read(cls, folder: Path) -> TlsEnd:
        """The end kept in `folder`; raises StateError for a missing or damaged part, KeyFileError for an open key."""
        read_secret(folder / OWN_KEY)
        _read_certificates(folder / OWN_CERTIFICATE)
        peers = _read_certificates(folder / PEER)
        return cls(folder, frozenset(one.public_bytes(Encoding.DER) for one in peers))

    def wrap_answering(self, connection: socket.socket) -> ssl.SSLSocket:
        """TLS over an accepted connection; the handshake is still to be made."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # nobody comes back without showing their certificate again
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def wrap_asking(self, connection: socket.socket) -> ssl.SSLSocket:
        """TLS over a connection that was made; raises OSError when the other end isn't the one that is pinned."""
        wrapped = self._context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(connection)
        try:
            self.require_peer(wrapped)
        except OSError:
            wrapped.close()
            raise
        return wrapped

    def require_peer(self, connection: ssl.SSLSocket) -> None:
        """Raise SSLError unless the other end showed a pinned certificate; call after the handshake."""
        if connection.getpeercert(binary_form=True) not in self.peers:
            raise ssl.SSLError("the other end shows a certificate that is not pinned here")

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the certificate itself is pinned, whatever it is called
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(self.folder / OWN_CERTIFICATE, self.folder / OWN_KEY)
        for peer in self.peers:
            context.load_verify_locations(cadata=peer)
        return context


def create_end(folder: Path, *, name: str, direction: Direction, now: datetime, life: timedelta = LIFE) -> str:
    """Make this end's key and certificate, in place of older ones; the certificate as PEM, for the other end to pin.

    `direction`: whether this end answers or asks; a certificate for the one does not do for the other.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = now.astimezone(UTC).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(minutes=5))
        .not_valid_after(start + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[direction]]), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(mode=0o700, exist_ok=True)
    pem = certificate.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(folder / OWN_KEY, private, overwrite=True)
    write_secret(folder / OWN_CERTIFICATE, pem, overwrite=True)
    return pem.decode("ascii")


def pin_peer(folder: Path, pem: str, *, now: datetime) -> datetime:
    """Take from the other end the certificates in `pem` and no others; when the first of them expires.

    Raises StateError for anything but a few certificates that are valid now.
    """
    certificates = _load_certificates(pem.encode(), "the certificate to pin")
    for one in certificates:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise StateError(f"the certificate to pin is good from {one.not_valid_before_utc} to "
                             f"{one.not_valid_after_utc}, it is {now}")  # fmt: skip
    write_secret(folder / PEER, b"".join(one.public_bytes(Encoding.PEM) for one in certificates), overwrite=True)
    return min(one.not_valid_after_utc for one in certificates)


def _read_certificates(path: Path) -> Sequence[x509.Certificate]:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: missing ({error.strerror}); an end needs its own certificate and the other's: "
            "`vasari broker certificate`, `vasari broker pin`"
        ) from error
    return _load_certificates(pem, str(path))


def _load_certificates(pem: bytes, name: str) -> Sequence[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise StateError(f"{name}: expected certificates in PEM ({error})") from error
    if not 1 <= len(certificates) <= MAX_PEERS:
        raise StateError(f"{name}: expected 1 to {MAX_PEERS} certificates, got {len(certificates)}")
    return certificates
