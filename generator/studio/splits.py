"""Who trains and who tests: by a hash of the name alone, so that every run agrees."""

from __future__ import annotations

import hashlib

TEST_SHARE = 0.1


def split_of(name: str) -> str:
    """ "test" for a tenth of all names, "train" for the others; depends on the name alone."""
    digest = hashlib.sha256(f"studio split of {name}".encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32 else "train"


def source_id(name: str) -> str:
    """What a take tells of a portrait: no name, the same for the same portrait."""
    return hashlib.sha256(f"studio portrait {name}".encode()).hexdigest()[:16]
