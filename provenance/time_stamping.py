"""An RFC 3161 time-stamping authority in pure Python, served on loopback for the length of one signing call.

The C2PA engine fetches its time stamp over HTTP and from nowhere else, so `serve` opens an ephemeral port on
127.0.0.1 under an unguessable path, answers, and closes. Requests are parsed strictly: DER only, version 1,
SHA-2 imprints of the right length, no extensions, at most 4 KB.
"""

import contextlib
import http.server
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provenance.errors import TimeStampError

POLICY = "1.3.6.1.4.1.32473.1"  # RFC 5612 example arc: no policy registered; engine 2 rejects arcs under 2.x
MAX_REQUEST_BYTES = 4096
DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
SERIAL_BITS = 150  # random, never zero, at most 160 bits (RFC 3161 section 2.4.2)


@dataclass(frozen=True)
class TimeStampAuthority:
    """A time-stamping leaf (first in `chain`) with its P-256 key."""

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def answer(self, request_der: bytes, *, now: datetime) -> bytes:
        """DER of a granted TimeStampResp over `request_der`.

        Raises TimeStampError for a request that is malformed or asks for something unsupported.
        """
        request = parse_request(request_der)
        info = self._time_stamp_info(request, now)
        token = self._signed_data(info.dump(), certificates=bool(request["cert_req"].native))
        response = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return bytes(response.dump())

    def _time_stamp_info(self, request: tsp.TimeStampReq, now: datetime) -> tsp.TSTInfo:
        info = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": request["message_imprint"],
            "serial_number": secrets.randbits(SERIAL_BITS) | 1,
            "gen_time": now.astimezone(UTC).replace(microsecond=0),
            "accuracy": {"seconds": 1},
        }
        if request["nonce"].native is not None:
            info["nonce"] = request["nonce"]
        return tsp.TSTInfo(info)

    def _signed_data(self, content: bytes, *, certificates: bool) -> cms.ContentInfo:
        leaf = asn1_x509.Certificate.load(self.chain[0].public_bytes(serialization.Encoding.DER))
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [_sha256(content)]},
                {"type": "signing_certificate_v2", "values": [_signing_certificate(leaf)]},
            ]
        )
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {"issuer_and_serial_number": {"issuer": leaf.issuer, "serial_number": leaf.serial_number}}
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self.key.sign(attributes.untag().dump(), ec.ECDSA(hashes.SHA256())),
        }
        data = {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "signer_infos": [signer],
        }
        if certificates:
            data["certificates"] = [
                asn1_x509.Certificate.load(c.public_bytes(serialization.Encoding.DER)) for c in self.chain
            ]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(data)})


def parse_request(der: bytes) -> tsp.TimeStampReq:
    """A TimeStampReq, checked: canonical DER, version 1, SHA-2 imprint, no foreign policy, no extensions."""
    if len(der) > MAX_REQUEST_BYTES:
        raise TimeStampError(f"time-stamp request: at most {MAX_REQUEST_BYTES} bytes, got {len(der)}")
    try:
        request = tsp.TimeStampReq.load(der, strict=True)
        version = request["version"].native
        digest = request["message_imprint"]["hash_algorithm"]["algorithm"].native
        imprint = request["message_imprint"]["hashed_message"].native
        policy = request["req_policy"].native
        extensions = request["extensions"].native
        rebuilt = request.copy().dump(force=True)
    except (ValueError, TypeError, KeyError) as error:
        raise TimeStampError(
            f"time-stamp request: expected a DER TimeStampReq, got something else ({error})"
        ) from error
    if rebuilt != der:
        raise TimeStampError("time-stamp request: the encoding is not canonical DER")
    if version != "v1":
        raise TimeStampError(f"time-stamp request: expected version 1, got {version}")
    if DIGEST_BYTES.get(digest) != len(imprint):
        raise TimeStampError(f"time-stamp request: expected a SHA-2 imprint, got {digest} of {len(imprint)} bytes")
    if policy not in (None, POLICY):
        raise TimeStampError(f"time-stamp request: policy {policy} is not offered, only {POLICY}")
    if extensions:
        raise TimeStampError("time-stamp request: extensions are not supported")
    return request


@contextlib.contextmanager
def serve(authority: TimeStampAuthority, clock: Callable[[], datetime]) -> Iterator[str]:
    """Answer on 127.0.0.1 while the block runs; yields the URL."""
    path = f"/{secrets.token_urlsafe(24)}"
    server = _Server(authority, clock, path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, authority: TimeStampAuthority, clock: Callable[[], datetime], path: str) -> None:
        self.authority, self.clock, self.path = authority, clock, path
        super().__init__(("127.0.0.1", 0), _RequestHandler)


class _RequestHandler(http.server.BaseHTTPRequestHandler):
    timeout = 10
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        length = self.headers.get("Content-Length", "")
        if not secrets.compare_digest(self.path, server.path):
            return self._reply(404, b"", "text/plain")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
            return self._reply(413, b"", "text/plain")
        try:
            answer = server.authority.answer(self.rfile.read(int(length)), now=server.clock())
        except TimeStampError as error:
            return self._reply(400, str(error).encode(), "text/plain")
        return self._reply(200, answer, "application/timestamp-reply")

    def _reply(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests out of stderr."""


def _sha256(content: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content)
    return digest.finalize()


def _signing_certificate(leaf: asn1_x509.Certificate) -> tsp.SigningCertificateV2:
    identifier = tsp.ESSCertIDv2(
        {
            "hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
            "cert_hash": _sha256(leaf.dump()),
            "issuer_serial": {
                "issuer": [asn1_x509.GeneralName({"directory_name": leaf.issuer})],
                "serial_number": leaf.serial_number,
            },
        }
    )
    return tsp.SigningCertificateV2({"certs": [identifier]})
