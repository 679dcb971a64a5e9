"""The conformance rules for generated clips that the field notes list, as checks over crJSON.

This is not the official evaluator (c2pa-org/conformance-public): it encodes the rules that are written down for
manifests of specification 2.4, one function each.
"""

from collections.abc import Callable
from typing import Any

Manifest = dict[str, Any]

PREDEFINED = frozenset(
    f"c2pa.{name}"
    for name in [
        "addedText",
        "adjustedColor",
        "changedSpeed",
        "converted",
        "created",
        "cropped",
        "deleted",
        "drawing",
        "dubbed",
        "edited",
        "edited.metadata",
        "enhanced",
        "filtered",
        "mastered",
        "mixed",
        "opened",
        "orientation",
        "placed",
        "published",
        "redacted",
        "remixed",
        "removed",
        "repackaged",
        "resized",
        "resized.proportional",
        "transcoded",
        "translated",
        "trimmed",
        "unknown",
        "watermarked.bound",
        "watermarked.unbound",
    ]
)
DEPRECATED_ACTIONS = frozenset(
    f"c2pa.{name}"
    for name in [
        "watermarked",
        "color_adjustments",
        "copied",
        "formatted",
        "version_updated",
        "printed",
        "managed",
        "produced",
        "saved",
    ]
)
WITHOUT_SOURCE_TYPE = frozenset(
    f"c2pa.{name}"
    for name in [
        "opened",
        "converted",
        "edited.metadata",
        "enhanced",
        "placed",
        "published",
        "redacted",
        "repackaged",
        "resized.proportional",
        "transcoded",
        "watermarked.bound",
        "watermarked.unbound",
    ]
)
DEPRECATED_LABELS = ("c2pa.actions", "c2pa.ingredient", "c2pa.ingredient.v2", "c2pa.hash.bmff", "c2pa.hash.bmff.v2")
PARAMETERS = frozenset({"redacted", "ingredients", "relatedAssertions", "sourceLanguage", "targetLanguage"})
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def _base(label: str) -> str:
    return label.split("__")[0]


def _assertions(manifest: Manifest, base: str) -> list[Any]:
    return [data for label, data in manifest["assertions"].items() if _base(label) == base]


def _labels(manifest: Manifest) -> list[str]:
    return [_base(label) for label in manifest["assertions"]]


def _listed(manifest: Manifest, *lists: str) -> list[str]:
    return [entry["url"].rsplit("/", 1)[1] for name in lists for entry in manifest["claim.v2"].get(name, [])]


def _actions(manifest: Manifest) -> list[Manifest]:
    return [action for data in _assertions(manifest, "c2pa.actions.v2") for action in data["actions"]]


def _ingredients(manifest: Manifest) -> list[Manifest]:
    return _assertions(manifest, "c2pa.ingredient.v3")


def _opened_is_right(manifest: Manifest) -> bool:
    return all(
        "digitalSourceType" not in action and len(action.get("parameters", {}).get("ingredients", [])) == 1
        for action in _actions(manifest)
        if action["action"] == "c2pa.opened"
    )


RULES: dict[str, Callable[[Manifest], bool]] = {
    "claim is version 2": lambda m: "claim.v2" in m,
    "claim names its generator": lambda m: bool(m["claim.v2"]["claim_generator_info"].get("name")),
    "generator info gives specVersion": lambda m: bool(m["claim.v2"]["claim_generator_info"].get("specVersion")),
    "claim itself has no specVersion": lambda m: "specVersion" not in m["claim.v2"],
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
    "there is an actions assertion": lambda m: len(_assertions(m, "c2pa.actions.v2")) >= 1,
    "actions assertion is created": lambda m: "c2pa.actions.v2" in _listed(m, "created_assertions"),
    "first action is created or opened": lambda m: _actions(m)[0]["action"] in ("c2pa.created", "c2pa.opened"),
    "at most one created or opened": lambda m: (
        sum(a["action"] in ("c2pa.created", "c2pa.opened") for a in _actions(m)) == 1
    ),
    "created has a digitalSourceType": lambda m: all(
        "digitalSourceType" in a for a in _actions(m) if a["action"] == "c2pa.created"
    ),
    "opened has one ingredient and no digitalSourceType": _opened_is_right,
    "other actions have a digitalSourceType where needed": lambda m: all(
        "digitalSourceType" in a or a["action"] in WITHOUT_SOURCE_TYPE for a in _actions(m) if a["action"] in PREDEFINED
    ),
    "digitalSourceType is a term of IPTC": lambda m: all(
        a["digitalSourceType"].startswith(SOURCE_TYPES) for a in _actions(m) if "digitalSourceType" in a
    ),
    "allActionsIncluded is stated": lambda m: all(
        "allActionsIncluded" in data for data in _assertions(m, "c2pa.actions.v2")
    ),
    "c2pa actions are predefined": lambda m: all(
        a["action"] in PREDEFINED for a in _actions(m) if a["action"].startswith("c2pa.")
    ),
    "no deprecated action": lambda m: not {a["action"] for a in _actions(m)} & DEPRECATED_ACTIONS,
    "custom actions have a dot": lambda m: all("." in a["action"] for a in _actions(m)),
    "action parameters are standard or have a dot": lambda m: all(
        key in PARAMETERS or "." in key for a in _actions(m) for key in a.get("parameters", {})
    ),
    "custom labels have a dot": lambda m: all("." in label for label in _labels(m)),
    "no deprecated label": lambda m: (
        not any(label in DEPRECATED_LABELS or label.startswith("stds.") for label in _labels(m))
    ),
    "ingredient relationships are known": lambda m: all(
        i["relationship"] in ("parentOf", "componentOf", "inputTo") for i in _ingredients(m)
    ),
    "ingredients have results if and only if a manifest": lambda m: all(
        ("validationResults" in i) == ("activeManifest" in i) for i in _ingredients(m)
    ),
    "a watermark action has a soft binding": lambda m: (
        bool(_assertions(m, "c2pa.soft-binding"))
        or not any(a["action"].startswith("c2pa.watermarked.") for a in _actions(m))
    ),
    "soft bindings name an algorithm and blocks": lambda m: all(
        "." in data["alg"] and all({"scope", "value"} <= set(block) for block in data["blocks"])
        for data in _assertions(m, "c2pa.soft-binding")
    ),
    "soft binding scopes use no deprecated field": lambda m: all(
        not {"extent", "url"} & (set(block["scope"]) | set(data))
        for data in _assertions(m, "c2pa.soft-binding")
        for block in data["blocks"]
    ),
    "claim is time-stamped": lambda m: "timeStampInfo" in m["signature"],
    "signature algorithm is allowed": lambda m: (
        m["signature"]["algorithm"].lower() in ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
    ),
    "no validation failure": lambda m: m["validationResults"]["failure"] == [],
}


def broken_rules(manifest: Manifest) -> list[str]:
    """The names of the rules that a crJSON manifest does not keep."""
    return [name for name, keeps in RULES.items() if not keeps(manifest)]
