"""The statements of the C2PA Asset Conformance rubric 0.2 for specification 2.4, and rules of our own, over crJSON.

`STATEMENTS` are the 31 of c2pa-org/conformance-public (`asset-rubrics/asset-rubric-conformance0.2-spec2.4.yml`, of
2026-03-31), under their ids, each written anew in Python: what it finds in the active manifest. A statement is true
when it finds nothing. Their own evaluator in Python needs a package that no registry has; under `@adobe/json-formula`
2.0.0 of npm the original expressions (all but the one of `mandatory_spec_version`) gave the same answers on a good
manifest and on every fault of `test_manifest.py`. `RULES` go beyond, for generated clips.
"""

from collections.abc import Callable, Iterator
from typing import Any

Manifest = dict[str, Any]
Find = Callable[[Manifest], list[Any]]

SPEC_VERSION = ("2", "4")
INCEPTION = ("c2pa.created", "c2pa.opened")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _c2pa(names: str) -> frozenset[str]:
    return frozenset(f"c2pa.{name}" for name in names.split())


NOT_EDITORIAL = _c2pa(
    "converted published repackaged transcoded resized.proportional enhanced edited.metadata watermarked"
    " watermarked.bound watermarked.unbound redacted"
)
EXEMPT_FROM_SOURCE_TYPE = _c2pa("placed")
ACTIONS = _c2pa(
    "addedText adjustedColor changedSpeed color_adjustments converted created cropped deleted drawing dubbed edited"
    " edited.metadata enhanced filtered mastered mixed opened orientation placed published redacted remixed removed"
    " repackaged resized resized.proportional transcoded translated trimmed unknown watermarked watermarked.bound"
    " watermarked.unbound"
)
DEPRECATED_ACTIONS = _c2pa(
    "copied formatted version_updated printed managed produced saved color_adjustments watermarked"
)
ASSERTIONS = _c2pa(
    "hash.data hash.data.part actions.v2 ingredient.v3 hash.boxes hash.bmff.v3 hash.collection.data soft-binding"
    " cloud-data embedded-data metadata certificate-status asset-ref asset-type.v2 hash.multi-asset thumbnail.claim"
    " thumbnail.ingredient depthmap.GDepth icon alternative-content-representation external-reference session-keys"
    " environmental-sustainability repository-receipt ai-disclosure assertion.metadata time-stamp"
)
DEPRECATED_ASSERTIONS = _c2pa("claim hash.bmff.v2 asset-type ingredient ingredient.v2 actions")
PARAMETERS = _words(
    "redacted ingredients ingredient description relatedAssertions sourceLanguage targetLanguage"
    " multipleInstances ranges weight width italic slant optical-size"
)
NOT_WELL_FORMED = _words(
    "assertion.action.malformed assertion.bmffHash.malformed assertion.boxesHash.malformed"
    " assertion.collectionHash.malformed assertion.dataHash.malformed assertion.external-reference.malformed"
    " assertion.external-reference.labelMismatch assertion.external-reference.created"
    " assertion.ingredient.malformed assertion.alternativeContentRepresentation.malformed"
    " assertion.alternativeContentRepresentation.missing assertion.multiAssetHash.malformed assertion.cbor.invalid"
    " assertion.json.invalid claim.cbor.invalid claim.hardBindings.missing claim.malformed claim.missing"
    " claim.multiple hashedURI.missing ingredient.manifest.missing assertion.boxesHash.unknownBox"
    " assertion.multipleHardBindings manifest.compressed.invalid manifest.html.multipleManifests"
    " manifest.inaccessible manifest.multipleParents manifest.structuredText.emptyReference"
    " manifest.structuredText.malformedReference manifest.structuredText.multipleReferences"
    " manifest.structuredText.noManifest manifest.structuredText.noResolutionPath manifest.timestamp.invalid"
    " manifest.timestamp.wrongParents manifest.update.invalid manifest.update.wrongParents"
    " MISSING_VALIDATION_RESULTS"
)
NOT_VALID = _words(
    "assertion.action.ingredientMismatch assertion.action.redactionMismatch assertion.bmffHash.mismatch"
    " assertion.boxesHash.mismatch assertion.collectionHash.mismatch assertion.dataHash.mismatch"
    " assertion.external-reference.hashMismatch assertion.alternativeContentRepresentation.hashMismatch"
    " assertion.multiAssetHash.mismatch assertion.hashedURI.mismatch assertion.hardBinding.redacted"
    " hashedURI.mismatch ingredient.manifest.mismatch ingredient.claimSignature.missing"
    " ingredient.claimSignature.mismatch claimSignature.missing MISSING_VALIDATION_RESULTS"
)
HUMAN_ENTRY = ("humanEntry.anonymous", "humanEntry.credentialed")
TIFF = ("image/tiff", "image/x-adobe-dng")
NOT_REFERRED_TO = ("c2pa.actions", "c2pa.actions.v2", "c2pa.cloud-data", "c2pa.external-reference")
PRESERVED = "exif.originalPreservationImage"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def _base(label: str) -> str:
    return label.split("__")[0]


def _named(manifest: Manifest, base: str) -> list[Any]:
    return [data for label, data in manifest["assertions"].items() if _base(label) == base]


def _values(manifest: Manifest) -> list[Manifest]:
    return [data for data in manifest.get("assertions", {}).values() if isinstance(data, dict)]


def _labels(manifest: Manifest) -> list[str]:
    return list(manifest.get("assertions", {}))


def _listed(manifest: Manifest, *lists: str) -> list[str]:
    return [entry["url"].rsplit("/", 1)[1] for name in lists for entry in manifest["claim.v2"].get(name, [])]


def _actions(manifest: Manifest) -> list[Manifest]:
    return [action for data in _values(manifest) for action in data.get("actions") or []]


def _ingredients(manifest: Manifest) -> list[Manifest]:
    return [data for data in _values(manifest) if data.get("relationship") is not None]


def _failures(manifest: Manifest, codes: frozenset[str]) -> list[str]:
    results = manifest.get("validationResults") or {"failure": [{"code": "MISSING_VALIDATION_RESULTS"}]}
    return [one["code"] for one in results.get("failure", []) if one["code"] in codes]


def _missing_results(manifest: Manifest) -> list[str]:
    return [] if manifest.get("validationResults") is not None else ["validationResults"]


def _parameters(manifest: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    return ((a, a["parameters"]) for a in _actions(manifest) if a.get("parameters") is not None)


def _spec_version(manifest: Manifest) -> list[Any]:
    info = manifest["claim.v2"].get("claim_generator_info", {})
    stated = (info[0] if isinstance(info, list) else info).get("specVersion")
    right = isinstance(stated, str) and tuple(stated.split(".")[:2]) == SPEC_VERSION
    return [] if right else [stated]


def _inception(manifest: Manifest) -> list[Any]:
    created = [one for one in _listed(manifest, "created_assertions") if one.startswith("c2pa.actions")]
    actions = [action["action"] for action in _actions(manifest)]
    if not created or not created[0].endswith("c2pa.actions.v2"):
        return created or ["no actions among the created assertions"]
    return actions[:1] if "c2pa.created" in actions and actions[0] not in INCEPTION else []


def _alternative_representations(manifest: Manifest) -> list[Any]:
    found = [(data, data.get("parameters") or {}) for data in _values(manifest)]
    return [
        data
        for data, given in found
        if PRESERVED in (data.get("type"), given.get("type"))
        and (given.get("multiAssetPartIndex") is None) == (given.get("embeddedOriginalPreservationImage") is None)
    ]


def _references(manifest: Manifest) -> list[str]:
    labels = [
        data["label"]
        for data in _values(manifest)
        if data.get("label") is not None and data.get("url") is not None and data.get("relationship") is None
    ]
    return [one for one in labels if one in NOT_REFERRED_TO or one.startswith(("c2pa.hash", "c2pa.ingredient"))]


def _opened_alone(manifest: Manifest) -> list[Any]:
    actions, stated = _actions(manifest), manifest["assertions"].get("c2pa.actions.v2") or {}
    alone = len(actions) == 1 and actions[0]["action"] == "c2pa.opened"
    return actions if alone and stated.get("allActionsIncluded") is not True else []


def _box_hash_of_tiff(manifest: Manifest) -> list[str]:
    kind = (manifest["assertions"].get("c2pa.asset-type.v2") or {}).get("dc:format")
    return ["c2pa.hash.boxes"] if kind in TIFF and "c2pa.hash.boxes" in manifest["assertions"] else []


STATEMENTS: dict[str, Find] = {
    "mandatory_dst_for_perceptible_transformations": lambda m: [
        a
        for a in _actions(m)
        if a["action"].startswith("c2pa.")
        and a["action"] not in {*INCEPTION, *NOT_EDITORIAL, *EXEMPT_FROM_SOURCE_TYPE}
        and a.get("digitalSourceType") is None
    ],
    "mandatory_spec_version": _spec_version,
    "mandatory_all_actions_included": lambda m: [
        data for data in _values(m) if data.get("actions") is not None and data.get("allActionsIncluded") is None
    ],
    "no_dst_for_opened_action": lambda m: [
        a for a in _actions(m) if a["action"] == "c2pa.opened" and a.get("digitalSourceType") is not None
    ],
    "well_formed_data_present": _missing_results,
    "well_formed_success": lambda m: _failures(m, NOT_WELL_FORMED),
    "valid_data_present": _missing_results,
    "valid_success": lambda m: _failures(m, NOT_VALID),
    "inception_action_position": _inception,
    "no_deprecated_assertions": lambda m: [
        label for label in _labels(m) if label.startswith("stds.") or label in DEPRECATED_ASSERTIONS
    ],
    "no_unsupported_assertions": lambda m: [
        label
        for label in _labels(m)
        if label.startswith("c2pa.") and _base(label) not in ASSERTIONS | DEPRECATED_ASSERTIONS
    ],
    "no_deprecated_actions": lambda m: [a for a in _actions(m) if a["action"] in DEPRECATED_ACTIONS],
    "no_unsupported_actions": lambda m: [
        a for a in _actions(m) if a["action"].startswith("c2pa.") and a["action"] not in ACTIONS
    ],
    "no_unrecognized_custom_assertions": lambda m: [label for label in _labels(m) if "." not in label],
    "no_unrecognized_custom_actions": lambda m: [a for a in _actions(m) if "." not in a["action"]],
    "no_unrecognized_custom_action_parameters": lambda m: [
        name for _, given in _parameters(m) for name in given if name not in PARAMETERS and "." not in name
    ],
    "discouraged_legacy_action_parameters": lambda m: [
        a for a, given in _parameters(m) if given.get("description") is not None or given.get("ingredient") is not None
    ],
    "active_manifest_urn": lambda m: [] if m.get("label", "").startswith("urn:c2pa:") else [m.get("label")],
    "review_ratings_datasource": lambda m: [
        data
        for data in _values(m)
        if data.get("reviewRatings") is not None and (data.get("dataSource") or {}).get("type") in HUMAN_ENTRY
    ],
    "ingredient_v3_no_active_manifest": lambda m: [
        i for i in _ingredients(m) if i.get("activeManifest") is None and i.get("validationResults") is not None
    ],
    "ingredient_v3_mandatory_validation_results": lambda m: [
        i for i in _ingredients(m) if i.get("activeManifest") is not None and i.get("validationResults") is None
    ],
    "ingredient_relationship_values": lambda m: [
        i for i in _ingredients(m) if i["relationship"] not in ("parentOf", "inputTo", "componentOf")
    ],
    "mandatory_dst_for_created_action": lambda m: [
        a for a in _actions(m) if a["action"] == "c2pa.created" and a.get("digitalSourceType") is None
    ],
    "no_deprecated_claim_fields": lambda m: ["specVersion"] if m["claim.v2"].get("specVersion") is not None else [],
    "ingredient_v3_choice": lambda m: [
        i for i in _ingredients(m) if i.get("activeManifest") is not None and i.get("digitalSourceType") is not None
    ],
    "alternative_content_representation_choice": _alternative_representations,
    "forbidden_labels_in_external_references": _references,
    "no_url_in_hashes": lambda m: [
        label
        for label in ("c2pa.hash.data", "c2pa.hash.bmff.v3")
        if (m["assertions"].get(label) or {}).get("url") is not None
    ],
    "all_actions_included_opened": _opened_alone,
    "opened_action_ingredient_reference": lambda m: [
        a
        for a in _actions(m)
        if a["action"] == "c2pa.opened" and len((a.get("parameters") or {}).get("ingredients") or []) != 1
    ],
    "no_box_hash_for_tiff": _box_hash_of_tiff,
}

RULES: dict[str, Callable[[Manifest], bool]] = {
    "claim names its generator": lambda m: bool(m["claim.v2"]["claim_generator_info"].get("name")),
    "claim has an instance id": lambda m: bool(m["claim.v2"].get("instanceID")),
    "claim points at its signature": lambda m: m["claim.v2"]["signature"].endswith("/c2pa.signature"),
    "hash algorithm is SHA-2": lambda m: m["claim.v2"]["alg"] in ("sha256", "sha384", "sha512"),
    "every assertion is listed once": lambda m: (
        sorted(_listed(m, "created_assertions", "gathered_assertions")) == sorted(m["assertions"])
    ),
    "exactly one hard binding": lambda m: sum(label.startswith("c2pa.hash.") for label in _labels(m)) == 1,
    "hard binding is created": lambda m: any(
        label.startswith("c2pa.hash.") for label in _listed(m, "created_assertions")
    ),
    "exactly one created or opened": lambda m: sum(a["action"] in INCEPTION for a in _actions(m)) == 1,
    "digitalSourceType is a term of IPTC": lambda m: all(
        a["digitalSourceType"].startswith(SOURCE_TYPES) for a in _actions(m) if "digitalSourceType" in a
    ),
    "a watermark action has a soft binding": lambda m: (
        bool(_named(m, "c2pa.soft-binding"))
        or not any(a["action"].startswith("c2pa.watermarked.") for a in _actions(m))
    ),
    "soft bindings name an algorithm and blocks": lambda m: all(
        "." in data["alg"] and all({"scope", "value"} <= set(block) for block in data["blocks"])
        for data in _named(m, "c2pa.soft-binding")
    ),
    "soft binding scopes use no deprecated field": lambda m: all(
        not {"extent", "url"} & (set(block["scope"]) | set(data))
        for data in _named(m, "c2pa.soft-binding")
        for block in data["blocks"]
    ),
    "claim is time-stamped": lambda m: "timeStampInfo" in m["signature"],
    "signature algorithm is allowed": lambda m: (
        m["signature"]["algorithm"].lower() in ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
    ),
    "no validation failure": lambda m: m["validationResults"]["failure"] == [],
}


def false_statements(manifest: Manifest) -> list[str]:
    """The ids of the rubric's statements that are not true of the active manifest; a warning is not true."""
    return [name for name, find in STATEMENTS.items() if find(manifest)]


def broken_rules(manifest: Manifest) -> list[str]:
    """The names of our own rules that a manifest does not keep."""
    return [name for name, keeps in RULES.items() if not keeps(manifest)]
