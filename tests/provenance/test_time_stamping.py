"""The time-stamping authority answers RFC 3161 requests as OpenSSL does, and refuses malformed ones."""

import hashlib
import http.client
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from asn1crypto import tsp
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from provenance import TimeStampError
from provenance.time_stamping import MAX_REQUEST_BYTES, TimeStampAuthority, parse_request, serve
from tests.provenance.conftest import NOW, Authority

DATA = b"what is stamped"


def request(**changes: object) -> bytes:
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": hashlib.sha256(DATA).digest()}
    fields = {"version": "v1", "message_imprint": imprint, "nonce": 2**63, "cert_req": True}
    return bytes(tsp.TimeStampReq(fields | changes).dump())


def info(answer: bytes) -> tsp.TSTInfo:
    response = tsp.TimeStampResp.load(answer)
    return response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed


def test_an_answer_repeats_imprint_and_nonce_with_the_time_asked_for(authority: Authority) -> None:
    stamp = info(authority.identity.time_stamps.answer(request(), now=NOW))
    assert stamp["nonce"].native == 2**63
    assert stamp["message_imprint"]["hashed_message"].native == hashlib.sha256(DATA).digest()
    assert stamp["gen_time"].native == NOW.replace(microsecond=0)


def test_no_two_answers_share_a_serial_number(authority: Authority) -> None:
    serials = {
        info(authority.identity.time_stamps.answer(request(), now=NOW))["serial_number"].native for _ in range(50)
    }
    assert len(serials) == 50
    assert all(0 < serial < 2**159 for serial in serials)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the oracle here is the openssl command")
def test_openssl_accepts_an_answer(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(authority.identity.time_stamps.answer(request(), now=NOW))
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "root.pem").write_text(authority.anchors.tsa_pem)
    leaf = authority.identity.time_stamps.chain[0].public_bytes(serialization.Encoding.PEM)
    (tmp_path / "leaf.pem").write_bytes(leaf)
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", "data", "-in", "answer", "-CAfile", "root.pem", "-untrusted", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verification: OK" in done.stdout + done.stderr


def short_imprint() -> dict[str, object]:
    return {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": bytes(31)}


def weak_imprint() -> dict[str, object]:
    return {"hash_algorithm": {"algorithm": "sha1"}, "hashed_message": bytes(20)}


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"text",
        request()[:-1],
        request() + b"\0",
        bytes(MAX_REQUEST_BYTES + 1),
        request(message_imprint=short_imprint()),
        request(message_imprint=weak_imprint()),
        request(req_policy="1.2.3.4"),
        request().replace(b"\x02\x01\x01", b"\x02\x01\x02", 1),
    ],
)
def test_a_malformed_or_unsupported_request_is_refused(der: bytes) -> None:
    with pytest.raises(TimeStampError):
        parse_request(der)


@given(at=st.integers(0, len(request()) - 1), bit=st.integers(0, 7))
def test_a_changed_request_is_refused_or_answered_never_a_crash(at: int, bit: int) -> None:
    changed = bytearray(request())
    changed[at] ^= 1 << bit
    try:
        parse_request(bytes(changed))
    except TimeStampError:
        return


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(der: bytes) -> None:
    with pytest.raises(TimeStampError):
        parse_request(der)


def post(url: str, body: bytes) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/timestamp-query"}
    message = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310  loopback
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(message, timeout=5) as answer:
            return int(answer.status), bytes(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_the_server_answers_on_loopback_only_under_its_path_and_while_open(authority: Authority) -> None:
    stamps: TimeStampAuthority = authority.identity.time_stamps
    with serve(stamps, lambda: NOW) as url:
        assert url.startswith("http://127.0.0.1:")
        status, body = post(url, request())
        assert status == 200
        assert info(body)["gen_time"].native == NOW.replace(microsecond=0)
        assert post(url.rsplit("/", 1)[0] + "/other", request())[0] == 404
        assert post(url, b"text")[0] == 400
        assert post(url, bytes(MAX_REQUEST_BYTES + 1))[0] == 413
    with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
        post(url, request())
