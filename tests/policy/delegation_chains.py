"""Random authorizations, and an oracle for "allows more" that shares no code with the product.

The oracle asks for concrete clips: it enumerates the largest that a child would let one ask for and looks for
one that the parent would not have let pass.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from policy.consent_token import LikenessGeneration

MODELS = [f"sha256:{digit * 64}" for digit in "ab"]
HASHES = [digit * 64 for digit in "123"]
PURPOSES = ["detector-evaluation", "demonstration"]
VOICES = ["any", "own-recording", "synthetic"]
LANGUAGES = ["en", "de"]
SIZES, RATES, LENGTHS = [64, 512], [25, 50], [1, 30]
TOTALS, USES = [1, 150], [1, 5]


def build(draw: Any) -> LikenessGeneration:
    """One authorization; `draw(options)` picks one of a list, `draw(options, many=True)` a subset."""
    listed = draw([False, True])
    recordings = draw(HASHES, many=True) if listed else []
    texts = draw(HASHES, many=True) if recordings and draw([False, True]) else []
    width = draw(SIZES)
    members = {
        "type": "likeness_generation",
        "model": draw(MODELS),
        "purposes": draw(PURPOSES, many=True) or PURPOSES[:1],
        "portrait": {"sha256": draw(HASHES[:2]), "pixels_sha256": HASHES[0], "face": None, "commitment": None},
        "audio": {
            "mode": "hash-list" if recordings else "any",
            "sha256": recordings,
            "voice": draw(VOICES) if recordings else "any",
        },
        "script": {
            "mode": "hash-list" if texts else "any",
            "sha256": texts,
            "languages": draw(LANGUAGES, many=True),
        },
        "video": {"max_width": width, "max_height": width, "max_fps": draw(RATES), "max_seconds": draw(LENGTHS)},
        "total_seconds": draw(TOTALS),
        "uses": draw(USES),
    }
    return LikenessGeneration.model_validate(members)


def child_of(draw: Any, parent: LikenessGeneration) -> LikenessGeneration:
    """Mostly the parent's terms, each member now and then replaced by one of a random authorization."""
    other, members = build(draw).model_dump(), parent.model_dump()
    for name in members:
        if draw([False, False, True]):
            members[name] = other[name]
    for part, whole in (("audio", parent.audio.sha256), ("script", parent.script.sha256)):
        if members[part]["sha256"] == whole and len(whole) > 1 and draw([False, True]):
            members[part] = members[part] | {"sha256": whole[1:]}
    if members["script"]["mode"] == "hash-list" and members["audio"]["mode"] == "any":
        members["script"] = members["script"] | {"mode": "any", "sha256": []}
    return LikenessGeneration.model_validate(members)


def picker(draw: Any) -> Any:
    """`draw` of hypothesis in the shape that `build` wants."""

    def pick(options: list[Any], *, many: bool = False) -> Any:
        if many:
            return draw(st.lists(st.sampled_from(options), unique=True))
        return draw(st.sampled_from(options))

    return pick


def may(parent: LikenessGeneration, child: LikenessGeneration) -> tuple[Any, ...] | None:
    """A clip that `child` allows and `parent` does not; None when there is none."""
    strange = "9" * 64
    video = child.video
    clips = itertools.product(
        [child.model], [child.portrait.sha256], child.purposes, [*HASHES, strange], [*HASHES, strange],
        [*LANGUAGES, "fr"], [min(video.max_width, video.max_height)], [video.max_fps], [video.max_seconds],
        [child.uses], [child.total_seconds],
    )  # fmt: skip
    return next((clip for clip in clips if _allows(child, clip) and not _allows(parent, clip)), None)


def _allows(terms: LikenessGeneration, clip: tuple[Any, ...]) -> bool:
    model, portrait, purpose, recording, text, language, size, rate, length, uses, total = clip
    video = terms.video
    return (
        terms.model == model
        and terms.portrait.sha256 == portrait
        and purpose in terms.purposes
        and (terms.audio.mode == "any" or recording in terms.audio.sha256)
        and (terms.script.mode == "any" or text in terms.script.sha256)
        and (not terms.script.languages or language in terms.script.languages)
        and size <= min(video.max_width, video.max_height)
        and rate <= video.max_fps
        and length <= video.max_seconds
        and uses <= terms.uses
        and total <= terms.total_seconds
    )
