"""A process that the gate starts for one task and trusts with nothing: a fresh interpreter with next to no rights.

It never comes from a fork of a process that has used PyTorch or the C2PA libraries. It inherits one end of a socket
pair and no other descriptor, an environment of a few names, and no path to the state folder; `confined_start` is the
first code it runs. Whatever it does wrong is a ProcessError, and closing it kills it.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from policy.confined_start import LIBRARIES
from policy.errors import ProcessError, SealError, StateError
from policy.locked_memory import guard_process
from policy.process_channel import SEND_WITHIN_S, Channel, ChannelEndedError
from policy.process_messages import Expected, Failed, Message, Progress, Ready

PACKAGES = ("media", "generator", "watermark", "provenance", "policy")
ROOT = Path(__file__).resolve().parents[1]
START = Path(__file__).with_name("confined_start.py")
INHERITED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
READY_WITHIN_S = 180.0
STEP_WITHIN_S = 120.0
"""Between one message and the next: the longest step is to encode a large portrait on a slow machine."""
MOST_MEMORY_BYTES = 24 << 30
MOST_FILE_BYTES = 4 << 30


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    user: int
    group: int

    @classmethod
    def named(cls, name: str) -> Account:
        """Raises StateError when there is none, it is root or the gate's own, or this process can't become it."""
        try:
            found = pwd.getpwnam(name)
        except KeyError as error:
            raise StateError(f"there is no user {name!r:.80} on this machine") from error
        if found.pw_uid == 0 or found.pw_uid == os.geteuid():
            raise StateError(f"user {name} is root or the gate's own user; name another, or none")
        if os.geteuid() != 0:
            raise StateError(f"only root can start a process under another user ({name}); run the gate as root")
        return cls(name, found.pw_uid, found.pw_gid)

    def require_code(self) -> None:
        """Raise StateError when this user can't get at Python or Vasari, some of which is loaded late."""
        for folder in (Path(sys.base_prefix), Path(sys.prefix), ROOT):
            for place in (folder.resolve(), *folder.resolve().parents):
                status = place.stat()
                owned = status.st_uid == self.user, status.st_gid == self.group
                if not status.st_mode & (0o100 if owned[0] else 0o010 if owned[1] else 0o001):
                    raise StateError(f"user {self.name} can't enter {place}, where code lies; install it elsewhere")


class ConfinedProcess:
    """One running process. Use as a context manager: its end kills the process."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel, account: Account | None, what: str) -> None:
        self._process, self._channel, self._account, self._what = process, channel, account, what

    @classmethod
    def start(cls, entry: str, *, what: str, account: Account | None, hidden: Path) -> Self:
        """Start `entry` (`module:function`), to be waited for with `ready`.

        `what`: its name in errors; `hidden`: the folder that it must not reach. Raises StateError where that lies in a
        folder which it reads code from.
        """
        guard_process()
        top = entry.partition(".")[0]
        packages = [str(ROOT / name) for name in dict.fromkeys((*PACKAGES, top))]
        readable = [sys.prefix, sys.base_prefix]
        _require_hidden(hidden, (*packages, *readable, *LIBRARIES))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        plan = {
            "channel": theirs.fileno(),
            "parent": os.getpid(),
            "entry": entry,
            "packages": packages,
            "readable": readable,
            "user": None if account is None else [account.user, account.group],
            "most_memory_bytes": MOST_MEMORY_BYTES,
            "most_file_bytes": MOST_FILE_BYTES,
        }
        try:
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-I", str(START), json.dumps(plan)],
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            raise ProcessError(f"{what} can't be started: {error.strerror}") from error
        return cls(process, Channel(ours, send_within_s=SEND_WITHIN_S), account, what)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, whatever it does; twice does no harm."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._channel.close()

    def ready(self, *, waiting: Callable[[], None] | None = None) -> Ready:
        """Wait until it is confined; raises ProcessError when it is not as it was meant to be."""
        ready = self.receive(Ready, within_s=READY_WITHIN_S, waiting=waiting)
        meant = os.geteuid() if self._account is None else self._account.user
        if ready.user != meant:
            raise self._error(f"it runs as user {ready.user}, not {meant}")
        if not ready.landlock and self._account is None:
            raise self._error("it can read the gate's files")
        return ready

    def tell(self, message: Message, files: Sequence[int] = ()) -> None:
        """Send one message; raises ProcessError."""
        try:
            self._channel.send(message, files)
        except ChannelEndedError as error:
            raise self._ended(error) from error

    def receive(
        self,
        *expected: type[Expected],
        within_s: float = STEP_WITHIN_S,
        waiting: Callable[[], None] | None = None,
    ) -> Expected:
        """Its next message, one of the `expected`; raises ProcessError, also for what it says it failed at."""
        kinds: tuple[type[Message], ...] = (*expected, Failed)
        try:
            message = self._channel.receive(*kinds, within_s=within_s, waiting=waiting)
        except ChannelEndedError as error:
            raise self._ended(error) from error
        except ProcessError as error:
            raise self._error(str(error)) from error
        if isinstance(message, expected):
            return message
        assert isinstance(message, Failed)
        if message.error == "seal":
            raise SealError(message.message)
        raise self._error(f"it failed ({message.error}): {message.message}")

    def follow(
        self,
        end: type[Expected],
        *,
        most_s: float,
        on_progress: Callable[[int], None] | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Expected:
        """Its message of kind `end`, with any number of rising Progress before it, all within `most_s`."""
        until, before = time.monotonic() + most_s, -1
        while True:
            left_s = min(STEP_WITHIN_S, max(0.0, until - time.monotonic()))
            message = self.receive(end, Progress, within_s=left_s, waiting=waiting)
            if isinstance(message, end):
                return message
            assert isinstance(message, Progress)
            if message.done <= before:
                raise self._error(f"its progress went from {before} to {message.done}")
            before = message.done
            if on_progress is not None:
                on_progress(before)

    def _ended(self, error: ChannelEndedError) -> ProcessError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if code is None:
            return self._error(str(error))
        return self._error(f"it ended ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})")

    def _error(self, fact: str) -> ProcessError:
        return ProcessError(f"{self._what}: {fact}")


def _environment() -> dict[str, str]:
    """Nothing of the gate's but thread counts. Matplotlib, which the face finder loads, wants a folder that looks as if
    it could be written to; it goes on without its cache when it can't."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    fixed = {"LC_ALL": "C.UTF-8", "PATH": "/nowhere", "MPLCONFIGDIR": "/tmp", "ENCYPHER_C2PA_TELEMETRY": "off"}  # noqa: S108
    return {**kept, **fixed}


def _require_hidden(hidden: Path, readable: Sequence[str]) -> None:
    place = hidden.resolve()
    for folder in readable:
        if place.is_relative_to(Path(folder).resolve()):
            raise StateError(f"{hidden} lies in {folder}, which confined processes read code from; move it elsewhere")
