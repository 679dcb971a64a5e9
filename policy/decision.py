"""Decisions as values: allowed or refused, with every reason, tied to their log entry."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from policy.consent_token import ConsentClaims


@dataclass(frozen=True)
class Denial:
    """One failing rule: its stable id (`consent.expired`), the fact it looked at, how to mend it."""

    rule_id: str
    fact: str
    remedy: str


@dataclass(frozen=True)
class Change:
    """One thing that would have to change, in words, and who can change it."""

    who: str
    what: str


@dataclass(frozen=True)
class Decision:
    """What the gate said.

    `entry` is the transparency log entry, `sha256` its hex digest, `log_index` where it stands; the index
    is None only when the log could not be written, and then the decision is a refusal. `way_out`: the smallest
    change that would allow; `way_out_sufficient`: the gate judged the changed request and would allow it. `appeal`:
    where to turn to against a refusal. `grant`,
    `reservation_id`, `manifest_id`, `duration_s` (of the recording) and `log_proof` are there on an allow only.
    """

    decision_id: str
    allowed: bool
    denials: tuple[Denial, ...]
    decided_at: int
    entry: bytes = field(repr=False)
    sha256: str
    log_index: int | None
    log_proof: str = field(default="", repr=False)
    grant: str = field(default="", repr=False)
    reservation_id: str = ""
    manifest_id: int | None = None
    consent_id: str = ""
    duration_s: float = 0.0
    consent: ConsentClaims | None = field(default=None, repr=False)
    way_out: tuple[Change, ...] = ()
    way_out_sufficient: bool = False
    appeal: str = ""

    def explain(self) -> str:
        """Every reason with its remedy, one per line; for people."""
        if self.allowed:
            return f"Allowed (decision {self.decision_id})."
        lines = [f"Refused (decision {self.decision_id}):"]
        lines += [f"  {denial.rule_id}: {denial.fact} {denial.remedy}" for denial in self.denials]
        if self.way_out:
            lines += ["With these changes it would be allowed:" if self.way_out_sufficient else "What would help:"]
            lines += [f"  {change.who}: {change.what}" for change in self.way_out]
        lines += [f"Appeal: {self.appeal}"] if self.appeal else []
        return "\n".join(lines)

    def as_members(self) -> dict[str, Any]:
        """For JSON output; holds neither tokens nor the grant."""
        return {
            "decision_id": self.decision_id,
            "allowed": self.allowed,
            "denials": [asdict(denial) for denial in self.denials],
            "decided_at": self.decided_at,
            "sha256": self.sha256,
            "log_index": self.log_index,
            "way_out": [asdict(change) for change in self.way_out],
            "way_out_sufficient": self.way_out_sufficient,
            "appeal": self.appeal,
        }
