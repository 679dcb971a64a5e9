"""A logged decision, judged again: same facts and same rules must give the same bytes.

The private record holds the facts; `replay` rebuilds them, judges them, and makes the log entry again with the
recorded salt. Equal bytes show that record, rules and log tell the same story; different ones say where not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policy.canonical import canonical_json, strict_json_object
from policy.counterfactual import WayOut, way_out
from policy.decision import Denial
from policy.decision_record import facts_of
from policy.errors import PolicyError, UnknownTokenError
from policy.events import EventRecorder, PrivateRecord, entry_of
from policy.facts import Facts
from policy.gate import decision_detail, public_members
from policy.rules import evaluate, rule_set_sha256
from policy.site_policy import SitePolicy

MAX_CASES_BYTES = 16 << 20


@dataclass(frozen=True)
class Replay:
    """`made`: the entry as these facts and rules make it now; `identical` with the logged one, byte for byte."""

    decision_id: str
    record: PrivateRecord
    facts: Facts
    denials: tuple[Denial, ...]
    way_out: WayOut
    made: bytes
    logged: bytes
    same_rules: bool

    @property
    def identical(self) -> bool:
        """Whether the logged entry is exactly the one that was made again."""
        return self.made == self.logged


def replay(events: EventRecorder, decision_id: str, logged: bytes) -> Replay:
    """Judge a recorded decision again; raises UnknownTokenError when its record was erased or never was."""
    record = events.find_decision(decision_id)
    if record is None:
        raise UnknownTokenError(f"no decision {decision_id!r:.80} is recorded here, or its record was erased")
    facts = facts_of(record.detail)
    denials = evaluate(facts)
    made = entry_of(
        "decision",
        canonical_json(decision_detail(facts, denials)),
        salt=record.salt,
        at=record.at,
        decision=decision_id,
        public=public_members(denials),
    )
    same_rules = strict_json_object(logged).get("rule_set") == rule_set_sha256()
    return Replay(decision_id, record, facts, denials, way_out(facts, denials), made.data, logged, same_rules)


@dataclass(frozen=True)
class CaseResult:
    """One of a site's cases: what was expected, what came."""

    name: str
    expected: tuple[str, ...]
    came: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether exactly the expected rules refuse (none: an allow)."""
        return sorted(self.expected) == sorted(self.came)


def run_cases(cases: bytes, *, site: SitePolicy) -> tuple[CaseResult, ...]:
    """Judge a site's cases; raises PolicyError for a file that is not as described.

    JSON: `{"cases": [{"name", "facts": {...}, "expect": ["rule.id", ...]}]}`; an empty `expect` is an allow.
    `facts` has the members of a decision record (`vasari policy explain --facts`); where its `site` is null, `site`
    stands in.
    """
    if len(cases) > MAX_CASES_BYTES:
        raise PolicyError(f"the cases have {len(cases)} bytes, at most {MAX_CASES_BYTES} are read")
    try:
        listed = strict_json_object(cases)["cases"]
        if not isinstance(listed, list) or not listed:
            raise ValueError("no cases")
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyError(f'expected JSON of the form {{"cases": [...]}} with at least one case ({error})') from error
    return tuple(_run_case(number, case, site) for number, case in enumerate(listed, start=1))


def read_cases(path: Path) -> bytes:
    """A cases file, at most a byte more than is read."""
    with path.open("rb") as file:
        return file.read(MAX_CASES_BYTES + 1)


def _run_case(number: int, case: Any, site: SitePolicy) -> CaseResult:
    if not isinstance(case, dict) or set(case) != {"name", "facts", "expect"}:
        raise PolicyError(f"case {number}: expected an object with exactly name, facts and expect")
    name, expected = case["name"], case["expect"]
    if not isinstance(name, str) or not _strings(expected):
        raise PolicyError(f"case {number}: name is a text and expect a list of rule ids")
    try:
        facts = facts_of(case["facts"])
    except (PolicyError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PolicyError(
            f"case {number} ({name[:80]!r}): its facts are not those of a decision record ({error})"
        ) from error
    denials = evaluate(facts if facts.site is not None else replace(facts, site=site))
    return CaseResult(name, tuple(expected), tuple(denial.rule_id for denial in denials))


def _strings(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)
