"""`vasari broker`: the key broker as a process of its own, under its own user."""

import pwd
from pathlib import Path

import click

from vasari.cli.session import CommandError, Session, table, with_session

FOLDER = click.Path(path_type=Path, file_okay=False)
ADDRESS_HELP = "unix:/PATH for this machine, http://HOST:PORT for another."


@click.group()
def broker() -> None:
    """The key broker as a process of its own: it alone can open the sealed weights."""


@broker.command(short_help="Move the broker's keys into a folder of their own.")
@click.option("--folder", type=FOLDER, required=True, help="The broker's folder; hand it to the broker's user.")
@click.option("--address", required=True, help=ADDRESS_HELP)
@with_session
def split(session: Session, folder: Path, address: str) -> None:
    """Move the key-encryption key, the wrapped content keys and the ledger of used grants out of the gate's folder.

    From then on the gate asks the broker at ADDRESS, and can't open the weights without it.

    \b
    Example:
      vasari broker split --folder /var/lib/vasari-broker --address unix:/run/vasari-broker/socket
      chown -R vasari-broker /var/lib/vasari-broker
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        event = authority.split_broker(folder.absolute(), address)
    made = {"folder": str(folder.absolute()), "address": address, "log_index": event.log_index}
    session.result(made, table((name.replace("_", " "), value) for name, value in made.items()))


@broker.command(short_help="Take grants of the gate's new key.")
@click.option("--folder", type=FOLDER, required=True, help="The folder that `split` made.")
@click.argument("key")
@with_session
def believe(session: Session, folder: Path, key: str) -> None:
    """After `vasari key rotate gate`: take grants that KEY signed, and no others. Start the broker again.

    KEY is the gate's public key, as `vasari key show` prints it. Run this as the broker's user.

    \b
    Example:
      vasari broker believe --folder /var/lib/vasari-broker Zk3…
    """
    from policy.broker_folder import believe_gate_key

    before = believe_gate_key(folder, key)
    session.result({"gate_key": key, "before": before}, table([("gate key", key), ("before", before)]))


@broker.command(short_help="Run the broker.")
@click.option("--folder", type=FOLDER, required=True, help="The folder that `split` made.")
@click.option("--address", required=True, help=ADDRESS_HELP)
@click.option(
    "--allow-user", "names", multiple=True, help="Who may ask over a Unix socket, besides this user; repeatable."
)
@with_session
def serve(session: Session, folder: Path, address: str, names: tuple[str, ...]) -> None:
    """Release content keys, each against one grant whose decision is proven to be in the log, until stopped.

    \b
    Example:
      vasari broker serve --folder /var/lib/vasari-broker --address unix:/run/vasari-broker/socket --allow-user vasari
    """
    from policy import open_broker, serve_broker
    from policy.clock import utc_now

    try:
        users = frozenset(pwd.getpwnam(name).pw_uid for name in names)
    except KeyError as error:
        raise CommandError(f"there is no user of that name: {error}") from error
    opened = open_broker(folder, utc_now)
    try:
        serve_broker(
            opened, address, users=users, ready=lambda: session.note(f"key broker at {address}; stop with Ctrl-C")
        )
    finally:
        opened.close()
