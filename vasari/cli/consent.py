"""`vasari consent`: the depicted person grants, sees every use, withdraws."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.purposes import purpose_option
from vasari.cli.session import FILE, CommandError, Exit, Session, moment, styled, table, with_session
from vasari.cli.token_file import claims_of, read_token, unverified_claims
from vasari.cli.whole_file import write_text

if TYPE_CHECKING:
    from policy import Authority, IssuedToken


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


@click.group()
def consent() -> None:
    """Grant, show and withdraw consent, and see every use of it."""


@consent.command(short_help="Issue a consent token.")
@click.option("--subject", required=True, help="The depicted person's name; kept by the authority, not in the token.")
@click.option("--portrait", type=FILE, required=True, help="The only portrait that may be used.")
@click.option("--face", type=click.IntRange(1, 16), help="Which face of the portrait, from the left, if several.")
@click.option("--grantee", type=FILE, required=True, help="Who may use it: their accreditation token, or key file.")
@purpose_option(help_text="What it is for. Repeatable.", required=True)
@click.option("--audio", type=FILE, multiple=True, help="Allow only this recording; any when left out. Repeatable.")
@click.option("--max-seconds", type=click.IntRange(1, 3600), default=30, show_default=True, help="Longest clip.")
@click.option("--max-size", type=SizeParam(), default="512x512", show_default=True, help="Largest frames, in pixels.")
@click.option("--uses", type=click.IntRange(1, 100_000), default=5, show_default=True, help="How many clips.")
@click.option("--total-seconds", type=click.IntRange(min=1), help="All clips together; uses x longest by default.")
@click.option("--days", type=click.IntRange(1, 90), default=30, show_default=True, help="How long it is valid.")
@click.option("--evidence", default="", help="How consent was collected; kept by the authority.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The token file.")
@with_session
def issue(session: Session, out: Path, **terms: Any) -> None:
    """Issue a consent token and print its terms in plain words.

    \b
    Example:
      vasari consent issue --subject "Jane Doe" --portrait jane.png --grantee accreditation.jwt \\
        --purpose detector-evaluation --max-seconds 30 --uses 5 --days 30 --out consent.jwt
    """
    issued = issue_consent(session.state, out=out, **terms)
    session.result(issued, [styled(f"Consent issued: {out}", bold=True), *term_lines(issued)])


@consent.command(short_help="Check a token and print its terms.")
@click.argument("token", type=FILE)
@with_session
def show(session: Session, token: Path) -> None:
    """Check a consent token against the authority that issued it, and print its terms.

    Exit code 5 when it was not issued here, was changed, has expired, or was withdrawn.

    \b
    Example:
      vasari consent show consent.jwt
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        text = read_token(token)
        found = _issued(authority, str(claims_of(text, token).get("jti", "")))
        if found.token != text:
            raise CommandError(
                f"{token}: not the token that was issued under this id; it was changed", Exit.VERIFICATION_FAILED
            )
        terms = describe_consent(authority, found)
    colour = "green" if terms["standing"] == "valid" else "red"
    session.result(terms, [styled(f"Consent {terms['standing']}", fg=colour, bold=True), *term_lines(terms)])
    raise SystemExit(Exit.OK if terms["standing"] == "valid" else Exit.VERIFICATION_FAILED)


@consent.command(short_help="Withdraw a consent, for good.")
@click.argument("token_or_id")
@with_session
def withdraw(session: Session, token_or_id: str) -> None:
    """Withdraw a consent, for good: running jobs stop, nothing new starts. Prints a receipt with its log entry.

    \b
    Example:
      vasari consent withdraw consent.jwt
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        receipt = authority.withdraw(_issued(authority, _id_from(token_or_id)).jti)
    data = {
        "consent": _id_from(token_or_id),
        "event": receipt.event,
        "log_index": receipt.log_index,
        "entry_sha256": receipt.entry_sha256,
        "log_proof": receipt.log_proof,
    }
    rows = [("consent", data["consent"]), ("log entry", receipt.log_index), ("entry SHA-256", receipt.entry_sha256)]
    session.result(data, [styled("Consent withdrawn", bold=True), *table(rows)])


@consent.command(short_help="List every use, with log proofs.")
@click.argument("token_or_id")
@with_session
def uses(session: Session, token_or_id: str) -> None:
    """List every use of a consent, refunded ones too, each with its log entry and whether the proof holds.

    Exit code 5 when a clip was released and the log does not prove it.

    \b
    Example:
      vasari consent uses consent.jwt
    """
    from policy import Authority
    from vasari.log_evidence import decisions_in_log

    with Authority.open(session.state) as authority:
        jti = _issued(authority, _id_from(token_or_id)).jti
        logged = decisions_in_log(authority.log, authority.log_public_key)
        rows = [
            {
                "decision": use.decision_id,
                "state": use.state,
                "seconds": use.duration_ms / 1000,
                "at": moment(use.created_at),
                "clip_sha256": use.clip_sha256,
                "reason": use.reason,
                "log_index": logged[use.decision_id].index if use.decision_id in logged else None,
                "log_proof": logged[use.decision_id].state if use.decision_id in logged else "absent",
            }
            for use in authority.uses(jti)
        ]
    lines = [styled(f"{len(rows)} use{'s' * (len(rows) != 1)} of consent {jti}", bold=True)]
    for row in rows:
        entry = "no log entry" if row["log_index"] is None else f"entry {row['log_index']}, {row['log_proof']}"
        lines.append(f"  {row['at']}  {str(row['state']).ljust(10)}  {row['seconds']:7.2f} s  {entry}")
        if row["clip_sha256"]:
            lines.append(styled(f"    clip {row['clip_sha256']}", dim=True))
        if row["reason"]:
            lines.append(styled(f"    {row['reason']}", dim=True))
    session.result({"consent": jti, "uses": rows}, lines)
    if any(row["state"] == "consumed" and row["log_proof"] != "proved" for row in rows):
        session.note(
            "The transparency log does not prove every use: it was cut, changed or replaced. "
            "Compare it with a checkpoint kept elsewhere."
        )
        raise SystemExit(Exit.VERIFICATION_FAILED)


def issue_consent(
    state: Path,
    *,
    subject: str,
    portrait: Path,
    face: int | None = None,
    grantee: Path,
    purpose: tuple[str, ...],
    audio: tuple[Path, ...],
    max_seconds: int,
    max_size: tuple[int, int] = (512, 512),
    uses: int,
    total_seconds: int | None,
    days: int,
    evidence: str,
    out: Path,
) -> dict[str, Any]:
    """Issue the token into `out` (mode 0600); its terms, for people and JSON."""
    from policy import Authority, ConsentTerms

    if out.exists():
        raise CommandError(f"{out}: exists already; tokens are never overwritten, choose another name")
    with Authority.open(state) as authority:
        token = authority.issue_consent(
            ConsentTerms(
                subject=subject,
                portrait=portrait.read_bytes(),
                researcher_jkt=_thumbprint_of(authority, grantee),
                purposes=tuple(dict.fromkeys(purpose)),
                uses=uses,
                max_seconds=max_seconds,
                max_width=max_size[0],
                max_height=max_size[1],
                face=face,
                total_seconds=total_seconds or uses * max_seconds,
                valid_for=timedelta(days=days),
                audio_sha256=tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in audio),
                evidence=evidence,
            )
        )
        write_text(out, token + "\n", mode=0o600)
        issued = authority.consent(str(claims_of(token, out)["jti"]))
        return describe_consent(authority, issued) | {"token": str(out), "portrait": str(portrait)}


def _thumbprint_of(authority: "Authority", grantee: Path) -> str:
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


def describe_consent(authority: "Authority", issued: "IssuedToken") -> dict[str, Any]:
    """Terms and standing of a consent."""
    from policy import PURPOSES, ConsentClaims

    claims = issued.claims
    assert isinstance(claims, ConsentClaims)
    allowed = claims.allows
    spent = [use for use in authority.uses(issued.jti) if use.state != "refunded"]
    return {
        "consent": issued.jti,
        "standing": _standing(issued),
        "purposes": {purpose: PURPOSES[purpose] for purpose in allowed.purposes},
        "portrait_sha256": allowed.portrait.sha256,
        "face": allowed.portrait.face,
        "audio_sha256": list(allowed.audio.sha256),
        "max_seconds": allowed.video.max_seconds,
        "max_width": allowed.video.max_width,
        "max_height": allowed.video.max_height,
        "max_fps": allowed.video.max_fps,
        "uses": allowed.uses,
        "uses_left": max(0, allowed.uses - len(spent)),
        "total_seconds": allowed.total_seconds,
        "seconds_left": max(0.0, allowed.total_seconds - sum(use.duration_ms for use in spent) / 1000),
        "valid_from": moment(claims.nbf),
        "valid_until": moment(claims.exp),
        "model": allowed.model,
        "researcher_thumbprint": claims.cnf.jkt,
    }


def term_lines(terms: dict[str, Any]) -> list[str]:
    """The terms in plain words."""
    recordings = len(terms["audio_sha256"])
    rows = [
        *((("for" if i == 0 else ""), sentence) for i, sentence in enumerate(terms["purposes"].values())),
        ("portrait", terms.get("portrait", "")),
        ("portrait SHA-256", terms["portrait_sha256"]),
        ("face", "the only one" if terms["face"] is None else f"number {terms['face']} from the left"),
        ("recordings", f"only {recordings} listed by hash" if recordings else "any"),
        ("each clip", f"at most {terms['max_seconds']} s, {terms['max_width']} x {terms['max_height']}, "
                      f"{terms['max_fps']} frames/s"),
        ("uses", f"{terms['uses_left']} of {terms['uses']} left"),
        ("seconds", f"{terms['seconds_left']:g} of {terms['total_seconds']} left"),
        ("valid", f"{terms['valid_from']} to {terms['valid_until']}"),
        ("only by key", terms["researcher_thumbprint"]),
        ("consent id", terms["consent"]),
    ]  # fmt: skip
    return table(rows)


def _standing(issued: "IssuedToken") -> str:
    from policy import ConsentClaims, TokenStatus

    assert isinstance(issued.claims, ConsentClaims)
    if issued.status is TokenStatus.INVALID:
        return "withdrawn"
    if issued.status is TokenStatus.SUSPENDED:
        return "suspended"
    now = datetime.now(UTC).timestamp()
    return "expired" if now >= issued.claims.exp else "not valid yet" if now < issued.claims.nbf else "valid"


def _issued(authority: "Authority", jti: str) -> "IssuedToken":
    from policy import UnknownTokenError

    try:
        return authority.consent(jti)
    except UnknownTokenError as error:
        raise CommandError(str(error), Exit.VERIFICATION_FAILED) from error


def _id_from(token_or_id: str) -> str:
    """The id in a token file, in the token itself, or given as it is."""
    if (claims := unverified_claims(token_or_id.strip())) is not None:
        return str(claims.get("jti", ""))
    path = Path(token_or_id)
    try:
        is_file = path.is_file()
    except OSError:  # too long for a name: never shown, it may be a damaged token
        is_file = False
    return str(claims_of(read_token(path), path).get("jti", "")) if is_file else token_or_id
