"""What each command promises on a real authority; nothing here generates a clip."""

import base64
import json
import os
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


def test_a_withdrawn_accreditation_asks_in_vain(lab: Lab, tmp_path: Path) -> None:
    token, consent = tmp_path / "other.jwt", lab.issue("accredited.jwt")
    assert lab.run("accredit", "--name", "R", "--key", lab.folder / "key.pem", "--out", token).exit_code == 0
    assert lab.json("accredit", "suspend", token)["event"] == "accreditation.suspended"
    assert lab.json("accredit", "reinstate", token)["event"] == "accreditation.reinstated"
    assert lab.json("accredit", "withdraw", token)["event"] == "accreditation.withdrawn"
    refused = lab.generate(tmp_path / "clip.mp4", consent, "--accreditation", token, "--json")
    assert [reason["rule"] for reason in json.loads(refused.stdout)["denials"]] == ["accreditation.revoked"]
    assert lab.run("accredit").exit_code == Exit.USAGE


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
