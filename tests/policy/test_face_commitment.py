"""The third binding: opens for the face that was committed to, for no other, and the token says nothing of it."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from media import number_faces
from policy import consent_ceremony
from policy.face_commitment import COEFFICIENTS, STEP, commit_face, face_embedding, opens
from policy.media_facts import inspect_portrait
from tests.policy.conftest import GateSimulator, demo_portrait

embeddings = st.lists(st.floats(-1, 1), min_size=COEFFICIENTS, max_size=COEFFICIENTS).map(tuple)


def demo_pixels() -> torch.Tensor:
    picture = np.array(Image.open(io.BytesIO(demo_portrait())).convert("RGB"))
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


@given(embeddings, st.integers(0, COEFFICIENTS - 1), st.floats(-0.45, 0.45))
def test_it_opens_within_half_a_cell_and_not_beyond_one(
    embedding: tuple[float, ...], number: int, share: float
) -> None:
    made = commit_face(embedding)
    assert opens(made, embedding)
    for moved, expected in ((share * STEP, True), (STEP, False), (-STEP, False)):
        near = list(embedding)
        near[number] += moved
        assert opens(made, near) is expected


@given(embeddings)
def test_two_commitments_to_one_face_share_neither_salt_nor_hash(embedding: tuple[float, ...]) -> None:
    one, two = commit_face(embedding), commit_face(embedding)
    assert one.salt != two.salt
    assert one.sha256 != two.sha256
    assert not opens(one.model_copy(update={"salt": two.salt}), embedding)


@pytest.mark.parametrize("broken", [(), (0.0,) * 62, (float("nan"),) * 63, (float("inf"),) * 63, (1e300,) * 63])
def test_what_is_no_embedding_opens_nothing(broken: tuple[float, ...]) -> None:
    assert not opens(commit_face((0.0,) * COEFFICIENTS), broken)


def test_the_helper_of_the_token_does_not_show_the_face() -> None:
    """Offsets of a real face spread over the whole cell, as they would for any other."""
    (_, (embedding,)) = inspect_portrait(demo_portrait())
    offsets = [value / STEP % 1 for value in embedding]
    counts, _ = np.histogram(offsets, bins=4, range=(0, 1))
    assert counts.min() >= 6  # of 63; 16 in the mean
    correlation = np.corrcoef(offsets, embedding)[0, 1]
    assert abs(correlation) < 0.4


def test_another_crop_of_the_picture_is_another_face() -> None:
    pixels = demo_pixels()
    (face,) = number_faces(pixels)
    made = commit_face(face_embedding(pixels, face))
    assert opens(made, face_embedding(pixels, face))
    assert not opens(made, face_embedding(pixels.flip(-1), face))
    assert not opens(made, face_embedding(255 - pixels, face))


def test_the_gate_refuses_a_consent_that_is_bound_to_another_face(
    simulator: GateSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert simulator.decide(simulator.request()).allowed
    moved = lambda embedding: commit_face(tuple(value + STEP for value in embedding))  # noqa: E731
    monkeypatch.setattr(consent_ceremony, "commit_face", moved)
    decision = simulator.decide(simulator.request(simulator.consent()))
    assert [denial.rule_id for denial in decision.denials] == ["consent.other_face_shown"]
