"""`vasari registry`: status lists for gates on other machines, pushed as soon as they change."""

from pathlib import Path

import click

from vasari.cli.session import Session, table, with_session


@click.group()
def registry() -> None:
    """Registry and gate on two machines: withdrawals are pushed to the gate."""


@registry.command(short_help="Push status lists to gates elsewhere.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8600, show_default=True, help="Port to listen on.")
@with_session
def serve(session: Session, host: str, port: int) -> None:
    """Serve this registry's signed status lists until stopped; each waiting gate hears of a change at once.

    \b
    Example:
      vasari registry serve --host 0.0.0.0 --port 8600
    """
    from policy import Authority, serve_status

    with Authority.open(session.state) as authority:
        session.note(f"status lists at http://{host}:{port}; stop with Ctrl-C")
        serve_status(authority.status_lists, host, port)


@registry.command(short_help="Move the gate into a folder of its own, for another machine.")
@click.option("--gate", type=click.Path(path_type=Path, file_okay=False), required=True, help="The gate's new folder.")
@click.option("--address", required=True, help="Where the gate will reach this registry: https://HOST:PORT.")
@with_session
def split(session: Session, gate: Path, address: str) -> None:
    """Leave this folder to the registry alone, and make one for the gate that can issue nothing; let nothing else run.

    Each side keeps the other's public keys. The log goes with the gate; the registry begins one of its own.

    \b
    Example:
      vasari registry split --gate ./gate --address https://registry.example.org:8600
    """
    from policy import split_registry
    from vasari.cli.public_folder import publish_log_key

    split_registry(session.state, gate.absolute(), address)
    publish_log_key(session.state)
    made = {"registry": str(session.state), "gate": str(gate.absolute()), "address": address}
    session.result(made, table(made.items()))


@registry.command(short_help="Take status lists from a registry elsewhere.")
@click.argument("address", required=False)
@click.option("--end", is_flag=True, help="Take them from this folder again.")
@with_session
def subscribe(session: Session, address: str | None, end: bool) -> None:
    """Let this folder's gate follow the registry at ADDRESS, http://HOST:PORT or https://HOST:PORT; logged.

    \b
    Example:
      vasari registry subscribe https://registry.example.org:8600
    """
    from policy import Authority

    if end == (address is not None):
        raise click.UsageError("give the registry's ADDRESS, or --end")
    with Authority.open(session.state) as authority:
        event = authority.subscribe(address)
    made = {"registry": address or "this folder", "log_index": event.log_index}
    session.result(made, table((name.replace("_", " "), value) for name, value in made.items()))
