"""What `vasari consent` and its registry promise on a real authority; nothing here generates a clip."""

import json
import re
from pathlib import Path

import pytest

from tests.vasari.conftest import Lab
from vasari.cli.demo import PORTRAIT
from vasari.cli.session import Exit


def test_terms_are_shown_in_plain_words_and_as_json(lab: Lab) -> None:
    consent = lab.issue("terms.jwt", "--max-seconds", 12, "--uses", 3, "--days", 7)
    told = lab.run("consent", "show", consent)
    assert told.exit_code == Exit.OK
    assert "to explain how this technique works" in told.stdout
    assert "at most 12 s" in told.stdout
    terms = lab.json("consent", "show", consent)
    assert (terms["uses"], terms["uses_left"], terms["total_seconds"]) == (3, 3, 36)
    assert list(terms["purposes"]) == ["demonstration"]


def test_a_name_never_enters_the_token(lab: Lab) -> None:
    consent = lab.issue("nameless.jwt")
    shown = lab.run("consent", "show", consent, "--json").stdout
    assert "Nobody" not in shown
    assert "Nobody" not in consent.read_text()


def test_impossible_terms_are_a_usage_error(lab: Lab) -> None:
    result = lab.run("consent", "issue", "--purpose", "anything", "--subject", "x")
    assert result.exit_code == Exit.USAGE
    assert "demonstration" in result.stderr


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign", "binary"])
def test_a_changed_token_is_not_shown_as_valid(lab: Lab, damage: str, tmp_path: Path) -> None:
    token = lab.issue(f"{damage}.jwt").read_text().strip()
    broken = {
        "flip": token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:],
        "cut": token[: len(token) // 2],
        "foreign": "e30.e30.e30",
        "binary": "\u00ff\u0000",
    }[damage]
    path = tmp_path / "broken.jwt"
    path.write_text(broken)
    assert lab.run("consent", "show", path).exit_code == Exit.VERIFICATION_FAILED


def test_a_withdrawn_consent_stays_withdrawn_with_a_provable_receipt(lab: Lab, tmp_path: Path) -> None:
    consent = lab.issue("withdrawn.jwt")
    receipt = lab.json("consent", "withdraw", consent)
    assert receipt["event"] == "consent.withdrawn"
    assert lab.json("consent", "show", consent)["standing"] == "withdrawn"
    assert lab.run("consent", "show", consent).exit_code == Exit.VERIFICATION_FAILED
    proof = lab.json("log", "prove", receipt["log_index"], "--out", tmp_path / "proof")
    checked = lab.json("log", "check", "--proof", proof["proof"], "--entry", proof["entry"], "--key", proof["key"])
    assert checked["holds"]
    assert checked["index"] == receipt["log_index"]


def test_a_receipt_proves_whose_consent_was_withdrawn_and_no_other(lab: Lab, tmp_path: Path) -> None:
    consent, other, path = lab.issue("mine.jwt"), lab.issue("theirs.jwt"), tmp_path / "receipt.json"
    key = lab.state / "public" / "log.vkey"
    lab.json("consent", "withdraw", consent, "--receipt", path)
    receipt, theirs = json.loads(path.read_text()), lab.json("consent", "withdraw", other)
    (found,) = lab.json("log", "check", "--receipt", path, "--key", key)["receipts"]
    assert (found["event"], found["consent"]) == ("consent.withdrawn", receipt["consent"])
    for changed in (
        {"consent": theirs["consent"]}, {"salt": theirs["salt"]}, {"log_proof": theirs["log_proof"]}, {"salt": "x"},
        {"event": "consent.suspended"}, {"log_index": theirs["log_index"]}, {"log_proof": ""}, {"consent": 1},
    ):  # fmt: skip
        path.write_text(json.dumps(receipt | changed))
        assert lab.run("log", "check", "--receipt", path, "--key", key).exit_code == Exit.VERIFICATION_FAILED, changed
    for nothing in ("", "[]", "{}", '{"receipts": []}'):
        path.write_text(nothing)
        assert lab.run("log", "check", "--receipt", path, "--key", key).exit_code == Exit.VERIFICATION_FAILED, nothing


def test_a_consent_without_uses_has_an_empty_list(lab: Lab) -> None:
    assert lab.json("consent", "uses", lab.issue("unused.jwt"))["uses"] == []


def test_a_consent_is_found_by_its_id_its_file_and_its_text_and_no_token_is_repeated(lab: Lab) -> None:
    file = lab.issue("found.jwt")
    token, jti = file.read_text().strip(), lab.json("consent", "show", file)["consent"]
    assert re.fullmatch("[0-9a-f]{32}", jti)
    assert {lab.json("consent", "uses", given)["consent"] for given in (file, token, jti)} == {jti}
    damaged = lab.run("consent", "uses", token.replace(".", "!"))
    assert damaged.exit_code == Exit.VERIFICATION_FAILED
    assert token[100:140] not in damaged.stderr


def test_an_unknown_consent_fails_verification(lab: Lab) -> None:
    assert lab.run("consent", "uses", "no-such-id").exit_code == Exit.VERIFICATION_FAILED


def test_a_passkey_signs_what_was_proposed(lab: Lab, tmp_path: Path) -> None:
    from policy import RelyingParty, SoftwareAuthenticator
    from policy.canonical import b64url_decode

    browser = SoftwareAuthenticator.create()
    credential = tmp_path / "passkey.json"
    credential.write_text(json.dumps(vars(browser.credential)))
    assert lab.run("consent", "enrol", "--subject", "P. Key", "--credential", credential).exit_code == 0
    statement, answer, token = tmp_path / "statement.json", tmp_path / "answer.json", tmp_path / "consent.jwt"
    proposed = lab.run(
        "consent", "propose", "--credential-id", browser.credential.credential_id, "--subject", "P. Key", "--adult",
        "--portrait", PORTRAIT, "--grantee", lab.folder / "key.pem", "--purpose", "demonstration", "--out", statement,
    )  # fmt: skip
    assert proposed.exit_code == 0, proposed.stderr
    asked = json.loads(statement.read_text())
    assert asked["notice"] in proposed.stdout
    party = RelyingParty(id=asked["publicKey"]["rpId"], origins=asked["origins"])
    signed = browser.sign(b64url_decode(asked["publicKey"]["challenge"]), party)
    answer.write_text(signed.model_copy(update={"signature": "A" * 90}).model_dump_json())
    accept = ("consent", "accept", "--statement", statement, "--assertion", answer, "--out", token)
    assert lab.run(*accept).exit_code == Exit.VERIFICATION_FAILED
    answer.write_text(signed.model_dump_json())
    assert lab.run(*accept).exit_code == 0
    assert lab.json("consent", "show", token)["standing"] == "valid"


def test_a_suspended_consent_comes_back_and_every_step_has_a_receipt(lab: Lab, tmp_path: Path) -> None:
    consent, receipt = lab.issue("suspended.jwt"), tmp_path / "receipt.json"
    assert lab.json("consent", "suspend", consent)["event"] == "consent.suspended"
    assert lab.json("consent", "show", consent)["standing"] == "suspended"
    assert lab.run("consent", "reinstate", consent, "--receipt", receipt).exit_code == 0
    assert json.loads(receipt.read_text())["log_proof"].startswith("c2sp.org/tlog-proof@v1")
    assert lab.json("consent", "show", consent)["standing"] == "valid"
    lab.run("consent", "withdraw", consent)
    assert lab.run("consent", "reinstate", consent).exit_code == Exit.USAGE
    states = [event["state"] for event in lab.json("consent", "record", consent)["events"]]
    assert states == ["given", "suspended", "reinstated", "withdrawn"]


def test_people_list_and_withdraw_what_is_theirs_with_their_device_alone(lab: Lab, tmp_path: Path) -> None:
    device = tmp_path / "own.device"
    assert lab.run("consent", "enrol", "--subject", "Own Person", "--subject-key", device).exit_code == 0
    own = lab.issue("own.jwt", "--subject", "Own Person", "--subject-key", device)
    listed = lab.json("consent", "uses", "--subject-key", device, "--out", tmp_path / "proofs")
    assert [one["consent"] for one in listed["consents"]] == [lab.json("consent", "show", own)["consent"]]
    assert (tmp_path / "proofs" / "log.vkey").exists()
    assert lab.json("consent", "withdraw", "--all", "--subject-key", device)["event"] == "consent.withdrawn"
    assert lab.json("consent", "show", own)["standing"] == "withdrawn"
    assert lab.run("consent", "withdraw").exit_code == Exit.USAGE


def test_a_consent_handed_on_is_refused_to_everyone_but_its_receiver(lab: Lab, tmp_path: Path) -> None:
    consent, hop, key = lab.issue("handed.jwt", "--delegation-depth", 1), tmp_path / "hop.jwt", tmp_path / "d.pem"
    assert lab.run("accredit", "--name", "D", "--key", key, "--out", tmp_path / "d.jwt").exit_code == 0
    delegate = ("consent", "delegate", consent, "--key", lab.folder / "key.pem", "--to", tmp_path / "d.jwt")
    assert lab.run(*delegate, "--uses", 6, "--out", hop).exit_code == Exit.VERIFICATION_FAILED
    assert lab.run(*delegate, "--uses", 1, "--out", hop).exit_code == 0
    refused = lab.generate(tmp_path / "clip.mp4", consent, "--delegation", hop, "--json")
    assert [reason["rule"] for reason in json.loads(refused.stdout)["denials"]] == ["delegation.other_holder"]
