"""Validators of others, in JavaScript, read our clips and see what was changed.

Needs node and a folder with their packages: set VASARI_JS_VALIDATORS to the `node_modules` of
`npm install --ignore-scripts @contentauth/c2pa-wasm@0.13.3 @trustnxt/c2pa-ts@0.9.4`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.provenance.conftest import Authority, sign_elsewhere

SCRIPT = Path(__file__).with_name("validators.mjs")
MODULES = os.environ.get("VASARI_JS_VALIDATORS", "")
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not MODULES, reason="VASARI_JS_VALIDATORS names no folder with the packages"),
]
WriteFile = Callable[..., Path]


def validate(clip: Path, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    anchors = tmp_path / "anchors.pem"
    anchors.write_text(authority.anchors.manifest_pem)
    command = ["node", str(SCRIPT), MODULES, str(clip), str(anchors)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]  # a library prints above it


def tampered(content: bytes) -> bytes:
    return content[:-200] + bytes([content[-200] ^ 1]) + content[-199:]


def test_the_webassembly_validator_trusts_a_release_and_sees_its_change(
    signed: bytes, authority: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    assert validate(as_file(signed), authority, tmp_path)["wasm"] == {"state": "Trusted", "failures": []}
    changed = validate(as_file(tampered(signed)), authority, tmp_path)["wasm"]
    assert changed["state"] == "Invalid"
    assert [entry["code"] for entry in changed["failures"]] == ["assertion.bmffHash.mismatch"]


def test_the_independent_validator_agrees_on_hashes(
    clip: bytes, authority: Authority, as_file: WriteFile, tmp_path: Path
) -> None:
    """Without a time stamp: version 0.9.4 stops at the time-stamp tokens of specification 2.x."""
    plain = sign_elsewhere(clip, "video/mp4", authority.identity)
    assert validate(as_file(plain), authority, tmp_path)["typescript"] == {"valid": True, "failures": []}
    changed = validate(as_file(tampered(plain)), authority, tmp_path)["typescript"]
    assert changed == {"valid": False, "failures": ["assertion.bmffHash.mismatch"]}
