"""Opens a media file so that nothing but that file is ever reached.

FFmpeg can follow playlists, network addresses and devices named inside a file. Here it only ever sees a
file object of ours, whose reads it asks for; the container formats and codecs are a fixed list; and any
wish of a demuxer to open something else is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Never

import av
import av._core
import av.container
import av.logging

from media.errors import MediaError
from media.limits import (
    MAX_ALLOCATION_BYTES,
    MAX_FILE_BYTES,
    MAX_FRAME_PIXELS,
    MAX_SAMPLES_PER_PACKET,
    MAX_STREAMS,
    READ_TIMEOUT_S,
)

Source = str | os.PathLike[str] | bytes | BinaryIO
"""Where media comes from: a path, the bytes themselves, or a seekable binary file object."""

CONTAINER_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,ivf,flv,asf,"
    "wav,w64,aiff,caf,au,flac,mp3,ogg,aac,ac3,amr"
)
"""Container formats that are opened. Playlists, image sequences, concatenations and devices are not among them."""

CODECS = (
    "h264,hevc,vp8,vp9,libvpx,libvpx-vp9,av1,libdav1d,mpeg4,msmpeg4v3,mpeg2video,mpeg1video,h263,flv,mjpeg,"
    "prores,dnxhd,dvvideo,theora,ffv1,rawvideo,wmv1,wmv2,wmv3,vc1,qtrle,"
    "aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,opus,libopus,vorbis,libvorbis,flac,alac,ac3,ac3_fixed,eac3,"
    "wmav1,wmav2,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,"
    "pcm_u8,pcm_s8,pcm_alaw,pcm_mulaw,adpcm_ima_wav,adpcm_ms,adpcm_ima_qt"
)
"""Decoders that are run: what cameras, phones, editors and platforms write. The rest is attack surface."""

DECODER_OPTIONS = {
    "max_pixels": str(MAX_FRAME_PIXELS),
    "max_samples": str(MAX_SAMPLES_PER_PACKET),
    "codec_whitelist": CODECS,
}
"""Limits that the decoder itself enforces, before it allocates."""

# FFmpeg's own guard, which PyAV doesn't wrap: found through the library that PyAV has loaded.
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(MAX_ALLOCATION_BYTES))

_PLAYABLE = "a video or sound file such as MP4, MOV, MKV, WebM, WAV, FLAC or MP3"
_LIBRARY_ERRORS = (
    av.FFmpegError,
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    MemoryError,
    RuntimeError,
    AttributeError,
    AssertionError,
)


class LocalFile:
    """A read-only window on one file with a position of its own, as FFmpeg's only way to data."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file = file
        self._position = 0
        self.label = name
        self.size = size

    def read(self, count: int) -> bytes:
        data = self.read_at(self._position, count)
        self._position += len(data)
        return data

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; the position stays."""
        self._file.seek(offset)
        return self._file.read(count)[:count]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"a seek to {offset} from {whence} is outside the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@dataclass(frozen=True)
class OpenMedia:
    """An open container and the file under it."""

    container: av.container.InputContainer
    file: LocalFile

    @property
    def name(self) -> str:
        """What messages call this file."""
        return self.file.label


def source_name(source: Source) -> str:
    """What messages call this source: its path, or what kind of object it is."""
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<file object>"


@contextmanager
def opened(source: Source) -> Iterator[LocalFile]:
    """The bytes of a source. Raises MediaError for what is missing, empty, no regular file, or too large."""
    name = source_name(source)
    if isinstance(source, bytes):
        yield _checked(io.BytesIO(source), name, len(source))
    elif isinstance(source, str | os.PathLike):
        with _regular_file(Path(source), name) as file:
            yield _checked(file, name, os.fstat(file.fileno()).st_size)
    else:
        yield _checked(source, name, _length(source, name))


@contextmanager
def opened_container(source: Source) -> Iterator[OpenMedia]:
    """The open container of a source; every library error inside the block becomes a MediaError."""
    with opened(source) as file, reading(file.label):
        # Any level installs a callback for which decoder threads wait on Python's lock, and may wait for ever.
        av.logging.set_level(None)
        with av.open(
            file,
            "r",
            container_options={"format_whitelist": CONTAINER_FORMATS, "max_streams": str(MAX_STREAMS + 1)},
            options=dict(DECODER_OPTIONS),
            metadata_errors="replace",
            timeout=READ_TIMEOUT_S,
            io_open=_refuse_other_files,
        ) as container:
            if len(container.streams) > MAX_STREAMS:
                raise MediaError(
                    file.label,
                    expected=f"at most {MAX_STREAMS} tracks",
                    came=f"it has {len(container.streams)}",
                    remedy="Export it with one picture and one sound track.",
                )
            yield OpenMedia(container, file)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what the media libraries raise into a MediaError about the file `name`."""
    try:
        yield
    except MediaError:
        raise
    except _LIBRARY_ERRORS as error:
        raise MediaError(
            name,
            expected=_PLAYABLE,
            came=f"its data can't be read ({_brief(error)})",
            remedy="Check that the file plays elsewhere and was copied in full, or convert it to H.264/AAC MP4.",
        ) from error


def _brief(error: BaseException) -> str:
    """One line about a library error, without file names or native logs."""
    if isinstance(error, MemoryError):
        return "it claims more than MAX_ALLOCATION_BYTES at once"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:160]


def _refuse_other_files(url: str, flags: int, options: object) -> Never:
    raise PermissionError("the file asks for another file or address to be opened")


@contextmanager
def _regular_file(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (OSError, ValueError) as error:
        raise MediaError(
            name,
            expected="the path of a local file",
            came=f"it can't be opened ({_brief(error)})",
            remedy="Check the path and its permissions; addresses such as https:// must be downloaded first.",
        ) from error
    if not regular:
        os.close(descriptor)
        raise MediaError(
            name,
            expected="a regular file",
            came="it is a folder, a pipe or a device",
            remedy="Give the path of the media file itself.",
        )
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _length(file: BinaryIO, name: str) -> int:
    try:
        if file.seekable():
            return file.seek(0, os.SEEK_END)
    except (OSError, ValueError, AttributeError):
        pass
    raise MediaError(
        name,
        expected="a seekable binary file object",
        came="it can't be rewound",
        remedy="Read it into bytes or save it to a file first.",
    )


def _checked(file: BinaryIO, name: str, size: int) -> LocalFile:
    if size == 0:
        raise MediaError(name, expected=_PLAYABLE, came="it is empty", remedy="Copy or download it again.")
    if size > MAX_FILE_BYTES:
        raise MediaError(
            name,
            expected=f"at most {MAX_FILE_BYTES >> 30} GiB",
            came=f"it has {size >> 30} GiB",
            remedy="Cut it into shorter files.",
        )
    return LocalFile(file, name, size)
