"""The release pipeline: the only way from a request to a clip.

reserve and decide -> log -> grant -> key -> open weights -> generate, mark, encode (anonymous file) ->
read both marks back -> sign -> verify -> register -> log -> hand out -> consume the use. A refusal or any
failure on the way leaves nothing at the output path and gives the use back by a logged event.

Opening the weights, generating, marking and encoding happen in this process, or in a worker process of its own
(`vasari worker split`); everything else is the gate's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from policy.authority import Authority
from policy.clip_release import ClipJob, Progress, Receipt
from policy.decision import Decision
from policy.errors import Refused, StateError
from policy.hand_out import HandOut
from policy.live_recording import read_live
from policy.motion_preview import PreviewJob
from policy.performer import LocalPerformer, Performer, generator_on, plot_kind
from policy.request import GenerationRequest
from policy.segment_maker import SEGMENT_S
from policy.stages import OnStage, Stages
from policy.stream_folder import StreamFolder
from policy.stream_release import LiveInput, StreamJob, StreamReceipt


class ReleasePipeline:
    """Makes and hands out clips for one authority.

    A caller can hand in neither a generator of its own, which would be given the opened weights, nor another
    inspection of portrait and recording.
    """

    def __init__(self, authority: Authority, *, device: str = "cpu") -> None:
        self._authority = authority
        self._split = authority.split_worker
        if self._split is not None and device != "cpu":
            raise StateError(f"a worker process works on the CPU, not on {device}; see `vasari worker split --end`")
        self._gate = authority.gate()
        self._make_talker = generator_on(device)

    def release(
        self,
        request: GenerationRequest,
        out: Path,
        *,
        progress: Progress | None = None,
        on_stage: OnStage | None = None,
        overwrite: bool = False,
        plot: Path | None = None,
    ) -> Receipt:
        """Make the clip and put it at `out`; and a plot of its motion (.png or .svg) at `plot`.

        `progress(frames done, frames in all)` is called while frames are made, `on_stage(name)` after each
        step, of which making and reading back come again when a mark can't be read. Raises Refused with every
        reason; OutputError before anything is reserved when `out` can't be written; ReleaseError when something
        broke on the way, and then nothing is left and no use is taken.
        """
        if read_live(request.audio) is not None:
            raise ValueError("a live recording is released as a stream, not as a clip")
        hand_out = HandOut.prepare(out, overwrite=overwrite)
        beside = None if plot is None else _prepare_plot(plot, overwrite=overwrite)
        self._authority.require_weights()
        stages = Stages(on_stage)
        with self._performer() as performer:
            stages.done("prepared")
            decision = self._allowed(request, performer)
            job = ClipJob(self._authority, self._gate.status_of, request, decision, hand_out, stages, beside)
            with job.owned():
                stages.done("decided")
                return job.run(performer, progress)

    def preview(self, request: GenerationRequest, plot: Path, *, overwrite: bool = False) -> Decision:
        """Put a plot of the motion (.png or .svg) at `plot`, without making a frame; the decision that allowed it.

        It takes a use like a clip: motion is made with the weights and under the consent. Raises as `release` does.
        """
        if read_live(request.audio) is not None:
            raise ValueError("the motion of a live recording is not known before it was spoken")
        hand_out = _prepare_plot(plot, overwrite=overwrite)
        self._authority.require_weights()
        with self._performer() as performer:
            decision = self._allowed(request, performer)
            job = PreviewJob(self._authority, self._gate.status_of, request, decision, hand_out, Stages(None))
            with job.owned():
                job.run(performer)
        return decision

    def stream(
        self,
        request: GenerationRequest,
        folder: Path,
        *,
        live: LiveInput | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        on_stage: OnStage | None = None,
    ) -> StreamReceipt:
        """Put signed segments and a playlist into `folder`, which is made or empty, while the sound arrives.

        `live` is where the sound of a request for a live recording comes from; it must be given for such a one and
        for no other. `progress(frames handed out, frames in all or None)` is called after each segment. Raises as
        `release` does; once a segment was handed out, an error leaves what is there and the use is taken.
        """
        recording = read_live(request.audio)
        if (recording is None) != (live is None):
            raise ValueError("a source of live sound belongs to a request for a live recording, and to no other")
        if self._split is not None:
            raise StateError(
                f"{self._authority.folder}: this gate has a worker process, which makes whole clips and no streams; "
                "leave --live out, or use a gate without one (`vasari worker split --end`)"
            )
        prepared = StreamFolder.prepare(folder, target_s=SEGMENT_S if recording else 2 * SEGMENT_S)
        stages = Stages(on_stage)
        with self._local_performer() as performer:
            try:
                self._authority.require_weights()
                stages.done("prepared")
                decision = self._allowed(request, performer)
            except BaseException:
                prepared.retract()
                raise
            job = StreamJob(
                self._authority, self._gate.status_of, request, decision, prepared, stages,
                live=recording, live_input=live,
            )  # fmt: skip
            with job.owned():
                stages.done("decided")
                return job.run(performer, progress)

    def _allowed(self, request: GenerationRequest, performer: Performer) -> Decision:
        """The decision, when it is an allow; else raises Refused."""
        decision = self._gate.decide(request, worker_key=performer.public_bytes)
        if not decision.allowed:
            raise Refused(decision)
        return decision

    def _performer(self) -> Performer:
        return self._local_performer() if self._split is None else self._split.performer(self._authority.weights)

    def _local_performer(self) -> LocalPerformer:
        return LocalPerformer(self._authority.weights, self._make_talker)


def _prepare_plot(plot: Path, *, overwrite: bool) -> HandOut:
    """Everything a plot needs, before anything is reserved; raises OutputError."""
    plot_kind(plot)
    return HandOut.prepare(plot, overwrite=overwrite)
