"""The training code learns, resumes where it stopped, and packs what the generator can open."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

pytest.importorskip("soundfile", reason="the studio needs soundfile (pip install '.[training]')")

from generator.lip_opening import LipOpening
from generator.motion import MotionModel
from generator.training import train_audio_encoder, train_motion
from generator.training.fit_lip_opening import save
from generator.training.pack import pack


def encoder_settings(folder: Path, steps: int) -> argparse.Namespace:
    return argparse.Namespace(
        data=folder / "data", out=folder / "encoder", start=None, steps=steps, batch=2, real=0, frames=20, rate=1e-3,
        width=16, held_out=2, check=2, seed=1,
    )  # fmt: skip


def flow_settings(folder: Path, steps: int) -> argparse.Namespace:
    return argparse.Namespace(
        data=folder / "data", encoder=folder / "encoder" / "encoder", out=folder / "run", steps=steps, batch=2,
        frames=16, rate=1e-3, width=16, layers=1, held_out=2, check=2, seed=1,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    np.savez(
        tmp_path / "data" / "speech_1_0000.npz",
        features=rng.normal(size=(4, 200, 168)).astype(np.float16),
        mouth=rng.uniform(0, 0.3, (4, 200, 17)).astype(np.float16),
        classes=rng.integers(0, 26, (4, 200)).astype(np.uint8),
        level_db=rng.uniform(-60, 0, (4, 200)).astype(np.float16),
    )
    return tmp_path


def test_training_resumes_where_it_stopped(folder: Path) -> None:
    for module, settings, out in (
        (train_audio_encoder, encoder_settings, "encoder"),
        (train_motion, flow_settings, "run"),
    ):
        module.train(settings(folder, 2))
        first = json.loads((folder / out / "result.json").read_text())
        module.train(settings(folder, 4))
        second = json.loads((folder / out / "result.json").read_text())
        assert (first["steps"], second["steps"]) == (2, 4)
        assert second["settings"]["seed"] == "1"


def test_a_packed_checkpoint_rebuilds_the_motion_model(folder: Path) -> None:
    train_audio_encoder.train(encoder_settings(folder, 2))
    train_motion.train(flow_settings(folder, 2))
    (folder / "render.json").write_text('{"kind": "test"}')
    (folder / "render.safetensors").write_bytes((folder / "run" / "motion.safetensors").read_bytes())
    out = folder / "generator.safetensors"
    save(LipOpening(), folder / "lips.safetensors")
    pack({"motion": folder / "run" / "motion", "render": folder / "render"}, folder / "lips.safetensors", out)
    with safe_open(out, "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {k.removeprefix("motion."): file.get_tensor(k) for k in file.keys() if k.startswith("motion.")}  # noqa: SIM118
    assert config["render"] == {"kind": "test"}
    model = MotionModel.from_tensors(tensors, config["motion"])
    assert torch.equal(model.encoder.mouth.weight, tensors["encoder.mouth.weight"])
    assert torch.equal(model.flow.spread, tensors["flow.spread"])
    assert torch.equal(model.lips.correction.weight, tensors["lips.correction.weight"])


def test_packing_prefixes_every_name_once(tmp_path: Path) -> None:
    for name, key in (("motion", "a.weight"), ("render", "render.a")):
        (tmp_path / f"{name}.json").write_text("{}")
        save_file({key: torch.zeros(2)}, tmp_path / f"{name}.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "lips.safetensors")
    parts = {name: tmp_path / name for name in ("motion", "render")}
    pack(parts, tmp_path / "lips.safetensors", tmp_path / "out.safetensors")
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["motion.a.weight", "motion.lips.b", "render.a"]


def test_packing_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"lips\.safetensors is missing"):
        pack({"motion": tmp_path / "motion"}, tmp_path / "lips.safetensors", tmp_path / "out.safetensors")
    save(LipOpening(), tmp_path / "lips.safetensors")
    with pytest.raises(SystemExit, match=r"motion\.safetensors is missing"):
        pack({"motion": tmp_path / "motion"}, tmp_path / "lips.safetensors", tmp_path / "out.safetensors")
