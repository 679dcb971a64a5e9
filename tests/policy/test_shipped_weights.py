"""The shipped sealed weights make a clip through the pipeline as it is wired in production."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from media import read_frames
from policy import (
    Authority,
    ConsentTerms,
    Controls,
    SoftwareAuthenticator,
    read_sealed_header,
    sign_request,
    thumbprint,
)
from policy.state_folder import SHIPPED_WEIGHTS
from provenance import verify_clip
from tests.policy.conftest import demo_portrait, inspect_once, pipeline_of, speech_wav


@pytest.mark.slow
def test_the_shipped_weights_make_a_moving_signed_clip(tmp_path: Path) -> None:
    now, researcher = datetime.now(UTC), Ed25519PrivateKey.generate()
    portrait, audio, out = demo_portrait(), speech_wav(2.6), tmp_path / "clip.mp4"
    with Authority.create(tmp_path / "state", organisation="Test Lab", now=now) as authority:
        assert authority.identity.model_digest == read_sealed_header(SHIPPED_WEIGHTS).model_digest
        accreditation = authority.accredit(researcher.public_key(), researcher="R. Example")
        device = SoftwareAuthenticator.create()
        authority.enrol_subject("Synthetic Person", device.credential)
        consent = authority.issue_consent(
            ConsentTerms(
                "Synthetic Person", portrait, thumbprint(researcher), ("demonstration",), adult=True, max_seconds=5
            ),
            device,
        )
        inspect_once(portrait, audio)
        request = sign_request(
            researcher,
            portrait,
            audio,
            consent,
            accreditation,
            gate_id=authority.identity.gate_id,
            purpose="demonstration",
            now=datetime.now(UTC),
            controls=Controls(emotion="happy", emotion_strength=0.5),
            seed=3,
        )
        receipt = pipeline_of(authority).release(request, out)
        assert verify_clip(out, authority.trust_anchors).state == "verified"
    assert receipt.frames == 65
    first = next(iter(read_frames(out, block_frames=1)))
    last = list(read_frames(out, start_s=1.0, end_s=1.2))[-1]
    assert (first.frames[0].float() - last.frames[-1].float()).abs().max() > 20
