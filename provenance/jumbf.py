"""Just enough JUMBF (ISO/IEC 19566-5) to check how a manifest store is laid out.

The first engine reads a store whose claim box was relabelled as trusted; we look at the labels ourselves, and at
the unsigned header of every signature.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from provenance.cose_padding import check_unsigned_header
from provenance.errors import ProvenanceError

CLAIM_LABELS = frozenset({"c2pa.claim", "c2pa.claim.v2"})
PART_LABELS = CLAIM_LABELS | {"c2pa.assertions", "c2pa.signature", "c2pa.credentials", "c2pa.databoxes"}
_MAX_MANIFESTS = 1000


@dataclass(frozen=True)
class JumbfBox:
    """A box inside a store: its 4-letter kind and its payload."""

    kind: bytes
    payload: bytes


def check_store_layout(store: bytes) -> str | None:
    """None when every manifest has one claim, one signature and one assertion store; else what is wrong."""
    try:
        (outer,) = _boxes(store)
        label, manifests = _superbox(outer)
        if label != "c2pa" or not 0 < len(manifests) <= _MAX_MANIFESTS:
            return f"the store is labelled {label!r} and holds {len(manifests)} manifests"
        for manifest in manifests:
            wrong = _check_manifest(manifest)
            if wrong:
                return wrong
    except (ProvenanceError, ValueError) as error:
        return str(error)
    return None


def _check_manifest(manifest: JumbfBox) -> str | None:
    label, parts = _superbox(manifest)
    if any(part.kind == b"brob" for part in parts):  # a compressed manifest
        return None
    labels = [_superbox(part)[0] for part in parts if part.kind == b"jumb"]
    unknown = sorted(set(labels) - PART_LABELS)
    if unknown:
        return f"manifest {label} holds a part labelled {unknown[0]!r}"
    for wanted in (CLAIM_LABELS, {"c2pa.signature"}, {"c2pa.assertions"}):
        found = [name for name in labels if name in wanted]
        if len(found) != 1:
            return f"manifest {label} must hold exactly one of {sorted(wanted)}, it holds {len(found)}"
    (signature,) = (part for part in parts if part.kind == b"jumb" and _superbox(part)[0] == "c2pa.signature")
    contents = _superbox(signature)[1]
    if [box.kind for box in contents] != [b"cbor"]:
        return f"the signature of manifest {label} must hold one CBOR box"
    return check_unsigned_header(contents[0].payload)


def _superbox(box: JumbfBox) -> tuple[str, list[JumbfBox]]:
    """Label and children of a `jumb` superbox."""
    if box.kind != b"jumb":
        raise ProvenanceError(f"expected a JUMBF superbox, got {box.kind!r}")
    description, *children = _boxes(box.payload)
    payload = description.payload
    if description.kind != b"jumd" or len(payload) < 18 or not payload[16] & 0x02:
        raise ProvenanceError("expected a labelled JUMBF description box")
    label, terminator, _ = payload[17:].partition(b"\0")
    if not terminator:
        raise ProvenanceError("a JUMBF label is not terminated")
    return label.decode("utf-8"), children


def _boxes(content: bytes) -> list[JumbfBox]:
    return list(_iterate_boxes(content))


def _iterate_boxes(content: bytes) -> Iterator[JumbfBox]:
    offset = 0
    while offset < len(content):
        size = int.from_bytes(content[offset : offset + 4], "big")
        header = 8
        if size == 1:
            size, header = int.from_bytes(content[offset + 8 : offset + 16], "big"), 16
        elif size == 0:
            size = len(content) - offset
        if size < header or offset + size > len(content):
            raise ProvenanceError(f"a JUMBF box at byte {offset} claims {size} bytes")
        yield JumbfBox(content[offset + 4 : offset + 8], content[offset + header : offset + size])
        offset += size
