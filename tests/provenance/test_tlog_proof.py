"""Signed notes, checkpoints and proof texts: what holds, and that nothing malformed or changed does."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import Checkpoint, ProofError, leaf_hash, verify_checkpoint, verify_log_proof
from provenance.checkpoint import sign_checkpoint
from provenance.rfc6962 import node_hash
from provenance.signed_note import parse_decimal, parse_note, sign_note, verify_note
from provenance.tlog_proof import format_log_proof, parse_log_proof

ORIGIN = "log.example.org/vasari"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
ENTRIES = [b"first", b"second", b"third"]
LEFT = node_hash(leaf_hash(ENTRIES[0]), leaf_hash(ENTRIES[1]))
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, node_hash(LEFT, leaf_hash(ENTRIES[2]))), KEY)
PROOF = format_log_proof(1, [leaf_hash(ENTRIES[0]), leaf_hash(ENTRIES[2])], NOTE)


def test_a_proof_holds_with_nothing_but_its_text_entry_and_key() -> None:
    checked = verify_log_proof(PROOF, b"second", origin=ORIGIN, public_key=PUBLIC)
    assert (checked.index, checked.checkpoint.size) == (1, 3)


def test_the_offline_check_loads_no_database() -> None:
    package = Path(__file__).resolve().parents[2] / "provenance"
    program = (
        "import sys, types; package = types.ModuleType('provenance'); "
        f"package.__path__ = [{str(package)!r}]; sys.modules['provenance'] = package; "
        "import provenance.tlog_proof; "
        "print(sorted({'sqlite3', 'c2pa', 'torch', 'numpy', 'asn1crypto'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_proof_holds_for_no_other_entry_origin_or_key() -> None:
    for entry, origin, key in (
        (b"other", ORIGIN, PUBLIC),
        (b"second", "other.example.org", PUBLIC),
        (b"second", ORIGIN, Ed25519PrivateKey.generate().public_key()),
    ):
        with pytest.raises(ProofError):
            verify_log_proof(PROOF, entry, origin=origin, public_key=key)


@settings(max_examples=200)
@given(at=st.integers(0, len(PROOF) - 1), new=st.characters(codec="utf-8"))
def test_no_changed_character_leaves_a_proof_valid(at: int, new: str) -> None:
    changed = PROOF[:at] + new + PROOF[at + 1 :]
    if changed == PROOF:
        return
    with pytest.raises(ProofError):
        verify_log_proof(changed, b"second", origin=ORIGIN, public_key=PUBLIC)


@given(start=st.integers(0, len(PROOF)), length=st.integers(1, 40), insert=st.text(max_size=5))
def test_no_cut_or_insertion_leaves_a_proof_valid(start: int, length: int, insert: str) -> None:
    changed = PROOF[:start] + insert + PROOF[start + length :]
    if changed == PROOF:
        return
    with pytest.raises(ProofError):
        verify_log_proof(changed, b"second", origin=ORIGIN, public_key=PUBLIC)


@given(st.text(max_size=300))
def test_parsers_raise_nothing_but_proof_errors(text: str) -> None:
    for parse in (parse_note, parse_log_proof, parse_decimal):
        try:
            parse(text)
        except ProofError:
            continue


@pytest.mark.parametrize(
    "text", ["", "01", "+5", "-0", "1_0", " 1", "1 ", "1\n", "٣", "1e3", "0x1", "9223372036854775808"]
)
def test_a_number_in_any_other_writing_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        parse_decimal(text)


@pytest.mark.parametrize("size", ["03", "+3", "3 ", "1_0", "٣"])
def test_a_checkpoint_with_a_loosely_written_size_is_refused(size: str) -> None:
    root = base64.b64encode(bytes(32)).decode()
    note = sign_note(f"{ORIGIN}\n{size}\n{root}\n", name=ORIGIN, key=KEY)
    with pytest.raises(ProofError):
        verify_checkpoint(note, origin=ORIGIN, public_key=PUBLIC)


@pytest.mark.parametrize("root", ["A" * 44, base64.b64encode(bytes(31)).decode(), "A" * 42 + "B="])
def test_a_checkpoint_with_a_loosely_written_root_is_refused(root: str) -> None:
    note = sign_note(f"{ORIGIN}\n3\n{root}\n", name=ORIGIN, key=KEY)
    with pytest.raises(ProofError):
        verify_checkpoint(note, origin=ORIGIN, public_key=PUBLIC)


def test_a_checkpoint_with_extension_lines_is_refused() -> None:
    note = sign_note(f"{ORIGIN}\n3\n{base64.b64encode(bytes(32)).decode()}\nmore\n", name=ORIGIN, key=KEY)
    with pytest.raises(ProofError, match="three lines"):
        verify_checkpoint(note, origin=ORIGIN, public_key=PUBLIC)


def test_signatures_of_unknown_keys_are_ignored_and_a_false_one_of_a_known_key_is_not() -> None:
    text, _, line = NOTE.rpartition("\n\n")
    witness = sign_note(text + "\n", name="witness.example.org", key=Ed25519PrivateKey.generate())
    witness_line = witness.rpartition("\n\n")[2]
    both = f"{text}\n\n{witness_line * 16}{line}"
    assert verify_note(both, {ORIGIN: PUBLIC}) == text + "\n"
    raw = bytearray(base64.b64decode(line.split(" ")[2]))
    raw[-1] ^= 1
    false = f"— {ORIGIN} {base64.b64encode(raw).decode()}\n"
    with pytest.raises(ProofError, match="does not hold"):
        verify_note(f"{text}\n\n{line}{false}", {ORIGIN: PUBLIC})
    with pytest.raises(ProofError, match="no signature"):
        verify_note(f"{text}\n\n{witness_line}", {ORIGIN: PUBLIC})


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\tb", "a\u2003b"])
def test_a_key_name_that_notes_forbid_is_refused(name: str) -> None:
    with pytest.raises(ProofError, match="key name"):
        sign_note("text\n", name=name, key=KEY)


def test_control_characters_in_a_note_are_refused() -> None:
    for text in ("a\tb\n", "a\rb\n", "a\x00\n", "a\x85b\n"):
        with pytest.raises(ProofError, match="control"):
            sign_note(text, name=ORIGIN, key=KEY)


def test_an_unauthenticated_extra_line_is_parsed_and_kept_apart() -> None:
    text = PROOF.replace("\nindex", "\nextra aGVsbG8=\nindex", 1)
    assert parse_log_proof(text).extra == b"hello"
    verify_log_proof(text, b"second", origin=ORIGIN, public_key=PUBLIC)
