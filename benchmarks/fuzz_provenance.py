"""Feeds the parsers of provenance with damaged input until the time is up; anything but a refusal is a failure.

    python -m benchmarks.fuzz_provenance                                ten minutes for each parser
    python -m benchmarks.fuzz_provenance --seconds 30 --only proof      a short look at one

Mutation over a corpus of real inputs made here: flipped bits, cut, doubled and spliced pieces, numbers at their limits,
tokens of the format. A failure is an exception that the parser does not promise, a call that takes longer than two
seconds of processor time, or memory that grows by more than 256 MB. The seed is printed; the input of each failure is
written to the folder given with --keep.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tqdm import tqdm

from benchmarks.provenance import sign_sample
from benchmarks.results_page import Rows, write_results
from provenance import (
    ProvenanceError,
    SigningIdentity,
    TransparencyLog,
    TrustAnchors,
    Witness,
    create_pki,
    format_witness_request,
    lint_certificates,
    load_revocation_lists,
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

ORIGIN = "fuzz.example.org/log"
MAX_SECONDS = 2.0
MAX_GROWTH_MB = 256
INTERESTING = (
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\0\0\0\1",
    b"\x9f",
    b"\xbf",
    b"\n",
    b"\n\n",
    b"18446744073709551616",
    b"-1",
    b"old ",
    b"index ",
    b"extra ",
    b"jumb",
    b"jumd",
    b"brob",
    b"uuid",
    b"mdat",
    b"free",
    "—".encode(),
    b"{",
    b"[" * 50,
    b'"',
    b"\\ud800",
)


@dataclass(frozen=True)
class Target:
    """One parser: what it eats, what it may raise, and real inputs to start from."""

    name: str
    run: Callable[[bytes], object]
    promised: tuple[type[BaseException], ...]
    corpus: Sequence[bytes]


@dataclass
class Outcome:
    """What the fuzzing of one parser gave."""

    cases: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def mutate(seed: bytes, other: bytes, draw: random.Random) -> bytes:
    """`seed` with one to six random changes."""
    content = bytearray(seed)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(content) + 1)
        size = min(len(content) - at, 1 << draw.randrange(8))
        kind = draw.randrange(7)
        if kind == 0 and content:
            content[at % len(content)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            content[at : at + size] = draw.randbytes(size)
        elif kind == 2:
            del content[at : at + size]
        elif kind == 3:
            content[at:at] = content[at : at + size] * draw.choice((1, 2, 20))
        elif kind == 4:
            content[at : at + draw.choice((0, 4))] = draw.choice(INTERESTING)
        elif kind == 5:
            start = draw.randrange(len(other) + 1)
            content[at : at + size] = other[start : start + size]
        else:
            del content[at:]
    return bytes(content)


def fuzz(target: Target, *, seconds: float, seed: int, keep: Path | None) -> Outcome:
    """Run until the time is up; at most 20 failures are collected."""
    draw, outcome = random.Random(f"{seed} {target.name}"), Outcome()
    start_mb, end = _peak_mb(), time.monotonic() + seconds
    with tqdm(desc=target.name, disable=None, unit="case") as bar:
        while time.monotonic() < end and len(outcome.failures) < 20:
            content = mutate(draw.choice(target.corpus), draw.choice(target.corpus), draw)
            fault = _one(target, content, outcome)
            if fault is None and _peak_mb() - start_mb > MAX_GROWTH_MB:
                fault, start_mb = f"memory grew to {_peak_mb()} MB", _peak_mb()
            if fault is not None:
                outcome.failures.append(fault)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{target.name}-{hashlib.sha256(content).hexdigest()[:12]}").write_bytes(content)
            bar.update()
    return outcome


def _one(target: Target, content: bytes, outcome: Outcome) -> str | None:
    outcome.cases += 1
    start = time.process_time()
    try:
        target.run(content)
    except target.promised:
        outcome.refused += 1
    except Exception as error:  # noqa: BLE001  that is what is looked for
        return f"{type(error).__name__}: {error}"[:200]
    spent = time.process_time() - start
    return f"took {spent:.1f} s" if spent > MAX_SECONDS else None


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def targets(folder: Path) -> list[Target]:
    """Every parser with real inputs."""
    now = datetime.now(UTC)
    create_pki(folder / "pki", organisation="Fuzz", now=now)
    renew_revocation_lists(folder / "pki", now=now)
    identity, anchors = SigningIdentity.from_folder(folder / "pki"), TrustAnchors.from_folder(folder / "pki")
    clip = sign_sample(identity)
    store = measure_coverage(io.BytesIO(clip)).stores[0]
    label = read_stored_manifest(store).label
    signature = claim_signature(store, label) or b""
    log_texts, check_log = _log_targets(folder)
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
        *(Target(name, check_log[name], refusal, log_texts[name]) for name in log_texts),
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


def _log_targets(folder: Path) -> tuple[dict[str, list[bytes]], dict[str, Callable[[bytes], object]]]:
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
    texts = {"checkpoint": checkpoint, "proof": proof, "export": export.getvalue(), "witness_request": request}
    runs: dict[str, Callable[[bytes], object]] = {
        "checkpoint": lambda c: verify_checkpoint(c.decode(), origin=ORIGIN, public_key=public),
        "proof": lambda c: verify_log_proof(c.decode(), b"entry 5", origin=ORIGIN, public_key=public),
        "export": lambda c: verify_log_export(c.decode().splitlines(), origin=ORIGIN, public_key=public),
        "witness_request": lambda c: witness.add_checkpoint(c.decode(), now=now),
    }
    return {name: [text.encode()] for name, text in texts.items()}, runs


@click.command(help=__doc__)
@click.option("--seconds", type=float, default=600, show_default=True, help="Time for each parser.")
@click.option("--only", multiple=True, help="These parsers only.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random changes.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Write failing inputs here.")
@click.option("--write", is_flag=True, help="Put the row into benchmarks/results/provenance.json.")
def main(seconds: float, only: tuple[str, ...], seed: int, keep: Path | None, write: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        chosen = [target for target in targets(Path(name)) if not only or target.name in only]
        outcomes = {target.name: fuzz(target, seconds=seconds, seed=seed, keep=keep) for target in chosen}
    for parser, outcome in outcomes.items():
        click.echo(
            f"{parser:18s} {outcome.cases:9,d} cases, {outcome.refused:9,d} refused, {len(outcome.failures)} failures"
        )
        for failure in sorted(set(outcome.failures)):
            click.echo(f"    {failure}")
    command = f"python -m benchmarks.fuzz_provenance --seconds {seconds:g} --seed {seed}"
    failed = sum(len(outcome.failures) for outcome in outcomes.values())
    cases = sum(outcome.cases for outcome in outcomes.values())
    row: Rows = {
        "fuzz_failures": {
            "value": failed,
            "unit": f"failures, {seconds:g} s for each of {len(outcomes)} parsers",
            "n": cases,
            "command": command,
        }
    }
    if write and not only:
        write_results("provenance", row)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
