"""`vasari consent withdraw`, `suspend`, `reinstate`, `uses`, `record`: what becomes of a consent, and who used it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.consent_terms import id_from, issued_consent
from vasari.cli.session import FILE, LONGEST_MESSAGE, CommandError, Exit, Session, moment, styled, table, with_session
from vasari.cli.whole_file import write_text
from vasari.plain_text import printable

if TYPE_CHECKING:
    from policy import Authority, EventReceipt

receipt_option = click.option(
    "--receipt", type=click.Path(path_type=Path, dir_okay=False), help="Write the receipt with its log proof here."
)
device_option = click.option("--subject-key", type=FILE, help="The depicted person's device file.")


@click.command(short_help="Withdraw a consent, for good.")
@click.argument("token_or_id", required=False)
@device_option
@click.option("--all", "everything", is_flag=True, help="Every consent that the device's owner gave.")
@receipt_option
@with_session
def withdraw(
    session: Session, token_or_id: str | None, subject_key: Path | None, everything: bool, receipt: Path | None
) -> None:
    """Withdraw a consent, for good: running jobs stop, nothing new starts. Prints a receipt with its log proof.

    The person needs the token or its id, nothing more; with --subject-key and --all, their device alone.

    \b
    Example:
      vasari consent withdraw consent.jwt
      vasari consent withdraw --all --subject-key jane.device
    """
    from policy import Authority

    if everything != (token_or_id is None) or (everything and subject_key is None):
        raise CommandError("name one consent, or give --all together with --subject-key")
    with Authority.open(session.state) as authority:
        if token_or_id is not None:
            ids = [issued_consent(authority, id_from(token_or_id)).jti]
        else:
            assert subject_key is not None
            ids = [one.jti for one in _own_consents(authority, subject_key)]
        made = [_receipt(jti, authority.withdraw(jti)) for jti in ids]
    _answer(session, made, "Consent withdrawn", receipt)


@click.command(short_help="Suspend a consent until it is reinstated.")
@click.argument("token_or_id")
@receipt_option
@with_session
def suspend(session: Session, token_or_id: str, receipt: Path | None) -> None:
    """Suspend a consent, as after a report of abuse: running jobs stop, nothing new starts until `reinstate`.

    \b
    Example:
      vasari consent suspend consent.jwt
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        jti = issued_consent(authority, id_from(token_or_id)).jti
        made = _receipt(jti, authority.suspend(jti))
    _answer(session, [made], "Consent suspended", receipt)


@click.command(short_help="End a suspension.")
@click.argument("token_or_id")
@receipt_option
@with_session
def reinstate(session: Session, token_or_id: str, receipt: Path | None) -> None:
    """End a suspension. A withdrawn consent stays withdrawn.

    \b
    Example:
      vasari consent reinstate consent.jwt
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        jti = issued_consent(authority, id_from(token_or_id)).jti
        made = _receipt(jti, authority.reinstate(jti))
    _answer(session, [made], "Consent reinstated", receipt)


@click.command(short_help="List every use, with log proofs.")
@click.argument("token_or_id", required=False)
@device_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write every entry and proof here.")
@with_session
def uses(session: Session, token_or_id: str | None, subject_key: Path | None, out: Path | None) -> None:
    """List every use of a consent, refunded ones too, each with its log entry and whether the proof holds.

    With --subject-key, all consents that the device's owner gave, and nobody else's. What --out writes is
    checked offline by `vasari log check`. Exit code 5 when a clip was released and the log does not prove it.

    \b
    Example:
      vasari consent uses consent.jwt
      vasari consent uses --subject-key jane.device --out my-uses
    """
    from policy import Authority
    from vasari.log_evidence import decisions_in_log

    if (token_or_id is None) == (subject_key is None):
        raise CommandError("name one consent, or give --subject-key for all of one's own")
    with Authority.open(session.state) as authority:
        if subject_key is not None:
            ids = [one.jti for one in _own_consents(authority, subject_key)]
        else:
            assert token_or_id is not None
            ids = [issued_consent(authority, id_from(token_or_id)).jti]
        logged = decisions_in_log(authority.log, authority.log_public_key)
        rows = {jti: [_use_row(use, logged) for use in authority.uses(jti)] for jti in ids}
        if out is not None:
            _write_proofs(authority, rows, out)
    _tell_uses(session, rows, single=ids[0] if token_or_id is not None else None)


@click.command(short_help="Print the consent record.")
@click.argument("token_or_id")
@with_session
def record(session: Session, token_or_id: str) -> None:
    """Print the record of how consent was collected and what happened since (fields of ISO/IEC TS 27560).

    It holds the person's name: for them, their registry and an auditor.

    \b
    Example:
      vasari consent record consent.jwt --json
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        found = authority.consent_record(issued_consent(authority, id_from(token_or_id)).jti)
    session.result(dict(found), [styled("Consent record", bold=True), *_record_lines(found)])


@click.command(short_help="Erase records past their retention.")
@click.argument("ids", nargs=-1)
@with_session
def erase(session: Session, ids: tuple[str, ...]) -> None:
    """Erase every consent record past its retention, with the private details behind its log entries.

    The log keeps its commitments, which say nothing any more, and stays whole. After `vasari registry split` each side
    erases its own: at the gate, what it recorded of consents that ended so long ago, or of the IDS that the registry
    has erased.

    \b
    Example:
      vasari consent erase
      vasari consent erase 6b002a73e09a7f72bb965645e7437759
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        erased = authority.erase_at_gate(ids) if ids else authority.erase_due()
    session.result({"erased": list(erased)}, [f"{len(erased)} records erased", *(f"  {jti}" for jti in erased)])


def _own_consents(authority: "Authority", subject_key: Path) -> Any:
    from policy import SoftwareAuthenticator

    return authority.consents_of(SoftwareAuthenticator.open(subject_key))


def _receipt(jti: str, event: "EventReceipt") -> dict[str, Any]:
    return {
        "consent": jti,
        "event": event.event,
        "log_index": event.log_index,
        "entry_sha256": event.entry_sha256,
        "log_proof": event.log_proof,
        "salt": event.salt,
    }


def _answer(session: Session, made: list[dict[str, Any]], title: str, receipt: Path | None) -> None:
    data = made[0] if len(made) == 1 else {"receipts": made}
    if receipt is not None:
        write_text(receipt, json.dumps(data, indent=1) + "\n")
    lines = []
    for one in made:
        rows = [("consent", one["consent"]), ("log entry", one["log_index"]), ("entry SHA-256", one["entry_sha256"])]
        lines += [styled(title, bold=True), *table(rows)]
    session.result(data, lines or ["There was nothing to withdraw."])


def _use_row(use: Any, logged: dict[str, Any]) -> dict[str, Any]:
    decision = logged.get(use.decision_id)
    return {
        "decision": use.decision_id,
        "state": use.state,
        "seconds": use.duration_ms / 1000,
        "at": moment(use.created_at),
        "clip_sha256": use.clip_sha256,
        "reason": use.reason,
        "log_index": decision.index if decision else None,
        "log_proof": decision.state if decision else "absent",
    }


def _write_proofs(authority: "Authority", rows: dict[str, list[dict[str, Any]]], out: Path) -> None:
    """Each use's log entry and proof, and the key they are checked with."""
    from provenance import format_log_key

    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "log.vkey", format_log_key(authority.log.origin, authority.log_public_key) + "\n")
    for index in sorted({row["log_index"] for uses in rows.values() for row in uses if row["log_index"] is not None}):
        (out / f"{index}.entry").write_bytes(authority.log.entry(index))
        write_text(out / f"{index}.tlog-proof", authority.log.prove(index))


def _tell_uses(session: Session, rows: dict[str, list[dict[str, Any]]], *, single: str | None) -> None:
    lines = []
    for jti, listed in rows.items():
        lines.append(styled(f"{len(listed)} use{'s' * (len(listed) != 1)} of consent {jti}", bold=True))
        for row in listed:
            entry = "no log entry" if row["log_index"] is None else f"entry {row['log_index']}, {row['log_proof']}"
            lines.append(f"  {row['at']}  {str(row['state']).ljust(10)}  {row['seconds']:7.2f} s  {entry}")
            lines += [styled(f"    {text}", dim=True) for text in (row["clip_sha256"], row["reason"]) if text]
    if single is not None:
        session.result({"consent": single, "uses": rows[single]}, lines)
    else:
        session.result({"consents": [{"consent": jti, "uses": listed} for jti, listed in rows.items()]}, lines)
    if any(row["state"] == "consumed" and row["log_proof"] != "proved" for uses in rows.values() for row in uses):
        session.note(
            "The transparency log does not prove every use: it was cut, changed or replaced. "
            "Compare it with a checkpoint kept elsewhere."
        )
        raise SystemExit(Exit.VERIFICATION_FAILED)


def _record_lines(record: Mapping[str, Any]) -> list[str]:
    """A consent record for the person whom it is about: every member but the salt, then the words that were shown."""
    events = [f"{moment(one['time'])} {one['state']} by {one['actor']}" for one in record["events"]]
    told = dict(record) | {
        "purposes": [one["text"] for one in record["purposes"]],
        "events": events,
        "notice": f"in language {record['notice']['language']}, {record['notice']['digest']}; it says:",
    }
    last = ("events", "notice")
    rows = [(name.replace("_", " "), told[name]) for name in (*(n for n in told if n not in ("salt", *last)), *last)]
    lines = table((name, "; ".join(value) if isinstance(value, list) else _plain(value)) for name, value in rows)
    return [*lines, "", *(f"  {printable(line, LONGEST_MESSAGE)}" for line in record["notice"]["text"].splitlines())]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
