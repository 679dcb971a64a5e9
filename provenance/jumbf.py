"""Just enough JUMBF (ISO/IEC 19566-5) to check how a manifest store is laid out.

The first engine reads a store whose claim box was relabelled as trusted; we look at the labels ourselves, and at
the unsigned header of every signature.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from provenance.cbor import require_well_formed
from provenance.claim_signature import check_unsigned_header
from provenance.errors import ProvenanceError

CLAIM_LABELS = frozenset({"c2pa.claim", "c2pa.claim.v2"})
PART_LABELS = CLAIM_LABELS | {"c2pa.assertions", "c2pa.signature", "c2pa.credentials", "c2pa.databoxes"}
_MAX_MANIFESTS = 1000
_MAX_BOXES = 200_000
_MAX_NESTING = 32
_MAX_COMPRESSED = 8
"""Compressed manifests in one store: each may cost the engines 32 MB for a few hundred bytes."""
_REQUESTABLE, _LABELLED = 0x01, 0x02  # toggles of a description box


@dataclass(frozen=True)
class JumbfBox:
    """A box inside a store: its 4-letter kind and its payload."""

    kind: bytes
    payload: bytes


def check_store_layout(store: bytes) -> str | None:
    """None when every manifest has one claim, one signature and one assertion store; else what is wrong."""
    try:
        (outer,) = _boxes(store)
        label, manifests = _superbox(outer, plain=True)
        if label != "c2pa" or not 0 < len(manifests) <= _MAX_MANIFESTS:
            return f"the store is labelled {label!r} and holds {len(manifests)} manifests"
        for manifest in manifests:
            wrong = _check_manifest(manifest)
            if wrong:
                return wrong
    except (ProvenanceError, ValueError) as error:
        return str(error)
    return None


def cbor_fault(store: bytes) -> str | None:
    """None when all CBOR in a store is whole, so that no reader reserves memory for what isn't there; else the fault.

    Compressed manifests are counted and not looked into. A store whose boxes are damaged, nested without end or without
    number has a fault, too.
    """
    counted, compressed, level = 0, 0, [JumbfBox(b"jumb", store)]
    try:
        for _ in range(_MAX_NESTING):
            inner: list[JumbfBox] = []
            for box in level:
                if box.kind == b"cbor":
                    require_well_formed(box.payload)
                for child in _iterate_boxes(box.payload) if box.kind == b"jumb" else ():
                    inner.append(child)
                    counted, compressed = counted + 1, compressed + (child.kind == b"brob")
                    if counted > _MAX_BOXES or compressed > _MAX_COMPRESSED:
                        return f"more than {_MAX_BOXES} JUMBF boxes or {_MAX_COMPRESSED} compressed manifests"
            if not inner:
                return None
            level = inner
    except ProvenanceError as error:
        return str(error)
    return f"JUMBF boxes are nested more than {_MAX_NESTING} deep"


def claim_signature(store: bytes, label: str) -> bytes | None:
    """The COSE structure that signs the manifest `label`; None when the store has no such manifest or is malformed."""
    try:
        (outer,) = _boxes(store)
        for manifest in _superbox(outer)[1]:
            name, parts = _superbox(manifest)
            for part in parts if name == label else ():
                if part.kind == b"jumb" and _superbox(part)[0] == "c2pa.signature":
                    return _superbox(part)[1][0].payload
    except (ProvenanceError, ValueError, IndexError):
        return None
    return None


def _check_manifest(manifest: JumbfBox) -> str | None:
    label, parts = _superbox(manifest, plain=True)
    if [part.kind for part in parts] == [b"brob"]:  # a compressed manifest
        return None
    strange = next((part.kind for part in parts if part.kind != b"jumb"), None)
    if strange:
        return f"manifest {label} holds a box {strange!r} that no hash covers"
    by_label = {_superbox(part)[0]: part for part in parts}
    unknown = sorted(set(by_label) - PART_LABELS)
    if unknown:
        return f"manifest {label} holds a part labelled {unknown[0]!r}"
    for wanted in (CLAIM_LABELS, {"c2pa.signature"}, {"c2pa.assertions"}):
        found = [name for name in (_superbox(part)[0] for part in parts) if name in wanted]
        if len(found) != 1:
            return f"manifest {label} must hold exactly one of {sorted(wanted)}, it holds {len(found)}"
    if any(box.kind != b"jumb" for box in _superbox(by_label["c2pa.assertions"], plain=True)[1]):
        return f"the assertions of manifest {label} hold a box that is no assertion"
    for name in (*CLAIM_LABELS & set(by_label), "c2pa.signature"):
        contents = _superbox(by_label[name], plain=True)[1]
        if [box.kind for box in contents] != [b"cbor"]:
            return f"{name} of manifest {label} must hold one CBOR box"
    return check_unsigned_header(contents[0].payload)


def _superbox(box: JumbfBox, *, plain: bool = False) -> tuple[str, list[JumbfBox]]:
    """Label and children of a `jumb` superbox; a `plain` one has nothing in its description but type and label."""
    if box.kind != b"jumb":
        raise ProvenanceError(f"expected a JUMBF superbox, got {box.kind!r}")
    description, *children = _boxes(box.payload)
    payload = description.payload
    if description.kind != b"jumd" or len(payload) < 18 or not payload[16] & _LABELLED:
        raise ProvenanceError("expected a labelled JUMBF description box")
    label, terminator, rest = payload[17:].partition(b"\0")
    if not terminator:
        raise ProvenanceError("a JUMBF label is not terminated")
    if plain and (rest or payload[16] & ~(_REQUESTABLE | _LABELLED)):
        raise ProvenanceError(f"the description of {label[:80]!r} holds more than a label")
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
