"""The length that a container states is its real length, and a cut shows."""

import pytest

from media.stated_length import stated_length
from tests.media.recordings import encoded, moving_picture, recorded, tone


def length_of(data: bytes) -> int | None:
    return stated_length(lambda offset, count: data[offset : offset + count], len(data))


FILES = {
    "mp4": encoded(moving_picture(3)),
    "fragmented": encoded(moving_picture(3), movflags="frag_keyframe+empty_moov"),
    "matroska": encoded(moving_picture(3), container="matroska"),
    "webm": encoded(moving_picture(3), container="webm", codec="libvpx-vp9", options={"deadline": "realtime"}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_states_its_length_and_a_cut_one_more_than_it_has(name: str) -> None:
    data = FILES[name]
    assert length_of(data) == len(data)
    for kept in range(len(data) // 2, len(data), 7):
        assert (length_of(data[:kept]) or 0) > kept


def test_wav_and_avi_state_their_length() -> None:
    for data in (
        recorded(tone(0.1)[None].numpy(), 16000, layout="mono"),
        encoded(moving_picture(3), container="avi", codec="mpeg4", options={}),
    ):
        assert length_of(data) == len(data) - 8


def test_open_ended_and_foreign_files_state_none() -> None:
    assert length_of(b"") is None
    assert length_of(b"OggS" + bytes(100)) is None
    assert length_of(b"RIFF\xff\xff\xff\xffWAVEfmt ") is None
    assert length_of(b"\0\0\0\0mdat" + bytes(100)) is None
    assert length_of(bytes.fromhex("1a45dfa380" + "18538067" + "01ffffffffffffff") + bytes(50)) is None


def test_data_after_the_boxes_is_no_cut() -> None:
    assert length_of(FILES["mp4"] + b"appended by some tool") is None
