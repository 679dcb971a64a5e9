"""`vasari demo`: the whole path on a synthetic person, from a fresh authority to a verified, scanned clip."""

import json
import shutil
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.accredit import accredit_researcher
from vasari.cli.consent import issue_consent
from vasari.cli.consent_signing import enrol_subject
from vasari.cli.generate import Target, Wanted, release_to
from vasari.cli.init import create_authority
from vasari.cli.session import CommandError, Exit, Session, progress, styled, table, with_session
from vasari.cli.verify import advance
from vasari.cli.whole_file import write_bytes, write_text

if TYPE_CHECKING:
    from vasari.clip_audit import ClipAudit

SHIPPED = Path(__file__).resolve().parents[1] / "demo"
PORTRAIT, VOICE = SHIPPED / "portrait.png", SHIPPED / "voice.flac"
MARKER = ".made-by-vasari-demo"
PURPOSE = "demonstration"
PERSON = "Synthetic demo person"
LOOK = Wanted(gaze=(0.0, 0.0), distance=1.0, emotion=("happy", 0.3), head_motion=1.0, blink_rate=17.0, seed=7, fps=25)


@dataclass
class Steps:
    """What was done so far, with times; told as it happens."""

    session: Session
    done: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, work: Callable[[], Any], tell: Callable[[Any], str]) -> Any:
        """Do `work` and note its result."""
        began = time.monotonic()
        result = work()
        took_s = time.monotonic() - began
        self.seconds[name] = round(took_s, 2)
        self.done.append((name, tell(result)))
        number = styled(f"{len(self.done):2d}", bold=True)
        self.session.note(f"{number}  {name.ljust(34)} {styled(f'{took_s:5.1f} s', dim=True)}  {self.done[-1][1]}")
        return result


@click.command(short_help="Run the whole path on a synthetic person.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo-out",
    show_default=True,
    help="Folder for everything the demo makes; an earlier demo in it is replaced.",
)
@click.option("--seconds", type=click.FloatRange(min=2.0), help="Only this much of the voice; all of it by default.")
@with_session
def demo(session: Session, out: Path, seconds: float | None) -> None:
    """Run the whole path on the shipped synthetic person and open nothing: paths are printed at the end.

    Makes a fresh authority, a consent and an accreditation, generates a clip, verifies it with both engines, strips
    its metadata, scans both files and writes reports. The authority lies in the demo's folder, not in --state.

    \b
    Example:
      vasari demo --out demo-out
    """
    prepare_folder(out)
    steps = Steps(session)
    clip, stripped = out / "clip.mp4", out / "clip-stripped.mp4"
    _make(steps, out, clip, seconds)
    audits = _examine(Session(state=out / "state", as_json=session.as_json), steps, clip, stripped)
    paths = _write_reports(steps, out, audits)
    _finish(session, steps, audits, {"clip": clip, "stripped copy": stripped, **paths})


def prepare_folder(out: Path) -> None:
    """An empty folder with our mark in it; a folder that the demo did not make is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise CommandError(f"{out}: exists and was not made by the demo; choose another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _make(steps: Steps, out: Path, clip: Path, seconds: float | None) -> None:
    """Authority, accreditation, consent, clip."""
    state, key = out / "state", out / "researcher.pem"
    consent, device, accreditation = out / "consent.jwt", out / "subject.device", out / "accreditation.jwt"
    voice = VOICE if seconds is None else shorten_voice(VOICE, out / "voice.wav", seconds)
    steps.run(
        "Make a local authority",
        lambda: create_authority(state, organisation="Vasari demo"),
        lambda made: "keys, certificates, watermark key, transparency log",
    )
    steps.run(
        "Accredit a researcher",
        lambda: accredit_researcher(
            state, name="Demo researcher", key=key, purposes=(PURPOSE,), days=30, out=accreditation
        ),
        lambda made: f"key {made['thumbprint'][:12]}…, until {made['valid_until']}",
    )
    steps.run(
        "Enrol the person's device",
        lambda: enrol_subject(state, subject=PERSON, subject_key=device),
        lambda made: "a key of their own, without which nobody can consent in their name",
    )
    steps.run(
        "Issue the person's consent",
        lambda: issue_consent(
            state,
            subject=PERSON,
            subject_key=device,
            adult=True,
            portrait=PORTRAIT,
            grantee=key,
            purpose=(PURPOSE,),
            audio=(voice,),
            max_seconds=30,
            uses=3,
            total_seconds=None,
            days=30,
            evidence="The person is synthetic; nobody had to be asked.",
            out=consent,
        ),
        lambda terms: f"{terms['uses']} clips of at most {terms['max_seconds']} s, for demonstration only",
    )
    receipt = steps.run(
        "Generate, mark and sign the clip",
        lambda: release_to(
            Session(state=state),
            Target(clip),
            portrait=PORTRAIT,
            audio=voice,
            consent=consent,
            accreditation=accreditation,
            key=key,
            purpose=PURPOSE,
            wanted=LOOK,
        ),
        lambda receipt: f"release {receipt['manifest_id']}, decision in log entry {receipt['log_index']}",
    )
    write_text(out / "receipt.json", json.dumps(receipt, indent=1) + "\n")


def _examine(session: Session, steps: Steps, clip: Path, stripped: Path) -> "list[ClipAudit]":
    """Audits of the clip and of its stripped copy."""
    from vasari.cli.auditor import open_auditor
    from vasari.strip import strip_metadata

    audits = []
    with open_auditor(session) as auditor:
        for name, path in (("Verify the clip", clip), ("Scan a copy without its metadata", stripped)):
            if path is stripped:
                strip_metadata(clip, stripped)
            with progress(name, unit="s") as bar:
                audit = partial(auditor.audit, path, progress=partial(advance, bar))
                audits.append(steps.run(name, audit, lambda audit: audit.verdict.title))
    return audits


def _write_reports(steps: Steps, out: Path, audits: "Sequence[ClipAudit]") -> dict[str, Path]:
    """Contact sheet, verification, scan and the page that shows it all; their paths."""
    from vasari.audit_json import audit_json
    from vasari.reports import clip_page, contact_sheet, demo_page, scan_page

    clip, stripped = audits
    paths = {
        "verification": out / "verification.html",
        "scan": out / "scan.html",
        "scan lines": out / "scan.jsonl",
        "contact sheet": out / "contact-sheet.png",
        "report": out / "report.html",
    }

    def write() -> None:
        sheet = contact_sheet(Path(clip.path))
        write_bytes(paths["contact sheet"], sheet)
        write_text(paths["verification"], clip_page(clip))
        write_text(paths["scan"], scan_page(audits, (), made_at=datetime.now(UTC)))
        write_text(paths["scan lines"], "".join(json.dumps(audit_json(audit)) + "\n" for audit in audits))
        video = Path(clip.path).read_bytes()
        page = demo_page(clip=clip, stripped=stripped, video=video, contact_sheet=sheet, steps=steps.done)
        write_text(paths["report"], page)

    steps.run("Write the reports", write, lambda nothing: "one page with everything, and its parts")
    return paths


def _finish(session: Session, steps: Steps, audits: "Sequence[ClipAudit]", paths: dict[str, Path]) -> None:
    clip, stripped = audits
    engines = clip.evidence.credentials.engines if clip.evidence.credentials is not None else ()
    data = {
        "paths": {name.replace(" ", "_"): str(path) for name, path in paths.items()},
        "verdicts": {"clip": str(clip.verdict.state), "stripped_copy": str(stripped.verdict.state)},
        "engines": {engine.engine: engine.state for engine in engines},
        "seconds": steps.seconds,
    }
    lines = [
        "",
        *table([(f"{engine.engine} {engine.version}", engine.state) for engine in engines]),
        "",
        *table(paths.items()),
    ]
    session.result(data, lines)
    good = clip.verdict.state == "verified_release"
    raise SystemExit(Exit.OK if good else Exit.VERIFICATION_FAILED)


def shorten_voice(voice: Path, out: Path, seconds: float) -> Path:
    """The first `seconds` of `voice` as 16-bit mono WAV."""
    from media import read_audio

    rate, samples = 48_000, bytearray()
    for block in read_audio(voice, sample_rate=rate):
        samples += (block.clamp(-1, 1) * 32767).short().numpy().tobytes()
        if len(samples) >= 2 * rate * seconds:
            break
    with wave.open(str(out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(samples[: 2 * int(rate * seconds)]))
    return out
