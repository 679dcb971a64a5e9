"""Certificates by command: named rules, rotation and revocation that verifiers see with the public folder alone."""

import json
from pathlib import Path

import pytest

from provenance import TrustAnchors
from tests.vasari.conftest import Lab
from vasari.cli.auditor import read_anchors
from vasari.cli.session import Exit


@pytest.fixture
def laboratory(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    assert made.run("init", "--organisation", "Example Lab").exit_code == 0
    return made


def test_every_rule_is_named_and_the_embedded_pki_keeps_it(laboratory: Lab) -> None:
    result = laboratory.run("pki", "lint")
    assert result.exit_code == Exit.OK
    assert "+ eku_claim_signing: extended key usage claimSigning" in result.stdout
    assert "! ocsp_address: no OCSP address over HTTP" in result.stdout
    assert "[RFC 3161, 2.3]" in result.stdout
    found = laboratory.json("pki", "lint")
    assert {rule["result"] for rules in found.values() for rule in rules} == {"kept", "advice"}


def test_a_chain_for_the_wrong_purpose_fails_by_name(laboratory: Lab) -> None:
    result = laboratory.run("pki", "lint", laboratory.state / "pki" / "time_stamping.pem", "--kind", "claim", "--json")
    assert result.exit_code == Exit.VERIFICATION_FAILED
    broken = {rule["rule"] for rule in json.loads(result.stdout)["time_stamping.pem"] if rule["result"] == "error"}
    assert {"eku_time_stamping", "eku_claim_signing", "policy"} <= broken


def test_what_expires_soon_changes_the_exit_code(laboratory: Lab) -> None:
    assert laboratory.run("pki", "show").exit_code == Exit.OK
    assert laboratory.run("pki", "show", "--horizon", 400).exit_code == Exit.NOTHING_FOUND


def test_revoking_and_rotating_reach_the_public_folder(laboratory: Lab) -> None:
    before = laboratory.json("pki", "show")["certificates"]
    revoked = laboratory.json("pki", "revoke", "claim_signing", "--reason", "superseded")
    assert revoked["revoked"] is True
    assert laboratory.run("pki", "show").exit_code == Exit.NOTHING_FOUND
    rotated = laboratory.json("pki", "rotate")
    assert rotated["serial"] not in {row["serial"] for row in before}
    assert laboratory.run("pki", "show").exit_code == Exit.OK
    logged = [(one["event"], one["serial"]) for one in laboratory.json("log", "show", "--last", 2)["entries"]]
    assert logged == [("certificate.revoked", revoked["serial"]), ("certificate.rotated", rotated["serial"])]
    public = read_anchors(laboratory.state / "public")
    assert public == TrustAnchors.from_folder(laboratory.state / "pki")
    assert public.crl_pem.count("BEGIN X509 CRL") == 3
    assert not any("PRIVATE" in file.read_text() for file in (laboratory.state / "public").iterdir())


def test_a_request_is_a_file_and_its_key_stays(laboratory: Lab, tmp_path: Path) -> None:
    out = tmp_path / "lab.csr"
    options = ("--country", "DE", "--organisation", "Example Lab", "--common-name", "Release", "--out", out)
    assert laboratory.run("pki", "csr", *options).exit_code == Exit.OK
    assert "CERTIFICATE REQUEST" in out.read_text()
    assert "PRIVATE" not in out.read_text()
    wrong = laboratory.run("pki", "install", out, "--root", laboratory.state / "public" / "claim-root.pem")
    assert wrong.exit_code != Exit.OK
    assert "PEM certificates" in wrong.stderr


def test_without_an_authority_the_commands_say_so(tmp_path: Path) -> None:
    assert Lab(tmp_path).run("pki", "show").exit_code == Exit.USAGE
