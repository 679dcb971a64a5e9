"""The terms of a consent as command-line options, and how an issued consent is named on the command line."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vasari.cli.purposes import purpose_option
from vasari.cli.session import FILE, CommandError, Exit
from vasari.cli.token_file import claims_of, read_token, unverified_claims

if TYPE_CHECKING:
    from policy import Authority, ConsentTerms, IssuedToken

Command = TypeVar("Command", bound=Callable[..., Any])
VOICES = ("any", "own-recording", "synthetic")


class SizeParam(click.ParamType[tuple[int, int]]):
    """`WIDTHxHEIGHT` in pixels."""

    name = "widthxheight"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two numbers within what a consent can name, or a usage error."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).partition("x")
        if not (width.isdecimal() and height.isdecimal() and all(64 <= int(side) <= 4096 for side in (width, height))):
            self.fail(f"{value!r}: expected a size such as 1280x1280, each side 64 to 4096", param, ctx)
        return int(width), int(height)


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--subject", required=True, help="The depicted person's name; stays with the authority."),
    click.option("--adult", is_flag=True, help="Proof was seen that they are 18 or older; required."),
    click.option("--portrait", type=FILE, required=True, help="The only portrait that may be used."),
    click.option("--face", type=click.IntRange(1, 16), help="Which face of the portrait, from the left, if several."),
    click.option("--grantee", type=FILE, required=True, help="Who may use it: their accreditation token, or key file."),
    purpose_option(help_text="What it is for. Repeatable.", required=True),
    click.option("--audio", type=FILE, multiple=True, help="Allow only this recording; any when left out. Repeatable."),
    click.option("--voice", type=click.Choice(VOICES), default="any", show_default=True, help="Whose voice it is."),
    click.option("--script", type=FILE, multiple=True, help="Allow only this text (needs --audio). Repeatable."),
    click.option("--language", multiple=True, help="Allow only this language, such as en or pt-BR. Repeatable."),
    click.option("--max-seconds", type=click.IntRange(1, 3600), default=30, show_default=True, help="Longest clip."),
    click.option("--max-size", type=SizeParam(), default="512x512", show_default=True, help="Largest frames."),
    click.option("--uses", type=click.IntRange(1, 100_000), default=5, show_default=True, help="How many clips."),
    click.option("--total-seconds", type=click.IntRange(min=1), help="All clips together; uses x longest by default."),
    click.option("--days", type=click.IntRange(1, 90), default=30, show_default=True, help="How long it is valid."),
    click.option("--delegation-depth", type=click.IntRange(0, 4), default=0, show_default=True,
                 help="How many times the grantee may hand it on."),
    click.option("--evidence", default="", help="How consent was collected; kept by the authority."),
)  # fmt: skip


def term_options(command: Command) -> Command:
    """The options that say what a consent allows."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def consent_terms(
    authority: "Authority",
    *,
    subject: str,
    adult: bool,
    portrait: Path,
    grantee: Path,
    purpose: tuple[str, ...],
    audio: tuple[Path, ...],
    face: int | None = None,
    max_seconds: int = 30,
    max_size: tuple[int, int] = (512, 512),
    uses: int = 5,
    days: int = 30,
    voice: str = "any",
    script: tuple[Path, ...] = (),
    language: tuple[str, ...] = (),
    total_seconds: int | None = None,
    delegation_depth: int = 0,
    evidence: str = "",
) -> "ConsentTerms":
    """What the options say, as terms."""
    from policy import ConsentTerms, script_digest

    return ConsentTerms(
        subject=subject,
        adult=adult,
        portrait=portrait.read_bytes(),
        researcher_jkt=thumbprint_of(authority, grantee),
        purposes=tuple(dict.fromkeys(purpose)),
        uses=uses,
        face=face,
        max_seconds=max_seconds,
        max_width=max_size[0],
        max_height=max_size[1],
        total_seconds=total_seconds or uses * max_seconds,
        valid_for=timedelta(days=days),
        audio_sha256=tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in audio),
        voice=voice,
        script_sha256=tuple(script_digest(read_script(path)) for path in script),
        languages=tuple(dict.fromkeys(language)),
        delegation_depth=delegation_depth,
        evidence=evidence,
    )


def read_script(path: Path) -> str:
    """A text file; line breaks and spaces don't matter, words do."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: expected text in UTF-8") from error


def thumbprint_of(authority: "Authority", grantee: Path) -> str:
    """The key that a consent is bound to; nobody has to hand out a private key to be named."""
    from policy import UnknownTokenError, read_private_key, thumbprint

    text = read_token(grantee)
    if text.startswith("-----BEGIN"):
        return thumbprint(read_private_key(grantee))
    try:
        issued = authority.accreditation(str(claims_of(text, grantee).get("jti", "")))
    except UnknownTokenError as error:
        raise CommandError(f"{grantee}: {error}", Exit.VERIFICATION_FAILED) from error
    if issued.token != text:
        raise CommandError(f"{grantee}: not the token that was issued; it was changed", Exit.VERIFICATION_FAILED)
    return issued.claims.cnf.jkt


def issued_consent(authority: "Authority", jti: str) -> "IssuedToken":
    from policy import UnknownTokenError

    try:
        return authority.consent(jti)
    except UnknownTokenError as error:
        raise CommandError(str(error), Exit.VERIFICATION_FAILED) from error


def id_from(token_or_id: str) -> str:
    """The id in a token file, in the token itself, or given as it is."""
    if (claims := unverified_claims(token_or_id.strip())) is not None:
        return str(claims.get("jti", ""))
    path = Path(token_or_id)
    try:
        is_file = path.is_file()
    except OSError:  # too long for a name: never shown, it may be a damaged token
        is_file = False
    return str(claims_of(read_token(path), path).get("jti", "")) if is_file else token_or_id
