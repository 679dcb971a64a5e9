"""A plot of a performance's motion: it needs the weights, so it is decided, granted, logged and counted like a clip.

What it shows is a picture of curves; neither frames nor numbers leave.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from policy.authority import Authority
from policy.canonical import sha256_hex
from policy.consent_token import ConsentClaims
from policy.decision import Decision
from policy.hand_out import HandOut
from policy.job import Job
from policy.performer import Performer, Wishes, plot_kind
from policy.request import GenerationRequest
from policy.stages import Stages
from policy.status_list import TokenStatus


class PreviewJob(Job):
    """One allowed request on its way to a plot alone."""

    def __init__(
        self,
        authority: Authority,
        status_of: Callable[[ConsentClaims], TokenStatus],
        request: GenerationRequest,
        decision: Decision,
        hand_out: HandOut,
        stages: Stages,
    ) -> None:
        super().__init__(authority, status_of, request, decision, stages)
        self._hand_out = hand_out

    def _retract(self) -> None:
        self._hand_out.retract()

    def run(self, performer: Performer) -> None:
        """All steps after the decision."""
        self._unseal(performer)
        performer.rehearse(Wishes.of(self._request), look=self._look)
        self._deliver(performer.plot(plot_kind(self._hand_out.out), look=self._look))

    def _deliver(self, plot: bytes) -> None:
        """Log the plot, hand it out, consume the use."""
        authority, decision = self._authority, self._decision
        self._require_consent()
        record_plot(authority, decision, plot)
        assert decision.log_index is not None
        authority.stores.ledger.deliver(
            decision.reservation_id,
            output=self._hand_out.out,
            part=self._hand_out.part,
            clip_sha256=sha256_hex(plot),
            log_index=decision.log_index,
        )
        self._hand_out.publish(io.BytesIO(plot))
        authority.stores.ledger.consume(decision.reservation_id, authority.clock())
        self._consumed = True
        self._stages.done("handed out")


def record_plot(authority: Authority, decision: Decision, plot: bytes) -> None:
    """Write to the log that the motion of this decision was plotted."""
    authority.stores.events.record(
        "motion.plotted",
        {"plot_sha256": sha256_hex(plot), "reservation": decision.reservation_id},
        now=authority.clock(),
        decision=decision.decision_id,
        subject=decision.consent_id,
    )
