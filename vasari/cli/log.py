"""`vasari log`: read the transparency log, take proofs out of it, check them offline."""

import json
from pathlib import Path
from typing import Any

import click

from vasari.cli.session import FILE, CommandError, Exit, Session, moment, styled, table, with_session
from vasari.cli.whole_file import write_bytes, write_text
from vasari.plain_text import printable

MOST_SHOWN = 20


@click.group()
def log() -> None:
    """Read the transparency log, take proofs out of it, check them offline."""


@log.command(short_help="Size, key, checkpoint, latest entries.")
@click.option("--last", type=click.IntRange(min=1), default=MOST_SHOWN, show_default=True, help="How many entries.")
@with_session
def show(session: Session, last: int) -> None:
    """Show the log's size, key, signed checkpoint and latest entries.

    Entries hold no personal data: events, decision ids, the rules that failed, and salted commitments.

    \b
    Example:
      vasari log show --last 5
    """
    from policy import Authority
    from provenance import format_log_key

    with Authority.open(session.state) as authority:
        log_, size = authority.log, authority.log.size
        entries = [(index, json.loads(log_.entry(index))) for index in range(max(0, size - last), size)]
        data = {
            "origin": log_.origin,
            "size": size,
            "key": format_log_key(log_.origin, authority.log_public_key),
            "checkpoint": log_.checkpoint() if size else None,
            "entries": [{"index": index} | entry for index, entry in entries],
        }
    lines = table([("origin", data["origin"]), ("entries", size), ("key", data["key"])])
    for index, entry in entries:
        what = f"{entry.get('event', '')} {entry.get('outcome', '')}".strip()
        about = " ".join([str(entry.get("decision", "")), *entry.get("rules", [])])
        lines.append(f"  {index:6d}  {moment(entry.get('at', 0))}  {printable(what).ljust(22)}  {printable(about)}")
    session.result(data, lines)


@log.command(short_help="Write the proof of one entry.")
@click.argument("index", type=click.IntRange(min=0))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for proof, entry and key."
)
@with_session
def prove(session: Session, index: int, out: Path) -> None:
    """Write the proof that entry INDEX is in the log, with the entry and the log's public key beside it.

    Anyone can check the three files with `vasari log check`, without this authority and without a network.

    \b
    Example:
      vasari log prove 12 --out proof-12
    """
    from policy import Authority
    from provenance import format_log_key

    with Authority.open(session.state) as authority:
        size = authority.log.size
        if index >= size:
            raise CommandError(f"the log holds {size} entries, there is no entry {index}", Exit.NOTHING_FOUND)
        files = {"proof": out / f"{index}.tlog-proof", "entry": out / f"{index}.entry", "key": out / "log.vkey"}
        write_text(files["proof"], authority.log.prove(index))
        write_bytes(files["entry"], authority.log.entry(index))
        write_text(files["key"], format_log_key(authority.log.origin, authority.log_public_key) + "\n")
    data = {name: str(path) for name, path in files.items()}
    check = f"vasari log check --proof {data['proof']} --entry {data['entry']} --key {data['key']}"
    session.result({"index": index} | data, [*table(data.items()), "", f"Check it anywhere: {check}"])


@log.command(short_help="Check a proof offline.")
@click.option("--proof", type=FILE, required=True, help="The proof, a .tlog-proof file.")
@click.option("--entry", type=FILE, required=True, help="The entry it is about, byte for byte.")
@click.option("--key", type=FILE, required=True, help="The log's public key (name+hash+base64).")
@with_session
def check(session: Session, proof: Path, entry: Path, key: Path) -> None:
    """Check a proof offline: needs the three files only, no authority and no network. Exit code 5 if it fails.

    \b
    Example:
      vasari log check --proof proof-12/12.tlog-proof --entry proof-12/12.entry --key log.vkey
    """
    checked = check_proof(proof, entry, key)
    rows = [("log", checked["origin"]), ("entry", checked["index"]), ("checkpoint over", f"{checked['size']} entries")]
    session.result(checked, [styled("The proof holds", fg="green", bold=True), *table(rows)])


def check_proof(proof: Path, entry: Path, key: Path) -> dict[str, Any]:
    """Where the entry stands in which log; raises CommandError when the proof does not hold."""
    from provenance import ProofError, parse_log_key, verify_log_proof

    try:
        origin, public_key = parse_log_key(key.read_text(encoding="utf-8"))
    except (ProofError, UnicodeDecodeError) as error:
        raise CommandError(f"{key}: {error}") from error
    try:
        checked = verify_log_proof(
            proof.read_text(encoding="utf-8"), entry.read_bytes(), origin=origin, public_key=public_key
        )
    except (ProofError, UnicodeDecodeError) as error:
        raise CommandError(f"the proof does not hold: {error}", Exit.VERIFICATION_FAILED) from error
    return {
        "holds": True,
        "index": checked.index,
        "origin": origin,
        "size": checked.checkpoint.size,
        "root": checked.checkpoint.root.hex(),
    }
