"""Messages between gate and confined processes: what is written is read, and nothing else is taken for a message."""

from __future__ import annotations

import json
import random
import socket
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import ProcessError, ReleaseError
from policy.process_channel import Channel, ChannelEndedError
from policy.process_messages import (
    MOST_BYTES,
    Begun,
    Failed,
    Inspect,
    Made,
    Message,
    OpenWeights,
    Progress,
    ReadMarks,
    Ready,
    SeenAudio,
    parse_message,
    write_message,
)
from policy.request import Controls, Framing
from policy.worker import PerformanceWishes, Wishes, read_wishes

MARK: dict[str, Any] = {
    "manifest_id": "0" * 16, "key_id": 7, "log10_false_positive": -14.4, "pilot_z": 30.5, "seconds_used": 2.0,
}  # fmt: skip
MARKS: dict[str, Any] = {
    "kind": "marks", "video": MARK, "audio": MARK, "width_px": 512, "height_px": 512, "fps_numerator": 25,
    "fps_denominator": 1, "duration_s": 2.6, "tracks": 2, "marked_s": 2.5,
}  # fmt: skip


@given(done=st.integers(0, (1 << 32) - 1), width=st.integers(2, 1 << 14), text=st.text(max_size=1000))
def test_a_message_that_was_written_is_read(done: int, width: int, text: str) -> None:
    messages: list[Message] = [Progress(done=done), Begun(width_px=width, height_px=2)]
    if text.isprintable():
        messages.append(Failed(error="other", message=text))
    for message in messages:
        assert parse_message(write_message(message), (type(message),)) == message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width_px", -1), ("width_px", 512.0), ("width_px", True), ("height_px", 1 << 17), ("fps_denominator", 0),
        ("duration_s", -0.1), ("duration_s", "2.6"), ("tracks", None), ("marked_s", [1]), ("more", 1), ("video", {}),
        ("video", {**MARK, "manifest_id": "0" * 15}), ("video", {**MARK, "key_id": 4096}),
        ("video", {**MARK, "log10_false_positive": 0.1}), ("audio", {**MARK, "payload": 1}),
    ],
)  # fmt: skip
def test_a_member_that_is_not_as_it_must_be_is_refused(name: str, value: object) -> None:
    assert parse_message(json.dumps(MARKS).encode(), (ReadMarks,)).tracks == 2
    with pytest.raises(ProcessError, match="no good message"):
        parse_message(json.dumps({**MARKS, name: value}).encode(), (ReadMarks,))


@pytest.mark.parametrize("name", MARKS.keys() - {"kind"})
def test_a_missing_member_is_refused(name: str) -> None:
    with pytest.raises(ProcessError):
        parse_message(json.dumps({key: value for key, value in MARKS.items() if key != name}).encode(), (ReadMarks,))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b'{"kind":null}', b'{"kind":["made"]}', b'{"kind":"made"}', b'{"kind":"opened"}',
        b'{"kind":"made","frames":1,"frames":1}', b'{"kind":"made","frames":NaN}', b'{"kind":"made","frames":1e999}',
        b'{"kind":"audio","duration_s":1e999,"loudest_dbfs":null}', b"\x80\x04\x95", b"[" * 50_000,
        b'{"kind":"made","frames":1}' + b" " * MOST_BYTES,
        b'{"kind":"failed","error":"other","message":"\\u001b[2J"}',
        b'{"kind":"failed","error":"Refused","message":""}',
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProcessError):
        parse_message(data, (Made, SeenAudio, Failed))


@settings(max_examples=300)
@given(seed=st.integers(0, 1 << 32))
def test_damaged_messages_raise_nothing_else(seed: int) -> None:
    draw, content = random.Random(seed), bytearray(json.dumps(MARKS).encode())
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    try:
        parse_message(bytes(content), (ReadMarks, Ready))
    except ProcessError:
        return


def channels() -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), theirs


def test_descriptors_go_one_way_and_as_many_as_the_kind_has() -> None:
    gate, process = channels()
    with process:
        socket.send_fds(process, [write_message(Made(frames=1))], [0])
        with pytest.raises(ProcessError, match="sent descriptors"):
            gate.receive(Made, within_s=5)
        socket.send_fds(process, [b"{}"], [0, 1, 2, 0, 1, 2, 0])
        with pytest.raises(ProcessError, match="at once"):
            gate.receive(Made, within_s=5)
        other = Channel(process)
        for files in ([], [0], [0, 1, 2]):
            socket.send_fds(gate._end, [write_message(Inspect())], files)
            with pytest.raises(ProcessError, match="expected 2"):
                other.receive_with_files(Inspect)
        gate.close()
        with pytest.raises(ChannelEndedError):
            other.receive_with_files(OpenWeights)


def test_who_takes_no_message_is_given_up() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gate = Channel(ours, send_within_s=0.2)

    def talk_on() -> None:
        while True:
            gate.send(Progress(done=1))

    with theirs, pytest.raises(ChannelEndedError, match="takes no message"):
        talk_on()
    gate.close()


def test_who_waits_looks_around_until_the_time_is_up() -> None:
    gate, process = channels()
    looks: list[float] = []
    with process, pytest.raises(ProcessError, match=r"said nothing for 1\.2 s"):
        gate.receive(Made, within_s=1.2, waiting=lambda: looks.append(time.monotonic()))
    assert looks
    gate.close()


def test_wishes_that_were_sent_are_read_and_no_others() -> None:
    controls = Controls(gaze_yaw_deg=((0.0, -5.0), (2.0, 5.0)), emotion=((0.0, "happy", 0.5),), distance=1.1)
    wishes = Wishes(b"picture", b"sound", controls, Framing(face=2, frame="portrait"), -7)
    sent = PerformanceWishes.of(wishes)
    assert read_wishes(sent, b"picture", b"sound") == wishes
    members = json.loads(sent)
    for changed in (
        {**members, "seed": 1.5},
        {**members, "more": 1},
        {**members, "controls": {**members["controls"], "distance": 9.0}},
        {**members, "controls": {**members["controls"], "unknown": 1.0}},
        {**members, "framing": {**members["framing"], "face": 99}},
        {**members, "framing": {"face": 1, "path": "/etc"}},
        {**members, "controls": []},
    ):
        with pytest.raises(ReleaseError, match="no wishes"):
            read_wishes(json.dumps(changed).encode(), b"", b"")
