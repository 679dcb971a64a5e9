"""Real parts for the provenance tests: small MP4 clips made here, a PKI of their own, signed clips."""

import base64
import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import c2pa
import numpy as np
import pytest
from hypothesis import settings

from provenance import ClipManifest, SigningIdentity, TrustAnchors, create_pki, sign_clip
from provenance.engine_settings import EngineSettings
from provenance.manifest import TRAINED_ALGORITHMIC_MEDIA
from provenance.time_stamping import serve

settings.register_profile("provenance", deadline=None, max_examples=60)
settings.load_profile("provenance")

NOW = datetime.now(UTC)
PORTRAIT_SHA256, AUDIO_SHA256 = "a1" * 32, "b2" * 32
CONSENT_SHA256, DECISION_SHA256 = "c3" * 32, "d4" * 32


@dataclass(frozen=True)
class Authority:
    """A PKI in a folder."""

    folder: Path
    identity: SigningIdentity
    anchors: TrustAnchors


def make_authority(folder: Path, organisation: str = "Test Laboratory", now: datetime = NOW) -> Authority:
    create_pki(folder, organisation=organisation, now=now)
    return Authority(folder, SigningIdentity.from_folder(folder), TrustAnchors.from_folder(folder))


def make_clip(*, frames: int = 25, size: int = 128, seed: int = 0, movflags: str = "faststart") -> bytes:
    """A moving block pattern as H.264 in MP4 at 25 frames per second."""
    generator = np.random.default_rng(seed)
    pattern = generator.integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with (
        tempfile.NamedTemporaryFile(suffix=".mp4") as sink,  # faststart reopens its file by name
        av.open(sink.name, "w", format="mp4", options={"movflags": movflags}) as container,
    ):
        stream = container.add_stream("libx264", rate=25, options={"crf": "20", "threads": "1"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(pattern, 2 * index, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        container.close()
        return Path(sink.name).read_bytes()


def make_manifest(**changes: object) -> ClipManifest:
    fields: dict[str, object] = {
        "title": "talking-face clip",
        "generator_version": "0.1.0",
        "manifest_id": 0xF0E1D2C3B4A59687,
        "soft_binding_value": bytes(range(16)),
        "portrait_sha256": PORTRAIT_SHA256,
        "audio_sha256": AUDIO_SHA256,
        "consent_sha256": CONSENT_SHA256,
        "decision_sha256": DECISION_SHA256,
        "log_proof": "c2sp.org/tlog-proof@v1\nindex 0\n\nexample.org/log\n1\n...\n",
        "portrait_media_type": "image/png",
        "audio_media_type": "audio/flac",
        "created_at": NOW,
    }
    return ClipManifest(**(fields | changes))  # type: ignore[arg-type]


def sign(clip: bytes, authority: Authority, **changes: object) -> bytes:
    sink = io.BytesIO()
    sign_clip(io.BytesIO(clip), sink, make_manifest(**changes), authority.identity)
    return sink.getvalue()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "pki")


@pytest.fixture(scope="session")
def clip() -> bytes:
    return make_clip()


@pytest.fixture(scope="session")
def signed(clip: bytes, authority: Authority) -> bytes:
    return sign(clip, authority)


@pytest.fixture
def as_file(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes, name: str = "clip.mp4") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def sign_elsewhere(
    content: bytes,
    media_type: str,
    identity: SigningIdentity,
    *,
    parent: bytes | None = None,
    exclude_padding: bool = False,
    time_stamped: bool = False,
    update: bool = False,
    binding: tuple[str, bytes] | None = None,
) -> bytes:
    """Sign as another product would: its own definition, optionally an edit over `parent`, or an `update` of it."""
    settings = EngineSettings.for_anchors(identity.anchors).as_dict() | {
        "builder": {"bmff_hash_exclude_free_and_skip_boxes": exclude_padding}
    }
    definition: dict[str, object] = {"claim_generator_info": [{"name": "Other", "version": "1"}], "title": "other"}
    if parent is None and not update:
        created = {"action": "c2pa.created", "digitalSourceType": TRAINED_ALGORITHMIC_MEDIA}
        definition["assertions"] = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]
    if binding is not None:
        value = base64.b64encode(binding[1]).decode()
        data = {"alg": binding[0], "blocks": [{"scope": {}, "value": value}]}
        definition["assertions"] = [*definition.get("assertions", []), {"label": "c2pa.soft-binding", "data": data}]  # type: ignore[misc]
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serve(identity.time_stamps, lambda: datetime.now(UTC))) if time_stamped else None
        builder = c2pa.Builder(definition, context=c2pa.Context.from_dict(settings))
        if parent is not None:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.add_ingredient({"title": "parent", "relationship": "parentOf"}, media_type, io.BytesIO(parent))
        if update:
            builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
        signer = c2pa.Signer.from_callback(identity.sign, c2pa.C2paSigningAlg.ES256, identity.chain_pem, url)
        sink = io.BytesIO()
        builder.sign(signer, media_type, io.BytesIO(content), sink)
    return sink.getvalue()
