"""`vasari worker split` and the main job behind it: the generator in a process that the gate trusts with nothing."""

import shutil
from pathlib import Path

import av
import pytest
from click.testing import Result
from PIL import Image

from tests.policy.test_worker_process import landlock_version
from tests.vasari.conftest import Lab
from vasari.cli.demo import PORTRAIT


@pytest.fixture
def own_lab(lab: Lab, tmp_path: Path) -> Lab:
    """A copy that a test may change."""
    shutil.copytree(lab.folder, tmp_path / "lab")
    return Lab(tmp_path / "lab")


@pytest.mark.timeout(900)  # four interpreters that load PyTorch, on however busy a machine
@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_the_main_job_runs_with_worker_and_gate_apart_and_the_gate_opens_no_media(
    own_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent = own_lab.issue("apart.jwt", "--uses", "3")
    alone, beside, apart = (own_lab.folder / name for name in ("alone.svg", "beside.svg", "apart.svg"))
    assert ask(own_lab, consent, "--plot", alone).exit_code == 0
    assert own_lab.json("worker", "split")["worker"] == "a process of its own"
    out = own_lab.folder / "apart.mp4"

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the gate opened a picture, sound or video")

    with monkeypatch.context() as patch:
        for library in (av, Image):
            patch.setattr(library, "open", opened)
        receipt = ask(own_lab, consent, "--out", out, "--plot", beside)
        plotted = ask(own_lab, consent, "--plot", apart)
    assert receipt.exit_code == 0, receipt.stderr
    assert plotted.exit_code == 0, plotted.stderr
    assert alone.read_bytes() == beside.read_bytes() == apart.read_bytes()
    refused = ask(own_lab, consent, "--live", own_lab.folder / "live")
    assert refused.exit_code == 2
    assert "makes whole clips and no streams" in refused.stderr
    assert own_lab.json("worker", "split", "--end")["worker"] == "this process"
    assert own_lab.run("verify", out).exit_code == 0


def ask(lab: Lab, consent: Path, *target: object) -> Result:
    """`vasari generate` of the demo portrait's person."""
    return lab.run(
        "generate", "--portrait", PORTRAIT, "--audio", lab.folder / "voice.wav", "--consent", consent,
        "--accreditation", lab.folder / "accreditation.jwt", "--key", lab.folder / "key.pem", *target,
    )  # fmt: skip


def test_a_user_that_is_not_there_and_options_that_contradict_are_told(own_lab: Lab) -> None:
    assert own_lab.run("worker", "split", "--user", "no-such-user").exit_code == 2
    assert own_lab.run("worker", "split", "--user", "x", "--end").exit_code == 2
    assert own_lab.run("worker", "split", "--end").exit_code == 2
    assert own_lab.run("consent", "erase", "0" * 32).exit_code == 2  # its registry is in the folder
    assert own_lab.json("consent", "erase") == {"erased": []}
