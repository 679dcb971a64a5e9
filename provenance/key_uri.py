"""Signing keys by URI: an (encrypted) file, a hardware module, or a key service.

    file:keys/gate.pem
    file:keys/gate.pem?passphrase-file=/run/secrets/gate
    pkcs11:…          provenance/pkcs11_key.py
    exec:…, python:…  provenance/kms_key.py

A passphrase comes from a file that others can't read, or is asked for on the terminal; never from an argument or the
environment.
"""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote

from asn1crypto import algos, core, keys, pem
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from provenance import kms_key, pkcs11_key
from provenance.errors import KeySourceError
from provenance.kms_key import open_kms_key
from provenance.pkcs11_key import open_hsm_key
from provenance.private_file import read_private_file
from provenance.remote_key import SigningKey

FILE_SCHEME = "file:"
PBKDF2_ROUNDS = 600_000  # OWASP, for HMAC-SHA-256
MIN_PASSPHRASE = 12
Ask = Callable[[str], bytes]
"""Asks a person for the passphrase of the named file."""


def ask_on_terminal(name: str) -> bytes:
    """Ask without echo; raises KeySourceError where nobody can answer."""
    if not sys.stdin.isatty():
        raise KeySourceError(f"{name}: is encrypted; name its passphrase with file:{name}?passphrase-file=PATH")
    return getpass.getpass(f"Passphrase of {name}: ").encode()


def open_signing_key(uri: str, *, base: Path, ask: Ask = ask_on_terminal) -> SigningKey:
    """The Ed25519 or P-256 key at `uri`, relative paths starting at `base`; raises KeySourceError."""
    try:
        if uri.startswith(FILE_SCHEME):
            return _open_file(uri.removeprefix(FILE_SCHEME), base, ask)
        if uri.startswith(pkcs11_key.SCHEME):
            return open_hsm_key(uri)
        if uri.startswith(kms_key.SCHEMES):
            return open_kms_key(uri, base=base)
    except ValueError as error:
        raise KeySourceError(f"{uri!r:.200}: {error}") from error
    raise KeySourceError(f"{uri!r:.80}: expected file:, pkcs11:, exec: or python:")


def encrypted_pem(key: SigningKey, passphrase: bytes) -> bytes:
    """PKCS #8 (RFC 5958), encrypted with AES-256-CBC under PBKDF2 (RFC 8018); other programs read it too."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeySourceError(f"the passphrase has {len(passphrase)} characters, at least {MIN_PASSPHRASE} are needed")
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, vector = secrets.token_bytes(16), secrets.token_bytes(16)
    derived = PBKDF2HMAC(hashes.SHA256(), 32, salt, PBKDF2_ROUNDS).derive(passphrase)
    pad, encryptor = padding.PKCS7(128).padder(), Cipher(AES(derived), CBC(vector)).encryptor()
    cipher = encryptor.update(pad.update(plain) + pad.finalize()) + encryptor.finalize()
    kdf = {
        "salt": core.OctetString(salt),
        "iteration_count": PBKDF2_ROUNDS,
        "prf": {"algorithm": "sha256", "parameters": core.Null()},
    }
    scheme = {
        "key_derivation_func": {"algorithm": "pbkdf2", "parameters": algos.Pbkdf2Params(kdf)},
        "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": core.OctetString(vector)},
    }
    info = keys.EncryptedPrivateKeyInfo(
        {
            "encryption_algorithm": {"algorithm": "pbes2", "parameters": algos.Pbes2Params(scheme)},
            "encrypted_data": cipher,
        }
    )
    armoured: bytes = pem.armor("ENCRYPTED PRIVATE KEY", info.dump())
    return armoured


def _open_file(rest: str, base: Path, ask: Ask) -> SigningKey:
    place, _, query = rest.partition("?")
    options = parse_qs(query, strict_parsing=True) if query else {}
    if set(options) - {"passphrase-file"} or not place:
        raise KeySourceError(f"file:{rest!r:.200}: expected file:PATH or file:PATH?passphrase-file=PATH")
    path = base / unquote(place)
    data, passphrase = read_private_file(path), None
    if "passphrase-file" in options:
        passphrase = read_private_file(base / options["passphrase-file"][-1]).strip()
    elif b"ENCRYPTED" in data.partition(b"\n")[0]:
        passphrase = ask(str(path))
    try:
        key = serialization.load_pem_private_key(data, password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeySourceError(f"{path}: expected a private key in PEM that this passphrase opens: {error}") from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise KeySourceError(f"{path}: expected an Ed25519 or P-256 key, got {type(key).__name__}")
