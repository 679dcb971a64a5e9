"""A stripped crop of a release is known again by its mark and its pictures; the same mark on other pictures is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from media import ClipWriter, FrameBlock
from provenance import ManifestRepository, clip_fingerprint
from tests.provenance.test_clip_fingerprint import moving_clip
from vasari.clip_audit import ClipAudit, ClipAuditor
from vasari.verdict import State
from watermark import MarkKey, Payload, VideoEmbedder

KEY = MarkKey(bytes(range(32)), 7)
RELEASE = 0x1234_5678_9ABC_DEF0
SIDE, FPS, SECONDS = 384, Fraction(25), 3
Change = Callable[[Tensor], Tensor]

CHANGES: dict[str, Change] = {
    "crop": lambda frames: frames[:, :, 24:312, 48:336],
    "scaled, mirrored crop": lambda frames: scaled(frames[:, :, 24:336, 40:352].flip(-1), 256),
    "mirror": lambda frames: frames.flip(-1),
    "quarter turn": lambda frames: frames.rot90(1, (2, 3)).contiguous(),
}


def scaled(frames: Tensor, side: int) -> Tensor:
    return interpolate(frames.float(), size=side, mode="bicubic", antialias=True).round().clamp(0, 255).to(torch.uint8)


def marked(picture: int, motion: int) -> Tensor:
    """A clip that carries the release's mark, whatever it shows."""
    plain = scaled(moving_clip(picture, motion, frames=SECONDS * int(FPS)), SIDE)
    return VideoEmbedder(KEY, Payload(RELEASE), width=SIDE, height=SIDE, fps=FPS).push(plain)


def in_blocks(frames: Tensor) -> Iterator[FrameBlock]:
    yield FrameBlock(frames, tuple(number / FPS for number in range(len(frames))))


@dataclass(frozen=True)
class Archive:
    """A registered release, and who compares clips with it."""

    folder: Path
    release: Tensor
    auditor: ClipAuditor

    def audit(self, frames: Tensor, crf: int = 26) -> ClipAudit:
        """The verdict on a clip without credentials that shows these frames."""
        path = self.folder / "received.mp4"
        height, width = frames.shape[2:]
        with ClipWriter(path, width=width, height=height, fps=FPS, sample_rate=None, crf=crf) as writer:
            writer.write_frames(frames)
        return self.auditor.audit(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("archive")
    release = marked(1, 1)
    with ManifestRepository(folder / "repository.sqlite") as repository:
        repository.store(
            RELEASE,
            b"manifest",
            clip_sha256="0" * 64,
            fingerprint=clip_fingerprint(in_blocks(release)),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        yield Archive(folder, release, ClipAuditor(mark_keys=[KEY], repository=repository))


@pytest.mark.parametrize("change", CHANGES)
def test_a_stripped_release_is_recognised_in_any_pose(archive: Archive, change: str) -> None:
    audit = archive.audit(CHANGES[change](archive.release))
    found = audit.evidence.repository
    assert found is not None
    assert audit.verdict.state is State.CREDENTIALS_STRIPPED
    assert found.same_content
    assert found.alignment is not None
    assert (found.alignment.start_s, found.alignment.changed) == (0, ())
    assert found.alignment.overlap_s == pytest.approx(SECONDS, abs=0.25)


@pytest.mark.parametrize("change", ["scaled, mirrored crop", "quarter turn"])
def test_its_mark_on_other_content_is_not_in_any_pose(archive: Archive, change: str) -> None:
    audit = archive.audit(CHANGES[change](marked(2, 2)))
    found = audit.evidence.repository
    assert audit.evidence.video_id == RELEASE  # the mark was copied whole, and is read
    assert found is not None
    assert found.same_content is False
    assert audit.verdict.state is not State.CREDENTIALS_STRIPPED
