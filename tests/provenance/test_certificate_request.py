"""A signing certificate from outside: what is asked for, what may be installed, and that clips verify with it."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from provenance import (
    CertificateError,
    SigningIdentity,
    TrustAnchors,
    install_certificate_chain,
    lint_issuing_certificate,
    make_certificate_request,
    read_chain,
    renew_claim_signing,
    revoke_certificate,
    verify_clip,
)
from provenance.certificate_rules import CLAIM_SIGNING_EKU, lint_certificates
from tests.provenance.conftest import NOW, Authority, make_authority, sign
from tests.provenance.test_pki import chain, issuing_key, remade


@pytest.fixture
def laboratory(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "pki")


@pytest.fixture
def public_ca(tmp_path: Path) -> Authority:
    """Stands for a real authority: it issues from a request, with its own root."""
    return make_authority(tmp_path / "public-ca", "Public Certificates")


def ask(laboratory: Authority) -> x509.CertificateSigningRequest:
    pem = make_certificate_request(
        laboratory.folder, country="DE", organisation="Test Laboratory", common_name="Test Laboratory Release"
    )
    return x509.load_pem_x509_csr(pem)


def issue(request: x509.CertificateSigningRequest, ca: Authority) -> bytes:
    leaf, issuing = chain(ca)
    issued = remade(leaf, issuing_key(ca), subject=request.subject, key=request)  # type: ignore[arg-type]
    return b"".join(c.public_bytes(Encoding.PEM) for c in (issued, issuing))


def test_a_request_asks_for_the_profile_and_keeps_its_key_at_home(laboratory: Authority) -> None:
    request = ask(laboratory)
    assert request.is_signature_valid
    assert CLAIM_SIGNING_EKU in request.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert request.subject.rfc4514_string() == "CN=Test Laboratory Release,O=Test Laboratory,C=DE"
    waiting = laboratory.folder / "claim_signing.next.key"
    assert waiting.stat().st_mode & 0o777 == 0o600
    assert ask(laboratory).public_key() == request.public_key()


def test_clips_signed_before_and_after_an_installation_verify(
    clip: bytes, laboratory: Authority, public_ca: Authority, tmp_path: Path
) -> None:
    before = sign(clip, laboratory)
    install_certificate_chain(
        laboratory.folder, issue(ask(laboratory), public_ca), public_ca.anchors.manifest_pem.encode(), now=NOW
    )
    anchors = TrustAnchors.from_folder(laboratory.folder)
    identity = SigningIdentity.from_folder(laboratory.folder)
    after = sign(clip, Authority(laboratory.folder, identity, anchors))
    for name, content in (("before.mp4", before), ("after.mp4", after)):
        (tmp_path / name).write_bytes(content)
        assert verify_clip(tmp_path / name, anchors).state == "verified"
    assert verify_clip(tmp_path / "after.mp4", laboratory.anchors).state == "untrusted"
    assert not (laboratory.folder / "claim_signing.next.key").exists()
    with pytest.raises(CertificateError, match="issued outside"):
        renew_claim_signing(laboratory.folder, now=NOW)
    with pytest.raises(CertificateError, match="issued outside"):
        revoke_certificate(laboratory.folder, "claim_signing", reason="superseded", now=NOW)


def test_a_chain_for_another_key_or_root_or_against_the_profile_changes_nothing(
    laboratory: Authority, public_ca: Authority
) -> None:
    request = ask(laboratory)
    good, root = issue(request, public_ca), public_ca.anchors.manifest_pem.encode()
    other = make_authority(laboratory.folder.parent / "other")
    before = (laboratory.folder / "claim_signing.pem").read_bytes()
    without_policy = remade(
        x509.load_pem_x509_certificates(good)[0], issuing_key(public_ca), lambda e: e.pop(x509.CertificatePolicies)
    )
    for pem, trust, reason in (
        (public_ca.identity.chain_pem.encode(), root, "another key"),
        (good, other.anchors.manifest_pem.encode(), "end at the root"),
        (without_policy.public_bytes(Encoding.PEM), root, "policy"),
        (b"no certificate", root, "PEM"),
    ):
        with pytest.raises(CertificateError, match=reason):
            install_certificate_chain(laboratory.folder, pem, trust, now=NOW)
    assert (laboratory.folder / "claim_signing.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["claim_root", "issuing_ca", "time_root"])
def test_the_embedded_authorities_break_no_rule(name: str, laboratory: Authority) -> None:
    (certificate,) = read_chain(laboratory.folder, name)
    assert lint_issuing_certificate(certificate, now=NOW) == ()


def test_the_linter_names_the_broken_rule_of_an_issuer(laboratory: Authority) -> None:
    (issuing,) = read_chain(laboratory.folder, "issuing_ca")
    key = issuing_key(laboratory)
    any_purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.5.29.37.0")])
    for rule, change in {
        "is_a_ca": lambda e: e.update({x509.BasicConstraints: (x509.BasicConstraints(False, None), True)}),
        "path_length": lambda e: e.update({x509.BasicConstraints: (x509.BasicConstraints(True, 3), True)}),
        "ca_key_usage": lambda e: e.update({x509.KeyUsage: (e[x509.KeyUsage][0], False)}),
        "authority_key_identifier": lambda e: e.pop(x509.AuthorityKeyIdentifier),
        "eku_any": lambda e: e.update({x509.ExtendedKeyUsage: (any_purpose, False)}),
    }.items():
        broken = lint_issuing_certificate(remade(issuing, key, change), now=NOW)  # type: ignore[arg-type]
        assert [found.rule for found in broken] == [rule]
    nameless = remade(issuing, key, subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "only a name")]))
    assert [found.rule for found in lint_issuing_certificate(nameless, now=NOW)] == ["issuer_names"]


def test_an_expiry_within_the_horizon_is_advice(laboratory: Authority) -> None:
    leaf = chain(laboratory)
    for days, expected in ((300, []), (366, ["expires_soon"])):
        broken = lint_certificates("claim", leaf, now=NOW, horizon=timedelta(days=days))
        assert [found.rule for found in broken if found.rule == "expires_soon"] == expected


def test_a_certificate_with_an_extension_twice_is_a_broken_rule_not_a_crash(laboratory: Authority) -> None:
    leaf = chain(laboratory)[0]
    der = leaf.public_bytes(Encoding.DER)
    key_identifier = bytes.fromhex("551d0e")
    twice = der.replace(
        bytes.fromhex("551d23"), key_identifier
    )  # the authority's identifier becomes a second subject's
    assert twice != der
    broken = lint_certificates("claim", [x509.load_der_x509_certificate(twice)], now=NOW, horizon=timedelta(0))
    assert "subject_key_identifier" in {found.rule for found in broken}


def test_a_key_of_another_curve_is_named() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    name = x509.Name([])
    start = NOW - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start + timedelta(days=9)).sign(key, hashes.SHA256())
    )  # fmt: skip
    rules = {found.rule for found in lint_certificates("issuing", [certificate], now=NOW, horizon=timedelta(0))}
    assert {"key_curve", "is_a_ca", "ca_key_usage", "issuer_names", "subject_key_identifier"} <= rules
