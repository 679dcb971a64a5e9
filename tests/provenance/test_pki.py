"""The embedded PKI keeps every certificate rule, and the linter names each one that a certificate breaks."""

from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provenance import (
    CertificateError,
    SigningIdentity,
    TrustAnchors,
    create_pki,
    lint_claim_chain,
    lint_time_stamping_certificate,
    renew_claim_signing,
)
from provenance.certificate_rules import (
    ASSURANCE_LEVEL_2,
    ASSURANCE_LEVEL_EXTENSION,
    CLAIM_SIGNING_EKU,
    PRODUCT_RECORD_EXTENSION,
)
from tests.provenance.conftest import NOW, Authority, make_authority, sign


def chain(authority: Authority) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(authority.identity.chain_pem.encode())


def test_the_embedded_pki_breaks_no_rule_but_the_missing_ocsp_address(authority: Authority) -> None:
    broken = lint_claim_chain(chain(authority), now=NOW)
    assert [(rule.rule, rule.severity) for rule in broken] == [("ocsp_address", "advice")]
    assert lint_time_stamping_certificate(authority.identity.time_stamps.chain[0], now=NOW) == ()


def test_private_keys_are_for_their_owner_only(authority: Authority) -> None:
    keys = list(authority.folder.glob("*.key"))
    assert len(keys) == 5
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert authority.folder.stat().st_mode & 0o777 == 0o700


def test_claims_and_time_stamps_have_separate_roots(authority: Authority) -> None:
    anchors = authority.anchors
    assert anchors.manifest_pem != anchors.tsa_pem
    names = [
        x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()
        for pem in (anchors.manifest_pem, anchors.tsa_pem)
    ]
    assert "Claim Root" in names[0]
    assert "Time Root" in names[1]


def test_a_second_pki_never_overwrites_the_first(authority: Authority) -> None:
    with pytest.raises(CertificateError, match="already holds a PKI"):
        create_pki(authority.folder, organisation="Again", now=NOW)


def test_an_interrupted_pki_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    create_pki(folder, organisation="First", now=NOW)
    (folder / "claim_root.pem").unlink()  # written last
    create_pki(folder, organisation="Second", now=NOW)
    SigningIdentity.from_folder(folder)


def test_faults_of_a_folder_name_the_file(tmp_path: Path) -> None:
    create_pki(tmp_path, organisation="Test", now=NOW)
    (tmp_path / "claim_signing.key").chmod(0o644)
    with pytest.raises(CertificateError, match=r"claim_signing\.key.*owner only"):
        SigningIdentity.from_folder(tmp_path)
    (tmp_path / "claim_root.pem").write_text("nothing")
    with pytest.raises(CertificateError, match="PEM"):
        TrustAnchors.from_folder(tmp_path)
    (tmp_path / "claim_root.pem").unlink()
    with pytest.raises(CertificateError, match=r"claim_root\.pem"):
        TrustAnchors.from_folder(tmp_path)


@pytest.mark.parametrize("length", [52, 64, 200])
def test_a_long_name_still_tells_root_and_signer_apart(length: int, tmp_path: Path) -> None:
    create_pki(tmp_path / "pki", organisation="Institute " + "x" * (length - 10), now=NOW)
    assert (
        "Claim Root"
        in x509.load_pem_x509_certificate(
            TrustAnchors.from_folder(tmp_path / "pki").manifest_pem.encode()
        ).subject.rfc4514_string()
    )


def test_an_organisation_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="organisation"):
        create_pki(tmp_path, organisation="  ", now=NOW)


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Change = Callable[[dict[type | x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]]], object]


def remade(
    original: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    change: Change = lambda extensions: None,
    *,
    subject: x509.Name | None = None,
    days: int | None = None,
    key: Key | None = None,
) -> x509.Certificate:
    """`original` with one thing changed, signed anew."""
    extensions: dict[type | x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]] = {}
    for extension in original.extensions:
        known = not isinstance(extension.value, x509.UnrecognizedExtension)
        extensions[type(extension.value) if known else extension.oid] = (extension.value, extension.critical)
    change(extensions)
    end = original.not_valid_after_utc if days is None else original.not_valid_before_utc + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or original.subject)
        .issuer_name(original.issuer)
        .public_key(key.public_key() if key else original.public_key())  # type: ignore[arg-type]
        .serial_number(original.serial_number)
        .not_valid_before(original.not_valid_before_utc)
        .not_valid_after(end)
    )
    for value, critical in extensions.values():
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def issuing_key(authority: Authority) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key((authority.folder / "issuing_ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def with_purposes(*purposes: x509.ObjectIdentifier) -> Change:
    return lambda e: e.update({x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage(purposes), False)})


EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
USAGE = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
LEVEL_2 = x509.UnrecognizedExtension(ASSURANCE_LEVEL_EXTENSION, core.ObjectIdentifier(ASSURANCE_LEVEL_2).dump())
NO_UUID = x509.UnrecognizedExtension(PRODUCT_RECORD_EXTENSION, core.UTF8String("not a UUID").dump())
CLAIM_FAULTS: dict[str, Change] = {
    "subject_key_identifier": lambda e: e.pop(x509.SubjectKeyIdentifier),
    "authority_key_identifier": lambda e: e.pop(x509.AuthorityKeyIdentifier),
    "key_usage_critical": lambda e: e.update({x509.KeyUsage: (e[x509.KeyUsage][0], False)}),
    "key_usage": lambda e: e.update({x509.KeyUsage: (x509.KeyUsage(digital_signature=True, **USAGE), True)}),
    "not_a_ca": lambda e: e.update({x509.BasicConstraints: (x509.BasicConstraints(True, None), True)}),
    "eku_any": with_purposes(CLAIM_SIGNING_EKU, EMAIL, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
    "eku_time_stamping": with_purposes(CLAIM_SIGNING_EKU, EMAIL, ExtendedKeyUsageOID.TIME_STAMPING),
    "eku_claim_signing": with_purposes(EMAIL),
    "eku_companion": with_purposes(CLAIM_SIGNING_EKU),
    "policy": lambda e: e.pop(x509.CertificatePolicies),
    "assurance_level": lambda e: e.pop(ASSURANCE_LEVEL_EXTENSION),
    "product_record": lambda e: e.update({PRODUCT_RECORD_EXTENSION: (NO_UUID, False)}),
    "validity_length": lambda e: e.update({ASSURANCE_LEVEL_EXTENSION: (LEVEL_2, False)}),
}


@pytest.mark.parametrize("rule", CLAIM_FAULTS)
def test_the_linter_names_the_broken_rule_of_a_claim_signer(rule: str, authority: Authority) -> None:
    leaf, issuing = chain(authority)
    changed = remade(leaf, issuing_key(authority), CLAIM_FAULTS[rule])
    errors = [found.rule for found in lint_claim_chain([changed, issuing], now=NOW) if found.severity == "error"]
    assert errors == [rule]


def test_the_linter_names_faults_outside_the_extensions(authority: Authority) -> None:
    leaf, issuing = chain(authority)
    key = issuing_key(authority)

    def errors(*certificates: x509.Certificate) -> list[str]:
        return [f.rule for f in lint_claim_chain(certificates, now=NOW) if f.severity == "error"]

    nameless = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "only a name")])
    assert errors(remade(leaf, key, subject=nameless), issuing) == ["subject_names"]
    assert errors(remade(leaf, key, days=367), issuing) == ["validity_length"]
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505
    assert errors(remade(leaf, key, key=weak), issuing) == ["key_size"]
    assert errors(remade(leaf, key, key=ec.generate_private_key(ec.SECP256K1())), issuing) == ["key_curve"]
    assert "chain_order" in errors(remade(leaf, ec.generate_private_key(ec.SECP256R1())), issuing)
    assert "chain_order" in errors(issuing, leaf)
    root = x509.load_pem_x509_certificate(authority.anchors.manifest_pem.encode())
    assert "leaf_first" in errors(root, issuing, leaf)
    assert errors() == ["chain_present"]


def test_the_linter_names_a_certificate_that_is_not_valid_now(authority: Authority) -> None:
    for now in (NOW - timedelta(days=1), NOW + timedelta(days=366)):
        rules = {found.rule for found in lint_claim_chain(chain(authority)[:1], now=now.astimezone(UTC))}
        assert "valid_now" in rules


def test_the_linter_names_the_broken_rule_of_a_time_stamper(authority: Authority) -> None:
    leaf = authority.identity.time_stamps.chain[0]
    key = issuing_key(authority)

    def errors(certificate: x509.Certificate) -> list[str]:
        return [f.rule for f in lint_time_stamping_certificate(certificate, now=NOW)]

    assert errors(remade(leaf, key, with_purposes(ExtendedKeyUsageOID.TIME_STAMPING))) == ["eku_time_stamping"]
    assert errors(remade(leaf, key, with_purposes(ExtendedKeyUsageOID.TIME_STAMPING, EMAIL))) == ["eku_time_stamping"]
    assert errors(remade(leaf, key, key=ed25519.Ed25519PrivateKey.generate())) == ["no_eddsa"]
    assert errors(remade(leaf, key, days=4111)) == ["validity_length"]


def test_a_renewed_signer_signs_under_the_same_anchors_and_old_clips_stay_valid(clip: bytes, tmp_path: Path) -> None:
    old = make_authority(tmp_path / "pki", now=NOW - timedelta(days=400))
    with pytest.raises(CertificateError, match="valid_now"):
        sign(clip, old)
    renew_claim_signing(old.folder, now=NOW)
    renewed = SigningIdentity.from_folder(old.folder)
    sign(clip, Authority(old.folder, renewed, old.anchors))
    assert chain(Authority(old.folder, renewed, old.anchors))[1:] == chain(old)[1:]
    with pytest.raises(CertificateError, match="valid_now"):
        renew_claim_signing(old.folder, now=NOW + timedelta(days=6 * 365))


def test_a_key_left_by_an_interrupted_renewal_is_refused(authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    create_pki(folder, organisation="Test", now=NOW)
    (folder / "claim_signing.key").write_bytes((authority.folder / "claim_signing.key").read_bytes())
    with pytest.raises(CertificateError, match="does not fit"):
        SigningIdentity.from_folder(folder)
