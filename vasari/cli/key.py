"""`vasari key`: where the roles' keys lie; encrypt, move, rotate and revoke them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.session import FILE, TAKES_BASE64URL, CommandError, Session, moment, styled, table, with_session

if TYPE_CHECKING:
    from policy import EventReceipt, Role

SIGNING: "tuple[Role, ...]" = ("registry", "accreditation", "gate", "log")
MOVABLE: "tuple[Role, ...]" = (*SIGNING, "claim")
ROLES: "tuple[Role, ...]" = (*MOVABLE, "kek")
KEPT: "tuple[Role, ...]" = ("registry", "accreditation")
ROTATED = ("registry", "accreditation", "gate", "claim", "kek")
URI_HELP = "file:, pkcs11:, exec: or python: URI; docs/OPERATORS.md has examples."


@click.group()
def key() -> None:
    """Where the keys of the roles lie; encrypt, move, rotate and revoke them."""


@key.command(short_help="Every role's key: its id and where it lies.")
@with_session
def show(session: Session) -> None:
    """Show the key of every role: its id, where it lies, and the ones of before that are still trusted or revoked.

    \b
    Example:
      vasari key show
    """
    from policy import Authority, public_jwk, thumbprint
    from policy.broker_folder import broker_address

    with Authority.open(session.state) as authority:
        ring = authority.key_ring
        rows: list[dict[str, Any]] = [
            {
                "role": role,
                "kid": thumbprint(ring.public_key(role)) if role in SIGNING else None,
                "public": public_jwk(ring.public_key(role))["x"] if role in SIGNING else None,
                "uri": ring.uri(role),
                "retired": [
                    {"kid": thumbprint(old.public), "retired_at": old.retired_at, "revoked_at": old.revoked_at}
                    for old in ring.file.retired.get(role, ())
                ],
            }
            for role in ROLES
            if not (role == "kek" and broker_address(session.state))  # after a split it is the broker's alone
        ]
    lines = []
    for row in rows:
        lines += [
            styled(row["role"], bold=True),
            *table([("kid", row["kid"]), ("public", row["public"]), ("uri", row["uri"])]),
        ]
        for old in row["retired"]:
            ended = f"revoked {moment(old['revoked_at'])}" if old["revoked_at"] else "still trusted"
            lines += table([("retired", f"{old['kid']} since {moment(old['retired_at'])}, {ended}")])
    session.result({"keys": rows}, lines)


@key.command(short_help="Encrypt a key's file.")
@click.argument("role", type=click.Choice(MOVABLE))
@click.option(
    "--passphrase-file", type=FILE, help="Read it from here, now and later; asked for on the terminal if absent."
)
@with_session
def protect(session: Session, role: "Role", passphrase_file: Path | None) -> None:
    """Encrypt the key file of a role (PKCS #8, AES-256). Without --passphrase-file, commands ask for it.

    \b
    Example:
      vasari key protect registry --passphrase-file /run/secrets/registry
    """
    from policy import Authority

    if passphrase_file is not None:
        if passphrase_file.stat().st_mode & 0o077:
            raise CommandError(f"{passphrase_file}: other users can read it; run: chmod 600 {passphrase_file}")
        passphrase = passphrase_file.read_bytes().strip()
    else:
        passphrase = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True).encode()
    with Authority.open(session.state) as authority:
        event = authority.protect_key(role, passphrase, passphrase_file=passphrase_file)
        _answer(session, event, role, authority.key_ring.uri(role))


@key.command(short_help="Use the same key at another place.")
@click.argument("role", type=click.Choice(MOVABLE))
@click.argument("uri")
@with_session
def move(session: Session, role: "Role", uri: str) -> None:
    """Use the same key at another place from now on, as after it was imported into a hardware module.

    The file of before is left where it is: delete it once the new place is known to work.

    \b
    Example:
      vasari key move log "pkcs11:token=vasari;object=log?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/vasari/pin"
    """  # noqa: E501
    from policy import Authority

    with Authority.open(session.state) as authority:
        _answer(session, authority.move_key(role, uri), role, uri)


@key.command(short_help="Take the new public key of a registry on another machine.", context_settings=TAKES_BASE64URL)
@click.argument("role", type=click.Choice(KEPT))
@click.argument("public_key")
@with_session
def believe(session: Session, role: "Role", public_key: str) -> None:
    """At a gate that was split from its registry, after `vasari key rotate` there: take what PUBLIC_KEY signs, too.

    What the key of before signed stays good; `vasari key revoke` ends it. Logged.

    \b
    Example:
      vasari key believe registry Zk3…
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        _answer(session, authority.believe_key(role, public_key), role, authority.key_ring.uri(role))


@key.command(short_help="A new key for a role.")
@click.argument("role", type=click.Choice(ROTATED))
@click.option("--to", "uri", help=f"The new key's place; made in a file if absent. {URI_HELP}")
@with_session
def rotate(session: Session, role: "Role", uri: str | None) -> None:
    """Sign with a new key from now on. Tokens that registry or authority signed before stay good until they expire.

    \b
    Example:
      vasari key rotate registry
      vasari key rotate claim --to "pkcs11:token=vasari;object=claim?module-path=…&pin-source=file:…"
    """
    from policy import Authority, public_jwk
    from policy.broker_folder import broker_address

    with Authority.open(session.state) as authority:
        event = authority.rotate_key(role, uri)
        _answer(session, event, role, authority.key_ring.uri(role))
        if role == "gate" and broker_address(authority.folder) is not None:
            public = public_jwk(authority.key_ring.signing_key("gate").public_key())["x"]
            session.note(f"now run, as the broker's user: vasari broker believe --folder FOLDER {public}")


@key.command(short_help="Take nothing any more that an old key signed.", context_settings=TAKES_BASE64URL)
@click.argument("role", type=click.Choice(("registry", "accreditation")))
@click.argument("kid")
@with_session
def revoke(session: Session, role: "Role", kid: str) -> None:
    """Take no token any more that a key of before signed, as after a theft: rotate first, then revoke the old one.

    Its consents are refused from then on; the depicted people have to give them anew.

    \b
    Example:
      vasari key revoke registry hC3b…
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        _answer(session, authority.revoke_key(role, kid), role, kid)


def _answer(session: Session, event: "EventReceipt", role: "Role", place: str) -> None:
    made = {"event": event.event, "role": role, "place": place, "log_index": event.log_index}
    session.result(made, [f"{event.event}: {role}", *table([("place", place), ("log entry", event.log_index)])])
