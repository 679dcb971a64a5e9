"""Releases in a process of their own, which may be killed or run out of space at a named stage.

The processes come from a fork server that has imported everything and run nothing: the engines inside
the C2PA libraries do not survive a fork of a process that has used them.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from policy import Authority, GenerationRequest, Refused, ReleaseError
from policy.media_facts import MediaFacts
from tests.policy.conftest import MovingPicture, pipeline_of

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.policy.child_process"])
RELEASED, REFUSED, FAILED = 0, 3, 4
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Task:
    """One release; `kill_at` and `disk_full_at` name stages, `generating` meaning after 30 frames.

    `worker`: the entry of the worker process, where the state folder's gate has one.
    """

    state: Path
    request: GenerationRequest
    facts: MediaFacts
    out: Path
    now: datetime
    kill_at: str = ""
    live: bool = False
    disk_full_at: str = ""
    worker: str = ""


def run(task: Task) -> int:
    """Release in a child process; one of the codes above."""
    child = PROCESSES.Process(target=release, args=(task,))
    child.start()
    child.join(120)
    assert child.exitcode is not None, "the child hangs"
    return child.exitcode


def decide_in_step(task: Task, start: Barrier, answers: Queue[list[str]]) -> None:
    """Decide on the task's request together with the other processes; answers with the rules that refuse it."""
    authority = Authority.open(task.state, clock=lambda: task.now)
    gate = authority.gate(inspect=lambda *media: task.facts)
    start.wait(60)
    decision = gate.decide(task.request, worker_key=bytes(32))
    answers.put([denial.rule_id for denial in decision.denials])
    start.wait(60)


def release(task: Task) -> None:
    torch.set_num_threads(1)
    authority = Authority.open(task.state, clock=lambda: task.now)
    pipeline = pipeline_of(authority, MovingPicture())
    if task.worker:
        assert pipeline._split is not None
        pipeline._split = replace(pipeline._split, entry=task.worker)
    pipeline._gate = authority.gate(inspect=lambda *media: task.facts)

    def at(stage: str) -> None:
        if stage == task.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if stage == task.disk_full_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    def progress(done: int, frames: int) -> None:
        if done > 30:
            at("generating")

    try:
        if task.live:
            pipeline.stream(task.request, task.out, on_stage=at)
        else:
            pipeline.release(task.request, task.out, on_stage=at, progress=progress)
    except Refused:
        os._exit(REFUSED)
    except ReleaseError as error:
        print(error, flush=True)
        os._exit(FAILED)
    os._exit(RELEASED)
