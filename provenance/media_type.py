"""The media type of a file by its first bytes; names and claimed types are not believed."""

SNIFF_BYTES = 16
_QUICKTIME, _M4A = b"qt  ", (b"M4A ", b"M4B ")


def sniff_media_type(head: bytes) -> str | None:
    """One of the eight supported types from at least the first 12 bytes, or None."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand == _QUICKTIME:
            return "video/quicktime"
        return "audio/mp4" if brand in _M4A else "video/mp4"
    if head[4:8] in (b"moov", b"wide", b"mdat"):
        return "video/quicktime"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "audio/mpeg"
    for magic, media_type in (
        (b"fLaC", "audio/flac"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
    ):
        if head.startswith(magic):
            return media_type
    return None
