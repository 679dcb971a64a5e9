"""`vasari generate`: one portrait and one recording become a marked, signed, logged clip."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from vasari.cli.consent_terms import read_script
from vasari.cli.control_options import Emotion, Gaze, Number, control_options
from vasari.cli.session import FILE, CommandError, Session, progress, styled, table, with_session
from vasari.cli.token_file import only_purpose, read_token
from vasari.cli.whole_file import write_text

FRAMES = ("square", "portrait")
SHOULDERS = ("still", "follow")
FRAME_HELP = "512x512 around the head, or the whole picture (longer side at most 1280 px)."


@dataclass(frozen=True)
class Wanted:
    """How the clip shall look, as the options said it."""

    gaze: Gaze
    distance: Number
    emotion: Emotion
    head_motion: Number
    blink_rate: Number
    seed: int
    fps: int
    expression: Number = 1.0
    face: int | None = None
    frame: str = "square"
    shoulders: str = "still"


@click.command(short_help="Make a marked, signed, logged talking clip.")
@click.option("--portrait", type=FILE, required=True, help="Picture of the person: PNG, JPEG, WebP.")
@click.option("--audio", type=FILE, required=True, help="What they shall say: WAV, FLAC, MP3, M4A.")
@click.option("--consent", type=FILE, help="The depicted person's consent token; without it the gate refuses.")
@click.option("--accreditation", type=FILE, help="Your accreditation token; without it the gate refuses.")
@click.option("--key", type=FILE, required=True, help="Your key file; proves that the tokens are yours.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The clip, an MP4 file.")
@click.option("--delegation", type=FILE, multiple=True, help="The hops if it was handed on, in order. Repeatable.")
@click.option("--script", type=FILE, help="The text that is spoken; needed where the consent lists texts.")
@click.option("--language", default="", help="The language that is spoken; needed where the consent names some.")
@click.option("--purpose", help="One of the consent's purposes; may be left out when the consent names only one.")
@control_options
@click.option("--face", type=click.IntRange(1, 16), help="Which face, from the left; needed when there are several.")
@click.option("--frame", type=click.Choice(FRAMES), default="square", show_default=True, help=FRAME_HELP)
@click.option("--shoulders", type=click.Choice(SHOULDERS), default="still", show_default=True, help="With the head.")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal clips.")
@click.option("--fps", type=int, default=25, show_default=True, help="Frames per second.")
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Write the receipt here, as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace clip and receipt if they are there.")
@with_session
def generate(
    session: Session,
    portrait: Path,
    audio: Path,
    consent: Path | None,
    accreditation: Path | None,
    key: Path,
    out: Path,
    purpose: str | None,
    receipt: Path | None,
    overwrite: bool,
    delegation: tuple[Path, ...],
    script: Path | None,
    language: str,
    **look: Any,
) -> None:
    """Make a talking clip, watermarked, signed and logged, if consent and accreditation allow it.

    Controls are constants, or files with a curve over time (CSV or JSON; docs/COMMANDS.md has the columns).

    A refusal lists every reason with its remedy, is logged, leaves no file and costs no use (exit code 3).

    \b
    Example:
      vasari generate --portrait portrait.png --audio voice.wav \\
        --consent consent.jwt --accreditation accreditation.jwt --key researcher.pem \\
        --gaze 10,-5 --emotion happy:0.5 --out clip.mp4
    """
    if receipt is not None and (receipt.resolve() == out.resolve() or (receipt.exists() and not overwrite)):
        raise CommandError(f"{receipt}: the receipt needs a name of its own that is not taken yet, or --overwrite")
    released = release_clip(
        session,
        portrait=portrait,
        audio=audio,
        consent=consent,
        accreditation=accreditation,
        key=key,
        out=out,
        purpose=purpose,
        wanted=Wanted(**look),
        overwrite=overwrite,
        delegations=delegation,
        script=script,
        language=language,
    )
    if receipt is not None:
        write_text(receipt, json.dumps(released, indent=1) + "\n")
    session.result(released, receipt_lines(released))


def release_clip(
    session: Session,
    *,
    portrait: Path,
    audio: Path,
    consent: Path | None,
    accreditation: Path | None,
    key: Path,
    out: Path,
    purpose: str | None,
    wanted: Wanted,
    overwrite: bool = False,
    delegations: tuple[Path, ...] = (),
    script: Path | None = None,
    language: str = "",
) -> dict[str, Any]:
    """Ask the gate and run the release; the receipt as JSON members. Raises `policy.Refused` with all reasons."""
    from policy import (
        MAX_AUDIO_BYTES,
        MAX_PORTRAIT_BYTES,
        Authority,
        Framing,
        ReleasePipeline,
        read_private_key,
        sign_request,
    )

    token = read_token(consent) if consent is not None else ""
    with Authority.open(session.state) as authority:
        request = sign_request(
            read_private_key(key),
            _read_media(portrait, MAX_PORTRAIT_BYTES),
            _read_media(audio, MAX_AUDIO_BYTES),
            token,
            read_token(accreditation) if accreditation is not None else "",
            gate_id=authority.identity.gate_id,
            purpose=purpose or only_purpose(token),
            now=datetime.now(UTC),
            controls=controls(wanted),
            seed=wanted.seed,
            fps=wanted.fps,
            delegations=[read_token(path) for path in delegations],
            script=read_script(script) if script is not None else "",
            language=language,
            framing=Framing(wanted.face, wanted.frame, wanted.shoulders),
        )
        with progress("generating", unit="frame") as bar:

            def advance(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            receipt = ReleasePipeline(authority).release(
                request, out, progress=advance, on_stage=bar.set_postfix_str, overwrite=overwrite
            )
    return {
        **asdict(receipt),
        "out": str(receipt.out),
        "manifest_id": f"{receipt.manifest_id:016x}",
        "stage_s": {stage: round(seconds, 3) for stage, seconds in receipt.stage_s.items()},
    }


def _read_media(path: Path, most_bytes: int) -> bytes:
    """The whole file, or so much of an endless one that the gate sees it is too large."""
    with path.open("rb") as file:
        return file.read(most_bytes + 1)


def controls(wanted: Wanted) -> Any:
    """The options as `policy.Controls`; a usage error names everything that is out of range."""
    from policy import Controls

    chosen = Controls(
        gaze_yaw_deg=wanted.gaze[0],
        gaze_pitch_deg=wanted.gaze[1],
        distance=wanted.distance,
        emotion=wanted.emotion[0],
        emotion_strength=wanted.emotion[1],
        head_motion=wanted.head_motion,
        blink_rate_per_min=wanted.blink_rate,
        expression_strength=wanted.expression,
    )
    if faults := chosen.faults():
        raise CommandError("; ".join(faults))
    return chosen


def receipt_lines(released: dict[str, Any]) -> list[str]:
    """The receipt for a terminal."""
    size = f"{released['width_px']}x{released['height_px']} px"
    took_s = sum(released["stage_s"].values())
    rows = [
        ("clip", released["out"]),
        (
            "length",
            f"{released['duration_s']:.2f} s, {released['frames']} frames of {size}",
        ),
        ("SHA-256", released["clip_sha256"]),
        ("release", released["manifest_id"]),
        ("decision", f"{released['decision_id']}, entry {released['log_index']} of the transparency log"),
        ("uses left", released["uses_left"]),
        ("made in", f"{took_s:.1f} s"),
    ]
    return [styled("Released", fg="green", bold=True), *table(rows)]
