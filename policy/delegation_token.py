"""Handing a consent on: each hop is signed by the key it was given to, and may only narrow.

Type `delegation+jwt`. `iss` is `jkt:` and the thumbprint of the parent's key, `prn` the base64url SHA-256
of the parent's compact form, so that a chain can't be re-hung. A hop never has a status list of its own:
it lives and dies with the consent at the root. `widened` compares field by field (sets: subset; numbers:
at most; modes: same or stricter) and is the only place that says what "narrower" means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, StringConstraints

from policy import strict_jws
from policy.canonical import b64url_decode, strict_json_object
from policy.claims import (
    Confirmation,
    Identifier,
    Pseudonym,
    Seconds,
    Strict,
    Thumbprint,
    new_identifier,
    parse_claims,
)
from policy.consent_token import ConsentClaims, Delegation, LikenessGeneration
from policy.errors import TokenError
from policy.keys import thumbprint
from policy.proof_of_possession import token_hash

DELEGATION_TYPE = "delegation+jwt"
MAX_HOPS = 4
LIMITS = ("uses", "total_seconds")
VIDEO_LIMITS = ("max_width", "max_height", "max_fps", "max_seconds")
REQUIRED: Mapping[str, type] = {**strict_jws.LIFETIME_CLAIMS, "sub": str, "prn": str}


class DelegationClaims(Strict):
    """All claims of one hop; the delegator's public key travels in the header and must have the thumbprint of `iss`."""

    iss: Annotated[str, StringConstraints(pattern=r"^jkt:[A-Za-z0-9_-]{43}$")]
    sub: Pseudonym
    aud: Identifier
    iat: Seconds
    nbf: Seconds
    exp: Seconds
    jti: Identifier
    prn: Thumbprint
    authorization_details: Annotated[list[LikenessGeneration], Field(min_length=1, max_length=1)]
    cnf: Confirmation
    delegation: Delegation

    @property
    def allows(self) -> LikenessGeneration:
        """The one authorization detail."""
        return self.authorization_details[0]


@dataclass(frozen=True)
class Chain:
    """A consent and the hops it went through, all signatures good and each hop narrower than the one before."""

    root: ConsentClaims
    hops: tuple[DelegationClaims, ...] = ()

    @property
    def allows(self) -> LikenessGeneration:
        """What the last holder may do."""
        return self.hops[-1].allows if self.hops else self.root.allows

    @property
    def holder(self) -> str:
        """Thumbprint of the last holder's key."""
        return (self.hops[-1] if self.hops else self.root).cnf.jkt


def sign_delegation(claims: DelegationClaims, key: Ed25519PrivateKey) -> str:
    """Sign a hop with the delegator's key, whose public half travels in the header."""
    if claims.iss != f"jkt:{thumbprint(key)}":
        raise TokenError("other_delegator", "the hop names another delegator than the key that signs it")
    return strict_jws.sign(claims.model_dump(mode="json"), typ=DELEGATION_TYPE, key=key, embed_key=True)


def hand_on(
    parent_token: str,
    *,
    key: Ed25519PrivateKey,
    to_jkt: str,
    now: datetime,
    valid_for: timedelta | None = None,
    depth: int = 0,
    narrower: Mapping[str, object] | None = None,
) -> str:
    """Hand a consent (or a hop of it) on to another key; the hop's token.

    `narrower` replaces members of the authorization. The parent is read, not verified: the gate does that.
    Raises TokenError when the hop would be wider, or `key` is not the one the parent was given to.
    """
    parent = _unverified(parent_token)
    begins = max(int(now.timestamp()), parent.nbf)
    ends = parent.exp if valid_for is None else begins + int(valid_for.total_seconds())
    members = {
        "iss": f"jkt:{thumbprint(key)}", "sub": parent.sub, "aud": parent.aud, "iat": int(now.timestamp()),
        "nbf": begins, "exp": ends, "jti": new_identifier(), "prn": token_hash(parent_token),
        "authorization_details": [parent.allows.model_dump() | dict(narrower or {})],
        "cnf": {"jkt": to_jkt}, "delegation": {"max_depth": depth},
    }  # fmt: skip
    claims = parse_claims(DelegationClaims, members)
    if faults := hop_faults(parent, parent_token, claims):
        raise TokenError("wider", f"this can't be handed on: {'; '.join(faults)}")
    return sign_delegation(claims, key)


def verify_chain(root: ConsentClaims, root_token: str, tokens: Sequence[str]) -> Chain:
    """Check every hop against the one before it; raises TokenError that names the failing hop, counted from 1."""
    if len(tokens) > MAX_HOPS:
        raise TokenError("too_deep", f"{len(tokens)} hops, at most {MAX_HOPS} are read")
    parent: ConsentClaims | DelegationClaims = root
    parent_token, hops = root_token, []
    for number, token in enumerate(tokens, start=1):
        claims = _verify_hop(number, token)
        if faults := hop_faults(parent, parent_token, claims):
            code = "wider" if all(fault.startswith("wider") for fault in faults) else "broken_chain"
            raise TokenError(code, f"hop {number} ({claims.jti[:16]}): {'; '.join(faults)}")
        hops.append(claims)
        parent, parent_token = claims, token
    return Chain(root, tuple(hops))


def hop_faults(parent: ConsentClaims | DelegationClaims, parent_token: str, child: DelegationClaims) -> tuple[str, ...]:
    """Everything wrong between a hop and its parent, in words; those of scope begin with `wider`."""
    faults = []
    if not strict_jws.same(child.iss, f"jkt:{parent.cnf.jkt}"):
        faults.append("signed by another key than the one that the step before was given to")
    if not strict_jws.same(child.prn, token_hash(parent_token)):
        faults.append("made for another token than the step before")
    if not (strict_jws.same(child.sub, parent.sub) and strict_jws.same(child.aud, parent.aud)):
        faults.append("made for another person or gate than the step before")
    if child.delegation.max_depth >= parent.delegation.max_depth:
        faults.append(
            f"wider: may be handed on {child.delegation.max_depth} times, "
            f"the step before allows {parent.delegation.max_depth - 1}"
            if parent.delegation.max_depth
            else "wider: the step before may not be handed on"
        )
    if child.exp > parent.exp:
        faults.append("wider: ends after the step before")
    if child.nbf < parent.nbf:
        faults.append("wider: begins before the step before")
    return (*faults, *(f"wider: {fault}" for fault in widened(parent.allows, child.allows)))


def widened(parent: LikenessGeneration, child: LikenessGeneration) -> tuple[str, ...]:
    """Every way in which `child` allows what `parent` does not; empty when it only narrows."""
    faults = []
    if child.model != parent.model:
        faults.append("another generator")
    if child.portrait != parent.portrait:
        faults.append("another portrait")
    if extra := sorted(set(child.purposes) - set(parent.purposes)):
        faults.append(f"purposes {', '.join(extra)}")
    if not _within(parent.audio.mode, parent.audio.sha256, child.audio.mode, child.audio.sha256):
        faults.append("recordings that are not listed")
    if parent.audio.voice not in ("any", child.audio.voice):
        faults.append(f"voice {child.audio.voice} in place of {parent.audio.voice}")
    if not _within(parent.script.mode, parent.script.sha256, child.script.mode, child.script.sha256):
        faults.append("texts that are not listed")
    languages, allowed = set(child.script.languages), set(parent.script.languages)
    if allowed and (not languages or languages - allowed):
        faults.append(f"languages {', '.join(sorted(languages - allowed)) or 'without limit'}")
    limits = [(name, getattr(parent, name), getattr(child, name)) for name in LIMITS]
    limits += [(name, getattr(parent.video, name), getattr(child.video, name)) for name in VIDEO_LIMITS]
    faults += [f"{name} {wanted}, {most} allowed" for name, most, wanted in limits if wanted > most]
    return tuple(faults)


def _within(parent_mode: str, parent_list: Sequence[str], child_mode: str, child_list: Sequence[str]) -> bool:
    return parent_mode == "any" or (child_mode == "hash-list" and set(child_list) <= set(parent_list))


def _unverified(token: str) -> ConsentClaims | DelegationClaims:
    try:
        members = strict_json_object(b64url_decode(token.split(".")[1]))
    except (ValueError, IndexError) as error:
        raise TokenError("malformed", f"the token that shall be handed on can't be read: {error}") from error
    return parse_claims(DelegationClaims, members) if "prn" in members else parse_claims(ConsentClaims, members)


def _verify_hop(number: int, token: str) -> DelegationClaims:
    try:
        verified = strict_jws.verify_holder(token, typ=DELEGATION_TYPE, required=REQUIRED)
        claims = parse_claims(DelegationClaims, verified.claims)
    except TokenError as error:
        raise TokenError(error.code, f"hop {number}: {error.fact}") from error
    if claims.iss != f"jkt:{thumbprint(verified.key)}":
        raise TokenError("broken_chain", f"hop {number}: signed by another key than its issuer's")
    return claims
