"""What a released clip says about itself: a typed manifest and its C2PA 2.4 form.

Portrait and recording enter as ingredients with title, format and SHA-256 alone (the hash as an RFC 6920
`ni:` name in `instanceID`): neither their bytes nor a thumbnail. No field names a person.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from provenance.errors import ProvenanceError
from provenance.stream_place import STREAM_LABEL, StreamPlace

SPECIFICATION_VERSION = "2.4.0"
GENERATOR_NAME = "Vasari"
SOFT_BINDING_ALGORITHM = "org.vasari.spread-spectrum.1"
RELEASE_LABEL = "org.vasari.release"
ACTIONS_LABEL = "c2pa.actions.v2"
SOFT_BINDING_LABEL = "c2pa.soft-binding"
TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MAX_TITLE_CHARACTERS = 200
MAX_PROOF_CHARACTERS = 64 * 1024
MAX_SOFT_BINDING_BYTES = 1024

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MANIFEST_ID = re.compile(r"[0-9a-f]{16}")
_MEDIA_TYPE = re.compile(r"(image|audio)/[a-z0-9][a-z0-9.+-]{0,60}")


@dataclass(frozen=True)
class Ingredient:
    """A source named by hash only. `sha256` is lower-case hex; None when a foreign manifest gives no hash."""

    title: str
    media_type: str
    sha256: str | None
    relationship: str = "inputTo"


@dataclass(frozen=True)
class ClipManifest:
    """Everything signed into a clip; hashes are lower-case SHA-256 hex, `manifest_id` is 64-bit unsigned.

    `log_proof` is the tlog-proof text of the decision in the transparency log; `soft_binding_value` is what
    the watermark carries; `stream` says which segment of a live stream it is, None for a clip. Raises
    ProvenanceError naming the first field that is out of range.
    """

    title: str
    generator_version: str
    manifest_id: int
    soft_binding_value: bytes
    portrait_sha256: str
    audio_sha256: str
    consent_sha256: str
    decision_sha256: str
    log_proof: str
    portrait_media_type: str
    audio_media_type: str
    created_at: datetime
    stream: StreamPlace | None = None

    def __post_init__(self) -> None:
        _require(0 < len(self.title) <= MAX_TITLE_CHARACTERS, "title", f"1 to {MAX_TITLE_CHARACTERS} characters")
        _require(bool(self.generator_version.strip()), "generator_version", "a version")
        _require(0 <= self.manifest_id < 2**64, "manifest_id", "a 64-bit unsigned number")
        size = len(self.soft_binding_value)
        _require(0 < size <= MAX_SOFT_BINDING_BYTES, "soft_binding_value", f"1 to {MAX_SOFT_BINDING_BYTES} bytes")
        for name in ("portrait_sha256", "audio_sha256", "consent_sha256", "decision_sha256"):
            _require(_SHA256.fullmatch(getattr(self, name)) is not None, name, "64 lower-case hex digits")
        _require(0 < len(self.log_proof) <= MAX_PROOF_CHARACTERS, "log_proof", "the text of a log proof")
        for name, family in (("portrait_media_type", "image/"), ("audio_media_type", "audio/")):
            value = getattr(self, name)
            _require(_MEDIA_TYPE.fullmatch(value) is not None and value.startswith(family), name, f"{family}...")
        _require(self.created_at.tzinfo is not None, "created_at", "a time with its zone")

    @property
    def ingredients(self) -> tuple[Ingredient, Ingredient]:
        """The two sources, by hash."""
        return (
            Ingredient("portrait", self.portrait_media_type, self.portrait_sha256),
            Ingredient("voice recording", self.audio_media_type, self.audio_sha256),
        )


@dataclass(frozen=True)
class ReleaseRecord:
    """The `org.vasari.release` assertion read back from a clip."""

    manifest_id: int
    portrait_sha256: str
    audio_sha256: str
    consent_sha256: str
    decision_sha256: str
    log_proof: str
    unhashed_boxes_sha256: str


def manifest_definition(manifest: ClipManifest, *, unhashed_boxes_sha256: str) -> dict[str, object]:
    """The definition the C2PA builder takes.

    `unhashed_boxes_sha256` closes the hard binding's blind spot: a hash over the boxes it leaves out.
    """
    return {
        "claim_generator_info": [
            {
                "name": GENERATOR_NAME,
                "version": manifest.generator_version,
                "specVersion": SPECIFICATION_VERSION,
            }
        ],
        "title": manifest.title,
        "format": "video/mp4",
        "ingredients": [_ingredient_definition(i, source) for i, source in enumerate(manifest.ingredients)],
        "assertions": [
            {"label": ACTIONS_LABEL, "created": True, "data": _actions(manifest)},
            {"label": SOFT_BINDING_LABEL, "created": True, "data": _soft_binding(manifest)},
            {"label": RELEASE_LABEL, "created": True, "data": _release(manifest, unhashed_boxes_sha256)},
            *(
                [{"label": STREAM_LABEL, "created": True, "data": manifest.stream.as_members()}]
                if manifest.stream is not None
                else []
            ),
        ],
    }


def hash_name(sha256_hex: str) -> str:
    """RFC 6920 name of a SHA-256 digest."""
    digest = base64.urlsafe_b64encode(bytes.fromhex(sha256_hex)).rstrip(b"=").decode()
    return f"ni:///sha-256;{digest}"


def hash_from_name(name: str) -> str | None:
    """The digest inside an RFC 6920 SHA-256 name as hex; None when the text is something else."""
    match = re.fullmatch(r"ni:///sha-256;([A-Za-z0-9_-]{43})", name)
    return base64.urlsafe_b64decode(match[1] + "=").hex() if match else None


def read_release(data: object) -> ReleaseRecord:
    """Parse the data of an `org.vasari.release` assertion; raises ProvenanceError when a field is off."""
    if not isinstance(data, Mapping):
        raise ProvenanceError(f"{RELEASE_LABEL}: expected an object, got {type(data).__name__}")
    texts = {str(key): value for key, value in data.items() if isinstance(value, str)}
    hashes = ("portrait_sha256", "audio_sha256", "consent_sha256", "decision_sha256", "unhashed_boxes_sha256")
    for name in hashes:
        _require(_SHA256.fullmatch(texts.get(name, "")) is not None, name, "64 lower-case hex digits")
    _require(_MANIFEST_ID.fullmatch(texts.get("manifest_id", "")) is not None, "manifest_id", "16 hex digits")
    _require(0 < len(texts.get("log_proof", "")) <= MAX_PROOF_CHARACTERS, "log_proof", "the text of a log proof")
    return ReleaseRecord(
        manifest_id=int(texts["manifest_id"], 16),
        log_proof=texts["log_proof"],
        **{name: texts[name] for name in hashes},
    )


def _ingredient_definition(index: int, ingredient: Ingredient) -> dict[str, object]:
    assert ingredient.sha256 is not None
    return {
        "label": f"source-{index}",
        "title": ingredient.title,
        "format": ingredient.media_type,
        "relationship": ingredient.relationship,
        "instance_id": hash_name(ingredient.sha256),
    }


def _actions(manifest: ClipManifest) -> dict[str, object]:
    created = {
        "action": "c2pa.created",
        "when": manifest.created_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "softwareAgent": {"name": GENERATOR_NAME, "version": manifest.generator_version},
        "digitalSourceType": TRAINED_ALGORITHMIC_MEDIA,
        "parameters": {"ingredientIds": [f"source-{index}" for index in range(len(manifest.ingredients))]},
    }
    bound = {
        "action": "c2pa.watermarked.bound",
        "description": "an invisible watermark carries the number of this manifest",
    }
    return {"allActionsIncluded": True, "actions": [created, bound]}


def _soft_binding(manifest: ClipManifest) -> dict[str, object]:
    value = base64.b64encode(manifest.soft_binding_value).decode()
    return {"alg": SOFT_BINDING_ALGORITHM, "blocks": [{"scope": {}, "value": value}]}


def _release(manifest: ClipManifest, unhashed_boxes_sha256: str) -> dict[str, object]:
    return {
        "manifest_id": f"{manifest.manifest_id:016x}",
        "portrait_sha256": manifest.portrait_sha256,
        "audio_sha256": manifest.audio_sha256,
        "consent_sha256": manifest.consent_sha256,
        "decision_sha256": manifest.decision_sha256,
        "log_proof": manifest.log_proof,
        "unhashed_boxes_sha256": unhashed_boxes_sha256,
    }


def _require(holds: bool, field: str, expected: str) -> None:
    if not holds:
        raise ProvenanceError(f"clip manifest: {field} must be {expected}")
