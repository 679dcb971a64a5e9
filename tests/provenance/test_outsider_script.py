"""The script for outsiders: alone, without any library, it accepts what holds and refuses what does not."""

import ast
import base64
import importlib.util
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import TransparencyLog, format_log_key, format_witness_key, format_witness_request
from provenance.cosignature import cosign

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "outsider" / "check_log.py"
ORIGIN = "log.example.org/vasari"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIZES = (0, 1, 5, 8, 13)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_log", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_log = load()


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """The script in isolation: no site packages, no environment, no folder of its own on the path."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proof, export, keys, checkpoints of a log that grew, and a cosigned checkpoint."""
    folder = tmp_path_factory.mktemp("outsider")
    with TransparencyLog(folder / "log.sqlite", origin=ORIGIN, signer=KEY) as log:
        for size in SIZES:
            log.append_all([b"entry %d" % n for n in range(log.size, size)])
            (folder / f"{size}.checkpoint").write_text(log.checkpoint())
        proof = log.prove(7)
        cosigned = proof + cosign(log.checkpoint(), name="witness.example.org", key=WITNESS, now=datetime.now(UTC))
        for name, text in (("proof", proof), ("cosigned", cosigned)):
            (folder / name).write_text(text)
        for size in SIZES:
            request = format_witness_request(size, log.consistency_proof(size, 13), log.checkpoint())
            (folder / f"{size}.request").write_text(request)
        with (folder / "export").open("w") as sink:
            log.export(sink)
    (folder / "entry").write_bytes(b"entry 7")
    (folder / "other").write_bytes(b"entry 8")
    (folder / "key").write_text(format_log_key(ORIGIN, KEY.public_key()) + "\n")
    (folder / "stranger").write_text(format_log_key(ORIGIN, WITNESS.public_key()) + "\n")
    (folder / "witness").write_text(format_witness_key("witness.example.org", WITNESS.public_key()) + "\n")
    return folder


def test_it_is_short_and_imports_the_standard_library_only() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    imported = {
        name.name.split(".")[0] if isinstance(statement, ast.Import) else (statement.module or "")
        for statement in ast.walk(ast.parse(text))
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in statement.names
    }
    assert imported <= set(sys.stdlib_module_names)


def test_what_holds_is_accepted_in_isolation(held: Path) -> None:
    key = held / "key"
    for words in (
        ("proof", "--key", key, "--proof", held / "proof", "--entry", held / "entry"),
        ("proof", "--key", key, "--proof", held / "cosigned", "--witness", held / "witness"),
        ("export", "--key", key, held / "export"),
        *(("export", "--key", key, held / "export", "--since", held / f"{size}.checkpoint") for size in SIZES),
        ("grown", "--key", key, "--old", held / "5.checkpoint", "--request", held / "5.request"),
        ("note", "--key", key, held / "13.checkpoint"),
    ):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_what_does_not_hold_is_refused_with_a_reason(held: Path, tmp_path: Path) -> None:
    key = held / "key"
    forged = (held / "export").read_text().replace(base64.b64encode(b"entry 3").decode(), "AAAA")
    (tmp_path / "forged").write_text(forged)
    shorter = (held / "export").read_text().splitlines(keepends=True)
    (tmp_path / "shorter").write_text("".join(shorter[:-2] + shorter[-1:]))
    for words in (
        ("proof", "--key", key, "--proof", held / "proof", "--entry", held / "other"),
        ("proof", "--key", held / "stranger", "--proof", held / "proof"),
        ("proof", "--key", key, "--proof", held / "proof", "--witness", held / "witness"),
        ("proof", "--key", held / "witness", "--proof", held / "proof"),
        ("proof", "--key", key, "--proof", held / "export"),
        ("export", "--key", key, tmp_path / "forged"),
        ("export", "--key", key, tmp_path / "shorter"),
        ("grown", "--key", key, "--old", held / "5.checkpoint", "--request", held / "8.request"),
        ("grown", "--key", key, "--old", held / "proof", "--request", held / "8.request"),
        ("note", "--key", held / "stranger", held / "13.checkpoint"),
        ("note", "--key", tmp_path / "missing", held / "13.checkpoint"),
    ):
        done = run(*words)
        assert done.returncode == 1, words
        assert done.stderr.startswith("does not hold: "), done.stderr


def by_openssl(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 64 * 8 - 1))
def test_its_ed25519_agrees_with_openssl(seed: bytes, message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert check_log.verify_ed25519(public, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not check_log.verify_ed25519(public, message, bytes(flipped))
    assert not check_log.verify_ed25519(public, message + b"!", signature)


def test_its_ed25519_refuses_second_ways_to_write_a_signature() -> None:
    public, signature = KEY.public_key().public_bytes_raw(), KEY.sign(b"message")
    larger = int.from_bytes(signature[32:], "little") + check_log.L
    assert not check_log.verify_ed25519(public, b"message", signature[:32] + larger.to_bytes(32, "little"))
    y_beyond_p = (check_log.P + 1).to_bytes(32, "little")  # the neutral element, written another way
    assert not check_log.verify_ed25519(y_beyond_p, b"message", signature)
    assert check_log.decode_point(y_beyond_p) is None
    assert not check_log.verify_ed25519(public, b"message", signature[:63])


@settings(max_examples=30)
@given(st.integers(0, 2**256 - 1), st.binary(max_size=20))
def test_arbitrary_keys_are_judged_as_openssl_judges_them(point: int, message: bytes) -> None:
    key = point.to_bytes(32, "little")
    signature = KEY.sign(message)
    assert check_log.verify_ed25519(key, message, signature) == by_openssl(key, message, signature)


@pytest.mark.parametrize("old", range(14))
def test_its_proofs_agree_at_every_size(old: int, tmp_path: Path) -> None:
    with TransparencyLog(tmp_path / "log.sqlite", origin=ORIGIN, signer=KEY) as log:
        log.append_all([b"entry %d" % n for n in range(13)])
        if old < 13:
            path = log.inclusion_proof(old, 13)
            check_log.check_inclusion(check_log.leaf(b"entry %d" % old), old, 13, path, log.root())
            with pytest.raises(ValueError, match="another root"):
                check_log.check_inclusion(check_log.leaf(b"forged"), old, 13, path, log.root())
        if old <= 13:
            path = log.consistency_proof(old, 13)
            check_log.check_consistency(old, 13, log.root(old), log.root(), path)
            with pytest.raises(ValueError, match="extend"):
                check_log.check_consistency(old, 13, bytes(32), log.root(), path)
