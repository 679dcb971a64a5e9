"""What the manifest of a clip says, and what it must never say."""

import base64
import copy
import hashlib
import io
import json
from datetime import datetime
from typing import Any

import c2pa
import numpy as np
import pytest

from provenance import ProvenanceError
from provenance.engine_settings import EngineSettings
from provenance.manifest import hash_from_name, hash_name
from tests.provenance.conftest import Authority, make_manifest, sign
from tests.provenance.rubric import RULES, broken_rules


def crjson_manifest(signed: bytes, authority: Authority) -> dict[str, Any]:
    context = EngineSettings.for_anchors(authority.anchors).context()
    with c2pa.Reader("video/mp4", io.BytesIO(signed), context=context) as reader:
        (manifest,) = json.loads(reader.crjson())["manifests"]
    return dict(manifest)


def test_a_clip_keeps_every_listed_rule_of_the_rubric(signed: bytes, authority: Authority) -> None:
    assert len(RULES) == 33
    assert broken_rules(crjson_manifest(signed, authority)) == []


def change_first_action(manifest: dict[str, Any], **changes: object) -> None:
    manifest["assertions"]["c2pa.actions.v2"]["actions"][0].update(changes)


def test_the_rubric_notices_each_kind_of_fault(signed: bytes, authority: Authority) -> None:
    good = crjson_manifest(signed, authority)

    def broken(change: Any) -> set[str]:
        manifest = copy.deepcopy(good)
        change(manifest)
        return set(broken_rules(manifest))

    assert "allActionsIncluded is stated" in broken(
        lambda m: m["assertions"]["c2pa.actions.v2"].pop("allActionsIncluded")
    )
    assert "generator info gives specVersion" in broken(
        lambda m: m["claim.v2"]["claim_generator_info"].pop("specVersion")
    )
    assert "actions assertion is created" in broken(lambda m: m["claim.v2"]["created_assertions"].pop(0))
    assert "action parameters are standard or have a dot" in broken(
        lambda m: change_first_action(m, parameters={"description": "x"})
    )
    assert "c2pa actions are predefined" in broken(lambda m: change_first_action(m, action="c2pa.invented"))
    assert "a watermark action has a soft binding" in broken(lambda m: m["assertions"].pop("c2pa.soft-binding"))


def test_a_manifest_says_trained_model_and_watermarked(signed: bytes, authority: Authority) -> None:
    manifest = crjson_manifest(signed, authority)
    created, bound = manifest["assertions"]["c2pa.actions.v2"]["actions"]
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert len(created["parameters"]["ingredients"]) == 2
    assert bound["action"] == "c2pa.watermarked.bound"
    binding = manifest["assertions"]["c2pa.soft-binding"]
    assert base64.b64decode(binding["blocks"][0]["value"]) == bytes(range(16))


def test_a_manifest_holds_no_pixels_no_thumbnail_and_no_name(clip: bytes, signed: bytes, authority: Authority) -> None:
    boxes = signed[len(clip[:32]) : len(signed) - len(clip) + 32]
    assert b"urn:c2pa:" in boxes
    for forbidden in (b"thumbnail", b"\x89PNG\r\n", b"JFIF\0", b"caBX", b"Exif\0"):
        assert forbidden not in boxes
    texts = json.dumps(crjson_manifest(signed, authority))
    assert "author" not in texts.lower()
    assert "subject_name" not in texts


def test_no_part_of_the_portrait_is_in_the_clip(clip: bytes, authority: Authority) -> None:
    portrait = np.random.default_rng(5).bytes(4096)
    signed = sign(clip, authority, portrait_sha256=hashlib.sha256(portrait).hexdigest())
    assert all(portrait[at : at + 16] not in signed for at in range(0, len(portrait) - 16, 16))
    assert hashlib.sha256(portrait).hexdigest().encode() in signed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("manifest_id", 2**64),
        ("manifest_id", -1),
        ("portrait_sha256", "A1" * 32),
        ("consent_sha256", "c3" * 31),
        ("portrait_media_type", "audio/wav"),
        ("audio_media_type", "audio/wav\n"),
        ("soft_binding_value", b""),
        ("title", ""),
        ("title", "x" * 201),
        ("log_proof", ""),
        ("created_at", datetime(2026, 1, 1)),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ProvenanceError, match=field):
        make_manifest(**{field: value})


def test_a_hash_survives_its_rfc_6920_name() -> None:
    digest = bytes(range(32)).hex()
    assert hash_from_name(hash_name(digest)) == digest
    assert hash_from_name("xmp:iid:5c41d30e-7a8e-4f6f-9d4f-1f0c4c7f4a10") is None
