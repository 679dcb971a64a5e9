"""A consent that is handed on only ever narrows, and the hop that tries otherwise is named."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import TokenError, hand_on, thumbprint
from policy.consent_token import ConsentClaims
from policy.delegation_token import Chain, DelegationClaims, sign_delegation, verify_chain, widened
from policy.proof_of_possession import token_hash
from tests.policy.conftest import START, GateSimulator, jti_of, tone_burst_wav
from tests.policy.delegation_chains import build, child_of, may, picker
from tests.policy.test_consent_token import CLAIMS, HASH

NOW = int(START.timestamp())
PORTRAIT = CLAIMS["authorization_details"][0]["portrait"]
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(6)]


def root(depth: int = 3, **detail: Any) -> ConsentClaims:
    members = copy.deepcopy(CLAIMS) | {"iat": NOW, "nbf": NOW, "exp": NOW + 86_400, "cnf": {"jkt": thumbprint(KEYS[0])}}
    members["delegation"] = {"max_depth": depth}
    members["authorization_details"][0] |= detail
    return ConsentClaims.model_validate(members)


def hop(parent: Any, parent_token: str, number: int, *, detail: dict[str, Any] | None = None, **changes: Any) -> str:
    """Hop `number`, from key `number - 1` to key `number`; fine unless something is changed."""
    signer = changes.pop("signer", KEYS[number - 1])
    members = {
        "iss": f"jkt:{thumbprint(signer)}", "sub": parent.sub, "aud": parent.aud, "iat": NOW, "nbf": NOW,
        "exp": parent.exp, "jti": f"hop-{number}", "prn": token_hash(parent_token),
        "authorization_details": [parent.allows.model_dump() | (detail or {})],
        "cnf": {"jkt": thumbprint(KEYS[number])}, "delegation": {"max_depth": max(0, parent.delegation.max_depth - 1)},
        **changes,
    }  # fmt: skip
    return sign_delegation(DelegationClaims.model_validate(members), signer)


def chain_of(*steps: dict[str, Any], depth: int = 3) -> Chain:
    """Build and verify a chain whose hop n is changed by the n-th step."""
    first = root(depth)
    tokens: list[str] = []
    parent: Any = first
    parent_token = "root-token"
    for number, step in enumerate(steps, start=1):
        parent_token = hop(parent, parent_token, number, **step)
        tokens.append(parent_token)
        parent = DelegationClaims.model_validate(_members(parent_token))
    return verify_chain(first, "root-token", tokens)


def _members(token: str) -> dict[str, Any]:
    from policy.canonical import b64url_decode, strict_json_object

    return strict_json_object(b64url_decode(token.split(".")[1]))


def test_a_chain_gives_what_its_last_hop_gives() -> None:
    chain = chain_of({}, {"detail": {"uses": 2}}, {"detail": {"uses": 1, "total_seconds": 9}})
    assert (chain.allows.uses, chain.allows.total_seconds) == (1, 9)
    assert chain.holder == thumbprint(KEYS[3])


VIDEO = {"max_width": 512, "max_height": 512, "max_fps": 25, "max_seconds": 31}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"detail": {"uses": 6}}, "uses 6, 5 allowed"),
        ({"detail": {"total_seconds": 151}}, "total_seconds"),
        ({"detail": {"video": VIDEO}}, "max_seconds 31, 30 allowed"),
        ({"detail": {"purposes": ["detector-evaluation", "demonstration"]}}, "purposes demonstration"),
        ({"detail": {"model": "sha256:" + "0" * 64}}, "another generator"),
        (
            {"detail": {"portrait": {"sha256": "0" * 64, "pixels_sha256": HASH, "face": None, "commitment": None}}},
            "another portrait",
        ),
        ({"exp": NOW + 86_401}, "ends after"),
        ({"nbf": NOW - 1}, "begins before"),
        ({"delegation": {"max_depth": 3}}, "handed on 3 times"),
        ({"signer": KEYS[5]}, "another key"),
        ({"prn": "A" * 43}, "another token"),
        ({"sub": "pw:" + "B" * 43}, "another person or gate"),
        ({"aud": "urn:elsewhere"}, "another person or gate"),
    ],
)
def test_a_hop_that_widens_is_named(step: dict[str, Any], words: str) -> None:
    with pytest.raises(TokenError, match=rf"hop 1 .*{words}"):
        chain_of(step)
    narrow = {"delegation": {"max_depth": 3}} if "handed on" in words else {}
    with pytest.raises(TokenError, match="hop 2"):
        chain_of({}, {**step, **narrow, **({"signer": KEYS[5]} if "signer" in step else {})})


def test_a_consent_that_may_not_be_handed_on() -> None:
    with pytest.raises(TokenError, match="may not be handed on"):
        chain_of({}, depth=0)
    with pytest.raises(TokenError, match=r"hop 2 .*may not be handed on"):
        chain_of({}, {}, depth=1)


def test_a_hop_is_signed_by_the_key_it_names() -> None:
    claims = DelegationClaims.model_validate(_members(hop(root(), "root-token", 1)))
    with pytest.raises(TokenError, match="another delegator"):
        sign_delegation(claims, KEYS[4])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_chain_ever_allows_what_its_beginning_did_not(data: st.DataObject) -> None:
    """The comparison field by field against an oracle that asks for single clips."""
    pick = picker(data.draw)
    first = last = build(pick)
    for _ in range(3):
        child = child_of(pick, last)
        assert (may(last, child) is not None) <= bool(widened(last, child))
        if not widened(last, child):
            last = child
    assert may(first, last) is None


# At the gate


def handed_on(simulator: GateSimulator, consent: str, to: Ed25519PrivateKey, **changes: Any) -> str:
    return hand_on(
        consent,
        key=simulator.researcher,
        to_jkt=thumbprint(to),
        now=simulator.clock(),
        valid_for=changes.pop("valid_for", None),
        narrower={"uses": 1, "total_seconds": 5, **changes},
    )


def test_a_delegate_makes_a_clip_within_what_was_handed_on_and_it_counts_for_both(simulator: GateSimulator) -> None:
    consent, delegate = simulator.consent(delegation_depth=1), KEYS[2]
    accreditation = simulator.authority.accredit(delegate.public_key(), researcher="D. Example")
    token = handed_on(simulator, consent, delegate)

    def ask() -> set[str]:
        request = simulator.request(consent, researcher=delegate, accreditation=accreditation, delegations=(token,))
        return {denial.rule_id for denial in simulator.decide(request).denials}

    assert ask() == set()
    assert simulator.used(consent) == 1
    assert ask() == {"delegation.uses_exhausted"}
    simulator.authority.withdraw(jti_of(consent))
    assert ask() == {"consent.revoked", "delegation.uses_exhausted"}


def test_the_delegator_cannot_use_the_hop_and_a_stranger_neither(simulator: GateSimulator) -> None:
    consent, delegate = simulator.consent(delegation_depth=1), KEYS[2]
    token = handed_on(simulator, consent, delegate)
    decision = simulator.decide(simulator.request(consent, delegations=(token,)))
    assert [denial.rule_id for denial in decision.denials] == ["delegation.other_holder"]


def test_a_hop_that_widens_is_refused_at_the_gate_with_its_number(simulator: GateSimulator) -> None:
    consent = simulator.consent(delegation_depth=1)
    with pytest.raises(TokenError, match="uses 6, 5 allowed"):
        handed_on(simulator, consent, KEYS[2], uses=6)
    claims = simulator.authority.consent(jti_of(consent)).claims
    members = _members(handed_on(simulator, consent, KEYS[2]))
    members["authorization_details"] = [claims.model_dump()["authorization_details"][0] | {"uses": 6}]
    wide = sign_delegation(DelegationClaims.model_validate(members), simulator.researcher)
    decision = simulator.decide(simulator.request(consent, delegations=(wide,)))
    (denial,) = decision.denials
    assert denial.rule_id == "delegation.wider"
    assert "hop 1" in denial.fact


def test_a_refused_delegation_takes_no_use(simulator: GateSimulator) -> None:
    consent = simulator.consent(delegation_depth=1)
    token = handed_on(simulator, consent, KEYS[2], valid_for=timedelta(seconds=1))
    simulator.clock.advance(seconds=1)
    request = simulator.request(consent, researcher=KEYS[2], delegations=(token,), audio=tone_burst_wav())
    rules = {denial.rule_id for denial in simulator.decide(request).denials}
    assert rules == {"delegation.out_of_time", "accreditation.other_researcher"}
    assert simulator.used(consent) == 0
