"""The chain of a live stream: what is missing, swapped, repeated, foreign or changed is named."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from provenance import ProvenanceError, StreamPlace
from tests.policy.conftest import GateSimulator, speech_wav
from vasari.clip_audit import ClipAuditor
from vasari.stream_audit import PLAYLIST, Link, StreamError, audit_stream, chain_faults, read_stream


def link(number: int, *, last: bool = False) -> Link:
    previous = f"{number - 1:064x}" if number else ""
    place = StreamPlace(number, previous, 50 * number, 50, last)
    return Link(f"segment_{number:06d}.mp4", f"{number:064x}", True, 7, place)


CHAIN = [link(0), link(1), link(2), link(3, last=True)]


def test_a_whole_chain_has_no_fault() -> None:
    assert chain_faults(CHAIN) == []
    assert chain_faults(CHAIN[:2]) == []


@pytest.mark.parametrize(
    ("links", "faults"),
    [
        ([CHAIN[0], CHAIN[2], CHAIN[3]], ["segment 1 is missing before segment_000002.mp4"]),
        ([CHAIN[0], CHAIN[3]], ["segments 1 to 2 are missing before segment_000003.mp4"]),
        (CHAIN[1:], ["segment 0 is missing before segment_000001.mp4"]),
        ([CHAIN[0], CHAIN[1], CHAIN[1], CHAIN[2]], ["segment_000001.mp4 repeats segment 1"]),
        ([CHAIN[0], CHAIN[2], CHAIN[1], CHAIN[3]], ["missing", "out of its order", "missing"]),
        ([CHAIN[0], replace(CHAIN[1], manifest_id=8), CHAIN[2]], ["another stream", "segment 1 is missing"]),
        ([CHAIN[0], replace(CHAIN[1], sha256="f" * 64), CHAIN[2]], ["segment_000002.mp4 does not follow"]),
        ([CHAIN[0], replace(CHAIN[1], verified=False, place=None), CHAIN[2]], ["segment_000001.mp4 is no verified"]),
        ([CHAIN[0], replace(CHAIN[1], place=None)], ["no segment of a stream"]),
        ([link(0, last=True), CHAIN[1]], ["is the last segment of its stream, but others follow"]),
        ([CHAIN[0], replace(link(1), place=StreamPlace(1, f"{0:064x}", 60, 50, False))], ["starts at frame 60"]),
    ],
)
def test_what_breaks_the_chain_is_named(links: Sequence[Link], faults: list[str]) -> None:
    found = chain_faults(links)
    assert len(found) == len(faults), found
    for told, expected in zip(found, faults, strict=True):
        assert expected in told


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": -1},
        {"number": True},
        {"frames": 0},
        {"previous_sha256": ""},
        {"previous_sha256": "A" * 64},
        {"last": 1},
    ],
)
def test_a_place_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ProvenanceError):
        replace(link(1).place, **wrong)  # type: ignore[arg-type,type-var]


def test_a_folder_that_is_no_stream_is_told(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="found neither"):
        read_stream(tmp_path)
    for text, told in (
        ("", "begins with"),
        ("#EXTM3U\n../x.mp4\n", "expected names"),
        ("#EXTM3U\n", "lists no segment"),
    ):
        (tmp_path / PLAYLIST).write_text(text)
        with pytest.raises(StreamError, match=told):
            read_stream(tmp_path)


def test_files_and_playlist_are_compared(tmp_path: Path) -> None:
    names = [f"segment_{number:06d}.mp4" for number in range(3)]
    for name in (names[0], names[2]):
        (tmp_path / name).touch()
    (tmp_path / PLAYLIST).write_text(f"#EXTM3U\n{names[0]}\n{names[1]}\n#EXT-X-ENDLIST\n")
    stream = read_stream(tmp_path)
    assert [path.name for path in stream.segments] == names[:1]
    assert stream.missing_files == (names[1],)
    assert [path.name for path in stream.unlisted] == [names[2]]
    assert stream.ended
    assert read_stream(tmp_path / PLAYLIST) == stream


def test_a_real_stream_verifies_and_swapped_segments_do_not(tmp_path: Path) -> None:
    """Marks, repository and both engines are real; only the picture is a test picture."""
    simulator, folder = GateSimulator(tmp_path, datetime.now(UTC)), tmp_path / "live"
    torch.set_num_threads(1)
    simulator.audio = speech_wav(4.0)
    simulator.pipeline().stream(simulator.request(simulator.consent()), folder)
    authority = simulator.authority
    auditor = ClipAuditor(authority.trust_anchors, authority.mark_keys, authority.repository)
    found = audit_stream(read_stream(folder), auditor.audit)
    assert [audit.verdict.state for audit in found.audits] == ["verified_release"] * 2
    assert (found.verified, found.complete, found.notes, found.frames) == (True, True, (), 100)
    first, second = (folder / f"segment_{number:06d}.mp4" for number in (0, 1))
    spare = first.rename(folder / "spare")
    second.rename(first)
    spare.rename(second)
    swapped = audit_stream(read_stream(folder), auditor.audit)
    assert not swapped.verified
    assert [fault.split()[0] for fault in swapped.faults] == ["segment", "segment_000000.mp4", "segment_000001.mp4"]
    authority.close()
