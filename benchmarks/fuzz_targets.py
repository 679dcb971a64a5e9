"""Every parser that reads what others may have written, with real inputs to start from, for `fuzz_parsers`."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from PIL import Image

from benchmarks.fuzz_gate_targets import gate_targets
from benchmarks.fuzz_target import Target
from benchmarks.provenance import sign_sample
from media import ClipWriter, MediaError, load_audio, probe, read_frames, read_portrait
from provenance import (
    ProvenanceError,
    SigningIdentity,
    TransparencyLog,
    TrustAnchors,
    Witness,
    align_fingerprints,
    clip_fingerprint,
    create_pki,
    format_log_key,
    format_witness_request,
    lint_certificates,
    load_revocation_lists,
    parse_log_key,
    read_stored_manifest,
    renew_revocation_lists,
    verify_checkpoint,
    verify_clip,
    verify_log_export,
    verify_log_proof,
)
from provenance.bmff_coverage import measure_coverage
from provenance.certificate_rules import UNREADABLE_CERTIFICATE
from provenance.claim_signature import check_unsigned_header, signer_chain, time_stamp_certificates
from provenance.jumbf import check_store_layout, claim_signature
from provenance.manifest import read_release
from vasari.audit_report import FORMAT, AuditReport, ReportError, check_report, sign_report

ORIGIN = "fuzz.example.org/log"


def targets(folder: Path) -> list[Target]:
    """Every parser with real inputs, made in the empty `folder`."""
    return [*_credentials(folder), *_log(folder), *gate_targets(folder), *_media(folder), *_reports()]


def _credentials(folder: Path) -> list[Target]:
    now = datetime.now(UTC)
    create_pki(folder / "pki", organisation="Fuzz", now=now)
    renew_revocation_lists(folder / "pki", now=now)
    identity, anchors = SigningIdentity.from_folder(folder / "pki"), TrustAnchors.from_folder(folder / "pki")
    clip = sign_sample(identity)
    store = measure_coverage(io.BytesIO(clip)).stores[0]
    label = read_stored_manifest(store).label
    signature = claim_signature(store, label) or b""
    path = folder / "clip.mp4"

    def whole(content: bytes) -> None:
        path.write_bytes(content)
        report = verify_clip(path, anchors)
        if report.state == "verified" and content != clip and not _only_time_stamp_differs(clip, content):
            raise AssertionError("a changed clip is verified")

    leaf = x509.load_pem_x509_certificates(identity.chain_pem.encode())[0].public_bytes(Encoding.DER)
    release = json.dumps(
        {"manifest_id": "0" * 16, "log_proof": "x"}
        | dict.fromkeys(
            ("portrait_sha256", "audio_sha256", "consent_sha256", "decision_sha256", "unhashed_boxes_sha256"), "a" * 64
        )
    ).encode()
    refusal = (ProvenanceError, UnicodeDecodeError)
    return [
        Target("boxes", lambda c: measure_coverage(io.BytesIO(c)), (), [clip]),
        Target("manifest_store", check_store_layout, (), [store]),
        Target("stored_manifest", read_stored_manifest, refusal, [store]),
        Target("claim_signature", check_unsigned_header, (), [signature]),
        Target("signer_chain", signer_chain, refusal, [signature]),
        Target("time_stamp", time_stamp_certificates, refusal, [signature]),
        Target(
            "release_record", lambda c: read_release(json.loads(c)), (*refusal, ValueError, RecursionError), [release]
        ),
        Target(
            "revocation_lists",
            lambda c: load_revocation_lists(c.decode("latin-1")),
            refusal,
            [anchors.crl_pem.encode()],
        ),
        Target("certificate", lambda c: _lint(c, now), UNREADABLE_CERTIFICATE, [leaf]),
        Target("clip", whole, (), [clip]),
    ]


def _only_time_stamp_differs(clip: bytes, content: bytes) -> bool:
    """The documented gap: framing bytes inside the time stamp that CMS does not sign."""
    start = clip.index(b"sigTst2")
    return len(clip) == len(content) and all(
        start <= at < start + 2000 for at, (a, b) in enumerate(zip(clip, content, strict=True)) if a != b
    )


def _lint(der: bytes, now: datetime) -> None:
    for kind in ("claim", "issuing", "time-stamping"):
        lint_certificates(kind, [x509.load_der_x509_certificate(der)], now=now, horizon=timedelta(0))


def _log(folder: Path) -> list[Target]:
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    with TransparencyLog(folder / "log.sqlite", origin=ORIGIN, signer=key) as log:
        log.append_all([b"entry %d" % n for n in range(9)])
        export = io.StringIO()
        log.export(export)
        checkpoint, proof = log.checkpoint(), log.prove(5)
        request = format_witness_request(0, [], checkpoint)
    witness = Witness(folder / "witness.sqlite", name="w.example.org", key=key, logs={ORIGIN: public})
    now = datetime.now(UTC)
    texts = {
        "checkpoint": checkpoint,
        "proof": proof,
        "export": export.getvalue(),
        "witness_request": request,
        "log_key": format_log_key(ORIGIN, public),
    }
    runs: dict[str, Callable[[bytes], object]] = {
        "checkpoint": lambda c: verify_checkpoint(c.decode(), origin=ORIGIN, public_key=public),
        "proof": lambda c: verify_log_proof(c.decode(), b"entry 5", origin=ORIGIN, public_key=public),
        "export": lambda c: verify_log_export(c.decode().splitlines(), origin=ORIGIN, public_key=public),
        "witness_request": lambda c: witness.add_checkpoint(c.decode(), now=now),
        "log_key": lambda c: parse_log_key(c.decode()),
    }
    refusal = (ProvenanceError, UnicodeDecodeError)
    return [Target(name, run, refusal, [texts[name].encode()]) for name, run in runs.items()]


def _media(folder: Path) -> list[Target]:
    """What a stranger uploads: clips, recordings, portraits, and fingerprints."""
    draw = np.random.default_rng(0)
    clip, path = io.BytesIO(), folder / "upload"
    with ClipWriter(clip, width=64, height=64, fps=Fraction(25), sample_rate=16_000) as writer:
        for _ in range(3):
            writer.write_frames(torch.from_numpy(draw.integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)))
            writer.write_audio(torch.from_numpy(draw.standard_normal(2560).astype(np.float32) * 0.1))
    pictures = []
    for kind in ("PNG", "JPEG", "WEBP"):
        sink = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(sink, kind)
        pictures.append(sink.getvalue())
    print_ = clip_fingerprint(read_frames(_written(path, clip.getvalue())))

    def pictures_of(content: bytes) -> None:
        _written(path, content)
        probe(path)
        list(itertools.islice(read_frames(path, block_frames=4), 2))

    return [
        Target("video", pictures_of, (MediaError,), [clip.getvalue()]),
        Target("sound", lambda c: load_audio(_written(path, c), max_s=60), (MediaError,), [clip.getvalue()]),
        Target("portrait", lambda c: read_portrait(_written(path, c)), (MediaError,), pictures),
        Target("fingerprint", lambda c: align_fingerprints(c, print_), (ProvenanceError,), [print_]),
    ]


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _reports() -> list[Target]:
    """The three files of a signed report, separated by zero bytes."""
    key = Ed25519PrivateKey.generate()
    report = sign_report(
        AuditReport(
            json.dumps({"format": FORMAT, "time": "t", "audit": {"sha256": "0", "verdict": {"state": "s"}}}).encode(),
            b"<html></html>",
        ),
        auditor="auditor",
        key=key,
    )
    keys = {"auditor": key.public_key()}

    def check(content: bytes) -> None:
        parts = [*content.split(b"\0", 2), b"", b""]
        check_report(AuditReport(parts[0], parts[1], parts[2].decode()), keys)
        if tuple(parts[:3]) != (report.json, report.html, report.note.encode()):
            raise AssertionError("a changed report holds")

    whole = b"\0".join((report.json, report.html, report.note.encode()))
    return [Target("report", check, (ReportError, UnicodeDecodeError), [whole])]
