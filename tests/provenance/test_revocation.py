"""Who was revoked, told by lists alone: before or after signing, stolen or not, by whom, and how old the list is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from provenance import (
    CertificateError,
    SigningIdentity,
    TrustAnchors,
    read_chain,
    renew_claim_signing,
    renew_revocation_lists,
    revoke_certificate,
    verify_clip,
)
from provenance.pki import read_key
from provenance.revocation import load_revocation_lists
from tests.provenance.conftest import NOW, Authority, make_authority, sign, sign_elsewhere

WriteFile = Callable[..., Path]
SOON = NOW + timedelta(hours=1)


@pytest.fixture
def laboratory(tmp_path: Path) -> Authority:
    """An authority of its own, because what is revoked stays so."""
    return make_authority(tmp_path / "pki")


def check(
    content: bytes, authority: Authority, as_file: WriteFile, *, at: datetime = SOON
) -> tuple[str, dict[str, str]]:
    report = verify_clip(as_file(content), TrustAnchors.from_folder(authority.folder), validation_time=at)
    found = {finding.code: finding.severity for finding in report.findings if finding.topic == "revocation"}
    return report.state, found


def test_without_a_list_the_report_says_that_revocation_is_not_known(
    clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    state, found = check(sign(clip, laboratory), laboratory, as_file)
    assert state == "verified"
    assert found["vasari.revocationListMissing"] == "note"


def test_a_signer_on_no_list_passes(clip: bytes, laboratory: Authority, as_file: WriteFile) -> None:
    renew_revocation_lists(laboratory.folder, now=NOW)
    state, found = check(sign(clip, laboratory), laboratory, as_file)
    assert (state, found["vasari.signerNotRevoked"]) == ("verified", "passed")
    assert "vasari.revocationListMissing" not in found


def test_a_revoked_signer_without_time_stamp_is_untrusted(
    clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    signed = sign_elsewhere(clip, "video/mp4", laboratory.identity)
    assert check(signed, laboratory, as_file)[0] == "verified"
    revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=SOON)
    state, found = check(signed, laboratory, as_file)
    assert (state, found["vasari.signerRevoked"]) == ("untrusted", "failure")


def test_a_time_stamp_from_before_the_revocation_keeps_a_clip_valid(
    clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    signed = sign(clip, laboratory)
    revoke_certificate(laboratory.folder, "claim_signing", reason="cessation-of-operation", now=SOON)
    state, found = check(signed, laboratory, as_file)
    assert (state, found["vasari.signerRevokedLater"]) == ("verified", "note")


def test_a_clip_signed_after_the_revocation_is_untrusted(
    clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=NOW - timedelta(hours=1))
    state, found = check(sign(clip, laboratory), laboratory, as_file)
    assert (state, found["vasari.signerRevoked"]) == ("untrusted", "failure")


def test_nothing_that_a_stolen_key_signed_counts_unless_the_list_says_since_when(
    clip: bytes, tmp_path: Path, as_file: WriteFile
) -> None:
    for number, (since, state) in enumerate(((None, "untrusted"), (SOON, "verified"))):
        laboratory = make_authority(tmp_path / f"pki-{number}")
        signed = sign(clip, laboratory)
        revoke_certificate(laboratory.folder, "claim_signing", reason="key-compromise", now=SOON, invalid_since=since)
        assert check(signed, laboratory, as_file)[0] == state


@pytest.mark.parametrize(
    ("name", "code"),
    [("issuing_ca", "vasari.issuerRevoked"), ("time_stamping", "vasari.timeStampAuthorityRevoked")],
)
def test_whoever_vouches_for_the_signer_can_be_revoked_too(
    name: str, code: str, clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    signed = sign(clip, laboratory)
    revoke_certificate(laboratory.folder, name, reason="key-compromise", now=SOON)
    state, found = check(signed, laboratory, as_file)
    assert (state, found[code]) == ("untrusted", "failure")


def test_a_list_that_someone_else_made_says_nothing(
    clip: bytes, laboratory: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    namesake = make_authority(tmp_path / "namesake")
    revoke_certificate(namesake.folder, "claim_signing", reason="superseded", now=NOW)
    forged = replace(laboratory.anchors, crl_pem=TrustAnchors.from_folder(namesake.folder).crl_pem)
    report = verify_clip(as_file(sign(clip, laboratory)), forged)
    assert report.state == "verified"
    assert "vasari.revocationListMissing" in {finding.code for finding in report.findings}


def test_a_list_out_of_date_is_a_warning(clip: bytes, laboratory: Authority, as_file: WriteFile) -> None:
    renew_revocation_lists(laboratory.folder, now=NOW)
    _, found = check(sign(clip, laboratory), laboratory, as_file, at=NOW + timedelta(days=60))
    assert found["vasari.revocationListStale"] == "warning"


def test_a_revocation_stays_on_every_later_list(laboratory: Authority) -> None:
    revoked = revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=NOW)
    renew_claim_signing(laboratory.folder, now=NOW)
    second = revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=SOON)
    renew_revocation_lists(laboratory.folder, now=SOON)
    lists = load_revocation_lists(TrustAnchors.from_folder(laboratory.folder).crl_pem)
    serials = {entry.serial_number for crl in lists for entry in crl}
    assert serials == {revoked.serial_number, second.serial_number}
    assert len(lists) == 3


def test_after_rotation_the_new_certificate_is_on_no_list(
    clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    revoke_certificate(laboratory.folder, "claim_signing", reason="key-compromise", now=NOW)
    renew_claim_signing(laboratory.folder, now=NOW)
    renewed = replace(laboratory, identity=SigningIdentity.from_folder(laboratory.folder))
    state, found = check(sign(clip, renewed), laboratory, as_file)
    assert (state, found["vasari.signerNotRevoked"]) == ("verified", "passed")


@pytest.mark.parametrize("kind", ["delta", "forgetful"])
def test_a_newer_list_that_is_partial_or_forgets_someone_frees_nobody(
    kind: str, clip: bytes, laboratory: Authority, as_file: WriteFile
) -> None:
    signed = sign_elsewhere(clip, "video/mp4", laboratory.identity)
    revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=NOW)
    held = TrustAnchors.from_folder(laboratory.folder)
    issuing = read_chain(laboratory.folder, "issuing_ca")[0]
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuing.subject)
    builder = builder.last_update(NOW + timedelta(minutes=5)).next_update(NOW + timedelta(days=9))
    if kind == "delta":
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    newer = builder.sign(read_key(laboratory.folder / "issuing_ca.key"), hashes.SHA256())
    both = replace(held, crl_pem=held.crl_pem + newer.public_bytes(Encoding.PEM).decode())
    assert verify_clip(as_file(signed), both, validation_time=SOON).state == "untrusted"
    alone = replace(held, crl_pem=newer.public_bytes(Encoding.PEM).decode())
    missing = {finding.code for finding in verify_clip(as_file(signed), alone, validation_time=SOON).findings}
    assert ("vasari.revocationListMissing" in missing) == (kind == "delta")


@pytest.mark.parametrize("text", ["no list", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_is_no_revocation_list_is_refused(text: str, laboratory: Authority) -> None:
    with pytest.raises(CertificateError, match="revocation list"):
        replace(laboratory.anchors, crl_pem=text)


@pytest.mark.parametrize(("name", "reason"), [("claim_root", "superseded"), ("claim_signing", "boredom")])
def test_only_what_can_be_revoked_is_and_only_for_a_known_reason(name: str, reason: str, laboratory: Authority) -> None:
    with pytest.raises(CertificateError, match="expected one of"):
        revoke_certificate(laboratory.folder, name, reason=reason, now=NOW)
