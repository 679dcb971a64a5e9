"""The figures that provenance must show: the log against another library, a gigabyte verified, reports under attack.

python -m benchmarks.provenance_goals               all rows into benchmarks/results/provenance.json
python -m benchmarks.provenance_goals --only log    one part
"""

from __future__ import annotations

import io
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import numpy as np
from c2pa import Reader
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.provenance import sample_clip, sample_manifest, sign_sample
from benchmarks.results_page import Rows, number, write_results
from provenance import (
    CredentialsReport,
    EngineVerdict,
    Finding,
    Ingredient,
    SigningIdentity,
    SourceStep,
    TransparencyLog,
    TrustAnchors,
    create_pki,
    sign_clip,
    verify_clip,
    verify_log_proof,
)
from provenance.engine_settings import EngineSettings
from vasari.audit_report import make_report
from vasari.clip_audit import ClipAudit, ClipAuditor
from vasari.evidence import Evidence, LogEvidence
from vasari.verdict import fold

COMMAND = "python -m benchmarks.provenance_goals"
ORIGIN = "benchmark.example.org/log"
ENTRY = b"d" * 260  # bytes, as long as a typical logged decision
SINGLE, BATCH = 1_000, 100_000
MILLION = 1_000_000
GIGABYTE = 1 << 30
FILLER_BYTES = 1 << 24


def measure_log() -> Rows:
    """Appends one by one and in one group, pymerkle's beside them in the same run, proofs at a million entries."""
    rows: Rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TransparencyLog(folder / "log", origin=ORIGIN, signer=Ed25519PrivateKey.generate()) as log:
            rows["log_appends_batched"] = _rate(lambda: log.append_all([ENTRY] * BATCH), BATCH)
            rows["log_appends_single"] = _rate(lambda: [log.append(ENTRY) for _ in range(SINGLE)], SINGLE)
        rows |= _pymerkle(folder)
        key = Ed25519PrivateKey.generate()
        with TransparencyLog(folder / "million", origin=ORIGIN, signer=key) as log:
            for _ in range(0, MILLION, BATCH):
                log.append_all([ENTRY] * BATCH)
            log.checkpoint()
            spent = []
            for index in np.random.default_rng(0).integers(0, MILLION, 200).tolist():
                start = time.perf_counter()
                proof = log.prove(index)
                spent.append((time.perf_counter() - start) * 1000)
            verify_log_proof(proof, ENTRY, origin=ORIGIN, public_key=key.public_key())
    rows["log_proof_ms_at_million_p50"] = _row(float(np.median(spent)), "ms", len(spent))
    rows["log_proof_ms_at_million_p99"] = _row(float(np.percentile(spent, 99)), "ms", len(spent))
    return rows


def _pymerkle(folder: Path) -> Rows:
    try:
        import pymerkle
    except ImportError:
        return {}
    tree = pymerkle.SqliteTree(str(folder / "oracle.db"), algorithm="sha256")
    return {
        "log_appends_batched_pymerkle": _rate(lambda: tree.append_entries([ENTRY] * BATCH), BATCH),
        "log_appends_single_pymerkle": _rate(lambda: [tree.append_entry(ENTRY) for _ in range(SINGLE)], SINGLE),
    }


def measure_gigabyte() -> Rows:
    """A signed clip of 1 GB, verified in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_pki(folder / "pki", organisation="Benchmark", now=datetime.now(UTC))
        _sign_large(folder)
        program = [sys.executable, "-m", "benchmarks.provenance_goals", "--child", str(folder)]
        runs = [
            json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout) for _ in range(3)
        ]
    best = min(runs, key=lambda run: run["seconds"])
    return {
        "verify_1gb_s": _row(best["seconds"], "s, best of 3", 3),
        "verify_1gb_cpu_s": _row(best["cpu_seconds"], "s of processor time", 3),
        "verify_1gb_rss_mb": _row(best["growth_mb"], "MB beyond the imported libraries", 3),
    }


def _sign_large(folder: Path) -> None:
    """The sample clip with filler in its media box until it has 1 GB, signed."""
    clip = sample_clip()
    at = clip.rindex(b"mdat") - 4
    whole = folder / "plain.mp4"
    with whole.open("wb") as sink:
        sink.write(clip[:at])
        rest = len(clip) - at - 8
        sink.write((1).to_bytes(4, "big") + b"mdat" + (16 + rest + GIGABYTE).to_bytes(8, "big") + clip[at + 8 :])
        filler = np.random.default_rng(0).integers(0, 256, FILLER_BYTES, dtype=np.uint8).tobytes()
        for _ in range(GIGABYTE // FILLER_BYTES):
            sink.write(filler)
    with whole.open("rb") as source, (folder / "signed.mp4").open("w+b") as sink:
        sign_clip(source, sink, sample_manifest(), SigningIdentity.from_folder(folder / "pki"))
    whole.unlink()


def _child(folder: Path) -> None:
    """Verify once and print time and memory."""
    anchors = TrustAnchors.from_folder(folder / "pki")
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    report = verify_clip(folder / "signed.mp4", anchors)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    if report.engines[0].state != "verified" or report.failures:
        raise SystemExit(f"expected a verified clip, got {report.state}: {report.failures}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        json.dumps({"seconds": seconds, "cpu_seconds": cpu, "growth_mb": (after.ru_maxrss - before.ru_maxrss) / 1024})
    )


def measure_rubric() -> Rows:
    """The statements of the C2PA conformance rubric, by their ids, over a manifest as releases carry it."""
    from tests.provenance.rubric import STATEMENTS, false_statements

    with tempfile.TemporaryDirectory() as name:
        create_pki(Path(name) / "pki", organisation="Benchmark", now=datetime.now(UTC))
        identity = SigningIdentity.from_folder(Path(name) / "pki")
        context = EngineSettings.for_anchors(identity.anchors).context()
        with Reader("video/mp4", io.BytesIO(sign_sample(identity)), context=context) as reader:
            (manifest,) = json.loads(reader.crjson())["manifests"]
    true = len(STATEMENTS) - len(false_statements(manifest))
    unit = f"of {len(STATEMENTS)} statements of conformance 0.2 / spec 2.4 (in Python, not its own evaluator)"
    return {"rubric_true": _row(true, unit, len(STATEMENTS))}


ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "<!--",
    "]]>",
    "&lt;script&gt;",
    "{{7*7}}",
    "{% include 'page.html' %}",
    "${7*7}",
    "'; DROP TABLE manifests; --",
    "' OR 1=1 --",
    "../../etc/passwd",
    "\x00",
    "\x1b[2J\x1b]0;owned\x07",
    "line\r\nSet-Cookie: a=b",
    "gpj.\u202e4pm",
    "\u2066\u2069",
    "\ufeff",
    "<iframe src=//evil.example>",
    "<a href=data:text/html,x>",
    "<meta http-equiv=refresh content=0>",
    "A" * 10_000,
    "\ud83d",
    "<base href=//evil.example/>",
    "<form action=//evil.example>",
    "=cmd|' /C calc'!A0",
    "\\u003cscript\\u003e",
)
FIELDS = (
    "signer",
    "finding code",
    "finding text",
    "engine",
    "reason",
    "source title",
    "source type",
    "relation",
    "failure",
    "log",
    "damage",
    "file name",
)


def measure_reports() -> Rows:
    """Every attack string in every text field; an injection is any element or handler that a harmless text lacks."""
    plain = _shape(_report("x", None))
    tried = list(itertools.product(FIELDS, ATTACKS))
    injections = sum(_shape(_report(attack, name)) != plain for name, attack in tried)
    return {"report_injections": _row(injections, "pages with foreign elements", len(tried))}


def _report(text: str, name: str | None) -> str:
    """A report whose field `name` holds `text`, the others "x"."""

    def at(one: str) -> str:
        return text if one == name else "x"

    finding = Finding(at("finding code"), "failure", at("finding text"), at("engine"), source=at("source title"))
    step = SourceStep(
        0, at("source title"), at("source type"), at("relation"), at("failure"), "failed", (at("failure"),)
    )
    credentials = CredentialsReport(
        "untrusted",
        (finding,),
        (EngineVerdict(at("engine"), at("engine"), "broken", at("reason")),),
        engines_agree=False,
        signer=at("signer"),
        ingredients=(Ingredient(at("source title"), at("source type"), None),),
        sources=(step,),
    )
    evidence = Evidence(credentials, log=LogEvidence("failed", at("log")), damage=at("damage"))
    path = at("file name").replace("/", "_") + ".mp4"
    audit = ClipAudit(path, "0" * 64, 1, None, evidence, fold(evidence), (), datetime(2026, 1, 1, tzinfo=UTC), 0.0)
    return make_report(replace(audit), ClipAuditor()).html.decode()


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))


def _shape(page: str) -> list[tuple[str, tuple[str, ...]]]:
    parser = _Elements()
    parser.feed(page)
    return [
        *parser.found,
        *((character, ()) for character in sorted(set("\x00\x07\x1b\u202e\u2066\ufeff") & set(page))),
    ]


def _rate(action: Callable[[], object], count: int) -> dict[str, Any]:
    start = time.perf_counter()
    action()
    return _row(count / (time.perf_counter() - start), "entries/s", count)


def _row(value: float, unit: str, n: int) -> dict[str, Any]:
    return {"value": value, "unit": unit, "n": n, "command": COMMAND}


PARTS: dict[str, Callable[[], Rows]] = {
    "log": measure_log,
    "gigabyte": measure_gigabyte,
    "reports": measure_reports,
    "rubric": measure_rubric,
}


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Measure these parts only.")
@click.option("--child", type=click.Path(path_type=Path), hidden=True)
def main(only: tuple[str, ...], child: Path | None) -> None:
    if child is not None:
        _child(child)
        return
    for name, measure in PARTS.items():
        if not only or name in only:
            rows = measure()
            write_results("provenance", rows)
            for key, row in rows.items():
                click.echo(f"{key:34s} {number(row['value']):>12s} {row['unit']} (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
