"""A report gives the same bytes for the same clip, lists and time; signed, no byte of it changes unseen."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provenance import format_log_key, renew_revocation_lists
from tests.provenance.conftest import Authority, make_authority
from tests.vasari.conftest import Lab
from tests.vasari.evidence import HOSTILE, NOW, audit, detection, hostile_credentials, released, unmarked
from tests.vasari.test_reports import Page
from vasari.audit_report import AuditReport, ReportError, check_report, make_report, sign_report
from vasari.cli.report_files import write_report
from vasari.cli.session import Exit
from vasari.clip_audit import ClipAuditor

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "outsider" / "check_log.py"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"auditor.example.org": KEY.public_key()}
CLIP = audit(released(detector=detection("likely_synthetic", 0.9)))
AUDITOR = ClipAuditor()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = make_authority(tmp_path_factory.mktemp("authority") / "pki")
    renew_revocation_lists(made.folder, now=NOW)
    return replace(made, anchors=type(made.anchors).from_folder(made.folder))


@pytest.fixture
def signed() -> AuditReport:
    return sign_report(make_report(CLIP, AUDITOR), auditor="auditor.example.org", key=KEY)


def test_the_same_clip_lists_and_time_give_the_same_bytes(authority: Authority) -> None:
    auditor = ClipAuditor(anchors=authority.anchors)
    elsewhere = replace(CLIP, path="/another/folder/clip.mp4", took_s=77.7)
    assert make_report(CLIP, auditor) == make_report(elsewhere, auditor)
    later = replace(CLIP, audited_at=NOW.replace(year=2027))
    assert make_report(CLIP, auditor).json != make_report(later, auditor).json
    assert make_report(CLIP, auditor).json != make_report(CLIP, AUDITOR).json


def test_a_report_states_its_input_versions_and_lists_with_their_age(authority: Authority) -> None:
    said = json.loads(make_report(CLIP, ClipAuditor(anchors=authority.anchors)).json)
    assert said["audit"]["sha256"] == CLIP.sha256
    assert said["made_by"]["version"]
    assert [engine["version"] for engine in said["audit"]["credentials"]["engines"]] == ["0.38.1", "1.7.1"]
    (root,) = said["lists"]["claim_signers"]
    assert "Claim Root" in root["name"]
    assert root["not_after"] > "2030"
    assert [entry["age_days"] for entry in said["lists"]["revocation_lists"]] == [0, 0, 0]
    assert {check["name"] for check in said["audit"]["checks"]} >= {"integrity", "revocation", "log", "watermark"}
    assert all(check["clause"] for check in said["audit"]["checks"])


def test_a_signed_report_holds_and_names_its_verdict(signed: AuditReport) -> None:
    assert check_report(signed, KEYS)["audit"]["verdict"]["state"] == "verified_release"
    assert "verdict verified_release\n" in signed.note


@pytest.mark.parametrize("part", ["json", "html", "note"])
def test_no_changed_byte_leaves_a_report_valid(part: str, signed: AuditReport) -> None:
    content = getattr(signed, part)
    raw = content.encode() if isinstance(content, str) else content
    for at in range(0, len(raw), max(1, len(raw) // 60)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        new = changed.decode("utf-8", "surrogateescape") if part == "note" else changed
        with pytest.raises(ReportError):
            check_report(replace(signed, **{part: new}), KEYS)


def test_a_report_of_a_stranger_or_with_another_page_does_not_hold(signed: AuditReport) -> None:
    stranger = {"auditor.example.org": Ed25519PrivateKey.generate().public_key()}
    with pytest.raises(ReportError, match="note"):
        check_report(signed, stranger)
    with pytest.raises(ReportError, match="html"):
        check_report(replace(signed, html=make_report(audit(unmarked()), AUDITOR).html), KEYS)
    with pytest.raises(ReportError, match="no report"):
        check_report(replace(signed, json=b"{}"), KEYS)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_inert_in_both_forms(text: str) -> None:
    evidence = unmarked(credentials=hostile_credentials(text), detector=detection("abstained", reason=text))
    report = make_report(audit(evidence, path=f"{text.replace('/', '_')}.mp4"), AUDITOR)
    harmless = make_report(
        audit(unmarked(credentials=hostile_credentials("x"), detector=detection("abstained", reason="x"))), AUDITOR
    )
    page, plain = Page(report.html.decode()), Page(harmless.html.decode())
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert report.json.isascii()
    assert not set(b"\x1b\x07") & set(report.json)


def test_the_command_checks_what_was_written(signed: AuditReport, tmp_path: Path) -> None:
    anyone, page = Lab(tmp_path / "nobody"), tmp_path / "clip.html"
    key = format_log_key("auditor.example.org", KEY.public_key())
    written = write_report(page, signed, key)
    assert [path.name for path in written] == ["clip.html", "clip.json", "clip.note", "clip.vkey"]
    good = anyone.run("report", "check", page, "--key", tmp_path / "clip.vkey", "--json")
    assert (good.exit_code, json.loads(good.stdout)["verdict"]) == (Exit.OK, "verified_release")
    other = anyone.run("report", "check", page, "--key", tmp_path / "clip.vkey", "--clip", page)
    assert (other.exit_code, "another clip" in other.stderr) == (Exit.VERIFICATION_FAILED, True)
    note = [
        sys.executable,
        "-I",
        "-S",
        str(SCRIPT),
        "note",
        "--key",
        str(tmp_path / "clip.vkey"),
        str(tmp_path / "clip.note"),
    ]
    alone = subprocess.run(note, capture_output=True, text=True, check=True)
    assert "verdict verified_release" in alone.stdout
    page.write_bytes(signed.html.replace(b"Verified", b"Verifled", 1))
    bad = anyone.run("report", "check", page, "--key", tmp_path / "clip.vkey")
    assert (bad.exit_code, "html" in bad.stderr) == (Exit.VERIFICATION_FAILED, True)
    page.with_suffix(".note").write_bytes(b"\xff\xfe" + signed.note.encode())
    tampered = anyone.run("report", "check", page, "--key", tmp_path / "clip.vkey")
    assert (tampered.exit_code, "clip.note is no text" in tampered.stderr) == (Exit.VERIFICATION_FAILED, True)
    page.with_suffix(".note").unlink()
    missing = anyone.run("report", "check", page, "--key", tmp_path / "clip.vkey")
    assert (missing.exit_code, "clip.note: can't be read" in missing.stderr) == (Exit.USAGE, True)
