"""What a media file holds, read from its headers and its first frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from media.errors import MediaError
from media.guarded_input import Source, opened_container
from media.limits import MAX_DURATION_S
from media.orientation import frame_orientation
from media.timeline import Completeness
from media.video_reader import decoded_frames, no_picture, video_stream


@dataclass(frozen=True)
class MediaInfo:
    """The tracks of one file. Width and height are after rotation and 0 without a video track.

    `fps` is the average frame rate, `frame_count` and `duration_s` are what the container states (None or
    0.0 where it doesn't), `rotation_deg` is the clockwise turn from the stored to the shown picture, `tracks` counts
    all of any kind.
    """

    path: str
    container: str
    video_codec: str | None
    audio_codec: str | None
    width: int
    height: int
    fps: Fraction | None
    duration_s: float
    frame_count: int | None
    rotation_deg: int
    audio_sample_rate: int | None
    audio_channels: int | None
    tracks: int


def probe(source: Source) -> MediaInfo:
    """Describes a media file and proves that its first frame decodes. Raises MediaError."""
    with opened_container(source) as media:
        container, name = media.container, media.name
        sound = next((s for s in container.streams.audio if s.codec_context is not None), None)
        has_video = any(not s.disposition & 1024 for s in container.streams.video)
        if sound is None and not has_video:
            raise MediaError(
                name,
                expected="a file with a video or sound track",
                came=f"it has neither (container {container.format.name})",
                remedy="Give a video or a recording.",
            )
        duration_s = (container.duration or 0) / 1_000_000
        if "mp4" in container.format.name:  # whose length counts from 0, wherever its first frame stands
            duration_s -= max(0, container.start_time or 0) / 1_000_000
        video = video_stream(media) if has_video else None
        width = height = rotation_deg = 0
        if video is not None:
            frame = next(decoded_frames(video, name, Completeness(media)), None)
            if frame is None:
                raise no_picture(name)
            orientation = frame_orientation(frame)
            width, height = orientation.shown_size(frame.width, frame.height)
            rotation_deg = orientation.rotation_deg
        return MediaInfo(
            path=name,
            container=container.format.name,
            video_codec=video.codec_context.name if video else None,
            audio_codec=sound.codec_context.name if sound else None,
            width=width,
            height=height,
            fps=(video.average_rate or video.guessed_rate) if video else None,
            duration_s=min(max(duration_s, 0.0), float(MAX_DURATION_S)),
            frame_count=(video.frames or None) if video else None,
            rotation_deg=rotation_deg,
            audio_sample_rate=sound.codec_context.sample_rate if sound else None,
            audio_channels=sound.codec_context.channels if sound else None,
            tracks=len(container.streams),
        )
