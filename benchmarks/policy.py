"""Measures the gate's decision and the opening of sealed weights.

    python -m benchmarks.policy

A decision is the whole of it: three tokens verified, two status lists, replay cache, all rules, reserved
use, durable log entry with signed checkpoint and proof, signed grant. Portrait and recording are hashed and looked at
once before and not counted; that is measured by itself (`media_inspection_p50_ms`). Whether a token is well signed is
remembered by its text: the first row asks with tokens that the gate has seen, `decision_new_tokens_p50_ms` with tokens
that are new to it.

Opening sealed weights is held against AES-GCM alone on the same core in the same run, since machines differ several
times: about half of the time is AES-GCM, a quarter the copy out of the page cache, the rest fresh memory.
"""

from __future__ import annotations

import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import safetensors.torch
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.results_page import commit, hardware, write_results
from policy import (
    Authority,
    ConsentTerms,
    GenerationRequest,
    SoftwareAuthenticator,
    seal_weights,
    sign_request,
    thumbprint,
)
from policy.broker import WorkerKey
from policy.media_facts import inspect_media
from policy.seal import CHUNK_BYTES, open_sealed

DEMO = Path(__file__).resolve().parents[1] / "vasari" / "demo"
DECISIONS, NEW, INSPECTIONS, LOADS = 400, 60, 10, 15
SEALED_MIB = 256
COMMAND = "python -m benchmarks.policy"


def measure() -> dict[str, dict[str, Any]]:
    """Rows of this part."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="vasari-bench-") as folder:
        return {**_decisions(Path(folder)), **_sealed_load(Path(folder))}


def _decisions(folder: Path) -> dict[str, dict[str, Any]]:
    portrait, audio = (DEMO / "portrait.png").read_bytes(), (DEMO / "voice.flac").read_bytes()
    inspect_media(portrait, audio)
    inspections = [_seconds(lambda: inspect_media(portrait, audio)) for _ in range(INSPECTIONS)]
    facts = inspect_media(portrait, audio)
    researcher = Ed25519PrivateKey.generate()
    with Authority.create(folder / "state", organisation="Benchmark", now=datetime.now(UTC)) as authority:
        gate = authority.gate(inspect=lambda *media: facts)
        device = SoftwareAuthenticator.create()
        authority.enrol_subject("benchmark", device.credential)
        accreditation = authority.accredit(researcher.public_key(), researcher="benchmark")
        terms = ConsentTerms(
            subject="benchmark",
            adult=True,
            portrait=portrait,
            researcher_jkt=thumbprint(researcher),
            purposes=("demonstration",),
            uses=10 * DECISIONS,
            total_seconds=1_000_000,
        )
        consent = authority.issue_consent(terms, device)
        new = [
            (
                authority.issue_consent(terms, device),
                authority.accredit(researcher.public_key(), researcher="benchmark"),
            )
            for _ in range(NEW)
        ]

        def decide(purpose: str, tokens: tuple[str, str] = (consent, accreditation)) -> float:
            request = _request(authority, researcher, portrait, audio, *tokens, purpose)
            started = time.perf_counter()
            decision = gate.decide(request, worker_key=WorkerKey().public_bytes)
            took = time.perf_counter() - started
            assert decision.allowed == (purpose == "demonstration")
            if decision.allowed:
                authority.stores.ledger.refund(decision.reservation_id, "benchmark", authority.clock())
            return took

        decide("demonstration")
        allows = [decide("demonstration") for _ in range(DECISIONS)]
        strangers = [decide("demonstration", tokens) for tokens in new]
        refusals = [decide("detector-training") for _ in range(DECISIONS)]
        durable = [_seconds(lambda: authority.log.append(b"x" * 300)) for _ in range(DECISIONS)]
    return {
        "decision_p50_ms": _row(statistics.median(allows) * 1e3, "ms", DECISIONS),
        "decision_p99_ms": _row(_percentile(allows, 0.99) * 1e3, "ms", DECISIONS),
        "decision_new_tokens_p50_ms": _row(statistics.median(strangers) * 1e3, "ms", NEW),
        "refusal_p50_ms": _row(statistics.median(refusals) * 1e3, "ms", DECISIONS),
        "log_append_p50_ms": _row(statistics.median(durable) * 1e3, "ms", DECISIONS),
        "media_inspection_p50_ms": _row(statistics.median(inspections) * 1e3, "ms", INSPECTIONS),
    }


def _request(
    authority: Authority,
    researcher: Ed25519PrivateKey,
    portrait: bytes,
    audio: bytes,
    consent: str,
    accreditation: str,
    purpose: str,
) -> GenerationRequest:
    return sign_request(
        researcher,
        portrait,
        audio,
        consent,
        accreditation,
        gate_id=authority.identity.gate_id,
        purpose=purpose,
        now=authority.clock(),
    )


def _sealed_load(folder: Path) -> dict[str, dict[str, Any]]:
    """Plain bytes per second from a sealed file in the page cache to tensors, on one thread."""
    sealed, key = folder / "weights.sealed", secrets.token_bytes(32)
    tensor = torch.frombuffer(bytearray(secrets.token_bytes(SEALED_MIB << 20)), dtype=torch.float32)
    plain = safetensors.torch.save({"weights": tensor}, metadata={"config": "{}"})
    seal_weights(plain, sealed, content_key=key)
    open_sealed(sealed, key)
    seconds = [_seconds(lambda: open_sealed(sealed, key)) for _ in range(LOADS)]
    speed = len(plain) / statistics.median(seconds)
    return {
        "sealed_load_gb_s": _row(speed / 1e9, "GB/s", LOADS),
        "sealed_load_share_of_aes_gcm": _row(speed / _aes_gcm_speed(), "of AES-GCM alone", LOADS),
    }


def _aes_gcm_speed() -> float:
    """Bytes per second that AES-256-GCM alone decrypts on one thread, from and to memory that is in the cache."""
    cipher, nonce = AESGCM(secrets.token_bytes(32)), bytes(12)
    sealed, plain = cipher.encrypt(nonce, bytes(CHUNK_BYTES), None), bytearray(CHUNK_BYTES)
    rounds = [
        _seconds(lambda: [cipher.decrypt_into(nonce, sealed, None, plain) for _ in range(SEALED_MIB)])
        for _ in range(LOADS)
    ]
    return SEALED_MIB * CHUNK_BYTES / statistics.median(rounds)


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {
        "value": round(value, 3),
        "unit": unit,
        "n": n,
        "command": COMMAND,
        "commit": commit(),
        "hardware": hardware(),
    }


@click.command(help=__doc__)
def main() -> None:
    """Print the rows as JSON, and put those of the gate's section into its results file."""
    rows = measure()
    click.echo(json.dumps(rows, indent=1))
    write_results("gate", {name: {**row, "command": "python -m benchmarks.policy"} for name, row in rows.items()})


if __name__ == "__main__":
    main()
