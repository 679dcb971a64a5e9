"""The media types of portrait and recording for the manifest, by their first bytes; names are not believed."""

from __future__ import annotations


def portrait_media_type(data: bytes) -> str:
    """IANA type of a picture that was decoded before; `image/octet-stream` for rarer containers."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "image/tiff"
    return "image/octet-stream"


def audio_media_type(data: bytes) -> str:
    """IANA type of a recording that was decoded before; `audio/octet-stream` for rarer containers."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "audio/wav"
    if data.startswith(b"fLaC"):
        return "audio/flac"
    if data.startswith(b"OggS"):
        return "audio/ogg"
    if data[4:8] == b"ftyp":
        return "audio/mp4"
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return "audio/mpeg"
    return "audio/octet-stream"
