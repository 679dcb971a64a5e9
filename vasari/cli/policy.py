"""`vasari policy`: why a decision fell, and whether a site's rules do what the site wants."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vasari.cli.session import FILE, CommandError, Exit, Session, styled, table, with_session
from vasari.plain_text import printable

if TYPE_CHECKING:
    from policy import Authority, Replay


@click.group()
def policy() -> None:
    """Explain decisions of the gate, and test a site's own policy."""


@policy.command(short_help="Replay a logged decision, byte for byte.")
@click.argument("decision")
@click.option("--facts", is_flag=True, help="Print the facts too, as a case for `vasari policy test`.")
@with_session
def explain(session: Session, decision: str, facts: bool) -> None:
    """Judge a logged decision again from its recorded facts and compare it with the log, byte for byte.

    DECISION is its id or its index in the log. Names every failing rule, the smallest change that would have
    allowed it and who can make it. Exit code 5 when the bytes differ.

    \b
    Example:
      vasari policy explain 5f0c…
    """
    from policy import Authority

    with Authority.open(session.state) as authority:
        index, entry = _logged(authority, decision)
        replayed = authority.replay(str(json.loads(entry)["decision"]), entry)
        appeal = authority.site.appeals_to
    data = _members(replayed, index, appeal)
    if facts:
        data["case"] = {
            "name": f"decision {replayed.decision_id}",
            "facts": {name: value for name, value in replayed.record.detail.items() if name != "denials"},
            "expect": [denial.rule_id for denial in replayed.denials],
        }
    lines = _lines(replayed, index, appeal)
    session.result(data, [*lines, json.dumps(data["case"], indent=1)] if facts else lines)
    raise SystemExit(Exit.OK if replayed.identical else Exit.VERIFICATION_FAILED)


@policy.command(short_help="Run a site's cases against its rules.")
@click.argument("cases", type=FILE)
@with_session
def test(session: Session, cases: Path) -> None:
    """Judge every case of a JSON file by the rules and `site.json` of this authority; exit code 5 when one differs.

    A case has a name, the facts, and the rules that are expected to refuse (none: an allow). `vasari policy explain
    --facts` prints one from a real decision; the case's `site` is replaced by the site's own file when it is null.

    \b
    Example:
      vasari policy test cases.json
    """
    from policy import Authority, PolicyError, read_cases, run_cases

    with Authority.open(session.state) as authority:
        try:
            results = run_cases(read_cases(cases), site=authority.site)
        except PolicyError as error:
            raise CommandError(f"{cases}: {error}") from error
    rows = [{"name": one.name, "passed": one.passed, "expected": one.expected, "came": one.came} for one in results]
    failed = [one for one in results if not one.passed]
    lines = []
    for one in results:
        word = styled("ok    ", fg="green") if one.passed else styled("FAILED", fg="red", bold=True)
        lines.append(f"{word}  {printable(one.name, 100)}")
        if not one.passed:
            lines.append(f"        expected {', '.join(one.expected) or 'an allow'}")
            lines.append(f"        came     {', '.join(one.came) or 'an allow'}")
    session.result({"cases": rows, "failed": len(failed)}, [*lines, f"{len(results)} cases, {len(failed)} failed"])
    raise SystemExit(Exit.VERIFICATION_FAILED if failed else Exit.OK)


def _logged(authority: "Authority", decision: str) -> tuple[int, bytes]:
    """The entry of a decision by its id or index; what the log says, not what the gate remembers."""
    log = authority.log
    by_index = decision.isascii() and decision.isdecimal() and len(decision) < 16
    indices = range(int(decision), min(int(decision) + 1, log.size)) if by_index else range(log.size - 1, -1, -1)
    for index in indices:
        entry = log.entry(index)
        members = json.loads(entry)
        if members.get("event") == "decision" and (by_index or members.get("decision") == decision):
            return index, entry
    raise CommandError(f"the log holds no decision {printable(decision, 80)}", Exit.NOTHING_FOUND)


def _members(replayed: "Replay", index: int, appeal: str) -> dict[str, Any]:
    return {
        "decision": replayed.decision_id,
        "log_index": index,
        "identical": replayed.identical,
        "same_rules": replayed.same_rules,
        "outcome": "refuse" if replayed.denials else "allow",
        "denials": [vars(denial) for denial in replayed.denials],
        "way_out": [vars(change) for change in replayed.way_out.changes],
        "way_out_sufficient": replayed.way_out.sufficient,
        "appeal": appeal,
    }


def _lines(replayed: "Replay", index: int, appeal: str) -> list[str]:
    outcome = styled("Refused", fg="red", bold=True) if replayed.denials else styled("Allowed", fg="green", bold=True)
    match = "the same bytes as in the log" if replayed.identical else "NOT the bytes in the log"
    if not replayed.identical and not replayed.same_rules:
        match += " (it was decided by another set of rules)"
    lines = [outcome, *table([("decision", replayed.decision_id), ("log entry", index), ("replayed", match)])]
    for denial in replayed.denials:
        lines += [f"  {styled(denial.rule_id, bold=True)}", f"    {printable(denial.fact, 500)}"]
    if replayed.denials:
        lines.append("With these changes it would be allowed:" if replayed.way_out.sufficient else "What would help:")
        lines += [f"  {change.who}: {printable(change.what, 500)}" for change in replayed.way_out.changes]
        lines.append(f"Appeal: {printable(appeal, 300)}")
    return lines
