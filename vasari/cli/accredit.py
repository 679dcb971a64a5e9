"""`vasari accredit`: let a researcher ask."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from vasari.cli.purposes import purpose_option
from vasari.cli.session import CommandError, Session, table, with_session
from vasari.cli.whole_file import write_text


@click.command(short_help="Accredit a researcher; makes their key file and token.")
@click.option("--name", required=True, help="Who it is for; stays with the authority, the token holds a pseudonym.")
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The researcher's key file; made with mode 0600 when missing.",
)
@purpose_option(help_text="What they may ask for; all purposes when left out. Repeatable.")
@click.option("--days", type=click.IntRange(1, 365), default=365, show_default=True, help="How long it is valid.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The token file.")
@with_session
def accredit(session: Session, name: str, key: Path, purpose: tuple[str, ...], days: int, out: Path) -> None:
    """Accredit a researcher: their key file and a token that only this key can use.

    \b
    Example:
      vasari accredit --name "Example researcher" --key researcher.pem --out accreditation.jwt
    """
    made = accredit_researcher(session.state, name=name, key=key, purposes=purpose, days=days, out=out)
    rows = made | {
        "purposes": ", ".join(made["purposes"]),
        "key_made": "yes" if made["key_made"] else "no, it was there",
    }
    session.result(made, table((name.replace("_", " "), value) for name, value in rows.items()))


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
