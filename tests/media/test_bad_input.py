"""Every bad file ends in one clear MediaError: no other exception, no hang, nothing else opened."""

import contextlib
import http.server
import io
import os
import resource
import threading
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import media.limits
import media.timeline
import media.video_reader
from media import ClipWriter, MediaError, load_audio, probe, read_audio, read_frames
from tests.media.recordings import encoded, moving_picture, recorded, tone


def clip() -> bytes:
    """A clip with its index in front."""
    sink = io.BytesIO()
    with ClipWriter(sink, width=96, height=64, fps=Fraction(25), sample_rate=48000, crf=12) as out:
        out.write_frames(moving_picture(25))
        out.write_audio(tone(1.0))
    return sink.getvalue()


CLIP = clip()
TAIL_INDEX = encoded(moving_picture(25), sound=tone(1.0))
FRAGMENTED = encoded(moving_picture(25), options={"g": "5"}, movflags="frag_keyframe+empty_moov", sound=tone(1.0))
MATROSKA = encoded(moving_picture(25), container="matroska", sound=tone(1.0))
WAV = recorded(tone(0.5)[None].numpy(), 16000, layout="mono")


def watched(source: object) -> int:
    """How many frames come before the end or the error."""
    return sum(len(block.times) for block in read_frames(source))  # type: ignore[arg-type]


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("read", [watched, probe, lambda source: list(read_audio(source))])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        bytes(10_000),
        b"This is a letter, renamed to clip.mp4.\n" * 200,
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"%PDF-1.7\n" + bytes(range(256)) * 20,
        b"PK\3\4" + bytes(2000),
        CLIP[:24],
        CLIP[:500],
        TAIL_INDEX[: len(TAIL_INDEX) // 2],
    ],
    ids=["empty", "one-zero", "zeros", "text", "hls", "concat", "pdf", "zip", "ftyp-only", "half-index", "no-index"],
)
def test_what_is_no_media_file_is_refused(read: Callable[[object], object], data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"clip\.mp4: expected .* but .*\. "):
        read(path)


def test_a_still_picture_is_no_video() -> None:
    with pytest.raises(MediaError):
        watched(png())


def test_a_sound_file_is_no_video_and_a_silent_film_no_recording() -> None:
    with pytest.raises(MediaError, match="video track"):
        watched(WAV)
    with pytest.raises(MediaError, match="no sound track"):
        load_audio(encoded(moving_picture(3)), max_s=1)


def test_an_empty_recording_is_refused() -> None:
    data = io.BytesIO()
    with wave.open(data, "wb") as empty:
        empty.setparams((1, 2, 16000, 0, "NONE", "not compressed"))
    with pytest.raises(MediaError):
        load_audio(data, max_s=1)


@pytest.mark.parametrize("place", ["nowhere.mp4", ".", "https://example.invalid/clip.mp4", "pipe", "/dev/zero", "a\0b"])
def test_what_is_no_regular_file_is_refused(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(MediaError, match=r"local file|regular file"):
        watched(place)


def test_a_stream_that_cannot_rewind_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, pytest.raises(MediaError, match="rewound"):
        watched(pipe)


@pytest.mark.parametrize("whole", [CLIP, FRAGMENTED, MATROSKA], ids=["mp4", "fragmented", "matroska"])
@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
def test_a_cut_file_gives_its_frames_and_then_the_error(whole: bytes, share: float) -> None:
    blocks = read_frames(whole[: int(len(whole) * share)], block_frames=4)
    given_frames: list[int] = []
    with pytest.raises(MediaError, match=r"whole file|data can't be read|only in part"):
        given_frames.extend(len(block.times) for block in blocks)
    assert 0 < sum(given_frames) <= 25


@pytest.mark.parametrize("whole", [CLIP, MATROSKA, WAV], ids=["mp4", "matroska", "wav"])
def test_cut_sound_is_an_error(whole: bytes) -> None:
    with pytest.raises(MediaError):
        load_audio(whole[: len(whole) // 2], max_s=2)


def test_whole_files_are_not_taken_for_cut_ones() -> None:
    for whole in (CLIP, FRAGMENTED, MATROSKA, TAIL_INDEX):
        assert watched(whole) == 25
        assert len(load_audio(whole, max_s=2)) >= 15999


def test_damage_in_the_middle_is_an_error_not_a_wrong_picture() -> None:
    start = CLIP.find(b"mdat") + 3000
    damaged = CLIP[:start] + bytes(400) + CLIP[start + 400 :]
    with pytest.raises(MediaError):
        watched(damaged)


def test_playlists_and_references_reach_no_other_file_or_address(tmp_path: Path) -> None:
    asked: list[str] = []

    class Recorder(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    (tmp_path / "real.mp4").write_bytes(CLIP)
    address = f"http://127.0.0.1:{server.server_port}/a.ts"
    lures = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "local.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n",
        "concat.txt": f"ffconcat version 1.0\nfile {tmp_path}/real.mp4\n",
        "dash.mpd": f'<?xml version="1.0"?><MPD type="static"><BaseURL>{address}</BaseURL></MPD>',
        "sdp.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {server.server_port} RTP/AVP 96\n",
    }
    try:
        for name, text in lures.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(MediaError):
                watched(tmp_path / name)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert asked == []


def test_an_index_of_gigabytes_claimed_by_a_small_file_is_refused_at_once() -> None:
    place = FRAGMENTED.find(b"trun")
    bomb = FRAGMENTED[: place + 8] + b"\x03\0\0\0" + FRAGMENTED[place + 12 :]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MediaError, match="claims more than"):
        watched(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


def test_a_giant_frame_is_refused_before_it_is_decoded() -> None:
    giant = encoded(moving_picture(1, 16, 8320), options={"crf": "50", "preset": "ultrafast"})
    with pytest.raises(MediaError, match="8320x16"):
        watched(giant)


def test_more_pixels_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media.video_reader, "MAX_FRAME_PIXELS", 96 * 64 - 1)
    with pytest.raises(MediaError, match="96x64"):
        watched(CLIP)


def test_a_frame_stamped_days_later_is_refused() -> None:
    late = encoded(moving_picture(3), pts=[0, 1, 13 * 3600], time_base=Fraction(1), options={"crf": "30", "bf": "0"})
    with pytest.raises(MediaError, match="12 hours"):
        watched(late)


def test_too_many_tracks_are_refused() -> None:
    data = io.BytesIO()
    import av

    with av.open(data, "w", format="matroska") as out:
        tracks = [out.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(media.limits.MAX_STREAMS + 1)]
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        for track in tracks:
            out.mux(track.encode(frame))
    with pytest.raises(MediaError):
        load_audio(data, max_s=1)


def survives(read: Callable[[bytes], object], data: bytes) -> None:
    """Reads damaged data: it may succeed or end in MediaError, and nothing else."""
    with contextlib.suppress(MediaError):
        read(data)


def everything(data: bytes) -> None:
    survives(probe, data)
    survives(watched, data)
    survives(lambda source: load_audio(source, max_s=60), data)


changes = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(whole=st.sampled_from([CLIP, FRAGMENTED, MATROSKA]), changes=changes, in_header=st.booleans())
def test_changed_bytes_end_in_success_or_media_error(
    whole: bytes, changes: list[tuple[int, int]], in_header: bool
) -> None:
    data = bytearray(whole)
    for place, value in changes:
        data[place % (1500 if in_header else len(data))] = value
    everything(bytes(data))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    whole=st.sampled_from([CLIP, FRAGMENTED, MATROSKA, WAV]),
    start=st.integers(0, 10**6),
    length=st.integers(0, 3000),
    filler=st.binary(max_size=64),
)
def test_spliced_files_end_in_success_or_media_error(whole: bytes, start: int, length: int, filler: bytes) -> None:
    start %= len(whole)
    everything(whole[:start] + filler + whole[start + length :])


@settings(max_examples=20, deadline=None)
@given(
    start=st.sampled_from([b"", CLIP[:32], MATROSKA[:40], b"RIFF\0\0\1\0WAVEfmt ", b"OggS"]),
    data=st.binary(max_size=400),
)
def test_made_up_files_end_in_success_or_media_error(start: bytes, data: bytes) -> None:
    everything(start + data)
