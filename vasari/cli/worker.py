"""`vasari worker`: generation, and every decoder, in processes that the gate trusts with nothing."""

import click

from vasari.cli.session import Session, table, with_session


@click.group()
def worker() -> None:
    """Gate and worker as two processes: what signs opens no media, what opens media signs nothing."""


@worker.command(short_help="Let confined processes open the weights and every picture and sound.")
@click.option("--user", help="Under which user of this machine; the gate must run as root then. Else under its own.")
@click.option("--end", is_flag=True, help="Let this process do it again.")
@with_session
def split(session: Session, user: str | None, end: bool) -> None:
    """From now on, start a process for each job that makes its clip, and others that look at uploads and read marks.

    None of them has a key that signs, a path to the state folder, a network, or more than one job. One is started at
    once, to see that it can be confined on this machine; if not, nothing is changed. Streams are refused then:
    `vasari generate --live` needs a gate that works in one process.

    \b
    Example:
      vasari worker split --user vasari-worker
      vasari worker split --end
    """
    from policy import Authority

    if end and user is not None:
        raise click.UsageError("give --user or --end")
    with Authority.open(session.state) as authority:
        if end:
            event = authority.end_worker_split()
            made = {"worker": "this process", "log_index": event.log_index}
        else:
            event, ready = authority.split_off_worker(user)
            files = f"Landlock {ready.landlock}" if ready.landlock else "by its user alone"
            made = {"worker": "a process of its own", "user": user or "the gate's own"}
            made |= {"files": files, "system_calls": "filtered", "log_index": event.log_index}
    session.result(made, table((name.replace("_", " "), value) for name, value in made.items()))
