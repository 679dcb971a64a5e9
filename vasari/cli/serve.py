"""`vasari serve` and `vasari client`: the soft-binding resolution service, and who may use it."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from vasari.cli.session import CommandError, Exit, Session, table, with_session

SCOPES = ("fetch:manifests", "store:manifests", "store:bindings")
MOST_CONTENT_MB = 512


@click.command(short_help="Serve manifests to those who hold a stripped clip.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8500, show_default=True, help="Port to listen on.")
@click.option("--base-url", help="How clients reach the service; http://HOST:PORT by default. Put TLS before it.")
@click.option("--fetch-references", is_flag=True, help="Also match public https addresses that clients name.")
@with_session
def serve(session: Session, host: str, port: int, base_url: str | None, fetch_references: bool) -> None:
    """Serve the C2PA Soft Binding Resolution API 2.4: manifests by watermark value, by clip, by id.

    Clients authenticate with OAuth2 client credentials (`vasari client add`). Needs the extra `service`
    (pip install 'vasari[service]').

    \b
    Example:
      vasari serve --port 8500 --base-url https://credentials.example.org
    """
    try:
        import uvicorn

        from vasari.service import create_app
        from vasari.service.parts import open_parts
        from vasari.service.patience import Impatient
    except ImportError as error:
        raise CommandError(f"the service needs more packages: pip install 'vasari[service]' ({error})") from error
    _folder(session)
    url = (base_url or f"http://{host}:{port}").rstrip("/")
    with open_parts(session.state, base_url=url, fetch_references=fetch_references,
                    max_content_bytes=MOST_CONTENT_MB << 20, clock=partial(datetime.now, UTC)) as parts:  # fmt: skip
        session.note(f"serving {url}/v1; stop with Ctrl-C")
        uvicorn.run(
            create_app(parts), host=host, port=port, log_level="warning", server_header=False, http=Impatient,
            limit_concurrency=64, timeout_keep_alive=5, h11_max_incomplete_event_size=16_384,
        )  # fmt: skip


@click.group()
def client() -> None:
    """Who may use the resolution service."""


@client.command(short_help="Let a client in; shows its secret once.")
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="Repeatable.")
@click.option(
    "--secret-out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The client's secret, mode 0600; it is kept nowhere else.",
)
@with_session
def add(session: Session, name: str, scopes: tuple[str, ...], secret_out: Path) -> None:
    """Let the client NAME in with these scopes; its secret goes into a file.

    \b
    Example:
      vasari client add platform --scope fetch:manifests --secret-out platform.secret
    """
    from vasari.cli.whole_file import write_text
    from vasari.service.access import Clients, Scope

    if secret_out.exists():
        raise CommandError(f"{secret_out}: exists already; secrets are never overwritten")
    try:
        secret = Clients(_folder(session) / "clients.json").add(name, tuple(Scope(scope) for scope in scopes))
    except ValueError as error:
        raise CommandError(str(error)) from error
    write_text(secret_out, secret + "\n", mode=0o600)
    made = {"client": name, "scopes": list(scopes), "secret": str(secret_out)}
    session.result(made, table([("client", name), ("scopes", " ".join(scopes)), ("secret in", secret_out)]))


@client.command(short_help="Shut a client out.")
@click.argument("name")
@with_session
def remove(session: Session, name: str) -> None:
    """Shut the client NAME out; tokens that it holds run out within ten minutes.

    \b
    Example:
      vasari client remove platform
    """
    from vasari.service.access import Clients

    if not Clients(_folder(session) / "clients.json").remove(name):
        raise CommandError(f"there is no client {name}", Exit.NOTHING_FOUND)
    session.result({"removed": name}, [f"removed: {name}"])


def _folder(session: Session) -> Path:
    if not session.state.is_dir():
        raise CommandError(f"{session.state}: no authority here; make one with `vasari init`")
    folder = session.state / "service"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
