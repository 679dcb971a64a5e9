"""Signing keys by URI: files, hardware modules, key services; the original errors stay readable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from provenance import KeySourceError, encrypted_pem, open_signing_key

PASSPHRASE = b"correct horse battery staple"
SIGNER = """
import sys
from cryptography.hazmat.primitives import serialization
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read()))
"""


def private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def kms_uri(folder: Path, key: Ed25519PrivateKey) -> str:
    """A program that signs, as one that asks a key service would."""
    pem = private(folder / "in-the-service.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    script = folder / "sign.py"
    script.write_text(SIGNER)
    (folder / "gate.pub.pem").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return f"exec:{sys.executable}?public=gate.pub.pem&arg={script}&arg={pem}"


def test_encrypted_file_opens_with_its_passphrase_file_only(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    private(tmp_path / "gate.pem", encrypted_pem(key, PASSPHRASE))
    private(tmp_path / "right", PASSPHRASE + b"\n")
    private(tmp_path / "wrong", b"incorrect horse battery")
    opened = open_signing_key("file:gate.pem?passphrase-file=right", base=tmp_path)
    assert opened.public_key() == key.public_key()
    with pytest.raises(KeySourceError, match="this passphrase opens"):
        open_signing_key("file:gate.pem?passphrase-file=wrong", base=tmp_path)


def test_encrypted_file_is_asked_for_and_never_guessed(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    private(tmp_path / "gate.pem", encrypted_pem(key, PASSPHRASE))
    asked: list[str] = []

    def ask(name: str) -> bytes:
        asked.append(name)
        return PASSPHRASE

    assert open_signing_key("file:gate.pem", base=tmp_path, ask=ask).public_key() == key.public_key()
    assert asked == [str(tmp_path / "gate.pem")]


def test_encrypted_file_is_plain_pkcs8_that_others_read(key: Ed25519PrivateKey) -> None:
    read = serialization.load_pem_private_key(encrypted_pem(key, PASSPHRASE), PASSPHRASE)
    assert isinstance(read, Ed25519PrivateKey)
    assert read.public_key() == key.public_key()


def test_short_passphrase_is_refused(key: Ed25519PrivateKey) -> None:
    with pytest.raises(KeySourceError, match="at least 12"):
        encrypted_pem(key, b"short")


def test_file_open_to_others_is_refused(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    private(tmp_path / "gate.pem", encrypted_pem(key, PASSPHRASE)).chmod(0o640)
    with pytest.raises(KeySourceError, match="chmod 600"):
        open_signing_key("file:gate.pem", base=tmp_path, ask=lambda name: PASSPHRASE)


def test_program_signs(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    remote = open_signing_key(kms_uri(tmp_path, key), base=tmp_path)
    assert isinstance(remote, Ed25519PrivateKey)
    key.public_key().verify(remote.sign(b"message"), b"message")
    with pytest.raises(KeySourceError, match="can't be read"):
        remote.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_program_that_signs_with_another_key_is_found_at_once(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    uri = kms_uri(tmp_path, key)
    other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private(tmp_path / "in-the-service.pem", other)
    remote = open_signing_key(uri, base=tmp_path)
    assert isinstance(remote, Ed25519PrivateKey)
    with pytest.raises(KeySourceError, match="another key"):
        remote.sign(b"message")


def test_what_the_program_says_stands_in_the_error(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    uri = kms_uri(tmp_path, key)
    (tmp_path / "sign.py").write_text("raise SystemExit('AccessDenied: the key policy forbids it')")
    remote = open_signing_key(uri, base=tmp_path)
    assert isinstance(remote, Ed25519PrivateKey)
    with pytest.raises(KeySourceError, match="AccessDenied: the key policy forbids it"):
        remote.sign(b"message")


def test_function_signs_and_its_error_is_the_cause(
    tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms_uri(tmp_path, key)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "examplelab_kms.py").write_text(
        "from cryptography.hazmat.primitives import serialization\n"
        f"KEY = serialization.load_pem_private_key({pem!r}, None)\n"
        "def sign(message):\n    return KEY.sign(message)\n"
        "def fail(message):\n    raise PermissionError('role expired')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    good = open_signing_key("python:examplelab_kms:sign?public=gate.pub.pem", base=tmp_path)
    bad = open_signing_key("python:examplelab_kms:fail?public=gate.pub.pem", base=tmp_path)
    assert isinstance(good, Ed25519PrivateKey)
    assert isinstance(bad, Ed25519PrivateKey)
    key.public_key().verify(good.sign(b"m"), b"m")
    with pytest.raises(KeySourceError, match="role expired") as caught:
        bad.sign(b"m")
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("gate.pem", "expected file:"),
        ("file:missing.pem", "cannot be read"),
        ("file:a.pem?passphrase=secret", "passphrase-file"),
        ("pkcs11:token=t;object=o?module-path=/m&pin-value=1234", "does not belong into a URI"),
        ("pkcs11:token=t;object=o", "module-path"),
        ("pkcs11:token=t;token=u;object=o?module-path=/m", "doubled"),
        ("pkcs11:token=t;object=o;colour=red?module-path=/m", "colour"),
        ("exec:/bin/true", "public="),
        ("python:no_such_module_here:f?public=gate.pub.pem", "gate.pub.pem"),
        ("https://kms.example/key", "expected file:"),
    ],
)
def test_bad_uri_is_named(tmp_path: Path, uri: str, says: str) -> None:
    with pytest.raises(KeySourceError, match=says):
        open_signing_key(uri, base=tmp_path)


def test_hardware_module_signs_ed25519_and_p256(hsm: str) -> None:
    gate = open_signing_key(hsm.format("gate"), base=Path())
    claim = open_signing_key(hsm.format("claim"), base=Path())
    assert isinstance(gate, Ed25519PrivateKey)
    assert isinstance(claim, ec.EllipticCurvePrivateKey)
    gate.public_key().verify(gate.sign(b"message"), b"message")
    signature = claim.sign(b"message", ec.ECDSA(hashes.SHA256()))
    claim.public_key().verify(signature, b"message", ec.ECDSA(hashes.SHA256()))


def test_hardware_module_without_the_key_says_so(hsm: str) -> None:
    with pytest.raises(KeySourceError, match="expected one public key, found 0"):
        open_signing_key(hsm.format("nobody"), base=Path())


def test_missing_module_keeps_the_original_error() -> None:
    pytest.importorskip("pkcs11")
    with pytest.raises(KeySourceError, match=r"no-such-module\.so") as caught:
        open_signing_key("pkcs11:token=t;object=o?module-path=/no-such-module.so", base=Path())
    assert caught.value.__cause__ is not None
