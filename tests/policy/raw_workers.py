"""Worker processes that were taken over, as an attacker would write them: the socket and the standard library.

Each is the entry of a process that `policy.confined_process` starts; each says it is ready first.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PUBLIC_KEY = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  # the base point; what is wrapped to it stays wrapped


def say(end: socket.socket, kind: str, **members: object) -> None:
    end.send(json.dumps({"kind": kind, **members}).encode())


def until_the_clip(end: socket.socket, measures: dict[str, int], *, side_px: int = 512) -> int:
    """Do what is asked up to the clip, without a look at it; the descriptor to fill."""
    say(end, "ready", public_key=PUBLIC_KEY, **measures)
    answers: dict[str, dict[str, object]] = {
        "open": {"kind": "opened"},
        "begin": {"kind": "begun", "width_px": side_px, "height_px": side_px},
        "rehearse": {"kind": "rehearsed"},
    }
    while True:
        data, files, _, _ = socket.recv_fds(end, 70_000, 3)
        if not data:
            sys.exit(0)
        kind = json.loads(data)["kind"]
        if kind in ("make", "tell motion"):
            return files[0]
        end.send(json.dumps(answers[kind]).encode())


def wait(end: socket.socket) -> None:
    """Until the gate hangs up, or for ever."""
    while end.recv(70_000):
        continue


def garbage(end: socket.socket, measures: dict[str, int]) -> None:
    file = until_the_clip(end, measures)
    os.write(file, os.urandom(100_000))
    say(end, "made", frames=65)
    wait(end)


def nothing(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    say(end, "made", frames=65)
    wait(end)


def endless(end: socket.socket, measures: dict[str, int]) -> None:
    file = until_the_clip(end, measures)
    with contextlib.suppress(OSError):
        os.truncate(file, 3 << 30)
    say(end, "made", frames=65)
    wait(end)


def announces_small_frames(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures, side_px=256)
    wait(end)


def no_motion(end: socket.socket, measures: dict[str, int]) -> None:
    """Bytes that are no motion, for the plot."""
    file = until_the_clip(end, measures)
    os.write(file, os.urandom(1001))
    say(end, "motion told")
    wait(end)


def dies(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    say(end, "progress", done=4)
    os.abort()


def hangs(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    say(end, "progress", done=4)
    while True:
        time.sleep(60)


def goes_back(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    for done in (4, 8, 8):
        say(end, "progress", done=done)
    wait(end)


def counts_on(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    for done in range(4, 1000, 4):
        say(end, "progress", done=done)
    wait(end)


def talks_nonsense(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    end.send(b"\x80\x04\x95pickle?")
    wait(end)


def adds_members(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    say(end, "made", frames=65, manifest_id="0" * 16)
    wait(end)


def says_too_much(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    say(end, "made", frames=65, padding="x" * 100_000)
    wait(end)


def answers_another_question(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    say(end, "begun", width_px=512, height_px=512)
    wait(end)


def hands_descriptors_over(end: socket.socket, measures: dict[str, int]) -> None:
    until_the_clip(end, measures)
    socket.send_fds(end, [b'{"kind":"made","frames":65}'], [0, 1])
    wait(end)


def names_no_key(end: socket.socket, measures: dict[str, int]) -> None:
    say(end, "ready", **measures)
    wait(end)


def claims_another_user(end: socket.socket, measures: dict[str, int]) -> None:
    say(end, "ready", public_key=PUBLIC_KEY, **{**measures, "user": measures["user"] + 1})
    wait(end)


def waits(end: socket.socket, measures: dict[str, int]) -> None:
    say(end, "ready", public_key=PUBLIC_KEY, **measures)
    while True:
        time.sleep(60)


def looks_around(end: socket.socket, measures: dict[str, int]) -> None:
    """Try what a process that was taken over would like to do, and tell what came of each."""
    say(end, "ready", public_key=PUBLIC_KEY, **measures)
    (state, gate) = json.loads(socket.recv_fds(end, 70_000, 3)[0])["grant"].split("|")
    tries: dict[str, Callable[[], object]] = {
        "files": lambda: len(os.listdir(state)),  # noqa: PTH208  nothing but what was imported already
        "key": lambda: len(Path(state, "keys", "gate.pem").read_bytes()),
        "write": lambda: Path(state).parent.joinpath("left").write_bytes(b"x"),
        "tmp": lambda: Path("/tmp/left").write_bytes(b"x"),  # noqa: S108
        "mode": lambda: os.chmod(Path(state, "keys", "gate.pem"), 0o644),  # noqa: PTH101
        "times": lambda: os.utime(state),
        "attribute": lambda: os.setxattr(state, "user.left", b"x"),
        "shared_memory": lambda: system_call("shmget", 0x1234, 4096, 0o1600),
        "signal": lambda: os.kill(int(gate), 0),
        "limit": lambda: resource.prlimit(int(gate), resource.RLIMIT_CORE),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, int(gate), 19),
        "network": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "fork": os.fork,
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "memory": lambda: os.open(f"/proc/{gate}/mem", os.O_RDONLY),
        "environment_of_gate": lambda: len(Path(f"/proc/{gate}/environ").read_bytes()),
        "root": lambda: os.setuid(0) if os.getuid() else os.chroot("/usr"),
    }
    said = {name: outcome(attempt) for name, attempt in tries.items()}
    threads: list[int] = []
    thread = threading.Thread(target=threads.append, args=(1,))
    thread.start()
    thread.join()
    said |= {
        "threads": str(len(threads)),
        "descriptors": " ".join(sorted(os.listdir("/proc/self/fd"))),  # noqa: PTH208
        "environment": " ".join(sorted(os.environ)),
        "folder": str(Path.cwd()),
        "out_of_memory": Path("/proc/self/oom_score_adj").read_text(encoding="ascii").strip(),
        "core": str(resource.getrlimit(resource.RLIMIT_CORE)),
        "files_of": str(resource.getrlimit(resource.RLIMIT_FSIZE)[1]),
        "status": " ".join(
            line
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            if line.startswith(("CapEff", "NoNewPrivs", "Seccomp:"))
        ),
        "dumpable": str(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)),
        "user": str(os.getresuid()),
    }
    say(end, "failed", error="other", message=json.dumps(said))


def system_call(name: str, *values: int) -> int:
    """By the C library's function of that name."""
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*values)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def outcome(attempt: Callable[[], object]) -> str:
    try:
        return f"did: {attempt()!r}"[:40]
    except OSError as error:
        return type(error).__name__
