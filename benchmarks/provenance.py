"""Credentials and log: signing, time stamps, verification by both engines, appends, proofs, fingerprints.

    python -m benchmarks.provenance              all rows as JSON
    python -m benchmarks.provenance --quick      a tenth of the repetitions

Latencies are wall-clock over a 1 MB clip on disk. With VASARI_DATA set (a folder with grid/ and detector_dev/) the
clip fingerprint is measured on real recordings too.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from c2pa import Builder, C2paSigningAlg, Signer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tqdm import tqdm

from media import ClipWriter, FrameBlock, codec_round_trip, read_frames
from provenance import (
    ClipManifest,
    SigningIdentity,
    TransparencyLog,
    TrustAnchors,
    clip_fingerprint,
    create_pki,
    fingerprint_distance,
    sign_clip,
    verify_clip,
    verify_log_proof,
)
from provenance.engine_c2pa import read_with_c2pa
from provenance.engine_encypher import read_with_encypher
from provenance.engine_settings import EngineSettings
from provenance.manifest import manifest_definition
from provenance.time_stamping import serve

COMMAND = "python -m benchmarks.foundation --only provenance"
ORIGIN = "benchmark.example.org/log"
ENTRY = b"d" * 260  # bytes, as long as a typical logged decision
CLIP_BYTES = 1_000_000
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    """Everything a measurement needs: a PKI, a clip on disk, how often to repeat."""

    folder: Path
    identity: SigningIdentity
    anchors: TrustAnchors
    clip: bytes
    repetitions: int


def measure(*, quick: bool = False) -> Rows:
    """All rows of this part, in some two minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_pki(folder / "pki", organisation="Benchmark", now=datetime.now(UTC))
        bench = Bench(
            folder,
            SigningIdentity.from_folder(folder / "pki"),
            TrustAnchors.from_folder(folder / "pki"),
            sample_clip(),
            20 if quick else 200,
        )
        rows = _signing(bench) | _verification(bench) | _log(bench) | _proofs(bench, 2_000 if quick else 100_000)
        rows |= _append_oracle(bench)
    data = os.environ.get("VASARI_DATA")
    return rows | (_fingerprints(Path(data)) if data and not quick else {})


def _signing(bench: Bench) -> Rows:
    whole = _times(lambda: _sign(bench), bench.repetitions, "sign")
    engine = _times(lambda: _sign_with_engine(bench, stamped=False), bench.repetitions, "sign, engine only")
    stamped = _times(lambda: _sign_with_engine(bench, stamped=True), bench.repetitions, "sign, time-stamped")
    share = max(0.0, statistics.median(stamped) - statistics.median(engine)) / statistics.median(whole)
    return (
        _latency("sign_1mb", whole)
        | _latency("sign_1mb_engine_only", engine)
        | {"sign_time_stamp_share": _row(share, "of sign_1mb", bench.repetitions)}
    )


def _verification(bench: Bench) -> Rows:
    path = bench.folder / "signed.mp4"
    path.write_bytes(_sign(bench))
    report = verify_clip(path, bench.anchors)
    if report.state != "verified":
        raise SystemExit(f"the signed clip must be verified, it is {report.state}: {report.failures}")

    def first() -> None:
        with path.open("rb") as file:
            read_with_c2pa(file, "video/mp4", bench.anchors, None, has_store=True)

    def second() -> None:
        read_with_encypher(path, "video/mp4", bench.anchors, None)

    return (
        _latency("verify_1mb", _times(lambda: verify_clip(path, bench.anchors), bench.repetitions, "verify"))
        | _latency("verify_1mb_c2pa_python", _times(first, bench.repetitions, "first engine"))
        | _latency("verify_1mb_encypher", _times(second, bench.repetitions, "second engine"))
    )


def _log(bench: Bench) -> Rows:
    rows: Rows = {}
    for group, total in ((1, 500), (16, 3_200), (256, 51_200), (50_000, 50_000)):
        count = max(group, total * bench.repetitions // 200 // group * group)  # whole groups
        with _open_log(bench.folder / f"log-{group}.sqlite") as log:
            entries = [ENTRY] * group
            start = time.perf_counter()
            for _ in _progress(range(count // group), f"append in groups of {group}"):
                log.append_all(entries)
            rate = count / (time.perf_counter() - start)
        rows[f"log_append_groups_of_{group}"] = _row(rate, "entries/s", count)
    return rows


def _append_oracle(bench: Bench) -> Rows:
    """pymerkle's SQLite tree in the same run: the comparison a reader will ask for. Not a dependency."""
    try:
        import pymerkle
    except ImportError:
        return {}
    tree = pymerkle.SqliteTree(str(bench.folder / "oracle.db"), algorithm="sha256")
    count = 500 * bench.repetitions // 200
    start = time.perf_counter()
    for _ in range(count):
        tree.append_entry(ENTRY)
    single = count / (time.perf_counter() - start)
    bulk_count = 51_200 * bench.repetitions // 200
    start = time.perf_counter()
    tree.append_entries([ENTRY] * bulk_count)
    bulk = bulk_count / (time.perf_counter() - start)
    return {
        "log_append_single_pymerkle": _row(single, "entries/s", count),
        "log_append_bulk_pymerkle": _row(bulk, "entries/s", bulk_count),
    }


def _proofs(bench: Bench, size: int) -> Rows:
    key = Ed25519PrivateKey.generate()
    draw = np.random.default_rng(0)
    with TransparencyLog(bench.folder / "proofs.sqlite", origin=ORIGIN, signer=key) as log:
        for _ in range(0, size, 1000):
            log.append_all([ENTRY] * 1000)
        log.checkpoint()

        def prove() -> str:
            return log.prove(int(draw.integers(size)))

        def append_and_prove() -> str:
            return log.prove(log.append(ENTRY))

        proof = prove()
        public = key.public_key()
        check = _times(lambda: verify_log_proof(proof, ENTRY, origin=ORIGIN, public_key=public), bench.repetitions, "")
        return (
            _latency(f"log_prove_at_{size}", _times(prove, bench.repetitions, "prove"))
            | _latency("log_append_sign_prove", _times(append_and_prove, bench.repetitions, "append and prove"))
            | _latency("log_check_proof", check)
        )


def _fingerprints(data: Path) -> Rows:
    """Distances of recompressed copies and of different clips; the threshold must lie between."""
    files = sorted(data.glob("grid/*.mpg")) + sorted(data.glob("detector_dev/anitalker/*.mp4"))
    prints: list[bytes] = []
    same: dict[int, list[float]] = {28: [], 35: []}
    for file in _progress(files, "fingerprints"):
        frames = torch.cat([block.frames for block in read_frames(file, end_s=3.0, max_side_px=384)])
        prints.append(clip_fingerprint(_blocks(frames)))
        for crf, distances in same.items():
            copy = clip_fingerprint(_blocks(codec_round_trip(frames, crf=crf)))
            distances.append(fingerprint_distance(prints[-1], copy))
    other = [fingerprint_distance(a, b) for a, b in itertools.combinations(prints, 2)]
    rows = {
        f"fingerprint_distance_crf{crf}_max": _row(max(values), "distance", len(values)) for crf, values in same.items()
    }
    rows["fingerprint_distance_other_clip_min"] = _row(min(other), "distance", len(other))
    return rows


def _sign(bench: Bench) -> bytes:
    sink = io.BytesIO()
    sign_clip(io.BytesIO(bench.clip), sink, sample_manifest(), bench.identity)
    return sink.getvalue()


def _sign_with_engine(bench: Bench, *, stamped: bool) -> None:
    """The engine's own part: no certificate linting, no reading back."""
    definition = manifest_definition(sample_manifest(), unhashed_boxes_sha256="0" * 64)
    context = EngineSettings.for_anchors(bench.anchors).context()
    identity = bench.identity

    def run(url: str | None) -> None:
        signer = Signer.from_callback(identity.sign, C2paSigningAlg.ES256, identity.chain_pem, url)
        Builder(definition, context=context).sign(signer, "video/mp4", io.BytesIO(bench.clip), io.BytesIO())

    if not stamped:
        return run(None)
    with serve(identity.time_stamps, lambda: datetime.now(UTC)) as url:
        return run(url)


def sample_manifest() -> ClipManifest:
    """A release that says as much as a real one."""
    return ClipManifest(
        title="benchmark",
        generator_version="0",
        manifest_id=1,
        soft_binding_value=bytes(16),
        portrait_sha256="a" * 64,
        audio_sha256="b" * 64,
        consent_sha256="c" * 64,
        decision_sha256="d" * 64,
        log_proof="proof" * 200,
        portrait_media_type="image/png",
        audio_media_type="audio/flac",
        created_at=datetime.now(UTC),
    )


def sign_sample(identity: SigningIdentity) -> bytes:
    """A small signed clip, 12 kB of credentials around a second of noise."""
    sink = io.BytesIO()
    sign_clip(io.BytesIO(sample_clip(2_000)), sink, sample_manifest(), identity)
    return sink.getvalue()


def sample_clip(at_least: int = CLIP_BYTES) -> bytes:
    """Noise, 256x256, encoded until it has about so many bytes."""
    draw = torch.Generator().manual_seed(0)
    sink = io.BytesIO()
    with ClipWriter(sink, width=256, height=256, fps=Fraction(25), sample_rate=None, crf=18) as writer:
        while sink.tell() < at_least:
            noise = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=draw)
            writer.write_frames(noise.repeat_interleave(4, 2).repeat_interleave(4, 3))
    return sink.getvalue()


def _blocks(frames: torch.Tensor) -> Iterator[FrameBlock]:
    yield FrameBlock(frames, tuple(Fraction(n, 25) for n in range(len(frames))))


def _open_log(path: Path) -> TransparencyLog:
    return TransparencyLog(path, origin=ORIGIN, signer=Ed25519PrivateKey.generate())


def _times(action: Callable[[], object], repetitions: int, what: str) -> list[float]:
    """Milliseconds per call, after three calls that are not counted."""
    for _ in range(3):
        action()
    spent = []
    for _ in _progress(range(repetitions), what):
        start = time.perf_counter()
        action()
        spent.append((time.perf_counter() - start) * 1000)
    return spent


def _progress(items: Any, what: str) -> Any:
    return tqdm(items, desc=what, disable=None, leave=False)


def _latency(name: str, spent: list[float]) -> Rows:
    low, high = _median_interval(spent)
    return {
        f"{name}_p50": _row(statistics.median(spent), "ms", len(spent)) | {"ci95": [low, high]},
        f"{name}_p99": _row(float(np.percentile(spent, 99)), "ms", len(spent)),
    }


def _median_interval(spent: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    values = np.asarray(spent)
    draws = np.random.default_rng(0).choice(values, (1000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), (2.5, 97.5))
    return float(low), float(high)


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {"value": float(value), "unit": unit, "n": n, "command": COMMAND}


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A tenth of the repetitions.")
def main(quick: bool) -> None:
    from benchmarks.results_page import commit, hardware

    stamp = {"commit": commit(), "hardware": hardware()}
    print(json.dumps({f"provenance.{key}": row | stamp for key, row in measure(quick=quick).items()}, indent=1))


if __name__ == "__main__":
    main()
