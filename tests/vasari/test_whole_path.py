"""From an empty folder to a verified clip, and what becomes of the clip afterwards: real weights, real everything."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from media import probe
from provenance import read_stored_manifest
from tests.vasari.conftest import Lab
from vasari.cli.demo import PORTRAIT
from vasari.cli.session import Exit
from vasari.cli.verify import EXITS
from vasari.verdict import State

Alter = Callable[[str], Path]
pytestmark = pytest.mark.slow


def test_a_release_plays_and_comes_with_a_receipt(lab: Lab, release: Path) -> None:
    info = probe(release)
    assert (info.video_codec, info.audio_codec, info.width, info.height) == ("h264", "aac", 512, 512)
    assert info.duration_s == pytest.approx(2.4, abs=0.1)
    receipt = json.loads((lab.folder / "receipt.json").read_text())
    assert receipt["uses_left"] == 4
    assert receipt["out"] == str(release)


def test_the_release_is_verified_by_both_engines_mark_and_log(lab: Lab, release: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    result = lab.run("verify", release, "--report", report, "--json")
    assert result.exit_code == Exit.OK
    found = json.loads(result.stdout)
    receipt = json.loads((lab.folder / "receipt.json").read_text())
    assert found["verdict"]["state"] == State.VERIFIED_RELEASE
    assert found["verdict"]["conflicts"] == []
    assert [engine["state"] for engine in found["credentials"]["engines"]] == ["verified", "verified"]
    assert found["watermark"]["video"]["manifest_id"] == receipt["manifest_id"]
    assert found["watermark"]["audio"]["manifest_id"] == receipt["manifest_id"]
    assert found["repository"]["same_content"] is True
    assert (found["log"]["state"], found["log"]["index"]) == ("proved", receipt["log_index"])
    assert "Verified release" in report.read_text()


def test_a_stripped_copy_is_still_known(lab: Lab, altered: Alter) -> None:
    result = lab.run("verify", altered("stripped"), "--json")
    found = json.loads(result.stdout)
    assert found["credentials"]["state"] == "absent"
    assert found["verdict"]["state"] == State.CREDENTIALS_STRIPPED
    assert found["verdict"]["decided_by"] == "watermark"
    assert result.exit_code == Exit.VERIFICATION_FAILED
    recovered = found["repository"]["recovered"]
    assert (recovered["trusted"], recovered["log"]) == (True, "proved")
    alignment = found["repository"]["alignment"]
    assert (alignment["start_s"], alignment["changed"]) == (0.0, [])
    assert max(level for _, level in alignment["differences"]) < 1.0


def test_the_manifest_of_a_stripped_copy_is_recovered_whole(lab: Lab, altered: Alter, tmp_path: Path) -> None:
    lab.run("verify", altered("stripped"), "--recover", tmp_path / "clip.c2pa")
    facts = read_stored_manifest((tmp_path / "clip.c2pa").read_bytes())
    assert facts.manifest_id == int(json.loads((lab.folder / "receipt.json").read_text())["manifest_id"], 16)


def test_a_signed_report_is_made_again_byte_for_byte(lab: Lab, release: Path, tmp_path: Path) -> None:
    page, made_from = tmp_path / "report.html", ("--portrait", PORTRAIT, "--audio", lab.folder / "voice.wav")
    trust = ("--trust", lab.state / "public")
    first = lab.run("verify", release, "--report", page, "--sign", tmp_path / "auditor.pem", *made_from, *trust)
    assert first.exit_code == Exit.OK, first.stderr
    check = ("report", "check", page, "--key", tmp_path / "report.vkey", "--clip", release, "--again", *trust)
    result = lab.run(*check, *made_from)
    assert result.exit_code == Exit.OK, result.stderr
    assert lab.run(*check).exit_code == Exit.VERIFICATION_FAILED
    assert "ending in .html" in lab.run("report", "check", page.with_suffix(".note"), *check[3:]).stderr
    assert "auditor.pem" in lab.run("report", "check", page, "--key", tmp_path / "auditor.pem").stderr


@pytest.mark.parametrize("how", ["tampered", "renamed"])
def test_one_changed_bit_breaks_the_credentials(lab: Lab, altered: Alter, how: str) -> None:
    result = lab.run("verify", altered(how), "--json")
    assert json.loads(result.stdout)["verdict"]["state"] == State.CREDENTIALS_BROKEN
    assert result.exit_code == Exit.VERIFICATION_FAILED


def test_a_strangers_authority_neither_trusts_the_signer_nor_reads_the_mark(release: Path, tmp_path: Path) -> None:
    stranger = Lab(tmp_path)
    assert stranger.run("init").exit_code == 0
    found = json.loads(stranger.run("verify", release, "--json").stdout)
    assert found["credentials"]["state"] == "untrusted"
    assert found["watermark"]["video"]["found"] is False
    assert found["verdict"]["state"] != State.VERIFIED_RELEASE


def test_a_third_party_verifies_with_the_public_folder_alone(lab: Lab, release: Path, tmp_path: Path) -> None:
    third_party = Lab(tmp_path)
    result = third_party.run("verify", release, "--trust", lab.state / "public", "--json")
    found = json.loads(result.stdout)
    assert (found["verdict"]["state"], found["log"]["state"]) == (State.VERIFIED_RELEASE, "proved")
    assert not third_party.state.exists()
    assert third_party.run("verify", release, "--trust", tmp_path).exit_code == Exit.USAGE


def test_without_any_authority_nothing_is_verified(release: Path, tmp_path: Path) -> None:
    result = Lab(tmp_path).run("verify", release, "--json")
    assert json.loads(result.stdout)["credentials"] is None
    assert "no authority here" in result.stderr
    assert result.exit_code != Exit.OK


def test_a_scan_goes_on_after_a_bad_file_and_ranks_what_it_found(lab: Lab, altered: Alter, tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    altered("stripped").rename(uploads / "b-stripped.mp4")
    (uploads / "a-bad.mp4").write_bytes(b"\x00" * 100)
    (uploads / "notes.txt").write_text("no clip, no row")
    page, lines = tmp_path / "scan.html", tmp_path / "scan.jsonl"
    result = lab.run("scan", uploads, "--html", page, "--jsonl", lines, "--json")
    assert result.exit_code == Exit.BAD_MEDIA
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows == [json.loads(line) for line in lines.read_text().splitlines()]
    assert "error" in rows[0]
    assert rows[1]["verdict"]["state"] == State.CREDENTIALS_STRIPPED
    html = page.read_text()
    assert "a-bad.mp4" in html
    assert "data:image/jpeg;base64," in html
    assert "<polyline" in html


def test_the_person_sees_the_use_with_its_log_proof(lab: Lab, release: Path) -> None:
    uses = lab.json("consent", "uses", lab.folder / "release.jwt")["uses"]
    receipt = json.loads((lab.folder / "receipt.json").read_text())
    assert [(use["state"], use["log_proof"]) for use in uses] == [("consumed", "proved")]
    assert uses[0]["clip_sha256"] == receipt["clip_sha256"]
    assert uses[0]["log_index"] == receipt["log_index"]


def test_a_log_that_was_cut_is_noticed_by_uses_and_verify(lab: Lab, release: Path, tmp_path: Path) -> None:
    index = json.loads((lab.folder / "receipt.json").read_text())["log_index"]
    shutil.copytree(lab.state, tmp_path / "state")
    with closing(sqlite3.connect(tmp_path / "state" / "log.sqlite")) as log:
        for (name,) in log.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            log.execute(f"DROP TRIGGER {name}")
        log.execute("DELETE FROM entries WHERE number >= ?", (index,))
        log.execute("DELETE FROM nodes WHERE (position + 1) * (1 << level) > ?", (index,))
        log.execute("DELETE FROM checkpoints WHERE size > ?", (index,))
        log.execute("UPDATE head SET size = ?", (index,))
        log.commit()
    uses = lab.run("consent", "uses", lab.folder / "release.jwt", "--state", tmp_path / "state", "--json")
    assert uses.exit_code == Exit.VERIFICATION_FAILED
    assert json.loads(uses.stdout)["uses"][0]["log_proof"] == "absent"
    verdict = json.loads(lab.run("verify", release, "--state", tmp_path / "state", "--json").stdout)["verdict"]
    assert (verdict["state"], verdict["decided_by"]) == (State.CREDENTIALS_BROKEN, "transparency log")


def test_a_clip_that_is_there_is_not_replaced_unasked(lab: Lab, release: Path) -> None:
    before = release.read_bytes()
    assert lab.generate(release, lab.folder / "release.jwt").exit_code == Exit.USAGE
    assert release.read_bytes() == before


def test_only_a_verified_release_ends_well() -> None:
    assert {state for state, code in EXITS.items() if code == Exit.OK} == {State.VERIFIED_RELEASE}
    assert set(EXITS) == set(State)
