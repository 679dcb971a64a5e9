"""Consents whose time, status or scope is wrong are refused with every reason, logged, and leave no clip and no use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy import thumbprint
from tests.policy.conftest import (
    START,
    GateSimulator,
    Refusals,
    demo_pixels,
    jti_of,
    png,
)

# Time and status of the consent


def test_an_expired_consent(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(valid_for=timedelta(hours=1))
    simulator.clock.advance(hours=1)
    refused(simulator.request(consent), {"consent.expired"}, consent)


def test_a_consent_that_is_not_yet_valid(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(valid_from=START + timedelta(seconds=1))
    refused(simulator.request(consent), {"consent.not_yet_valid"}, consent)


def test_a_withdrawn_consent(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    simulator.authority.withdraw(jti_of(consent))
    refused(simulator.request(consent), {"consent.revoked"}, consent)


def test_a_suspended_consent_until_it_is_reinstated(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    simulator.authority.suspend(jti_of(consent))
    refused(simulator.request(consent), {"consent.suspended"}, consent)
    simulator.authority.reinstate(jti_of(consent))
    assert simulator.decide(simulator.request(consent)).allowed


def test_a_consent_whose_status_cannot_be_had(simulator: GateSimulator, refused: Refusals, monkeypatch: Any) -> None:
    """A list that is not renewed goes stale, and then nothing is allowed."""
    registry = simulator.authority.registry
    consent = simulator.consent()
    uris = [registry.list_uri("consent"), registry.list_uri("accreditation")]
    old = {uri: registry.status_list(uri, simulator.clock()) for uri in uris}
    monkeypatch.setattr(registry, "status_list", lambda uri, now: old[uri])
    simulator.clock.advance(minutes=2)
    refused(simulator.request(consent), {"consent.status_unknown", "accreditation.status_unknown"}, consent)


# What the consent is for


def test_a_consent_for_another_portrait_by_one_pixel(simulator: GateSimulator, refused: Refusals) -> None:
    pixels = demo_pixels()
    pixels[0, 0, 0] ^= 1
    consent = simulator.consent()
    refused(
        simulator.request(consent, portrait=png(pixels)), {"consent.other_portrait", "consent.other_pixels"}, consent
    )


def test_a_consent_of_another_researcher(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(researcher_jkt=thumbprint(Ed25519PrivateKey.generate()))
    refused(simulator.request(consent), {"consent.other_researcher"}, consent)


def test_a_researcher_with_stolen_tokens(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent()
    request = simulator.request(consent, researcher=Ed25519PrivateKey.generate())
    refused(request, {"consent.other_researcher", "accreditation.other_researcher"}, consent)


def test_a_consent_for_another_purpose(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(purposes=("demonstration",))
    refused(simulator.request(consent), {"consent.other_purpose"}, consent)


def test_a_consent_for_another_gate(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(audience="urn:vasari:gate:elsewhere")
    refused(simulator.request(consent), {"consent.other_gate", "consent.subject_not_enrolled"}, consent)


def test_a_recording_longer_than_allowed(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(max_seconds=2)
    refused(simulator.request(consent), {"consent.audio_too_long"}, consent)


def test_exhausted_uses_and_seconds(simulator: GateSimulator, refused: Refusals) -> None:
    consent = simulator.consent(uses=1, total_seconds=4)
    assert simulator.decide(simulator.request(consent)).allowed
    refused(simulator.request(consent), {"consent.uses_exhausted", "consent.seconds_exhausted"}, consent)
