"""A hardware security module in software (SoftHSM2), with an Ed25519, a P-256 and an AES key in one token."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
EDWARDS25519 = bytes.fromhex("130c656477617264733235353139")  # PrintableString, PKCS #11 3.0
PIN = "83759214"


def make_soft_hsm(folder: Path) -> str:
    """A URI with a place for the object's label; skips where SoftHSM2 or its Python binding are missing."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed (Debian: apt install softhsm2)")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")  # read by the module itself, once
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "vasari-test", "--so-pin", PIN, "--pin", PIN],
        check=True,
        capture_output=True,
    )
    pin = folder / "pin"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    with pkcs11.lib(module).get_token(token_label="vasari-test").open(user_pin=PIN, rw=True) as session:
        _make_keys(pkcs11, session)
    return f"pkcs11:token=vasari-test;object={{}}?module-path={module}&pin-source=file:{pin}"


def _make_keys(pkcs11: Any, session: Any) -> None:
    from pkcs11.util.ec import encode_named_curve_parameters

    for label in ("gate", "log", "registry"):
        edwards = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: EDWARDS25519}, local=True
        )
        edwards.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label=label)
    curve = encode_named_curve_parameters("secp256r1")
    p256 = session.create_domain_parameters(pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True)
    p256.generate_keypair(store=True, label="claim")
    session.generate_key(pkcs11.KeyType.AES, 256, store=True, label="kek")
