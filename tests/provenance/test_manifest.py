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
from tests.provenance.rubric import STATEMENTS, broken_rules, false_statements


def crjson_manifest(signed: bytes, authority: Authority) -> dict[str, Any]:
    context = EngineSettings.for_anchors(authority.anchors).context()
    with c2pa.Reader("video/mp4", io.BytesIO(signed), context=context) as reader:
        (manifest,) = json.loads(reader.crjson())["manifests"]
    return dict(manifest)


def test_every_statement_of_the_conformance_rubric_is_true_of_a_clip(signed: bytes, authority: Authority) -> None:
    manifest = crjson_manifest(signed, authority)
    assert len(STATEMENTS) == 31
    assert false_statements(manifest) == []
    assert broken_rules(manifest) == []


ACTIONS = "c2pa.actions.v2"
OPENED = {"action": "c2pa.opened", "parameters": {"ingredients": [{"url": "self#jumbf=c2pa.assertions/i"}]}}
PRESERVED = {"type": "exif.originalPreservationImage", "parameters": {"multiAssetPartIndex": 0}}
FAULTS: dict[str, list[dict[str, Any]]] = {
    "mandatory_dst_for_perceptible_transformations": [{"action": {"action": "c2pa.cropped"}}],
    "mandatory_spec_version": [{"generator": {"specVersion": value}} for value in (None, "2.2.0", 2.4)],
    "mandatory_all_actions_included": [{"actions": {"allActionsIncluded": None}}],
    "no_dst_for_opened_action": [{"action": {**OPENED, "digitalSourceType": "x"}}],
    "well_formed_data_present": [{"manifest": {"validationResults": None}}],
    "well_formed_success": [{"failure": "claim.malformed"}],
    "valid_data_present": [{"manifest": {"validationResults": None}}],
    "valid_success": [{"failure": "assertion.bmffHash.mismatch"}],
    "inception_action_position": [{"first": {"action": "c2pa.published"}}, {"claim": {"created_assertions": []}}],
    "no_deprecated_assertions": [{"assertion": {label: {}}} for label in ("stds.exif", "c2pa.actions", "c2pa.claim")],
    "no_unsupported_assertions": [{"assertion": {"c2pa.invented": {}}}, {"assertion": {"c2pa.hash.bmff__1": {}}}],
    "no_deprecated_actions": [{"action": {"action": "c2pa.watermarked"}}],
    "no_unsupported_actions": [{"action": {"action": "c2pa.invented"}}],
    "no_unrecognized_custom_assertions": [{"assertion": {"mine": {}}}],
    "no_unrecognized_custom_actions": [{"action": {"action": "mine"}}],
    "no_unrecognized_custom_action_parameters": [{"action": {"action": "c2pa.published", "parameters": {"mine": 1}}}],
    "discouraged_legacy_action_parameters": [
        {"action": {"action": "c2pa.published", "parameters": {name: "x"}}} for name in ("description", "ingredient")
    ],
    "active_manifest_urn": [{"manifest": {"label": "urn:uuid:1"}}],
    "review_ratings_datasource": [
        {"assertion": {"org.example.a": {"reviewRatings": [], "dataSource": {"type": "humanEntry.anonymous"}}}}
    ],
    "ingredient_v3_no_active_manifest": [{"ingredient": {"validationResults": {}}}],
    "ingredient_v3_mandatory_validation_results": [{"ingredient": {"activeManifest": {}}}],
    "ingredient_relationship_values": [{"ingredient": {"relationship": "cousinOf"}}],
    "mandatory_dst_for_created_action": [{"action": {"action": "c2pa.created"}}],
    "no_deprecated_claim_fields": [{"claim": {"specVersion": "2.4"}}],
    "ingredient_v3_choice": [
        {"ingredient": {"activeManifest": {}, "validationResults": {}, "digitalSourceType": "x"}}
    ],
    "alternative_content_representation_choice": [
        {"assertion": {"org.example.a": {"type": PRESERVED["type"]}}},
        {"assertion": {"org.example.a": {"parameters": {
            "type": PRESERVED["type"], "multiAssetPartIndex": 0, "embeddedOriginalPreservationImage": {}}}}},
    ],
    "forbidden_labels_in_external_references": [
        {"assertion": {"c2pa.external-reference": {"label": label, "url": "https://x.example"}}}
        for label in ("c2pa.cloud-data", "c2pa.hash.data", "c2pa.ingredient.v3")
    ],
    "no_url_in_hashes": [{"hash": {"url": "https://x.example"}}],
    "all_actions_included_opened": [{"actions": {"actions": [OPENED], "allActionsIncluded": False}}],
    "opened_action_ingredient_reference": [
        {"action": {"action": "c2pa.opened", "parameters": given}} for given in (None, {}, {"ingredients": [{}, {}]})
    ],
    "no_box_hash_for_tiff": [
        {"assertion": {"c2pa.hash.boxes": {}, "c2pa.asset-type.v2": {"dc:format": "image/tiff"}}}
    ],
}  # fmt: skip


def with_fault(manifest: dict[str, Any], fault: dict[str, Any]) -> dict[str, Any]:
    """A copy of a good manifest with one thing changed, added or (None) taken away."""
    manifest = copy.deepcopy(manifest)
    (kind, change), actions = next(iter(fault.items())), manifest["assertions"][ACTIONS]
    if kind == "action":
        actions["actions"].append(change)
    elif kind == "first":
        actions["actions"].insert(0, change)
    elif kind == "failure":
        manifest["validationResults"]["failure"].append({"code": change})
    elif kind == "ingredient":
        manifest["assertions"]["c2pa.ingredient.v3__9"] = {"relationship": "inputTo", **change}
    else:
        places = {
            "manifest": manifest,
            "claim": manifest["claim.v2"],
            "generator": manifest["claim.v2"]["claim_generator_info"],
            "actions": actions,
            "assertion": manifest["assertions"],
            "hash": manifest["assertions"]["c2pa.hash.bmff.v3"],
        }
        places[kind].update(change)
    return manifest


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_statement_notices_its_faults(statement: str, signed: bytes, authority: Authority) -> None:
    good = crjson_manifest(signed, authority)
    for fault in FAULTS[statement]:
        assert statement in false_statements(with_fault(good, fault))


def test_what_the_rubric_allows_is_true(signed: bytes, authority: Authority) -> None:
    good = crjson_manifest(signed, authority)
    for fine in (
        {"action": {"action": "c2pa.placed"}},
        {"action": {"action": "org.example.mine", "parameters": {"org.example.how": 1, "ingredients": []}}},
        {"ingredient": {"activeManifest": {}, "validationResults": {}}},
        {"assertion": {"c2pa.external-reference": {"label": "c2pa.metadata", "url": "https://x.example"}}},
        {"assertion": {"org.example.a": PRESERVED, "c2pa.hash.boxes": {}}},
        {"failure": "signingCredential.untrusted"},
    ):
        assert false_statements(with_fault(good, fine)) == []


def test_our_own_rules_notice_their_faults(signed: bytes, authority: Authority) -> None:
    good = crjson_manifest(signed, authority)
    without_mark = copy.deepcopy(good)
    del without_mark["assertions"]["c2pa.soft-binding"]
    assert "a watermark action has a soft binding" in broken_rules(without_mark)
    assert "exactly one created or opened" in broken_rules(with_fault(good, {"action": OPENED}))
    assert "no validation failure" in broken_rules(with_fault(good, {"failure": "signingCredential.untrusted"}))


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
