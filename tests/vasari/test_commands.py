"""What each command promises on a real authority; nothing here generates a clip."""

import base64
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from policy import MAX_PORTRAIT_BYTES
from tests.vasari.conftest import Lab
from vasari.cli.demo import PORTRAIT
from vasari.cli.session import Exit


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_folder_is_private_and_never_overwritten(lab: Lab) -> None:
    assert mode(lab.state) == 0o700
    before = (lab.state / "authority.json").read_bytes()
    again = lab.run("init")
    assert again.exit_code == Exit.USAGE
    assert "not empty" in again.stderr
    assert (lab.state / "authority.json").read_bytes() == before


@pytest.mark.parametrize("name", ["", " ", "Lab\x1b[2J", "Lab\nOther"])
def test_an_organisation_is_named_in_plain_text(lab: Lab, tmp_path: Path, name: str) -> None:
    result = lab.run("init", "--organisation", name, "--state", tmp_path / "other")
    assert result.exit_code == Exit.USAGE
    assert "\x1b" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_public_folder_holds_no_secret(lab: Lab) -> None:
    files = list((lab.state / "public").iterdir())
    assert {file.name for file in files} == {"claim-root.pem", "time-root.pem", "log.vkey", "revoked.crl.pem"}
    assert not any("PRIVATE" in file.read_text() for file in files)


def test_keys_and_tokens_are_readable_by_their_owner_only(lab: Lab) -> None:
    assert mode(lab.folder / "key.pem") == 0o600
    assert mode(lab.folder / "accreditation.jwt") == 0o600
    assert mode(lab.issue("private.jwt")) == 0o600


def test_tokens_are_never_overwritten(lab: Lab) -> None:
    consent = lab.issue("once.jwt")
    before = consent.read_bytes()
    again = lab.run(
        "consent", "issue", "--subject", "Nobody", "--subject-key", lab.folder / "subject.device", "--adult",
        "--portrait", lab.folder / "voice.wav", "--grantee",
        lab.folder / "key.pem", "--purpose", "demonstration", "--out", consent,
    )  # fmt: skip
    assert again.exit_code == Exit.USAGE
    assert consent.read_bytes() == before


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


def test_a_researcher_is_named_by_their_accreditation_without_showing_a_key(lab: Lab, tmp_path: Path) -> None:
    by_key = lab.json("consent", "show", lab.issue("by-key.jwt"))
    by_token = lab.json("consent", "show", lab.issue("by-token.jwt", "--grantee", lab.folder / "accreditation.jwt"))
    assert by_token["researcher_thumbprint"] == by_key["researcher_thumbprint"]
    forged = tmp_path / "forged.jwt"
    forged.write_text((lab.folder / "accreditation.jwt").read_text().strip()[:-4] + "AAAA")
    refused = lab.run(
        "consent", "issue", "--subject", "Nobody", "--subject-key", lab.folder / "subject.device", "--adult",
        "--portrait", forged, "--grantee", forged, "--purpose", "demonstration",
        "--out", tmp_path / "never.jwt",
    )  # fmt: skip
    assert refused.exit_code == Exit.VERIFICATION_FAILED
    assert not (tmp_path / "never.jwt").exists()


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


def test_a_refusal_names_every_reason_is_logged_and_leaves_no_file(lab: Lab, tmp_path: Path) -> None:
    consent = lab.issue("refused.jwt", "--max-seconds", 1)
    lab.run("consent", "withdraw", consent)
    result = lab.generate(tmp_path / "clip.mp4", consent, "--purpose", "detector-training", "--json")
    assert result.exit_code == Exit.REFUSED
    answer = json.loads(result.stdout)
    rules = {reason["rule"] for reason in answer["denials"]}
    assert len(rules) >= 3
    assert all(reason["fact"] and reason["remedy"] for reason in answer["denials"])
    assert all(rule in result.stderr for rule in rules)
    assert list(tmp_path.iterdir()) == []
    entry = next(entry for entry in lab.json("log", "show")["entries"] if entry["index"] == answer["log_index"])
    assert set(entry["rules"]) == rules
    assert lab.json("consent", "show", consent)["uses_left"] == 5


def test_everything_wrong_at_once_is_told_at_once(lab: Lab, tmp_path: Path) -> None:
    tiny, silent, out = tmp_path / "tiny.png", tmp_path / "empty.wav", tmp_path / "out" / "clip.mp4"
    Image.new("RGB", (20, 20)).save(tiny)
    silent.write_bytes(b"")
    out.parent.mkdir()
    result = lab.run(
        "generate", "--portrait", tiny, "--audio", silent, "--key", lab.folder / "key.pem", "--out", out, "--json"
    )
    assert result.exit_code == Exit.REFUSED
    rules = {reason["rule"].partition(".")[0] for reason in json.loads(result.stdout)["denials"]}
    assert {"consent", "accreditation", "portrait", "audio"} <= rules
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("claims", [b"[" * 40_000, b'{"a":' * 8_000], ids=["lists", "objects"])
def test_a_token_nested_beyond_all_measure_is_refused_and_logged(lab: Lab, tmp_path: Path, claims: bytes) -> None:
    bomb = tmp_path / "bomb.jwt"
    bomb.write_text("e30." + base64.urlsafe_b64encode(claims).decode().rstrip("=") + ".e30")
    result = lab.generate(tmp_path / "clip.mp4", bomb, "--json")
    assert result.exit_code == Exit.REFUSED
    answer = json.loads(result.stdout)
    assert "consent.too_large" in {reason["rule"] for reason in answer["denials"]}
    assert lab.json("log", "show")["size"] == answer["log_index"] + 1
    assert lab.run("consent", "show", bomb).exit_code == Exit.VERIFICATION_FAILED


def test_a_too_large_portrait_is_refused(lab: Lab, tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_PORTRAIT_BYTES + 1)
    result = lab.generate(tmp_path / "c.mp4", lab.issue("l.jwt"), "--portrait", tmp_path / "large.png", "--json")
    assert result.exit_code == Exit.REFUSED
    assert "portrait.unreadable" in {reason["rule"] for reason in json.loads(result.stdout)["denials"]}


def test_receipt_and_report_never_replace_a_key_or_the_clip(lab: Lab, tmp_path: Path) -> None:
    key, consent, clip = lab.folder / "key.pem", lab.issue("receipt.jwt"), tmp_path / "clip.mp4"
    before, size = key.read_bytes(), lab.json("log", "show")["size"]
    assert lab.generate(clip, consent, "--receipt", key).exit_code == Exit.USAGE
    assert lab.generate(clip, consent, "--receipt", clip).exit_code == Exit.USAGE
    assert key.read_bytes() == before
    assert lab.json("log", "show")["size"] == size
    clip.write_bytes(b"a clip")
    (tmp_path / "page.html").write_text("kept")
    (tmp_path / "z.json").write_text("kept")
    for report in (clip, key, tmp_path / "page.html", tmp_path / "z.html", tmp_path / "note.note"):
        assert lab.run("verify", clip, "--report", report).exit_code == Exit.USAGE
    portrait = tmp_path / "portrait.html"
    portrait.write_text("kept")
    over = ("--report", portrait, "--portrait", portrait, "--overwrite")
    assert "made from" in lab.run("verify", clip, *over).stderr
    assert clip.read_bytes() == b"a clip"
    assert {path.read_text() for path in (portrait, tmp_path / "page.html", tmp_path / "z.json")} == {"kept"}


def test_a_receipt_that_cannot_be_written_is_told_before_the_use_is_spent(lab: Lab, tmp_path: Path) -> None:
    consent, size = lab.issue("nowhere.jwt"), lab.json("log", "show")["size"]
    (tmp_path / "file").write_text("no folder")
    result = lab.generate(tmp_path / "clip.mp4", consent, "--receipt", tmp_path / "file" / "receipt.json")
    assert (result.exit_code, "receipt.json: can't be written" in result.stderr) == (Exit.USAGE, True)
    assert lab.json("log", "show")["size"] == size


def test_what_is_no_regular_file_is_never_waited_for(lab: Lab, tmp_path: Path) -> None:
    pipe = tmp_path / "clip.mp4"
    os.mkfifo(pipe)
    assert lab.run("verify", pipe).exit_code == Exit.BAD_MEDIA
    assert lab.run("scan", pipe).exit_code == Exit.BAD_MEDIA
    os.mkfifo(tmp_path / "gaze.csv")
    consent = lab.issue("pipes.jwt")
    for option, path in (("portrait", pipe), ("audio", pipe), ("consent", pipe), ("gaze", tmp_path / "gaze.csv")):
        result = lab.generate(tmp_path / "out.mp4", consent, f"--{option}", path)
        assert (result.exit_code, "regular file" in result.stderr) == (Exit.USAGE, True)
    assert lab.run("verify", pipe, "--portrait", "/dev/zero").exit_code == Exit.USAGE


def test_a_name_with_control_characters_is_accredited_to_nobody(lab: Lab, tmp_path: Path) -> None:
    key, out = tmp_path / "key.pem", tmp_path / "token.jwt"
    assert lab.run("accredit", "--name", "a\x1b[31mX", "--key", key, "--out", out).exit_code == Exit.USAGE
    assert not out.exists()


def test_a_clip_is_an_mp4_and_is_named_so(lab: Lab, tmp_path: Path) -> None:
    result = lab.generate(tmp_path / "clip.avi", lab.issue("named.jwt"))
    assert result.exit_code == Exit.USAGE
    assert "clip.avi: expected a name ending in .mp4" in result.stderr


def test_live_sound_that_is_none_is_bad_media_and_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    consent = lab.folder / "live.jwt"
    assert lab.run(
        "consent", "issue", "--subject", "Nobody", "--subject-key", lab.folder / "subject.device", "--adult",
        "--portrait", PORTRAIT, "--grantee", lab.folder / "key.pem", "--purpose", "demonstration", "--out", consent,
    ).exit_code == Exit.OK  # fmt: skip
    command = [
        sys.executable, "-m", "vasari", "generate", "--portrait", PORTRAIT, "--audio", "-", "--consent", consent,
        "--accreditation", lab.folder / "accreditation.jwt", "--key", lab.folder / "key.pem",
        "--live", tmp_path / "stream", "--live-seconds", "2", "--state", lab.state,
    ]  # fmt: skip
    result = subprocess.run(command, input=bytes(30_000), capture_output=True, check=False)
    told = result.stderr.decode()
    assert result.returncode == Exit.BAD_MEDIA, told
    assert "--audio -: expected WAV" in told
    assert "--pcm RATE,CHANNELS" in told
    assert not (tmp_path / "stream").exists()
    assert [use["state"] for use in lab.json("consent", "uses", consent)["uses"]] == ["refunded"]


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


def test_controls_out_of_range_are_all_named(lab: Lab, tmp_path: Path) -> None:
    consent = lab.issue("controls.jwt")
    result = lab.generate(tmp_path / "clip.mp4", consent, "--gaze", "90,0", "--distance", "7")
    assert result.exit_code == Exit.USAGE
    assert "gaze_yaw_deg" in result.stderr
    assert "distance" in result.stderr


def test_the_log_shows_events_without_names(lab: Lab) -> None:
    lab.issue("logged.jwt")
    told = lab.run("log", "show").stdout
    assert "consent.issued" in told
    assert "Nobody" not in told
    assert "Example researcher" not in told


def test_a_proof_of_a_changed_entry_fails_offline(lab: Lab, tmp_path: Path) -> None:
    files = lab.json("log", "prove", 0, "--out", tmp_path)
    entry = Path(files["entry"])
    entry.write_bytes(entry.read_bytes().replace(b'"v":1', b'"v":2'))
    stranger = Lab(tmp_path / "nowhere")
    result = stranger.run("log", "check", "--proof", files["proof"], "--entry", entry, "--key", files["key"])
    assert result.exit_code == Exit.VERIFICATION_FAILED
    assert not stranger.state.exists()


def test_a_damaged_log_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    files = lab.json("log", "prove", 0, "--out", tmp_path)
    key = Path(files["key"])
    key.write_text(key.read_text().replace("vasari.local", "evil.local"))
    assert lab.run("log", "check", "--proof", files["proof"], "--entry", files["entry"], "--key", key).exit_code == 2


def test_there_is_no_proof_of_an_entry_that_is_not_there(lab: Lab, tmp_path: Path) -> None:
    assert lab.run("log", "prove", 10**9, "--out", tmp_path).exit_code == Exit.NOTHING_FOUND


def test_sealing_writes_a_private_key_and_prints_none_of_it(lab: Lab, tmp_path: Path) -> None:
    import safetensors.torch
    import torch

    checkpoint = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"motion.w": torch.zeros(2)}, checkpoint, metadata={"config": "{}"})
    sealed, key = tmp_path / "model.sealed", tmp_path / "release.key"
    arguments = ("seal", "--checkpoint", checkpoint, "--out", sealed, "--release-key-out", key)
    result = lab.run(*arguments)
    assert result.exit_code == 0
    assert mode(key) == 0o600
    assert key.read_text().strip() not in result.output
    assert lab.run(*arguments).exit_code == Exit.USAGE


def test_a_missing_state_folder_says_how_to_make_one(tmp_path: Path) -> None:
    result = Lab(tmp_path).run("log", "show")
    assert result.exit_code == Exit.USAGE
    assert "vasari init" in result.stderr


def test_a_scan_of_nothing_finds_nothing(lab: Lab, tmp_path: Path) -> None:
    assert lab.run("scan", tmp_path).exit_code == Exit.NOTHING_FOUND


def test_a_file_whose_name_is_no_text_ends_no_scan(lab: Lab, tmp_path: Path) -> None:
    for name in (b"a\xff.mp4", b"b\x1b.mp4"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"no clip")
    found = lab.run("scan", tmp_path, "--jsonl", tmp_path / "scan.jsonl", "--html", tmp_path / "scan.html")
    assert found.exit_code == Exit.BAD_MEDIA
    rows = [json.loads(line) for line in (tmp_path / "scan.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["a\udcff.mp4", "b\x1b.mp4"]


def test_a_scan_says_what_it_leaves_alone(lab: Lab, tmp_path: Path) -> None:
    for name in ("still.png", "voice.wav", "notes.txt"):
        (tmp_path / name).write_bytes(b"never opened")
    nothing = lab.run("scan", tmp_path)
    assert nothing.exit_code == Exit.NOTHING_FOUND
    assert "2 recordings and stills were left alone: vasari mark detect" in nothing.stderr
    (tmp_path / "bad.mp4").write_bytes(b"no clip")
    assert "2 recordings and stills were left alone" in lab.run("scan", tmp_path).stderr


def test_a_scan_names_unusable_places_before_it_looks_at_a_clip(lab: Lab, tmp_path: Path) -> None:
    clip, page = tmp_path / "clip.mp4", tmp_path / "page.html"
    clip.write_bytes(b"no clip, and not read")
    for options in (
        ("--html", "/dev/null/page.html"), ("--jsonl", "/dev/null/lines.jsonl"),
        ("--html", clip), ("--jsonl", clip), ("--html", page, "--jsonl", page),
    ):  # fmt: skip
        result = lab.run("scan", clip, *options)
        assert result.exit_code == Exit.USAGE, options
        assert str(options[-1]) in result.stderr
        assert result.stdout == ""
    assert clip.read_bytes() == b"no clip, and not read"
    assert not page.exists()


def test_a_file_that_is_no_clip_is_bad_media(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a clip")
    result = lab.run("verify", path)
    assert result.exit_code == Exit.BAD_MEDIA
    assert "notes.mp4" in result.stderr


def test_a_still_picture_is_sent_to_the_command_that_reads_marks_in_stills(lab: Lab, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    still.write_bytes(PORTRAIT.read_bytes())
    result = lab.run("verify", still)
    assert result.exit_code == Exit.BAD_MEDIA
    assert "still.png: expected a clip, but it is a still picture. vasari mark detect" in result.stderr


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


def test_a_withdrawn_accreditation_asks_in_vain(lab: Lab, tmp_path: Path) -> None:
    token, consent = tmp_path / "other.jwt", lab.issue("accredited.jwt")
    assert lab.run("accredit", "--name", "R", "--key", lab.folder / "key.pem", "--out", token).exit_code == 0
    assert lab.json("accredit", "suspend", token)["event"] == "accreditation.suspended"
    assert lab.json("accredit", "reinstate", token)["event"] == "accreditation.reinstated"
    assert lab.json("accredit", "withdraw", token)["event"] == "accreditation.withdrawn"
    refused = lab.generate(tmp_path / "clip.mp4", consent, "--accreditation", token, "--json")
    assert [reason["rule"] for reason in json.loads(refused.stdout)["denials"]] == ["accreditation.revoked"]
    assert lab.run("accredit").exit_code == Exit.USAGE


def test_a_consent_handed_on_is_refused_to_everyone_but_its_receiver(lab: Lab, tmp_path: Path) -> None:
    consent, hop, key = lab.issue("handed.jwt", "--delegation-depth", 1), tmp_path / "hop.jwt", tmp_path / "d.pem"
    assert lab.run("accredit", "--name", "D", "--key", key, "--out", tmp_path / "d.jwt").exit_code == 0
    delegate = ("consent", "delegate", consent, "--key", lab.folder / "key.pem", "--to", tmp_path / "d.jwt")
    assert lab.run(*delegate, "--uses", 6, "--out", hop).exit_code == Exit.VERIFICATION_FAILED
    assert lab.run(*delegate, "--uses", 1, "--out", hop).exit_code == 0
    refused = lab.generate(tmp_path / "clip.mp4", consent, "--delegation", hop, "--json")
    assert [reason["rule"] for reason in json.loads(refused.stdout)["denials"]] == ["delegation.other_holder"]


def test_a_refusal_names_the_way_out_and_can_be_explained_from_the_log(lab: Lab, tmp_path: Path) -> None:
    consent = lab.issue("explained.jwt")
    result = lab.generate(tmp_path / "clip.mp4", consent, "--fps", 24, "--json")
    answer = json.loads(result.stdout)
    assert answer["way_out"] == [{"who": "researcher", "what": "Ask for 25 frames per second."}]
    assert answer["way_out_sufficient"]
    assert answer["appeal"] in result.stderr
    for name in (answer["decision"], answer["log_index"]):
        explained = lab.json("policy", "explain", name)
        assert explained["identical"]
        assert [denial["rule_id"] for denial in explained["denials"]] == ["request.frame_rate"]
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps({"cases": [lab.json("policy", "explain", answer["decision"], "--facts")["case"]]}))
    assert lab.run("policy", "test", cases).exit_code == Exit.OK
    cases.write_text(cases.read_text().replace('"expect": ["request.frame_rate"]', '"expect": []'))
    assert lab.run("policy", "test", cases).exit_code == Exit.VERIFICATION_FAILED
    assert lab.run("policy", "explain", "0" * 32).exit_code == Exit.NOTHING_FOUND
