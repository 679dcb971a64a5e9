"""Signing a clip: C2PA manifest, ES256 signature made here, loopback time stamp, and the result read back."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from c2pa import Builder, C2paError, C2paSigningAlg, Reader, Signer
from cryptography import x509

from provenance import time_stamping
from provenance.bmff_boxes import hash_unhashed_boxes, top_level_boxes
from provenance.certificate_rules import require_claim_chain, require_time_stamping_certificate
from provenance.engine_settings import CLAIM_LIST, EngineSettings
from provenance.errors import SigningError
from provenance.manifest import ClipManifest, manifest_definition
from provenance.pki import SigningIdentity

CLIP_MEDIA_TYPE = "video/mp4"
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_environment_lock = threading.Lock()


def sign_clip(
    source: BinaryIO,
    sink: BinaryIO,
    manifest: ClipManifest,
    identity: SigningIdentity,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> bytes:
    """Copy the MP4 in `source` to `sink` with a signed, time-stamped manifest; return the manifest store.

    `sink` must be readable too (mode "w+b"): the result is read back and must be trusted under the identity's
    own anchors. Raises CertificateError naming each broken certificate rule before anything is signed, and
    SigningError otherwise; the sink is then emptied.
    """
    now = clock()
    require_claim_chain(x509.load_pem_x509_certificates(identity.chain_pem.encode()), now=now)
    require_time_stamping_certificate(identity.time_stamps.chain[0], now=now)
    if not sink.readable():
        raise SigningError("sign_clip: the sink must be open for reading too (mode 'w+b')")
    try:
        store = _sign_whole(source, sink, manifest, identity, clock)
        _require_trusted(sink, identity)
    except BaseException:
        sink.seek(0)
        sink.truncate()
        raise
    return store


def _sign_whole(
    source: BinaryIO,
    sink: BinaryIO,
    manifest: ClipManifest,
    identity: SigningIdentity,
    clock: Callable[[], datetime],
) -> bytes:
    """Sign so that the manifest holds the hash of the boxes its own hard binding leaves out.

    The engine shifts the offsets inside `mfra` by the length of the manifest; that length does not depend on the
    hash, so a second signing over a fragmented clip settles it.
    """
    boxes = top_level_boxes(source)
    kinds = {box.kind for box in boxes}
    if not {"ftyp", "moov", "mdat"} <= kinds or any(box.is_c2pa for box in boxes):
        raise SigningError(f"expected an unsigned MP4 with ftyp, moov and mdat, got the boxes {sorted(kinds)}")
    unhashed = hash_unhashed_boxes(source, boxes)
    for _ in range(2):
        source.seek(0)
        sink.seek(0)
        sink.truncate()
        definition = manifest_definition(manifest, unhashed_boxes_sha256=unhashed)
        store = _sign(source, sink, definition, identity, clock)
        signed = hash_unhashed_boxes(sink, top_level_boxes(sink))
        if signed == unhashed:
            return store
        unhashed = signed
    raise SigningError("the boxes outside the signed hash change with every signing; remux the clip first")


def _sign(
    source: BinaryIO,
    sink: BinaryIO,
    definition: dict[str, object],
    identity: SigningIdentity,
    clock: Callable[[], datetime],
) -> bytes:
    caught: list[Exception] = []

    def sign(message: bytes) -> bytes:
        try:
            return identity.sign(message)
        except Exception as error:
            caught.append(error)  # the engine would turn it into "COSE signature invalid"
            raise

    context = EngineSettings.for_anchors(identity.anchors).context()
    with time_stamping.serve(identity.time_stamps, clock) as url, _loopback_without_proxy():
        try:
            signer = Signer.from_callback(sign, C2paSigningAlg.ES256, identity.chain_pem, url)
            return bytes(Builder(definition, context=context).sign(signer, CLIP_MEDIA_TYPE, source, sink))
        except C2paError as error:
            if caught:
                raise SigningError(f"the claim could not be signed: {caught[0]}") from caught[0]
            raise SigningError(f"the clip could not be signed: {error}") from error


def _require_trusted(sink: BinaryIO, identity: SigningIdentity) -> None:
    """Read the signed clip back; anything but a trusted, time-stamped, failure-free result is an error."""
    sink.flush()
    sink.seek(0)
    try:
        with Reader(CLIP_MEDIA_TYPE, sink, context=EngineSettings.for_anchors(identity.anchors).context()) as reader:
            report = json.loads(reader.json())
    except C2paError as error:
        raise SigningError(f"the signed clip can't be read back: {error}") from error
    results = report.get("validation_results", {})
    active = results.get("activeManifest", {})
    failures = [entry.get("code") for entry in active.get("failure", [])]
    codes = {entry.get("code") for entry in active.get("success", [])}
    trusted = report.get("validation_state") == "Trusted" and results.get("trustListUri") == CLAIM_LIST
    if failures or not trusted or "timeStamp.trusted" not in codes:
        raise SigningError(
            f"the signed clip reads back as {report.get('validation_state')} with failures {failures}; "
            "expected Trusted, time-stamped, without failures"
        )
    sink.seek(0)


@contextlib.contextmanager
def _loopback_without_proxy() -> Iterator[None]:
    """Keep a configured HTTP proxy from swallowing the time-stamp request to 127.0.0.1."""
    if not any(os.environ.get(name) for name in _PROXY_VARIABLES):
        yield
        return
    with _environment_lock:
        before = os.environ.get("no_proxy")
        os.environ["no_proxy"] = ",".join(filter(None, (before, os.environ.get("NO_PROXY"), "127.0.0.1")))
        try:
            yield
        finally:
            if before is None:
                del os.environ["no_proxy"]
            else:
                os.environ["no_proxy"] = before
