"""A file is described as it will be read."""

from fractions import Fraction
from pathlib import Path

from media import probe
from tests.media.recordings import encoded, moving_picture, recorded, tone


def test_a_clip_with_sound_is_described(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded(moving_picture(25), sound=tone(1.0)))
    info = probe(path)
    assert (info.path, info.video_codec, info.audio_codec) == (str(path), "h264", "aac")
    assert (info.width, info.height, info.rotation_deg) == (96, 64, 0)
    assert (info.fps, info.frame_count) == (Fraction(25), 25)
    assert abs(info.duration_s - 1.0) < 0.05
    assert (info.audio_sample_rate, info.audio_channels) == (48000, 1)
    assert "mp4" in info.container


def test_size_is_after_rotation() -> None:
    info = probe(encoded(moving_picture(3), prepare=lambda stream: stream.set_display_rotation(90)))
    assert (info.width, info.height, info.rotation_deg) == (64, 96, 270)


def test_a_sound_file_has_no_picture() -> None:
    info = probe(recorded(tone(0.5)[None].numpy(), 48000, layout="mono"))
    assert (info.video_codec, info.width, info.height, info.fps) == (None, 0, 0, None)
    assert (info.audio_sample_rate, info.audio_channels) == (48000, 1)
    assert abs(info.duration_s - 0.5) < 0.01
