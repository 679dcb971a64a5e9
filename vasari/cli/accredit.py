"""`vasari accredit`: let a researcher ask."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from vasari.cli.consent_terms import id_from
from vasari.cli.purposes import purpose_option
from vasari.cli.session import CommandError, Session, styled, table, with_session
from vasari.cli.whole_file import write_text
from vasari.plain_text import printable


@click.group(invoke_without_command=True, short_help="Accredit a researcher, or end their accreditation.")
@click.option("--name", help="Who it is for; stays with the authority, the token holds a pseudonym.")
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The researcher's key file; made with mode 0600 when missing.",
)
@purpose_option(help_text="What they may ask for; all purposes when left out. Repeatable.")
@click.option("--days", type=click.IntRange(1, 365), default=365, show_default=True, help="How long it is valid.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The token file.")
@with_session
def accredit(
    session: Session, name: str | None, key: Path | None, purpose: tuple[str, ...], days: int, out: Path | None
) -> None:
    """Accredit a researcher: their key file and a token that only this key can use.

    \b
    Example:
      vasari accredit --name "Example researcher" --key researcher.pem --out accreditation.jwt
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    if name is None or key is None or out is None:
        raise CommandError("give --name, --key and --out; see `vasari accredit --help`")
    if not name.strip() or printable(name) != name:
        raise CommandError(f"--name {printable(name, 80)!r}: expected a name on one line of plain text")
    made = accredit_researcher(session.state, name=name, key=key, purposes=purpose, days=days, out=out)
    rows = made | {
        "purposes": ", ".join(made["purposes"]),
        "key_made": "yes" if made["key_made"] else "no, it was there",
    }
    session.result(made, table((name.replace("_", " "), value) for name, value in rows.items()))


def _status_command(word: str, done: str, help_text: str) -> click.Command:
    """`accredit withdraw`, `suspend` or `reinstate`."""

    @click.argument("token_or_id")
    @with_session
    def run(session: Session, token_or_id: str) -> None:
        from policy import Authority

        with Authority.open(session.state) as authority:
            jti = authority.accreditation(id_from(token_or_id)).jti
            event = getattr(authority, word)(jti, kind="accreditation", actor="accreditation authority")
        data = {"accreditation": jti, "event": event.event, "log_index": event.log_index, "log_proof": event.log_proof}
        rows = [("accreditation", jti), ("log entry", event.log_index), ("entry SHA-256", event.entry_sha256)]
        session.result(data, [styled(f"Accreditation {done}", bold=True), *table(rows)])

    return click.command(name=word, help=help_text)(run)


for _word, _done, _help in (
    ("withdraw", "withdrawn", "Withdraw an accreditation, for good: nothing new starts, running jobs finish."),
    ("suspend", "suspended", "Suspend an accreditation until `reinstate`: nothing new starts, running jobs finish."),
    ("reinstate", "reinstated", "End a suspension. A withdrawn accreditation stays withdrawn."),
):
    example = f"\n\n\b\nExample:\n  vasari accredit {_word} accreditation.jwt"
    accredit.add_command(_status_command(_word, _done, _help + example))


def accredit_researcher(
    state: Path, *, name: str, key: Path, purposes: tuple[str, ...], days: int, out: Path
) -> dict[str, Any]:
    """Make key and token; what was made, for people and JSON."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from policy import PURPOSES, Authority, read_private_key, thumbprint, write_private_key

    if out.exists():
        raise CommandError(f"{out}: exists already; tokens are never overwritten, choose another name")
    with Authority.open(state) as authority:
        new_key = not key.exists()
        if new_key:
            key.parent.mkdir(parents=True, exist_ok=True)
            write_private_key(key, Ed25519PrivateKey.generate())
        public = read_private_key(key).public_key()
        token = authority.accredit(
            public, researcher=name, purposes=purposes or tuple(PURPOSES), valid_for=timedelta(days=days)
        )
    write_text(out, token + "\n", mode=0o600)
    until = datetime.now(UTC) + timedelta(days=days)
    return {
        "accreditation": str(out),
        "key": str(key),
        "key_made": new_key,
        "thumbprint": thumbprint(public),
        "purposes": list(purposes or PURPOSES),
        "valid_until": until.strftime("%Y-%m-%d"),
    }
