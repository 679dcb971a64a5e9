"""`vasari generate`: one portrait and one recording become a marked, signed, logged clip."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.consent_terms import read_script
from vasari.cli.control_options import Emotion, Gaze, Number, control_options
from vasari.cli.session import FILE, CommandError, Exit, RegularFile, Session, progress, styled, table, with_session
from vasari.cli.token_file import only_purpose, read_token
from vasari.cli.whole_file import require_writable, write_text

if TYPE_CHECKING:
    from policy import GenerationRequest, ReleasePipeline

STDIN = "-"
SOUND = RegularFile(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
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


@dataclass(frozen=True)
class Target:
    """Where a release goes: a clip, a folder of segments, a plot; `overwrite` does not hold for a folder."""

    out: Path | None
    live: Path | None = None
    live_seconds: int = 60
    pcm: tuple[int, int] | None = None
    plot: Path | None = None
    overwrite: bool = False

    def require_sense(self, audio: Path) -> None:
        """Raises CommandError where the options don't go together."""
        arriving = str(audio) == STDIN
        if (self.out is not None and self.live is not None) or not (self.out or self.live or self.plot):
            raise CommandError("say where it shall go: --out FILE, or --live DIR, or --plot FILE for a plot alone")
        if self.out is not None and self.out.suffix.lower() != ".mp4":
            raise CommandError(f"{self.out}: expected a name ending in .mp4, which is what the clip is")
        if self.live is not None and self.plot is not None:
            raise CommandError("--plot: the motion of a stream is not known before it was spoken; leave it out")
        if arriving and self.live is None:
            raise CommandError("--audio -: sound that is still to come makes a stream; add --live DIR")
        if self.pcm is not None and not arriving:
            raise CommandError("--pcm: only the sound of --audio - can be raw samples")
        if arriving and (self.live_seconds < 2 or self.live_seconds % 2):
            raise CommandError(f"--live-seconds: expected an even number from 2 on, got {self.live_seconds}")
        if self.out is not None and self.plot is not None and self.out.resolve() == self.plot.resolve():
            raise CommandError(f"{self.plot}: the plot needs a name of its own")


class PcmParam(click.ParamType[tuple[int, int]]):
    """`RATE,CHANNELS` of raw samples."""

    name = "rate,channels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two whole numbers within what is taken, or a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            rate_hz, channels = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: expected rate and channels, such as 48000,1", param, ctx)
        if not (8_000 <= rate_hz <= 96_000 and 1 <= channels <= 6):
            self.fail(f"{value!r}: expected 8000 to 96000 Hz and 1 to 6 channels", param, ctx)
        return rate_hz, channels


@click.command(short_help="Make a marked, signed, logged talking clip.")
@click.option("--portrait", type=FILE, required=True, help="Picture of the person: PNG, JPEG, WebP.")
@click.option("--audio", type=SOUND, required=True, help="What they shall say: WAV, FLAC, MP3, M4A; - with --live.")
@click.option("--consent", type=FILE, help="The depicted person's consent token; without it the gate refuses.")
@click.option("--accreditation", type=FILE, help="Your accreditation token; without it the gate refuses.")
@click.option("--key", type=FILE, required=True, help="Your key file; proves that the tokens are yours.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The clip, an MP4 file.")
@click.option(
    "--live",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead of a clip: a new folder for signed two-second segments with a playlist, as the sound arrives.",
)
@click.option("--live-seconds", type=int, default=60, show_default=True, help="With --audio -: stop after so many.")
@click.option("--pcm", type=PcmParam(), help="With --audio -: raw 16-bit samples, RATE,CHANNELS; else WAV is read.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Plot the motion over the waveform (.png, .svg); without --out no frame is made, and it costs a use too.",
)
@click.option("--delegation", type=FILE, multiple=True, help="The hops if it was handed on, in order. Repeatable.")
@click.option("--script", type=FILE, help="The text that is spoken; needed where the consent lists texts.")
@click.option("--language", default="", help="The language that is spoken; needed where the consent names some.")
@click.option("--purpose", help="One of the consent's purposes; may be left out when the consent names only one.")
@control_options
@click.option("--face", type=click.IntRange(1, 16), help="Which face, from the left; needed when there are several.")
@click.option("--frame", type=click.Choice(FRAMES), default="square", show_default=True, help=FRAME_HELP)
@click.option("--shoulders", type=click.Choice(SHOULDERS), default="still", show_default=True, help="With the head.")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal clips.")
@click.option("--fps", type=int, default=25, show_default=True, help="Frames per second; others than 25 are refused.")
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Write the receipt here, as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace clip, plot and receipt if they are there.")
@with_session
def generate(
    session: Session,
    portrait: Path,
    audio: Path,
    consent: Path | None,
    accreditation: Path | None,
    key: Path,
    out: Path | None,
    live: Path | None,
    live_seconds: int,
    pcm: tuple[int, int] | None,
    plot: Path | None,
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
    target = Target(out, live, live_seconds, pcm, plot, overwrite)
    target.require_sense(audio)
    taken = [path.resolve() for path in (out, plot) if path is not None]
    if receipt is not None and (receipt.resolve() in taken or (receipt.exists() and not overwrite)):
        raise CommandError(f"{receipt}: the receipt needs a name of its own that is not taken yet, or --overwrite")
    if receipt is not None:
        require_writable(receipt)  # now: once the clip is made, the use is spent
    released = release_to(
        session,
        target,
        portrait=portrait,
        audio=audio,
        consent=consent,
        accreditation=accreditation,
        key=key,
        purpose=purpose,
        wanted=Wanted(**look),
        delegations=delegation,
        script=script,
        language=language,
    )
    session.result(released, receipt_lines(released))
    if receipt is not None:
        write_text(receipt, json.dumps(released, indent=1) + "\n")


def release_to(
    session: Session,
    target: Target,
    *,
    portrait: Path,
    audio: Path,
    consent: Path | None,
    accreditation: Path | None,
    key: Path,
    purpose: str | None,
    wanted: Wanted,
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
        live_recording,
        read_private_key,
        sign_request,
    )

    token = read_token(consent) if consent is not None else ""
    arriving = str(audio) == STDIN
    sound = live_recording(target.live_seconds) if arriving else _read_media(audio, MAX_AUDIO_BYTES)
    with Authority.open(session.state) as authority:
        request = sign_request(
            read_private_key(key),
            _read_media(portrait, MAX_PORTRAIT_BYTES),
            sound,
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
        return _release(ReleasePipeline(authority), request, target, arriving)


def _release(
    pipeline: "ReleasePipeline", request: "GenerationRequest", target: Target, arriving: bool
) -> dict[str, Any]:
    """Make what the target asks for, under a progress bar."""
    from policy import LiveInput, PcmFormat

    with progress("generating", unit="frame") as bar:

        def advance(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if target.live is not None:
            live = LiveInput(sys.stdin.buffer, PcmFormat(*target.pcm) if target.pcm else None) if arriving else None
            with _told_of_live_sound():
                stream = pipeline.stream(
                    request, target.live, live=live, progress=advance, on_stage=bar.set_postfix_str
                )
            return {**asdict(stream), "manifest_id": f"{stream.manifest_id:016x}"}
        if target.out is None:
            assert target.plot is not None
            decision = pipeline.preview(request, target.plot, overwrite=target.overwrite)
            known = {"decision_id": decision.decision_id, "consent_id": decision.consent_id}
            return {"plot": str(target.plot), **known, "log_index": decision.log_index}
        receipt = pipeline.release(
            request,
            target.out,
            progress=advance,
            on_stage=bar.set_postfix_str,
            overwrite=target.overwrite,
            plot=target.plot,
        )
    return {
        **asdict(receipt),
        "out": str(receipt.out),
        "plot": None if target.plot is None else str(target.plot),
        "manifest_id": f"{receipt.manifest_id:016x}",
        "stage_s": {stage: round(seconds, 3) for stage, seconds in receipt.stage_s.items()},
    }


@contextmanager
def _told_of_live_sound() -> Iterator[None]:
    """What is wrong with the sender's sound is told as bad media, under the option's name."""
    from media import LIVE_SOUND, MediaError
    from policy import ReleaseError

    try:
        yield
    except ReleaseError as error:
        cause = error.__cause__
        if not isinstance(cause, MediaError) or cause.name != LIVE_SOUND:
            raise
        told = str(error).replace(LIVE_SOUND, "--audio -")
        raise CommandError(f"{told} Raw samples need --pcm RATE,CHANNELS.", Exit.BAD_MEDIA) from error


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
    decision = f"{released['decision_id']}, entry {released['log_index']} of the transparency log"
    if "playlist" in released:
        rows: list[tuple[str, object]] = [
            ("playlist", released["playlist"]),
            ("length", f"{released['duration_s']:.2f} s in {released['segments']} segments"),
            ("last SHA-256", released["last_sha256"]),
            ("release", released["manifest_id"]),
            ("decision", decision),
        ]
        return [styled("Released", fg="green", bold=True), *table(rows)]
    if "frames" not in released:
        return [styled("Plotted", fg="green", bold=True), *table([("plot", released["plot"]), ("decision", decision)])]
    size = f"{released['width_px']}x{released['height_px']} px"
    took_s = sum(released["stage_s"].values())
    rows = [
        ("clip", released["out"]),
        ("plot", released["plot"]),
        (
            "length",
            f"{released['duration_s']:.2f} s, {released['frames']} frames of {size}",
        ),
        ("SHA-256", released["clip_sha256"]),
        ("release", released["manifest_id"]),
        ("decision", decision),
        ("uses left", released["uses_left"]),
        ("made in", f"{took_s:.1f} s"),
    ]
    return [styled("Released", fg="green", bold=True), *table(rows)]
