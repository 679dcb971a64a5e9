"""A stripped crop of a release is known again by its mark and its pictures; the same mark on other pictures is not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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


TALL, WIDE = (384, 560), (608, 352)  # width and height of releases that are not square
CROPS: dict[str, tuple[tuple[int, int], Change]] = {
    "upper part of a tall one": (TALL, lambda frames: frames[:, :, 16:384, 24:360]),
    "lower part of a tall one": (TALL, lambda frames: frames[:, :, 192:544, 16:368]),
    "wide strip of a tall one": (TALL, lambda frames: frames[:, :, 144:416]),
    "middle of a tall one, mirrored and scaled": (TALL, lambda frames: shrunk(frames[:, :, 60:500, 30:350].flip(-1))),
    "left part of a wide one": (WIDE, lambda frames: frames[:, :, 16:336, 16:368]),
    "right part of a wide one": (WIDE, lambda frames: frames[:, :, :, 256:592]),
    "quarter turn of a tall one": (TALL, lambda frames: frames.rot90(1, (2, 3)).contiguous()),
}


def shrunk(frames: Tensor) -> Tensor:
    return interpolate(frames.float(), scale_factor=0.8, mode="bicubic", antialias=True).round().clamp(0, 255).byte()


def scaled(frames: Tensor, side: int | tuple[int, int]) -> Tensor:
    return interpolate(frames.float(), size=side, mode="bicubic", antialias=True).round().clamp(0, 255).to(torch.uint8)


def marked(picture: int, motion: int, size: tuple[int, int] = (SIDE, SIDE)) -> Tensor:
    """A clip of this width and height that carries the release's mark, whatever it shows."""
    width, height = size
    plain = scaled(moving_clip(picture, motion, frames=SECONDS * int(FPS)), (height, width))
    return VideoEmbedder(KEY, Payload(RELEASE), width=width, height=height, fps=FPS).push(plain)


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
    with archive_of(tmp_path_factory.mktemp("archive"), marked(1, 1)) as made:
        yield made


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[int, int], Archive]]:
    """Archives of releases that are not square, by size."""
    with ExitStack() as stack:
        yield {
            size: stack.enter_context(archive_of(tmp_path_factory.mktemp("archive"), marked(1, 1, size)))
            for size in (TALL, WIDE)
        }


@contextmanager
def archive_of(folder: Path, release: Tensor) -> Iterator[Archive]:
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


@pytest.mark.parametrize("crop", CROPS)
def test_a_stripped_crop_of_a_release_that_is_not_square_is_recognised(
    archives: dict[tuple[int, int], Archive], crop: str
) -> None:
    size, change = CROPS[crop]
    audit = archives[size].audit(change(archives[size].release))
    found = audit.evidence.repository
    assert found is not None
    assert audit.verdict.state is State.CREDENTIALS_STRIPPED
    assert found.alignment is not None
    assert (found.alignment.start_s, found.alignment.changed) == (0, ())


@pytest.mark.parametrize("crop", ["lower part of a tall one", "right part of a wide one"])
def test_its_mark_on_a_crop_of_other_content_is_not(archives: dict[tuple[int, int], Archive], crop: str) -> None:
    size, change = CROPS[crop]
    audit = archives[size].audit(change(marked(2, 2, size)))
    assert audit.evidence.video_id == RELEASE
    assert audit.evidence.repository is not None
    assert audit.evidence.repository.same_content is False
    assert audit.verdict.state is not State.CREDENTIALS_STRIPPED
