"""What a media file may ask of this machine. Files beyond a limit end in one MediaError, not in exhaustion."""

from __future__ import annotations

MAX_FILE_BYTES = 64 * 2**30
"""Largest file that is opened: 64 GiB, many hours of camera footage."""

MAX_SIDE_PX = 8192
"""Largest width or height of a decoded frame: 8K video has 7680."""

MAX_FRAME_PIXELS = 36_000_000
"""Largest decoded frame: 8K UHD has 33.2 million pixels. Also handed to the decoder, before it allocates."""

MAX_DURATION_S = 12 * 3600
"""Latest presentation time, in seconds after the start of the file, that is still read."""

MAX_STREAMS = 16
"""Streams (video, sound, subtitles, data) in one file; phones and cameras write up to ten."""

MAX_FRAMES_PER_PACKET = 128
"""Frames that one packet may decode to: threads and reordering hold back a few dozen at most."""

MAX_EMPTY_PACKETS = 4096
"""Packets in a row that may decode to nothing: a stream that never starts is not read to its end."""

MAX_AUDIO_RATE = 384_000
"""Highest sample rate, in hertz, that is read."""

MAX_AUDIO_CHANNELS = 64
"""Most sound channels that are mixed down."""

MAX_SAMPLES_PER_PACKET = 4_000_000
"""Samples per channel that one sound packet may decode to. Also handed to the decoder."""

MAX_PORTRAIT_BYTES = 64 * 2**20
"""Largest portrait file, in bytes."""

MAX_ALLOCATION_BYTES = 128 * 2**20
"""Largest single piece of memory that FFmpeg may take: a plane of the largest frame at 16 bits needs 72 MB, the
index of 12 hours at 60 frames a second 83 MB. A small file can claim an index of gigabytes."""

READ_TIMEOUT_S = 30.0
"""Longest wait for one packet of a file that stopped answering, in seconds."""
