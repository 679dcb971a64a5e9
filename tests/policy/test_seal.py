"""Sealed weights open whole and unchanged with their key, or not at all."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from policy import seal
from policy.canonical import canonical_json
from policy.errors import SealError
from policy.seal import CHUNK_BYTES, MAGIC, TAG_BYTES, open_sealed, read_sealed_header, seal_weights

KEY = bytes(range(32))
TENSORS = {"motion.w": torch.arange(700_000.0), "render.b": torch.ones(3, 5, dtype=torch.float16)}
CONFIG = {"motion": {"width": 3}, "render": {"size_px": 512}}


def payload() -> bytes:
    return bytes(safetensors.torch.save(TENSORS, metadata={"config": json.dumps(CONFIG)}))


@pytest.fixture(scope="module")
def sealed_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("seal") / "w.sealed"
    seal_weights(payload(), path, content_key=KEY)
    return path.read_bytes()


def split(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    (length,) = struct.unpack(">I", data[len(MAGIC) : len(MAGIC) + 4])
    start = len(MAGIC) + 4 + length
    size = CHUNK_BYTES + TAG_BYTES
    chunks = [data[at : at + size] for at in range(start, len(data), size)]
    return json.loads(data[len(MAGIC) + 4 : start]), chunks


def joined(header: dict[str, Any] | bytes, chunks: list[bytes]) -> bytes:
    members = header if isinstance(header, bytes) else canonical_json(header)
    return MAGIC + struct.pack(">I", len(members)) + members + b"".join(chunks)


def refuses(tmp_path: Path, data: bytes, match: str, key: bytes = KEY) -> None:
    path = tmp_path / "changed.sealed"
    path.write_bytes(data)
    with pytest.raises(SealError, match=match):
        open_sealed(path, key)


def test_tensors_and_configuration_come_back_bit_equal(tmp_path: Path, sealed_bytes: bytes) -> None:
    path = tmp_path / "w.sealed"
    path.write_bytes(sealed_bytes)
    opened = open_sealed(path, KEY)
    assert opened.config == CONFIG
    assert opened.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(opened.tensors[name], TENSORS[name]) for name in TENSORS)
    assert opened.tensors["render.b"].dtype == torch.float16


def test_nothing_of_the_payload_shows(sealed_bytes: bytes) -> None:
    for name in (b"motion.w", b"render.b", b"size_px", b"__metadata__"):
        assert name not in sealed_bytes


def test_two_seals_of_one_payload_share_no_chunk(tmp_path: Path, sealed_bytes: bytes) -> None:
    seal_weights(payload(), tmp_path / "again.sealed", content_key=KEY)
    again = split((tmp_path / "again.sealed").read_bytes())[1]
    assert not set(again) & set(split(sealed_bytes)[1])


@pytest.mark.parametrize("dtype", sorted(seal.DTYPES.values(), key=str))
def test_every_type_of_number_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    made = {
        "a": torch.arange(7).to(dtype),
        "odd": torch.arange(3).to(torch.uint8),
        "none": torch.zeros(0, 4, dtype=dtype),
    }
    plain = safetensors.torch.save(made, metadata={"config": "{}"})
    seal_weights(plain, tmp_path / "w.sealed", content_key=KEY)
    opened = open_sealed(tmp_path / "w.sealed", KEY).tensors
    assert all(torch.equal(opened[name], made[name]) and opened[name].dtype == made[name].dtype for name in made)


@pytest.mark.parametrize("offsets", [[0, 8], [0, 5], [-4, 0], [4, 0], ["0", "4"]])
def test_a_tensor_that_lies_about_its_place_is_refused(tmp_path: Path, offsets: list[Any]) -> None:
    header = canonical_json(
        {"__metadata__": {"config": "{}"}, "w": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}
    )
    seal_weights(len(header).to_bytes(8, "little") + header + bytes(4), tmp_path / "w.sealed", content_key=KEY)
    with pytest.raises(SealError, match="'w'"):
        open_sealed(tmp_path / "w.sealed", KEY)


def test_another_key_does_not_open_it(tmp_path: Path, sealed_bytes: bytes) -> None:
    refuses(tmp_path, sealed_bytes, "chunk 0 does not open", key=bytes(32))
    refuses(tmp_path, sealed_bytes, "a content key has 32 bytes", key=b"short")


@pytest.mark.parametrize("where", [0.001, 0.3, 0.6, 0.999999])
def test_a_flipped_bit_is_refused(tmp_path: Path, sealed_bytes: bytes, where: float) -> None:
    changed = bytearray(sealed_bytes)
    changed[max(600, int(where * len(changed)))] ^= 1
    refuses(tmp_path, bytes(changed), "does not open")


def test_a_cut_file_is_refused(tmp_path: Path, sealed_bytes: bytes) -> None:
    header, chunks = split(sealed_bytes)
    assert len(chunks) == 3
    refuses(tmp_path, sealed_bytes[:-1], "was cut or changed")
    refuses(tmp_path, joined(header, chunks[:-1]), "was cut or changed")
    refuses(tmp_path, sealed_bytes[:20], "header")
    refuses(tmp_path, b"", "not a sealed weights file")


def test_a_cut_file_with_a_shortened_length_is_refused(tmp_path: Path, sealed_bytes: bytes) -> None:
    header, chunks = split(sealed_bytes)
    refuses(tmp_path, joined({**header, "plain_bytes": 2 * CHUNK_BYTES}, chunks[:2]), "does not open")


def test_reordered_and_repeated_chunks_are_refused(tmp_path: Path, sealed_bytes: bytes) -> None:
    header, (first, second, last) = split(sealed_bytes)
    refuses(tmp_path, joined(header, [second, first, last]), "chunk 0 does not open")
    refuses(tmp_path, joined(header, [first, first, last]), "chunk 1 does not open")
    refuses(tmp_path, joined(header, [first, second, last, last]), "was cut or changed")


def test_the_header_of_another_file_is_refused(tmp_path: Path, sealed_bytes: bytes) -> None:
    seal_weights(payload(), tmp_path / "other.sealed", content_key=KEY)
    header, _ = split((tmp_path / "other.sealed").read_bytes())
    refuses(tmp_path, joined(header, split(sealed_bytes)[1]), "does not open")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_digest": "sha256:" + "0" * 64}, "does not open"),
        ({"note": "hello"}, "note"),
        ({"algorithm": "AES-128-GCM"}, "algorithm"),
        ({"chunk_bytes": 4096}, "chunk_bytes"),
        ({"plain_bytes": 1.5}, "plain_bytes"),
        ({"plain_bytes": 1 << 60}, "plain_bytes"),
        ({"plain_bytes": 8 << 30}, "was cut or changed"),
        ({"minimum_gate_version": 99}, "update Vasari"),
    ],
)
def test_a_changed_or_unknown_header_member_is_refused(
    tmp_path: Path, sealed_bytes: bytes, change: dict[str, Any], match: str
) -> None:
    header, chunks = split(sealed_bytes)
    refuses(tmp_path, joined({**header, **change}, chunks), match)


def test_a_header_that_is_not_canonical_is_refused(tmp_path: Path, sealed_bytes: bytes) -> None:
    header, chunks = split(sealed_bytes)
    refuses(tmp_path, joined(json.dumps(header).encode(), chunks), "canonical")
    twice = canonical_json(header)[:-1] + b',"algorithm":"AES-256-GCM-HKDF-SHA256"}'
    refuses(tmp_path, joined(twice, chunks), "given twice")


def test_only_safetensors_with_a_configuration_are_sealed(tmp_path: Path) -> None:
    out = tmp_path / "w.sealed"
    for plain in (b"", b"x" * 100, bytes(safetensors.torch.save({"a": torch.ones(1)}))):
        with pytest.raises(SealError):
            seal_weights(plain, out, content_key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_seal_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(seal.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        seal_weights(payload(), tmp_path / "w.sealed", content_key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_the_header_names_the_model_without_a_key(tmp_path: Path, sealed_bytes: bytes) -> None:
    path = tmp_path / "w.sealed"
    path.write_bytes(sealed_bytes)
    assert read_sealed_header(path).plain_bytes == len(payload())
