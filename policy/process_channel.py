"""One end of the Unix socket pair between the gate and a confined process: whole messages, in order, with a deadline.

The pair keeps the bounds of messages (SOCK_SEQPACKET), so there is no length to lie about. Descriptors travel from the
gate to the process only (SCM_RIGHTS); one that comes the other way is an error.
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from policy.errors import ProcessError
from policy.process_messages import MOST_BYTES, MOST_FILES, Expected, Message, parse_message, write_message

LOOK_S = 0.5
"""How often whoever waits looks at what else there is, such as a withdrawal."""
SEND_WITHIN_S = 30.0


class ChannelEndedError(ProcessError):
    """The other end is closed."""


class Channel:
    """Takes over the socket. `send` and `receive` raise ProcessError; without `send_within_s` sending waits."""

    def __init__(self, end: socket.socket, *, send_within_s: float | None = None) -> None:
        self._end = end
        end.settimeout(send_within_s)

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def send(self, message: Message, files: Sequence[int] = ()) -> None:
        """One message with as many descriptors as its kind has."""
        assert len(files) == message.files
        try:
            socket.send_fds(self._end, [write_message(message)], files)
        except OSError as error:
            raise ChannelEndedError(f"it takes no message ({error.strerror or error})") from error

    def receive(
        self, *expected: type[Expected], within_s: float, waiting: Callable[[], None] | None = None
    ) -> Expected:
        """The next message, without descriptors. `waiting` is called every `LOOK_S` until it came, and may raise."""
        until = time.monotonic() + within_s
        while not select.select([self._end], [], [], max(0.0, min(LOOK_S, until - time.monotonic())))[0]:
            if waiting is not None:
                waiting()
            if time.monotonic() >= until:
                raise ProcessError(f"it said nothing for {within_s:g} s")
        data, files = self._read()
        if files:
            _close(files)
            raise ProcessError("it sent descriptors")
        return parse_message(data, expected)

    def receive_with_files(self, *expected: type[Expected]) -> tuple[Expected, list[int]]:
        """The next message, however long it takes, with exactly the descriptors that its kind has: they are yours."""
        select.select([self._end], [], [])
        data, files = self._read()
        try:
            message = parse_message(data, expected)
            if len(files) != message.files:
                raise ProcessError(f"{len(files)} descriptors came, expected {message.files}")
        except BaseException:
            _close(files)
            raise
        return message, files

    def _read(self) -> tuple[bytes, list[int]]:
        size = array.array("i").itemsize
        try:
            data, beside, flags, _ = self._end.recvmsg(
                MOST_BYTES + 1, socket.CMSG_SPACE(MOST_FILES * size), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise ChannelEndedError(f"nothing can be read from it ({error.strerror or error})") from error
        files = array.array("i")
        for level, kind, content in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                files.frombytes(content[: len(content) - len(content) % size])
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            _close(files)
            raise ProcessError(f"it sent more than {MOST_BYTES} bytes or {MOST_FILES} descriptors at once")
        if not data:
            _close(files)
            raise ChannelEndedError("it ended")
        return data, list(files)


def _close(files: Sequence[int]) -> None:
    for one in files:
        with suppress(OSError):
            os.close(one)
