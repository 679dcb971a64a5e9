"""What a rule is, and how a list of rules is judged.

A rule names its facts by its parameters. A fact that is missing is a refusal, so taking a fact away
never turns a refusal into an allow. `judge` always judges every rule and returns all that fail.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policy.decision import Denial
from policy.facts import FOLLOWS, Facts

Check = Callable[..., str | None]


@dataclass(frozen=True)
class Rule:
    """`check` gets the facts named in `needs`, in their order, and returns what is wrong, in words, or None."""

    rule_id: str
    needs: tuple[str, ...]
    remedy: str
    check: Check


class RuleBook(list[Rule]):
    """Rules in the order in which they are written down."""

    def rule(self, rule_id: str, remedy: str) -> Callable[[Check], Check]:
        """Register a function as a rule; its facts are the names of its parameters."""

        def register(check: Check) -> Check:
            self.append(Rule(rule_id, tuple(inspect.signature(check).parameters), remedy, check))
            return check

        return register


def judge(facts: Facts, rules: Sequence[Rule]) -> tuple[Denial, ...]:
    """All denials, missing facts first, then rules in their order; empty means allowed."""
    missing: dict[str, Denial] = dict(facts.unreadable)
    failed: list[Denial] = []
    known = vars(facts)
    absent = {name for name, value in known.items() if value is None}
    for rule in rules:
        if absent and not absent.isdisjoint(rule.needs):
            for name in rule.needs:
                if name in absent and not _explained(name, missing):
                    missing.setdefault(name, _missing(name))
        elif (fact := rule.check(*map(known.__getitem__, rule.needs))) is not None:
            failed.append(Denial(rule.rule_id, fact, rule.remedy))
    return (*missing.values(), *failed)


def _explained(name: str, missing: Mapping[str, Denial]) -> bool:
    """Whether a fact that this one can't be had without is among the missing ones already."""
    while name in FOLLOWS:
        name = FOLLOWS[name]
        if name in missing:
            return True
    return False


def _missing(name: str) -> Denial:
    words = name.replace("_", " ")
    return Denial(
        f"{name}.missing", f"The gate does not know the {words}.", "Give it; what is not known is never allowed."
    )
