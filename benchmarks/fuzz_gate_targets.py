"""The parsers on the gate's side: tokens, sealed files, decisions, site policy, key rings. Part of `fuzz_targets`.

Half of the changes to a token are made inside its decoded claims, which are signed anew, so that what lies behind the
signature is reached too; a changed token that is taken for good is a failure.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.fuzz_target import Target, mutate
from policy import (
    Controls,
    Framing,
    PolicyError,
    SitePolicy,
    process_messages,
    read_sealed_header,
    run_cases,
    sha256_hex,
    thumbprint,
)
from policy.accreditation_token import verify_accreditation
from policy.broker_service import _read_request
from policy.canonical import b64url, b64url_decode, canonical_json, strict_json_object
from policy.claims import parse_claims
from policy.consent_token import verify_consent
from policy.decision_record import facts_of
from policy.face_commitment import COEFFICIENTS
from policy.grant import verify_grant
from policy.key_ring import RingFile
from policy.performer import Wishes
from policy.process_messages import Message, parse_message
from policy.proof_of_possession import verify_proof
from policy.seal import open_sealed
from policy.site_policy import read_site_policy
from policy.status_list import verify_status_list
from policy.worker import PerformanceWishes, read_wishes
from provenance import KeySourceError, open_signing_key
from provenance.pkcs11_key import HsmUri
from tests.policy.conftest import GateSimulator

REFUSALS = (PolicyError, ValueError)
VECTORS = Path(__file__).resolve().parents[1] / "tests" / "policy" / "token_vectors.json"


def gate_targets(folder: Path) -> list[Target]:
    """Every parser with real inputs, made in `folder`."""
    now = datetime.now(UTC)
    simulator = GateSimulator(folder, now)
    authority, ring = simulator.authority, simulator.authority.key_ring
    request = simulator.request()
    decision = simulator.decide(request)
    keys = {role: ring.signing_key(role) for role in ("registry", "accreditation", "gate")}
    public = {role: {thumbprint(key): key.public_key()} for role, key in keys.items()}
    uri = authority.registry.list_uri("consent")
    status = authority.registry.status_list(uri, now)
    registry = authority.identity.registry_id
    tokens: dict[str, tuple[str, Callable[[str], object], Ed25519PrivateKey]] = {
        "consent": (request.consent, lambda t: verify_consent(t, public["registry"]), keys["registry"]),
        "accreditation": (
            request.accreditation,
            lambda t: verify_accreditation(t, public["accreditation"]),
            keys["accreditation"],
        ),
        "proof_of_possession": (request.proof, verify_proof, simulator.researcher),
        "grant": (decision.grant, lambda t: verify_grant(t, public["gate"]), keys["gate"]),
        "status_list": (
            status,
            lambda t: verify_status_list(t, uri=uri, issuer=registry, keys=public["registry"]),
            keys["registry"],
        ),
    }
    record = authority.stores.events.find_decision(decision.decision_id)
    assert record is not None
    facts = canonical_json(dict(record.detail))
    case = {"name": "real", "facts": strict_json_object(facts), "expect": []}
    case["facts"].pop("denials")
    sealed, key = authority.weights.read_bytes(), bytes(range(32))
    made = [_token_target(name, *of) for name, of in tokens.items()]
    vectors = [vector["token"].encode() for vector in json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]]
    made[0] = replace(made[0], corpus=[*made[0].corpus, *vectors])
    return [
        *made,
        Target("sealed_file", lambda c: _open_sealed(folder / "f.sealed", c, key, sealed), REFUSALS, [sealed]),
        Target("sealed_header", lambda c: _sealed_header(folder / "h.sealed", c), REFUSALS, [sealed[:600]]),
        Target("site_policy", lambda c: _site(folder, c), REFUSALS, [authority.site.as_bytes()]),
        Target("decision_record", lambda c: facts_of(strict_json_object(c)), REFUSALS, [facts]),
        Target(
            "policy_cases",
            lambda c: run_cases(c, site=SitePolicy()),
            REFUSALS,
            [json.dumps({"cases": [case]}).encode()],
        ),
        Target(
            "broker_request",
            _read_request,
            REFUSALS,
            [_broker_request(decision.grant, decision.entry, decision.log_proof)],
        ),
        Target("process_message", lambda c: parse_message(c, MESSAGES), REFUSALS, _messages()),
        Target("worker_wishes", lambda c: read_wishes(c, b"", b""), REFUSALS, [_wishes()]),
        Target("key_ring", lambda c: parse_claims(RingFile, strict_json_object(c)), REFUSALS, [_ring()]),
        Target("key_uri", lambda c: _uri(folder, c.decode("latin-1")), (KeySourceError,), _uris()),
    ]


def _token_target(name: str, token: str, verify: Callable[[str], object], key: Ed25519PrivateKey) -> Target:
    """Half of the changes are made behind the signature: claims are changed and signed anew with the right key."""
    draw = random.Random(name)
    header, claims, _ = token.split(".")

    def run(content: bytes) -> None:
        if draw.random() < 0.5:
            text = content.decode("latin-1")
            verify(text)
            if text != token:
                raise AssertionError("a changed token is taken for good")
            return
        changed = mutate(b64url_decode(claims), content, draw)
        signed = f"{header}.{b64url(changed)}"
        verify(f"{signed}.{b64url(key.sign(signed.encode()))}")

    return Target(name, run, REFUSALS, [token.encode()])


def _open_sealed(path: Path, content: bytes, key: bytes, whole: bytes) -> None:
    path.write_bytes(content)
    open_sealed(path, key)
    if content != whole:
        raise AssertionError("a changed sealed file opens")


def _sealed_header(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    read_sealed_header(path)


def _site(folder: Path, content: bytes) -> None:
    path = folder / "fuzzed-site.json"
    path.write_bytes(content)
    path.chmod(0o600)
    read_site_policy(path)


def _broker_request(grant: str, entry: bytes, proof: str) -> bytes:
    return canonical_json({"grant": grant, "entry": b64url(entry), "log_proof": proof})


MESSAGES: tuple[type[Message], ...] = (
    process_messages.Ready, process_messages.Failed, process_messages.Progress, process_messages.Opened,
    process_messages.Begun, process_messages.Made, process_messages.SeenPortrait, process_messages.SeenAudio,
    process_messages.Unreadable, process_messages.ReadMarks, process_messages.OpenWeights, process_messages.MakeClip,
    process_messages.DrawPlot,
)  # fmt: skip


def _messages() -> list[bytes]:
    """What a worker and a reader say in one job, and what they are told."""
    mark = process_messages.FoundMark(
        manifest_id="0" * 16, key_id=7, log10_false_positive=-14.4, pilot_z=30.5, seconds_used=2.0
    )
    portrait = process_messages.SeenPortrait(
        width_px=768, height_px=768, pixels_sha256="a" * 64, face_heights_px=[373.5],
        face_places=["at x 381, y 345, 374 px high"], embeddings=[[0.25] * COEFFICIENTS],
    )  # fmt: skip
    marks = process_messages.ReadMarks(
        video=mark, audio=mark, width_px=512, height_px=512, fps_numerator=25, fps_denominator=1, duration_s=2.6,
        tracks=2, marked_s=2.5,
    )  # fmt: skip
    task = process_messages.MakeClip(
        mark_key=b64url(bytes(70)), manifest_id="0" * 16, video_strength=1.0, audio_strength=1.5, frames=65
    )
    said: list[Message] = [
        process_messages.Ready(user=1000, landlock=7, filtered=1, public_key=b64url(bytes(32))),
        process_messages.Failed(error="media", message="MediaError: no picture"),
        process_messages.Begun(width_px=512, height_px=512),
        process_messages.Progress(done=4),
        process_messages.SeenAudio(duration_s=9.0, loudest_dbfs=None),
        process_messages.OpenWeights(grant="0" * 32, wrapped=b64url(bytes(80))),
    ]
    return [process_messages.write_message(message) for message in (*said, portrait, marks, task)]


def _wishes() -> bytes:
    controls = Controls(gaze_yaw_deg=((0.0, -5.0), (2.0, 5.0)), emotion=((0.0, "happy", 0.5),))
    return PerformanceWishes.of(Wishes(b"", b"", controls, Framing(face=1), 7))


def _ring() -> bytes:
    retired = {"registry": [{"x": b64url(bytes(32)), "retired_at": 1, "revoked_at": None}]}
    return canonical_json({"schema_version": 1, "uris": {"gate": "file:keys/gate.pem"}, "retired": retired})


def _uris() -> list[bytes]:
    hardware = b"pkcs11:token=vasari;object=gate;id=%01?module-path=/no/such/module.so&pin-source=file:/no/such/pin"
    return [hardware, b"file:keys/gate.pem?passphrase-file=pass", b"python:no.such:function?public=gate.pub.pem"]


def _uri(folder: Path, uri: str) -> None:
    """Parse only: a program that a changed URI happens to name must not run."""
    if uri.startswith("pkcs11:"):
        HsmUri.parse(uri)
    elif uri.startswith("file:"):
        open_signing_key(uri, base=folder / "nothing-here")
    else:
        raise KeySourceError(sha256_hex(uri.encode("latin-1")))
