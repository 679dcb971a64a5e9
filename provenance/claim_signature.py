"""The COSE_Sign1 structure (RFC 9052 section 4.2) of a claim: who signed, and what hides where nothing signs.

The unprotected header carries kilobytes of padding, the time stamp and stapled revocation answers. Both engines read a
file whose padding was overwritten as trusted, so data can hide there; here every entry must be what its name says.

What stays open: some 25 bytes of framing inside the time stamp (algorithm identifiers that CMS does not sign). They
can't carry content without changing how the engines read the stamp, and they never change the stamped time.
"""

from collections.abc import Mapping
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.x509 import ocsp

from provenance.cbor import decode_cbor
from provenance.certificate_rules import UNREADABLE_CERTIFICATE
from provenance.errors import ProvenanceError

_PADDING = ("pad", "pad2")
_TIME_STAMPS = ("sigTst", "sigTst2")
_REVOCATION = "rVals"
_CHAIN = (33, "x5chain")
_KNOWN = frozenset({*_PADDING, *_TIME_STAMPS, _REVOCATION, *_CHAIN})
MAX_CHAIN = 10
MAX_STAPLED = 10


def check_unsigned_header(signature: bytes) -> str | None:
    """None when the unprotected header holds only known entries and zero padding; else what it hides."""
    try:
        value, length = decode_cbor(signature)
        protected, header = _headers(value)
    except ProvenanceError as error:
        return f"the signature is not well formed: {error}"
    if value[2] not in (None, b""):  # type: ignore[index]  # a list of four, as `_headers` found
        return "the signature carries a payload of its own"
    for name in _PADDING:
        padding = header.get(name, b"")
        if not isinstance(padding, bytes) or any(padding):
            return f"the padding {name!r} of the signature holds content"
    unknown = sorted(str(name) for name in set(header) - _KNOWN)
    if unknown:
        return f"the unsigned header of the signature holds {unknown[0]!r}"
    fault = _time_stamp_fault(header) or _stapled_fault(header) or _chain_fault(protected, header)
    if fault:
        return fault
    if any(signature[length:]):
        return f"{len(signature) - length} bytes follow the signature"
    return None


def signer_chain(signature: bytes) -> tuple[x509.Certificate, ...]:
    """The signer's certificates, leaf first; raises ProvenanceError when there are none or they can't be read."""
    protected, header = _headers(decode_cbor(signature)[0])
    found = [part[name] for part in (protected, header) for name in _CHAIN if name in part]
    if len(found) != 1:
        raise ProvenanceError(f"signature: expected one certificate chain, got {len(found)}")
    chain = found[0] if isinstance(found[0], list) else [found[0]]
    if not 0 < len(chain) <= MAX_CHAIN or not all(isinstance(der, bytes) for der in chain):
        raise ProvenanceError("signature: its certificate chain is not well formed")
    return tuple(_load(der) for der in chain)


def time_stamp_certificates(signature: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates inside the time stamp, the one that signed it first; empty when there is no time stamp.

    Raises ProvenanceError when they can't be read.
    """
    _, header = _headers(decode_cbor(signature)[0])
    found = [header[name] for name in _TIME_STAMPS if name in header]
    if not found:
        return ()
    try:
        token = cms.ContentInfo.load(found[0]["tstTokens"][0]["val"])
        signed = token["content"]
        serial = signed["signer_infos"][0]["sid"].chosen["serial_number"].native
        held = [_load(entry.chosen.dump()) for entry in signed["certificates"]]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ProvenanceError(f"time stamp: its certificates can't be read: {error}") from error
    return tuple(sorted(held, key=lambda certificate: certificate.serial_number != serial))


def _load(der: bytes) -> x509.Certificate:
    """A certificate whose names, key and extensions can be read too: the library parses them only when asked."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
    except UNREADABLE_CERTIFICATE as error:
        raise ProvenanceError(f"a certificate can't be read: {error}") from error
    return certificate


def _headers(value: object) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """Protected and unprotected header."""
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[1], Mapping):
        raise ProvenanceError("it is no COSE_Sign1 structure")
    protected = decode_cbor(value[0])[0] if isinstance(value[0], bytes) and value[0] else {}
    if not isinstance(protected, Mapping):
        raise ProvenanceError("it is no COSE_Sign1 structure")
    return protected, value[1]


def _time_stamp_fault(header: Mapping[Any, Any]) -> str | None:
    """{"tstTokens": [{"val": DER}]}, once, and the DER ends where it says."""
    found = [header[name] for name in _TIME_STAMPS if name in header]
    if not found:
        return None
    tokens = found[0].get("tstTokens") if isinstance(found[0], Mapping) and set(found[0]) == {"tstTokens"} else None
    if len(found) != 1 or not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], Mapping):
        return "the signature must carry one time stamp, alone"
    value = tokens[0].get("val")
    if set(tokens[0]) != {"val"} or not isinstance(value, bytes) or _der_length(value) != len(value):
        return "the time stamp of the signature is followed by other bytes"
    return None


def _stapled_fault(header: Mapping[Any, Any]) -> str | None:
    """{"ocspVals": [DER, ...]}, each an OCSP response and nothing else."""
    if _REVOCATION not in header:
        return None
    values = header[_REVOCATION]
    stapled = values.get("ocspVals") if isinstance(values, Mapping) and set(values) == {"ocspVals"} else None
    if not isinstance(stapled, list) or not 0 < len(stapled) <= MAX_STAPLED:
        return "the revocation answers of the signature are not well formed"
    for answer in stapled:
        try:
            ocsp.load_der_ocsp_response(answer)
        except (ValueError, TypeError):
            return "a revocation answer of the signature is something else"
    return None


def _chain_fault(protected: Mapping[Any, Any], header: Mapping[Any, Any]) -> str | None:
    if any(name in header for name in _CHAIN) and any(name in protected for name in _CHAIN):
        return "the unsigned header of the signature holds a second certificate chain"
    return None


def _der_length(der: bytes) -> int:
    """How long a DER value says it is, its header included; 0 when it says nothing sensible."""
    if len(der) < 2 or not der[1] & 0x80:
        return 2 + der[1] if len(der) > 1 else 0
    count = der[1] & 0x7F
    return 2 + count + int.from_bytes(der[2 : 2 + count], "big") if 0 < count <= 4 else 0
