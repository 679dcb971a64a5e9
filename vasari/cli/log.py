"""`vasari log`: read the transparency log, take proofs out of it, check them offline."""

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.session import FILE, CommandError, Exit, Session, moment, styled, table, with_session
from vasari.cli.whole_file import write_bytes, write_text
from vasari.plain_text import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from provenance import Checkpoint

MOST_SHOWN = 20
cosigned_option = click.option(
    "--checkpoint", type=FILE, help="End at this checkpoint, such as one that a witness cosigned (`vasari log cosign`)."
)


@click.group()
def log() -> None:
    """Read the transparency log, take proofs out of it, check them offline."""


@log.command(short_help="Size, key, checkpoint, latest entries.")
@click.option("--last", type=click.IntRange(min=1), default=MOST_SHOWN, show_default=True, help="How many entries.")
@click.option("--checkpoint-out", type=click.Path(path_type=Path, dir_okay=False), help="Write the signed checkpoint.")
@with_session
def show(session: Session, last: int, checkpoint_out: Path | None) -> None:
    """Show the log's size, key and latest entries, and write its signed checkpoint into a file to be kept elsewhere.

    Entries hold no personal data: events, decision ids, the rules that failed, and salted commitments.

    \b
    Example:
      vasari log show --last 5 --checkpoint-out kept.checkpoint
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
    if checkpoint_out is not None:
        if not size:
            raise CommandError(f"{checkpoint_out}: the log is empty, there is no checkpoint yet", Exit.NOTHING_FOUND)
        write_text(checkpoint_out, str(data["checkpoint"]))
    lines = table([("origin", data["origin"]), ("entries", size), ("key", data["key"]), ("checkpoint", checkpoint_out)])
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


@log.command(short_help="Check a proof or a receipt offline.")
@click.option("--proof", type=FILE, help="The proof, a .tlog-proof file.")
@click.option("--entry", type=FILE, help="The entry it is about, byte for byte.")
@click.option("--receipt", type=FILE, help="In place of both: the receipt of a withdrawal.")
@click.option("--key", type=FILE, required=True, help="The log's public key (name+hash+base64).")
@with_session
def check(session: Session, proof: Path | None, entry: Path | None, receipt: Path | None, key: Path) -> None:
    """Check a proof offline: needs the files only, no authority and no network. Exit code 5 if it fails.

    \b
    Example:
      vasari log check --proof proof-12/12.tlog-proof --entry proof-12/12.entry --key log.vkey
      vasari log check --receipt receipt.json --key log.vkey
    """
    if receipt is not None and proof is None and entry is None:
        receipts = check_receipts(receipt, key)
        lines = [f"  {one['event']}  {one['consent']}  {one['at']}  entry {one['log_index']}" for one in receipts]
        session.result({"holds": True, "receipts": receipts},
                       [styled("The receipt holds", fg="green", bold=True), *lines])  # fmt: skip
        return
    if receipt is not None or proof is None or entry is None:
        raise CommandError("give --proof and --entry, or --receipt alone")
    checked = check_proof(proof, entry, key)
    rows = [("log", checked["origin"]), ("entry", checked["index"]), ("checkpoint over", f"{checked['size']} entries")]
    session.result(checked, [styled("The proof holds", fg="green", bold=True), *table(rows)])


@log.command(short_help="Write the whole log into a file.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="JSON lines; made new.")
@cosigned_option
@with_session
def export(session: Session, out: Path, checkpoint: Path | None) -> None:
    """Write every entry and a signed checkpoint into one file, which `vasari log verify` checks anywhere.

    \b
    Example:
      vasari log export --out log.jsonl --checkpoint new.checkpoint
    """
    from policy import Authority
    from provenance import ProofError

    text = StringIO()
    with Authority.open(session.state) as authority:
        try:
            size = authority.log.export(text, _text(checkpoint) if checkpoint else None)
        except ProofError as error:
            raise CommandError(f"{checkpoint}: {error}", Exit.VERIFICATION_FAILED) from error
    write_text(out, text.getvalue())
    session.result({"export": str(out), "entries": size}, [f"{size} entries in {out}"])


@log.command(short_help="Write the log as tiles for a web server.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to serve.")
@cosigned_option
@with_session
def tiles(session: Session, out: Path, checkpoint: Path | None) -> None:
    """Write the log as static files in the public tile format; run again after it grew.

    \b
    Example:
      vasari log tiles --out /srv/log
    """
    from policy import Authority
    from provenance import ProofError, export_tiles

    with Authority.open(session.state) as authority:
        try:
            written = export_tiles(authority.log, out, _text(checkpoint) if checkpoint else None)
        except ProofError as error:
            raise CommandError(f"{checkpoint}: {error}", Exit.VERIFICATION_FAILED) from error
    data = {"folder": str(out), "entries": written.size, "root": written.root.hex()}
    session.result(data, table(data.items()))


@log.command(short_help="Check a whole log offline.")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--key", type=FILE, required=True, help="The log's public key (name+hash+base64).")
@click.option("--since", type=FILE, help="An older checkpoint of this log: must be extended, not rewritten.")
@click.option("--witness", "witnesses", type=FILE, multiple=True, help="Key of a witness that must have cosigned.")
@click.option(
    "--keep", type=click.Path(path_type=Path, dir_okay=False), help="Write the checkpoint, for --since later."
)
@with_session
def verify(
    session: Session, source: Path, key: Path, since: Path | None, witnesses: tuple[Path, ...], keep: Path | None
) -> None:
    """Check a whole log offline: SOURCE is a file of `vasari log export` or a folder of tiles.

    Every entry is hashed, the root recomputed and compared with the signed checkpoint. Exit code 5 if anything differs.

    \b
    Example:
      vasari log verify log.jsonl --key log.vkey --since kept.checkpoint --keep new.checkpoint
    """
    checked = verify_log(source, key, since, witnesses)
    if keep is not None:
        write_text(keep, checked["checkpoint"])
    shown = ((name, value) for name, value in checked.items() if name not in ("witnesses", "checkpoint"))
    rows = [*shown, ("kept", keep)]
    rows += [(f"witness {name}", time) for name, time in checked["witnesses"].items()]
    session.result(checked, [styled("The log holds", fg="green", bold=True), *table(rows)])


def verify_log(source: Path, key: Path, since: Path | None, witnesses: tuple[Path, ...]) -> dict[str, Any]:
    """What the log's checkpoint says, checked against every entry; raises CommandError when something differs."""
    from provenance import LogError, ProofError, verify_cosignatures, verify_log_export, verify_tiles

    origin, public_key = _read_log_key(key)
    try:
        known = dict(_read_witness_key(path) for path in witnesses)
        older = _read_older(since, origin, public_key) if since else None
        if source.is_dir():
            checkpoint = verify_tiles(source, origin=origin, public_key=public_key, since=older)
            note = _text(source / "checkpoint")
        else:
            lines = _text(source).splitlines()
            checkpoint = verify_log_export(lines, origin=origin, public_key=public_key, since=older)
            note = json.loads(lines[-1])["checkpoint"]
        seen = verify_cosignatures(note, known)
    except (ProofError, LogError) as error:
        raise CommandError(f"{source}: the log does not hold: {error}", Exit.VERIFICATION_FAILED) from error
    if missing := sorted(set(known) - set(seen)):
        raise CommandError(
            f"{source}: its checkpoint is not cosigned by {', '.join(missing)}", Exit.VERIFICATION_FAILED
        )
    return {
        "holds": True,
        "origin": origin,
        "entries": checkpoint.size,
        "root": checkpoint.root.hex(),
        "extends": older.size if older else None,
        "witnesses": {name: time.isoformat() for name, time in sorted(seen.items())},
        "checkpoint": note,
    }


@log.command(short_help="Ask a witness to cosign the checkpoint.")
@click.option("--seen", type=FILE, help="The checkpoint that the witness saw last; none the first time.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The request.")
@with_session
def request(session: Session, seen: Path | None, out: Path) -> None:
    """Write the request with which a witness is asked to cosign: old size, consistency proof, new checkpoint.

    \b
    Example:
      vasari log request --seen kept.checkpoint --out request.txt
    """
    from policy import Authority
    from provenance import ProofError, format_witness_request, verify_checkpoint

    with Authority.open(session.state) as authority:
        log_ = authority.log
        note = log_.checkpoint()
        size = int(note.split("\n", 2)[1])
        try:
            key = authority.log_public_key
            old = verify_checkpoint(_text(seen), origin=log_.origin, public_key=key).size if seen else 0
        except ProofError as error:
            raise CommandError(f"{seen}: {error}", Exit.VERIFICATION_FAILED) from error
        write_text(out, format_witness_request(old, log_.consistency_proof(old, size), note))
    session.result({"request": str(out), "old": old, "new": size}, [f"from {old} to {size} entries: {out}"])


@log.command(short_help="Cosign a checkpoint, as a witness.")
@click.argument("request", type=FILE)
@click.option("--log-key", type=FILE, required=True, help="Public key of the log (name+hash+base64).")
@click.option("--name", required=True, help="The witness's own name, such as its domain.")
@click.option(
    "--witness-key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Its private key; made new, mode 0600, when missing.",
)
@click.option("--memory", type=click.Path(path_type=Path, dir_okay=False), required=True, help="What it saw so far.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The cosigned checkpoint.")
@with_session
def cosign(
    session: Session, request: Path, log_key: Path, name: str, witness_key: Path, memory: Path, out: Path
) -> None:
    """Cosign, as a witness, the checkpoint in REQUEST, if it extends the last one that this witness saw.

    A witness is someone else than the keeper of the log. Exit code 5 when the tree does not extend what was seen.

    \b
    Example:
      vasari log cosign request.txt --log-key log.vkey --name w.example.org --witness-key w.pem --memory w.db --out new.checkpoint
    """  # noqa: E501
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from policy import read_private_key, write_private_key
    from provenance import ProofError, Witness, format_witness_key

    if not witness_key.exists():
        write_private_key(witness_key, Ed25519PrivateKey.generate())
    private = read_private_key(witness_key)
    body = _text(request)
    witness = Witness(memory, name=name, key=private, logs=dict([_read_log_key(log_key)]))
    try:
        answer = witness.add_checkpoint(body, now=datetime.now(UTC))
    except ProofError as error:
        raise CommandError(f"--name: {error}") from error
    finally:
        witness.close()
    if answer.status != 200:
        said = f"this witness saw {answer.body.strip()} entries" if answer.status == 409 else answer.body.strip()
        raise CommandError(f"not cosigned ({answer.status}): {said}", Exit.VERIFICATION_FAILED)
    write_text(out, body.split("\n\n", 1)[1] + answer.body)
    public, public_file = format_witness_key(name, private.public_key()), witness_key.with_suffix(".vkey")
    write_text(public_file, public + "\n")
    data = {"checkpoint": str(out), "witness": public, "witness_key": str(public_file)}
    session.result(data, [f"cosigned: {out}", f"witness key: {public} in {public_file}"])


def _read_older(path: Path, origin: str, public_key: "Ed25519PublicKey") -> "Checkpoint":
    from provenance import ProofError, verify_checkpoint

    try:
        return verify_checkpoint(_text(path), origin=origin, public_key=public_key)
    except ProofError as error:
        raise CommandError(f"{path}: this is no checkpoint of the log ({error})", Exit.VERIFICATION_FAILED) from error


def _read_log_key(path: Path) -> "tuple[str, Ed25519PublicKey]":
    from provenance import ProofError, parse_log_key

    try:
        return parse_log_key(_text(path))
    except ProofError as error:
        raise CommandError(f"{path}: {error}") from error


def _read_witness_key(path: Path) -> "tuple[str, Ed25519PublicKey]":
    from provenance import ProofError, parse_witness_key

    try:
        return parse_witness_key(_text(path))
    except ProofError as error:
        raise CommandError(f"{path}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: expected UTF-8 text") from error


def check_proof(proof: Path, entry: Path, key: Path) -> dict[str, Any]:
    """Where the entry stands in which log; raises CommandError when the proof does not hold."""
    from provenance import ProofError, verify_log_proof

    origin, public_key = _read_log_key(key)
    try:
        checked = verify_log_proof(
            proof.read_text(encoding="utf-8"), entry.read_bytes(), origin=origin, public_key=public_key
        )
    except (ProofError, UnicodeDecodeError) as error:
        raise CommandError(f"{proof}: the proof does not hold: {error}", Exit.VERIFICATION_FAILED) from error
    return {
        "holds": True,
        "index": checked.index,
        "origin": origin,
        "size": checked.checkpoint.size,
        "root": checked.checkpoint.root.hex(),
    }


def check_receipts(path: Path, key: Path) -> list[dict[str, Any]]:
    """What the receipts in a file prove; raises CommandError when one does not hold."""
    from policy import check_consent_receipt
    from provenance import ProofError

    origin, public_key = _read_log_key(key)
    try:
        content = json.loads(_text(path))
        receipts = content.get("receipts", [content])
        times = [check_consent_receipt(one, origin=origin, public_key=public_key) for one in receipts]
    except (ProofError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CommandError(f"{path}: the receipt does not hold: {error}", Exit.VERIFICATION_FAILED) from error
    if not receipts:
        raise CommandError(f"{path}: holds no receipt", Exit.VERIFICATION_FAILED)
    return [
        {"event": printable(one["event"]), "consent": printable(one["consent"]), "at": moment(time),
         "log_index": one["log_index"]}
        for one, time in zip(receipts, times, strict=True)
    ]  # fmt: skip
