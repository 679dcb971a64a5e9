"""One rule per fault of issuer, audience and time, for each kind of token that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from policy.accreditation_token import AccreditationClaims
from policy.consent_token import ConsentClaims
from policy.facts import GateIdentity
from policy.rule import Rule
from policy.strict_jws import TIME_CHECKS

REMEDIES: Mapping[str, str] = {
    "other_issuer": "Use a token of the issuer that this gate trusts.",
    "other_gate": "Use a token that was issued for this gate.",
    "expired": "Ask its issuer for a new one.",
    "not_yet_valid": "Wait until it begins, or ask its issuer for an earlier beginning.",
    "issued_in_future": "Set the clocks of issuer and gate right.",
}

TIMED = (ConsentClaims, AccreditationClaims)


def time_rules(token: str, issuer: Callable[[GateIdentity], str]) -> Iterator[Rule]:
    """The rules of the fact named `token`, which only `issuer` may have issued."""
    return (_rule(token, code, issuer) for code in REMEDIES)


def _rule(token: str, code: str, issuer: Callable[[GateIdentity], str]) -> Rule:
    def check(claims: object, gate: object, now: object) -> str | None:
        if not isinstance(gate, GateIdentity) or not isinstance(now, datetime) or not isinstance(claims, TIMED):
            return f"The {token} token can't be judged."
        fault = TIME_CHECKS[code](vars(claims), issuer(gate), gate.gate_id, int(now.timestamp()))
        return None if fault is None else f"The {token} token is {fault}."

    return Rule(f"{token}.{code}", (token, "gate", "now"), REMEDIES[code], check)
