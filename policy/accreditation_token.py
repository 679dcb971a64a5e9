"""The accreditation token: who may ask at all, for which purposes; from its own issuer, type `accreditation+jwt`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from policy import strict_jws
from policy.claims import Confirmation, Identifier, Pseudonym, Seconds, Status, Strict, parse_claims
from policy.consent_token import PURPOSES, Purpose

ACCREDITATION_TYPE = "accreditation+jwt"
MAX_LIFE_DAYS = 366


class AccreditationClaims(Strict):
    """All claims of an accreditation token. `sub` is a pseudonym of the researcher."""

    iss: Identifier
    sub: Pseudonym
    aud: Identifier
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    jti: Identifier
    purposes: Annotated[list[Purpose], Field(min_length=1, max_length=len(PURPOSES))]
    cnf: Confirmation
    status: Status


def sign_accreditation(claims: AccreditationClaims, key: Ed25519PrivateKey) -> str:
    """Sign with the accreditation authority's key."""
    return strict_jws.sign(claims.model_dump(mode="json"), typ=ACCREDITATION_TYPE, key=key)


def verify_accreditation(token: str, keys: Mapping[str, Ed25519PublicKey]) -> AccreditationClaims:
    """Check form and signature; raises TokenError. Time, audience and status are the gate's to judge."""
    return parse_claims(AccreditationClaims, strict_jws.verify(token, typ=ACCREDITATION_TYPE, keys=keys).claims)
