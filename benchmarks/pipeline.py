"""The whole path, request to signed clip, with the shipped weights, portrait and voice.

    python -m benchmarks.pipeline            all figures of this part
    python -m benchmarks.pipeline --job 10   one job of 10 s in this process, as JSON

Each job runs in a process of its own, so that its peak memory is its own; the voice is repeated to the length asked.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
SHORT_JOB_S, LONG_JOB_S = 10, 600
COMMAND = "python -m benchmarks.foundation --only"


def measure() -> dict[str, dict[str, Any]]:
    """Rows of the ten-second job."""
    job = _job(SHORT_JOB_S)
    rows = _rates(job)
    rows["peak_memory_10s"] = _row(job["peak_rss_mb"], "MB", 1)
    return rows


def measure_long() -> dict[str, dict[str, Any]]:
    """Rows of the ten-minute job: some ten minutes on two cores."""
    job = _job(LONG_JOB_S)
    return {"peak_memory_10min": _row(job["peak_rss_mb"], "MB", 1, part="endurance")}


def _rates(job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    frames, seconds = job["frames"], job["seconds"]
    rows = {
        "fps_end_to_end": _row(frames / job["warm_s"], "frames/s", frames),
        "fps_generate_mark_encode": _row(frames / job["stage_s"]["generated"], "frames/s", frames),
        "first_frame_cold": _row(job["first_frame_cold_s"], "s", 1),
        "first_frame_warm": _row(job["first_frame_warm_s"], "s", 1),
        "scan_time_per_clip_time": _row(job["scan_s"] / seconds, "s/s", 1),
        "verify_time_per_clip_time": _row(job["verify_s"] / seconds, "s/s", 1),
    }
    for stage, spent in job["stage_s"].items():
        rows[f"stage.{stage.replace(' ', '_')}"] = _row(spent, "s", 1)
    return rows


def _row(value: float, unit: str, n: int, *, part: str = "pipeline") -> dict[str, Any]:
    return {"value": float(value), "unit": unit, "n": n, "command": f"{COMMAND} {part}"}


def _job(seconds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--job", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def repeated_voice(seconds: float) -> bytes:
    """The shipped voice, repeated to `seconds`, as WAV."""
    import torch
    from av import AudioFrame
    from av import open as av_open

    from media import load_audio

    voice = load_audio(files("vasari") / "demo" / "voice.flac", sample_rate=48_000, max_s=60)
    samples = voice.repeat(int(seconds * 48_000 / len(voice)) + 1)[: int(seconds * 48_000)]
    pcm = (samples.clamp(-1, 1) * 32767).to(torch.int16).numpy()
    sink = io.BytesIO()
    with av_open(sink, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for start in range(0, len(pcm), 48_000):
            frame = AudioFrame.from_ndarray(pcm[None, start : start + 48_000], format="s16", layout="mono")
            frame.sample_rate = 48_000
            frame.pts = start
            frame.time_base = Fraction(1, 48_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.getvalue()


def run_job(seconds: int, began: float) -> dict[str, Any]:
    """One cold and, for short jobs, one warm job in this process; then the clip is verified and scanned."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from policy import Authority, ConsentTerms, ReleasePipeline, SoftwareAuthenticator, sign_request, thumbprint

    portrait = (files("vasari") / "demo" / "portrait.png").read_bytes()
    audio, key = repeated_voice(seconds), Ed25519PrivateKey.generate()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        with Authority.create(state, organisation="Benchmark", now=datetime.now(UTC)) as authority:
            terms = ConsentTerms(
                subject="nobody",
                adult=True,
                portrait=portrait,
                researcher_jkt=thumbprint(key.public_key()),
                purposes=("detector-evaluation",),
                uses=5,
                max_seconds=seconds + 1,
                total_seconds=5 * (seconds + 1),
            )
            device = SoftwareAuthenticator.create()
            authority.enrol_subject("nobody", device.credential)
            consent = authority.issue_consent(terms, device)
            accreditation = authority.accredit(key.public_key(), researcher="Benchmark")
            pipeline = ReleasePipeline(authority)
            first_frames, spent = [], []
            cold_and_warm = 2 if seconds <= SHORT_JOB_S else 1
            for attempt in range(cold_and_warm):
                start = time.perf_counter()
                first: list[float] = []
                request = sign_request(
                    key,
                    portrait,
                    audio,
                    consent,
                    accreditation,
                    gate_id=authority.identity.gate_id,
                    purpose="detector-evaluation",
                    now=datetime.now(UTC),
                )
                clip = Path(folder) / f"clip{attempt}.mp4"
                receipt = pipeline.release(
                    request, clip, progress=lambda _done, _all, first=first: first.append(time.perf_counter())
                )
                spent.append(time.perf_counter() - start)
                first_frames.append(first[0] - (start if attempt else began))
            peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        verify_s = _timed_command("verify", str(clip), "--state", str(state))
        scan_s = _timed_command("scan", str(clip), "--state", str(state), "--jsonl", str(Path(folder) / "scan.jsonl"))
    return {
        "seconds": seconds,
        "frames": receipt.frames,
        "warm_s": spent[-1],
        "first_frame_cold_s": first_frames[0],
        "first_frame_warm_s": first_frames[-1],
        "stage_s": dict(receipt.stage_s),
        "verify_s": verify_s,
        "scan_s": scan_s,
        "peak_rss_mb": peak_rss_mb,
    }


def _timed_command(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vasari", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


@click.command(help=__doc__)
@click.option("--job", "seconds", type=click.IntRange(2, 3600), help="Run one job of this length and print JSON.")
def main(seconds: int | None) -> None:
    if seconds:
        click.echo(json.dumps(run_job(seconds, began=time.perf_counter())))
    else:
        click.echo(json.dumps(measure(), indent=1))


if __name__ == "__main__":
    main()
