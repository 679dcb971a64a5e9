"""Training of the face networks: labels follow the pictures, a stopped run goes on, the decoder learns."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial.transform import Rotation

from generator.face_networks import DynamicsReadOut
from generator.rig import EXPRESSION_NAMES
from generator.training import train_face_decoder, train_face_encoders
from generator.training.picture_augmentation import Framing
from generator.training.resumable import ResumableRun
from generator.training.studio_takes import find_takes, load_take, turn_matrices

FRAMES = 3


def write_take(path: Path, split: str, seed: int) -> None:
    """A head-like blob that moves with its labels; no face, but everything a take has."""
    rng = torch.Generator().manual_seed(seed)
    yaw = torch.tensor([0.0, 12.0, -12.0])
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    blob = torch.stack([(((x - 128 - v) / 60) ** 2 + ((y - 130) / 75) ** 2 < 1).float() for v in yaw])
    colour = torch.rand(3, 1, 1, generator=rng) * 120 + 90
    frames = (blob[:, None] * colour + 40 + 20 * torch.rand(FRAMES, 3, 256, 256, generator=rng)).to(torch.uint8)
    tensors = {
        "frames": frames,
        "mask": blob.to(torch.uint8),
        "pose": torch.stack([yaw, torch.zeros(3), torch.zeros(3)], 1),
        "translation": torch.tensor([[0.0, 0, -90]]).repeat(FRAMES, 1),
        "expression": torch.rand(FRAMES, len(EXPRESSION_NAMES), generator=rng),
        "gaze": torch.zeros(FRAMES, 2),
        "landmarks": 128 + 40 * torch.rand(FRAMES, 478, 2, generator=rng),
        "visible": torch.ones(FRAMES, 478, dtype=torch.uint8),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"person": str(seed), "kind": "procedural", "split": split})
    prior = path.parents[2] / "priors" / path.parent.name / path.name
    prior.parent.mkdir(parents=True, exist_ok=True)
    still = frames[:1, :, 40:232, 32:224].repeat(FRAMES, 1, 1, 1).contiguous()
    layers = torch.tensor([0, 255], dtype=torch.uint8)[None, :, None, None].repeat(FRAMES, 1, 192, 192)  # all skin
    save_file({"warped": still, "layers": layers}, prior)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("face")
    for seed, split in enumerate(("train", "train", "train", "test")):
        write_take(root / "takes" / "procedural" / f"{seed}.safetensors", split, seed)
    return root


def settings(folder: Path, steps: int, **more: object) -> argparse.Namespace:
    shared = {"takes": folder / "takes", "steps": steps, "rate": 1e-3, "check": 2, "limit": None, "threads": 1}
    return argparse.Namespace(**shared, seed=1, start=None, **more)


def encoder_settings(folder: Path, what: str, steps: int) -> argparse.Namespace:
    return settings(folder, steps, what=what, out=folder / "runs" / what, batch=6)


def test_turns_have_the_rigs_convention() -> None:
    degrees = torch.tensor([[20.0, -10.0, 5.0]])
    roll, pitch, yaw = Rotation.from_matrix(turn_matrices(degrees)[0].numpy()).as_euler("ZXY", degrees=True)
    assert (yaw, pitch, roll) == pytest.approx((20, -10, 5), abs=1e-4)


def test_takes_are_split_and_read(folder: Path) -> None:
    paths = find_takes(folder / "takes", split="train")
    assert [p.stem for p in paths] == ["0", "1", "2"]
    take = load_take(paths[0])
    assert take.crops.shape == (FRAMES, 3, 192, 192)
    assert float(take.place.centre[0, 0]) == pytest.approx(0, abs=1e-5)


def test_points_go_where_the_picture_goes() -> None:
    picture = torch.zeros(4, 3, 96, 96)
    picture[:, :, 30:33, 60:63] = 1
    at = (torch.tensor([[[61.5, 31.5]]]) / 48 - 1).repeat(4, 1, 1)
    framing = Framing.random(4, torch.Generator().manual_seed(2))
    moved, expected = framing.pictures(picture, 96), framing.points(at)
    for index in range(4):
        spot = moved[index, 0]
        y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
        centre = torch.stack([(spot * x).sum(), (spot * y).sum()]) / spot.sum()
        assert torch.allclose((centre + 0.5) / 48 - 1, expected[index, 0], atol=0.02)


def test_a_turned_picture_turns_the_gaze_with_it() -> None:
    quarter = Framing(torch.tensor([torch.pi / 2]), torch.ones(1), torch.zeros(1), torch.zeros(1))
    looks_right = torch.tensor([[1.0, 0.0]])
    assert torch.allclose(quarter.gaze(looks_right), torch.tensor([[0.0, -1.0]]), atol=1e-6)  # now up


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    def run(steps: int, folder: str) -> torch.Tensor:
        torch.manual_seed(0)
        net = DynamicsReadOut()
        state = ResumableRun({"net": net}, tmp_path / folder, rate=1e-2, steps=6, seed=4)
        while state.step < steps:
            wanted = torch.randn(5, 48, generator=state.generator())
            state.descend((net(wanted) - wanted[:, :1]).square().mean())
        state.save({})
        return load_file(tmp_path / folder / "average.safetensors")["net.out.weight"]

    whole = run(6, "whole")
    run(3, "stopped")
    assert torch.allclose(run(6, "stopped"), whole, atol=1e-7)


def test_encoders_then_decoder_train_from_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("motion", "identity"):
        train_face_encoders.train(encoder_settings(folder, what, 2))
    more = {"priors": folder / "priors", "encoders": folder / "runs", "out": folder / "runs" / "decoder"}
    train_face_decoder.train(settings(folder, 2, **more, portraits=2, each=2))
    train_face_decoder.train(settings(folder, 4, **more, portraits=2, each=2))
    said = capsys.readouterr().out
    assert "3 takes to train on, 1 to test on, from step 2" in said
    average = load_file(folder / "runs" / "decoder" / "average.safetensors")
    assert float(average["decoder.last.weight"].abs().max()) > 0
    assert all(bool(torch.isfinite(t).all()) for t in average.values())


def test_a_folder_without_takes_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no takes"):
        train_face_encoders.train(encoder_settings(tmp_path, "motion", 1))
