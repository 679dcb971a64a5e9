"""The token vectors that others can use say what both verifiers do, and mutants get past neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gate_tokens import KEY, Vector, attack, second_accepts, strict_accepts
from policy.keys import public_jwk

FILE = json.loads((Path(__file__).parent / "token_vectors.json").read_text(encoding="utf-8"))
VECTORS = [Vector(**members) for members in FILE["vectors"]]


def test_the_vectors_carry_the_key_they_are_checked_with() -> None:
    assert FILE["key"] == public_jwk(KEY.public_key())
    assert sum(vector.accept for vector in VECTORS) >= 1
    assert len(VECTORS) > 60


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_both_verifiers_judge_each_vector_as_it_says(vector: Vector) -> None:
    assert strict_accepts(vector.token) is vector.accept
    assert second_accepts(vector.token) is vector.accept


def test_no_mutant_is_taken_none_crashes_and_both_verifiers_agree() -> None:
    found = attack(2000, seed=11)
    assert (found["accepted"], found["crashed"], found["disagreed"]) == (0, 0, 0)
    assert found["seconded"] == 2000
