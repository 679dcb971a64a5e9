"""`vasari consent issue` and `show`: the depicted person grants; anyone with the token reads its terms."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.consent_terms import consent_terms, issued_consent, term_options
from vasari.cli.session import FILE, CommandError, Exit, Session, moment, styled, table, with_session
from vasari.cli.token_file import claims_of, read_token
from vasari.cli.whole_file import write_text

if TYPE_CHECKING:
    from policy import Authority, IssuedToken


@click.group()
def consent() -> None:
    """Grant, show and withdraw consent, and see every use of it."""


@consent.command(short_help="Issue a consent token.")
@term_options
@click.option("--subject-key", type=FILE, required=True, help="The depicted person's device file, see `consent enrol`.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The token file.")
@with_session
def issue(session: Session, subject_key: Path, out: Path, **terms: Any) -> None:
    """Issue a consent token that the depicted person signs with their device file, and print its terms.

    With a passkey in a browser, use `consent propose` and `consent accept` instead.

    \b
    Example:
      vasari consent issue --subject "Jane Doe" --subject-key jane.device --adult --portrait jane.png \\
        --grantee accreditation.jwt --purpose detector-evaluation --max-seconds 30 --uses 5 --out consent.jwt
    """
    issued = issue_consent(session.state, subject_key=subject_key, out=out, **terms)
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
        found = issued_consent(authority, str(claims_of(text, token).get("jti", "")))
        if found.token != text:
            raise CommandError(
                f"{token}: not the token that was issued under this id; it was changed", Exit.VERIFICATION_FAILED
            )
        terms = describe_consent(authority, found)
    colour = "green" if terms["standing"] == "valid" else "red"
    session.result(terms, [styled(f"Consent {terms['standing']}", fg=colour, bold=True), *term_lines(terms)])
    raise SystemExit(Exit.OK if terms["standing"] == "valid" else Exit.VERIFICATION_FAILED)


def issue_consent(state: Path, *, subject_key: Path, out: Path, portrait: Path, **terms: Any) -> dict[str, Any]:
    """Issue the token into `out` (mode 0600); its terms, for people and JSON."""
    from policy import Authority, SoftwareAuthenticator

    if out.exists():
        raise CommandError(f"{out}: exists already; tokens are never overwritten, choose another name")
    with Authority.open(state) as authority:
        wanted = consent_terms(authority, portrait=portrait, **terms)
        token = authority.issue_consent(wanted, SoftwareAuthenticator.open(subject_key))
        write_text(out, token + "\n", mode=0o600)
        issued = authority.consent(str(claims_of(token, out)["jti"]))
        return describe_consent(authority, issued) | {"token": str(out), "portrait": str(portrait)}


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
        "language": list(allowed.script.languages),
        "texts_sha256": list(allowed.script.sha256),
        "voice": allowed.audio.voice,
        "delegation_depth": claims.delegation.max_depth,
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
        ("spoken", spoken_words(terms)),
        ("each clip", f"at most {terms['max_seconds']} s, {terms['max_width']} x {terms['max_height']}, "
                      f"{terms['max_fps']} frames/s"),
        ("uses", f"{terms['uses_left']} of {terms['uses']} left"),
        ("seconds", f"{terms['seconds_left']:g} of {terms['total_seconds']} left"),
        ("valid", f"{terms['valid_from']} to {terms['valid_until']}"),
        ("only by key", terms["researcher_thumbprint"]),
        ("handing on", f"through {terms['delegation_depth']} hands at most" if terms["delegation_depth"] else "not"),
        ("consent id", terms["consent"]),
    ]  # fmt: skip
    return table(rows)


def spoken_words(terms: dict[str, Any]) -> str:
    """Which texts and languages are allowed, in words."""
    texts = f"only {len(terms['texts_sha256'])} texts listed by hash" if terms["texts_sha256"] else "any words"
    return f"{texts} in {', '.join(terms['language']) or 'any language'}"


def _standing(issued: "IssuedToken") -> str:
    from policy import ConsentClaims, TokenStatus

    assert isinstance(issued.claims, ConsentClaims)
    if issued.status is TokenStatus.INVALID:
        return "withdrawn"
    if issued.status is TokenStatus.SUSPENDED:
        return "suspended"
    now = datetime.now(UTC).timestamp()
    return "expired" if now >= issued.claims.exp else "not valid yet" if now < issued.claims.nbf else "valid"
