"""Strict settings for the C2PA engine, which itself swallows unknown keys silently.

Network is off in every setting: no remote manifests, no OCSP, no allowed hosts. Verification after reading
cannot be switched off (the engine would then answer with three empty lists). Free and skip boxes are hashed.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields

from c2pa import C2paError, Context

from provenance.errors import CertificateError, SettingsError
from provenance.pki import TrustAnchors, anchor_keys

CLAIM_LIST = "urn:vasari:trust:claim"
TIME_LIST = "urn:vasari:trust:time"


@dataclass(frozen=True)
class EngineSettings:
    """What may differ between two uses of the engine; everything else is fixed in `as_dict`."""

    manifest_anchors_pem: str = ""
    tsa_anchors_pem: str = ""
    hash_free_and_skip_boxes: bool = True
    verify_after_sign: bool = False  # `signing` reads its result back itself, with trust

    def __post_init__(self) -> None:
        try:  # the engine would take any text for a list of anchors
            anchor_keys(self.manifest_anchors_pem)
            anchor_keys(self.tsa_anchors_pem)
        except CertificateError as error:
            raise SettingsError(f"engine settings: {error}") from error

    @classmethod
    def for_anchors(cls, anchors: TrustAnchors) -> "EngineSettings":
        """Both trust lists, each under its own URI."""
        return cls(manifest_anchors_pem=anchors.manifest_pem, tsa_anchors_pem=anchors.tsa_pem)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "EngineSettings":
        """Settings from outside data.

        Raises SettingsError for an unknown key (with the nearest known one) or a value of the wrong type.
        """
        known = {field.name: field.type for field in fields(cls)}
        for key, value in values.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {sorted(known)}"
                raise SettingsError(f"engine settings: unknown key {key!r}{hint}")
            if not isinstance(value, known[key]):  # type: ignore[arg-type]
                raise SettingsError(f"engine settings: {key} must be {known[key]}, got {type(value).__name__}")
        return cls(**values)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, object]:
        """The engine's own settings document, version 1."""
        lists = (
            ("manifest", CLAIM_LIST, self.manifest_anchors_pem),
            ("tsa", TIME_LIST, self.tsa_anchors_pem),
        )
        return {
            "version": 1,
            "trust": {
                "anchors": [
                    {"trust_kind": kind, "trust_uri": uri, "trust_anchors": pem}
                    for kind, uri, pem in lists
                    if pem.strip()
                ]
            },
            "verify": {
                "verify_trust": True,
                "verify_after_reading": True,
                "verify_after_sign": self.verify_after_sign,
                "verify_timestamp_trust": True,
                "ocsp_fetch": False,
                "remote_manifest_fetch": False,
            },
            "core": {"allowed_network_hosts": []},
            "builder": {"bmff_hash_exclude_free_and_skip_boxes": not self.hash_free_and_skip_boxes},
        }

    def context(self) -> Context:
        """A fresh engine context; raises SettingsError when the engine refuses the anchors."""
        try:
            return Context.from_dict(self.as_dict())
        except C2paError as error:
            raise SettingsError(f"the C2PA engine refused its settings: {error}") from error
