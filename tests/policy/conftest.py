"""A gate simulator: a real authority in a temporary folder, driven by a clock that the test sets.

Everything is real (tokens, SQLite, log, broker, PKI, media decoding and face finding) except time. Media
facts are remembered between tests, because finding faces takes far longer than deciding.
"""

from __future__ import annotations

import atexit
import io
import json
import math
import shutil
import struct
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from media import load_audio
from policy import (
    Authority,
    ConsentTerms,
    Controls,
    Decision,
    GenerationRequest,
    Refused,
    ReleasePipeline,
    SoftwareAuthenticator,
    seal_weights,
    sign_request,
    thumbprint,
)
from policy.broker import WorkerKey
from policy.media_facts import MediaFacts, inspect_media
from tests.policy.moving_picture import MovingPicture

SUBJECT = "Synthetic Person"
START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
DEMO = Path(__file__).resolve().parents[2] / "vasari" / "demo"


@lru_cache(maxsize=64)
def inspect_once(portrait: bytes, audio: bytes) -> MediaFacts:
    return inspect_media(portrait, audio)


@lru_cache
def demo_portrait() -> bytes:
    return (DEMO / "portrait.png").read_bytes()


@lru_cache
def tone_burst_wav(seconds: float = 2.5, amplitude: float = 0.3, rate: int = 16_000) -> bytes:
    """Bursts of a falling tone, as loud as speech."""
    count = round(seconds * rate)
    samples = [
        round(
            32767
            * amplitude
            * math.sin(2 * math.pi * (180 - 20 * (t := i / rate)) * t)
            * (0.55 + 0.45 * math.sin(9 * t))
        )
        for i in range(count)
    ]
    return wav(samples, rate)


@lru_cache
def speech_wav(seconds: float = 2.6) -> bytes:
    """The beginning of the demo voice, which is enough to carry the mark."""
    voice = load_audio(DEMO / "voice.flac", sample_rate=48_000, max_s=60)[24_000:]
    return wav([round(32_000 * value) for value in voice[: round(seconds * 48_000)].tolist()], 48_000)


def wav(samples: list[int], rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def demo_pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array(Image.open(io.BytesIO(demo_portrait())).convert("RGB"))


class FakeClock:
    """Stands still until told otherwise."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


class GateSimulator:
    """One authority, one researcher, one depicted person."""

    def __init__(self, folder: Path, now: datetime = START) -> None:
        self.clock = FakeClock(now)
        self.state = folder / "state"
        shutil.copytree(state_as_made(now), self.state)
        self.authority = Authority.open(self.state, clock=self.clock)
        self.gate = self.authority.gate(inspect=inspect_once)
        self.researcher = Ed25519PrivateKey.generate()
        self.accreditation = self.authority.accredit(self.researcher.public_key(), researcher="R. Example")
        self.device = SoftwareAuthenticator.create()
        self.authority.enrol_subject(SUBJECT, self.device.credential)
        self.portrait = demo_portrait()
        self.audio = tone_burst_wav()

    def terms(self, **changes: Any) -> ConsentTerms:
        terms = ConsentTerms(
            subject=SUBJECT,
            adult=True,
            portrait=self.portrait,
            researcher_jkt=thumbprint(self.researcher),
            purposes=("detector-evaluation",),
        )
        return replace(terms, **changes)

    def consent(self, **changes: Any) -> str:
        return self.authority.issue_consent(self.terms(**changes), self.device)

    def request(self, consent: str | None = None, **changes: Any) -> GenerationRequest:
        """A request that is fine unless something is changed; the proof is made for what is asked."""
        key = changes.pop("researcher", self.researcher)
        return sign_request(
            key,
            changes.pop("portrait", self.portrait),
            changes.pop("audio", self.audio),
            self.consent() if consent is None else consent,
            changes.pop("accreditation", self.accreditation),
            gate_id=changes.pop("gate_id", self.authority.identity.gate_id),
            purpose=changes.pop("purpose", "detector-evaluation"),
            now=changes.pop("now", self.clock()),
            controls=changes.pop("controls", Controls()),
            **changes,
        )

    def decide(self, request: GenerationRequest) -> Decision:
        return self.gate.decide(request, worker_key=WorkerKey().public_bytes)

    def pipeline(self) -> ReleasePipeline:
        return pipeline_of(self.authority, MovingPicture())

    def used(self, consent: str) -> int:
        return self.authority.stores.ledger.standing(jti_of(consent)).used

    def reopen(self) -> None:
        """Close everything and open the state folder again, as the next process would."""
        self.authority.close()
        self.authority = Authority.open(self.state, clock=self.clock)
        self.gate = self.authority.gate(inspect=inspect_once)


@lru_cache
def state_as_made(now: datetime) -> Path:
    """A fresh state folder, made once; each test works on its own copy."""
    folder = Path(tempfile.mkdtemp(prefix="vasari-test-"))
    atexit.register(shutil.rmtree, folder)
    weights, release_key = make_weights(folder)
    made = Authority.create(
        folder / "state", organisation="Test Lab", now=now, weights=weights, release_key=release_key, clock=lambda: now
    )
    made.close()
    return folder / "state"


def make_weights(folder: Path, key: bytes = bytes(range(32))) -> tuple[Path, Path]:
    """Sealed weights of one small tensor, and the key file beside them."""
    sealed, key_file = folder / "generator.sealed", folder / "release.key"
    plain = safetensors.torch.save(
        {"motion.bias": torch.arange(4.0), "render.gain": torch.ones(2, 3)},
        metadata={"config": '{"motion":{},"render":{}}'},
    )
    seal_weights(plain, sealed, content_key=key)
    key_file.write_text(key.hex())
    return sealed, key_file


def pipeline_of(authority: Authority, talker: Any = None) -> ReleasePipeline:
    """The release pipeline with `talker` in the generator's place, if any; it offers no such option itself."""
    pipeline = ReleasePipeline(authority)
    pipeline._gate = authority.gate(inspect=inspect_once)
    if talker is not None:
        pipeline._make_talker = lambda tensors, config: talker
    return pipeline


def jti_of(token: str) -> str:
    from policy.canonical import b64url_decode

    return str(json.loads(b64url_decode(token.split(".")[1]))["jti"])


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[GateSimulator]:
    made = GateSimulator(tmp_path)
    yield made
    made.authority.close()


class Refusals:
    """Sends a request through the whole pipeline and checks all that a refusal promises."""

    def __init__(self, simulator: GateSimulator, folder: Path) -> None:
        self.simulator = simulator
        self.folder = folder
        folder.mkdir()

    def __call__(self, request: GenerationRequest, rules: set[str], consent: str | None = None) -> Decision:
        simulator, before = self.simulator, self.simulator.authority.log.size
        used = simulator.used(consent) if consent else 0
        with pytest.raises(Refused) as caught:
            simulator.pipeline().release(request, self.folder / "clip.mp4")
        decision = caught.value.decision
        assert {denial.rule_id for denial in decision.denials} == rules
        assert all(denial.fact and denial.remedy for denial in decision.denials)
        assert not decision.allowed
        assert not decision.grant
        assert simulator.authority.log.size == before + 1
        assert decision.log_index == before
        entry = simulator.authority.log.entry(before)
        assert entry == decision.entry
        logged = json.loads(entry)
        assert (logged["event"], logged["outcome"]) == ("decision", "refuse")
        assert set(logged["rules"]) == rules
        if consent:
            assert simulator.used(consent) == used
        assert list(self.folder.iterdir()) == []
        return decision


@pytest.fixture
def refused(simulator: GateSimulator, tmp_path: Path) -> Refusals:
    return Refusals(simulator, tmp_path / "out")
