"""`vasari broker`: the key broker as a process of its own, under its own user."""

import pwd
from pathlib import Path

import click

from vasari.cli.session import FILE, TAKES_BASE64URL, CommandError, Session, table, with_session
from vasari.cli.whole_file import write_text

FOLDER = click.Path(path_type=Path, file_okay=False)
ADDRESS_HELP = "unix:/PATH for this machine, https://HOST:PORT for another."
END = click.option("--folder", type=FOLDER, help="The broker's folder, for its end; without, the gate's end.")


@click.group()
def broker() -> None:
    """The key broker as a process of its own: it alone can open the sealed weights."""


@broker.command(short_help="Move the broker's keys into a folder of their own.")
@click.option("--folder", type=FOLDER, required=True, help="The broker's folder; hand it to the broker's user.")
@click.option("--address", required=True, help=ADDRESS_HELP)
@with_session
def split(session: Session, folder: Path, address: str) -> None:
    """Move the key-encryption key, the wrapped content keys and the ledger of used grants out of the gate's folder.

    From then on the gate asks the broker at ADDRESS, and can't open the weights without it. For https:// a certificate
    is made for each end, and pinned by the other; move the folder to the broker's machine.

    \b
    Example:
      vasari broker split --folder /var/lib/vasari-broker --address unix:/run/vasari-broker/socket
      chown -R vasari-broker /var/lib/vasari-broker
      vasari broker split --folder ./broker --address https://broker.lab.example:8443
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        event = authority.split_broker(folder.absolute(), address)
    made = {"folder": str(folder.absolute()), "address": address, "log_index": event.log_index}
    session.result(made, table((name.replace("_", " "), value) for name, value in made.items()))


@broker.command(short_help="Take grants of the gate's new key.", context_settings=TAKES_BASE64URL)
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


@broker.command(short_help="A new certificate for one end of the connection between gate and broker.")
@END
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="For the other end to pin.")
@with_session
def certificate(session: Session, folder: Path | None, out: Path) -> None:
    """Make a new key and certificate for one end, before the old one expires. The other end must pin it then.

    \b
    Example:
      vasari broker certificate --out gate.pem                                     # at the gate
      vasari broker pin --folder /var/lib/vasari-broker gate.pem                   # at the broker; start it again
    """
    from policy import renew_broker_end
    from policy.clock import utc_now

    pem = renew_broker_end(folder or session.state, of_broker=folder is not None, now=utc_now())
    write_text(out, pem)
    session.result({"certificate": str(out)}, table([("to pin at the other end", out)]))


@broker.command(short_help="Take one certificate from the other end, and no other.")
@END
@click.argument("certificate", type=FILE)
@with_session
def pin(session: Session, folder: Path | None, certificate: Path) -> None:
    """Talk only to who holds the key of CERTIFICATE (PEM), in place of what was pinned before.

    Several certificates in one file, such as an old and a new one, are all taken.

    \b
    Example:
      vasari broker pin --folder /var/lib/vasari-broker gate.pem
    """
    from policy import pin_broker_end
    from policy.clock import utc_now

    pem = certificate.read_text(encoding="ascii", errors="replace")
    until = pin_broker_end(folder or session.state, pem, of_broker=folder is not None, now=utc_now())
    session.result({"pinned_until": until.isoformat()}, table([("pinned until", until.date())]))


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
      vasari broker serve --folder /var/lib/vasari-broker --address https://0.0.0.0:8443
    """
    from policy import broker_end, open_broker, serve_broker
    from policy.clock import utc_now

    try:
        users = frozenset(pwd.getpwnam(name).pw_uid for name in names)
    except KeyError as error:
        raise CommandError(f"there is no user of that name: {error}") from error
    tls = broker_end(folder, address)
    opened = open_broker(folder, utc_now)
    try:
        serve_broker(
            opened,
            address,
            users=users,
            tls=tls,
            ready=lambda: session.note(f"key broker at {address}; stop with Ctrl-C"),
        )
    finally:
        opened.close()
