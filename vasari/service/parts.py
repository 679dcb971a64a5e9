"""The service's parts, opened from an authority's state folder."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import Authority, read_private_key, write_private_key
from provenance import ManifestArchive, read_places
from vasari.service.access import Clients, Tokens
from vasari.service.app import ServiceParts
from vasari.service.content_match import ContentMatch, ContentMatcher
from vasari.service.fetching import fetch
from vasari.service.resolver import Resolver


@dataclass(frozen=True)
class _OneAtATime:
    """Decoding and matching take all cores; further callers wait their turn."""

    matcher: ContentMatcher
    turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, path: Path) -> list[ContentMatch]:
        with self.turn:
            return self.matcher(path)


@contextmanager
def open_parts(
    state: Path, *, base_url: str, fetch_references: bool, max_content_bytes: int, clock: Callable[[], datetime]
) -> Iterator[ServiceParts]:
    """Everything that `create_app` wants; closed when the block ends."""
    folder = state / "service"
    folder.mkdir(mode=0o700, exist_ok=True)
    key = folder / "token.pem"
    if not key.exists():
        write_private_key(key, Ed25519PrivateKey.generate())
    archive = ManifestArchive(read_places(state)["archive"])
    try:
        with Authority.open(state) as authority:
            yield ServiceParts(
                resolver=Resolver(authority.repository, archive, authority.log, base_url, clock),
                clients=Clients(folder / "clients.json"),
                tokens=Tokens(read_private_key(key), issuer=base_url),
                match=_OneAtATime(ContentMatcher(authority.repository, authority.mark_keys)),
                fetch=partial(fetch, limit=max_content_bytes) if fetch_references else None,
                max_content_bytes=max_content_bytes,
            )
    finally:
        archive.close()
