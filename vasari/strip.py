"""Remove a clip's credentials the way platforms do: copy its streams into a new file."""

from pathlib import Path

import av


def strip_metadata(clip: Path, out: Path) -> None:
    """Copy picture and sound of `clip`, bit for bit, into the new MP4 `out` without manifest or metadata."""
    temporary = out.with_name(f".{out.name}.part")
    with av.open(str(clip)) as source, av.open(str(temporary), "w", format="mp4") as sink:
        streams = {stream.index: sink.add_stream_from_template(stream) for stream in source.streams if _kept(stream)}
        for packet in source.demux([source.streams[index] for index in streams]):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                sink.mux(packet)
    temporary.replace(out)


def _kept(stream: "av.stream.Stream") -> bool:
    return stream.type in ("video", "audio")
