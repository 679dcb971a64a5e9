"""Studio takes: labels agree with the picture, lips and lids meet, the same seed gives the same bytes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from generator import EXPRESSION_INDEX
from generator.rig_fit import HEAD_CENTRE
from generator.studio.head_model import LID_OVERLAP_CM, LIP_OVERLAP_CM, StudioHead, StudioRig, gaze_direction
from generator.studio.make_frames import Maker, Order
from generator.studio.scene import Label
from generator.studio.splits import split_of
from generator.studio.take_sampling import draw_expression, draw_source, draw_target, follow_with_lids

DATA = os.environ.get("VASARI_DATA", "")
needs_rig = pytest.mark.skipif(
    not (Path(DATA) / "rig" / "ict_face.npz").is_file(), reason="set VASARI_DATA to a folder with rig/ict_face.npz"
)


@pytest.fixture(scope="module")
def rig() -> StudioRig:
    return StudioRig(Path(DATA) / "rig")


@pytest.fixture(scope="module")
def heads(rig: StudioRig) -> list[StudioHead]:
    rng = np.random.default_rng(0)
    return [StudioHead(rig, rng.normal(0, 0.8, 100).astype(np.float32)) for _ in range(4)]


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    out = tmp_path_factory.mktemp("takes")
    return Order(Path(DATA) / "rig", None, out, "procedural", 3, 96, 4, 1.5, "cpu")


@pytest.fixture(scope="module")
def take(order: Order) -> Path:
    Maker(order).make(1)
    return order.path(1, 0)


def weights(**values: float) -> torch.Tensor:
    out = torch.zeros(len(EXPRESSION_INDEX))
    for name, value in values.items():
        for axis in [name] if name in EXPRESSION_INDEX else [f"{name}_L", f"{name}_R"]:
            out[EXPRESSION_INDEX[axis]] = value
    return out


@needs_rig
@pytest.mark.parametrize("shape", ["mouthShrugLower", "mouthRollLower", "mouthPress", "mouthPucker"])
def test_lips_touch_and_never_pass_through_each_other(rig: StudioRig, heads: list[StudioHead], shape: str) -> None:
    for head in heads:
        gap = rig.mouth.gap(head.shape(weights(**{shape: 1.0})))
        assert float(gap.min()) > -3 * LIP_OVERLAP_CM
        rest = rig.mouth.gap(head.shape(weights()))
        assert float(rest.max()) < 0.01


@needs_rig
def test_an_open_jaw_opens_the_lips(rig: StudioRig, heads: list[StudioHead]) -> None:
    for head in heads:
        assert 0.7 < float(rig.mouth.gap(head.shape(weights(jawOpen=0.3))).max()) < 1.3


@needs_rig
def test_a_full_blink_shuts_the_eye_of_everyone_and_half_a_blink_does_not(
    rig: StudioRig, heads: list[StudioHead]
) -> None:
    for head in heads:
        for seam in rig.lids:
            assert float(seam.gap(head.shape(weights(eyeBlink=1.0))).max()) < 0.0
            assert float(seam.gap(head.shape(weights(eyeBlink=1.0))).min()) > -4 * LID_OVERLAP_CM
            assert float(seam.gap(head.shape(weights(eyeBlink=0.5))).max()) > 0.25


@needs_rig
def test_landmarks_and_translation_follow_the_convention_of_the_fit(rig: StudioRig, heads: list[StudioHead]) -> None:
    head, at = heads[0], torch.tensor([1.0, -2.0, -90.0])
    posed = head.pose(weights(), torch.eye(3), at, (torch.eye(3), at), torch.zeros(2))
    nose = int(rig.landmark_vertex[1])
    wanted = head.shape(weights())[nose] + at
    assert torch.allclose(head.landmarks(posed)[1], wanted, atol=1e-4)
    neutral = torch.from_numpy(rig.mesh.neutral[nose] - HEAD_CENTRE)
    assert torch.allclose(rig.neutral[nose], neutral)


def test_zero_gaze_looks_into_the_camera_and_positive_yaw_to_the_right_of_the_picture() -> None:
    eye = torch.tensor([3.0, -4.0, -80.0])
    ahead = gaze_direction(eye, torch.zeros(2))
    assert torch.allclose(ahead, -eye / eye.norm(), atol=1e-6)
    assert float(gaze_direction(eye, torch.tensor([15.0, 0.0]))[0]) > float(ahead[0]) + 0.2
    assert float(gaze_direction(eye, torch.tensor([0.0, 15.0]))[1]) < float(ahead[1]) - 0.2


@needs_rig
def test_masks_hold_the_eye_at_the_iris_and_the_mouth_interior_only_when_open(take: Path) -> None:
    tensors = load_file(take)
    frames = len(tensors["frames"])
    assert tensors["frames"].shape == (frames, 96, 96, 3)
    assert tensors["mask"].shape == (frames, 96, 96)
    for k in range(frames):
        for iris in (468, 473):
            if tensors["visible"][k, iris]:
                column, row = tensors["landmarks"][k, iris].floor().long().tolist()
                assert int(tensors["mask"][k, row, column]) == Label.EYEBALL
    assert int((tensors["mask"][0] == Label.FACE).sum()) > 800


@needs_rig
def test_the_source_is_framed_as_the_working_picture(take: Path) -> None:
    marks = load_file(take)["landmarks"][0]
    height = float((marks[10] - marks[152]).norm())
    assert height == pytest.approx(96 / 2.1, rel=0.06)
    middle = (marks[10] + marks[152]) / 2
    assert torch.allclose(middle, torch.tensor([48.0, 48.0 * 1.04]), atol=3.0)


@needs_rig
def test_a_second_take_of_the_same_person_has_other_light(order: Order, take: Path) -> None:
    first, second = load_file(take), load_file(order.path(1, 1))
    assert torch.equal(first["identity"], second["identity"])
    assert not torch.equal(first["light"], second["light"])
    with safe_open(take, "pt") as a, safe_open(order.path(1, 1), "pt") as b:
        assert a.metadata()["person"] == b.metadata()["person"]
        assert a.metadata()["split"] == split_of(a.metadata()["person"])


@needs_rig
def test_the_same_seed_gives_the_same_bytes_and_existing_takes_are_kept(order: Order, take: Path) -> None:
    before = take.read_bytes()
    assert Maker(order).make(1) == 0
    take.unlink()
    Maker(order).make(1)
    assert take.read_bytes() == before


def test_targets_cover_the_ranges_and_shares_that_are_promised() -> None:
    rng = np.random.default_rng(2)
    source = draw_source(rng)
    targets = [draw_target(rng, source) for _ in range(600)]
    change = np.stack([t.pose_deg - source.pose_deg for t in targets])
    assert (np.abs(change) <= [30, 18, 12]).all()
    assert (np.abs(change).max(0) > [28, 16.5, 11]).all()
    blinks = np.array([t.expression[EXPRESSION_INDEX["eyeBlink_L"]] for t in targets]) > 0.15
    assert 0.14 < blinks.mean() < 0.3
    jaw = np.array([t.expression[EXPRESSION_INDEX["jawOpen"]] for t in targets]) > 0.25
    smile = np.array([t.expression[EXPRESSION_INDEX["mouthSmile_L"]] for t in targets]) > 0.4
    assert 0.25 < (jaw | smile).mean() < 0.5


def test_random_expressions_respect_the_shapes_that_exclude_each_other() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        w = draw_expression(rng)
        assert min(w[EXPRESSION_INDEX["jawLeft"]], w[EXPRESSION_INDEX["jawRight"]]) < 0.16
        assert w[EXPRESSION_INDEX["mouthClose"]] <= 0.84 * w[EXPRESSION_INDEX["jawOpen"]] + 1e-6
        assert min(w[EXPRESSION_INDEX["eyeBlink_L"]], w[EXPRESSION_INDEX["eyeWide_L"]]) < 0.16


def test_lids_follow_the_eye_in_the_head_and_gaze_stays_within_reach() -> None:
    rest = np.zeros(len(EXPRESSION_INDEX), np.float32)
    still = np.zeros(3, np.float32)
    gaze, down = follow_with_lids(rest, still, np.array([0.0, 15.0], np.float32))
    assert gaze == pytest.approx([0, 15], abs=1e-3)
    assert down[EXPRESSION_INDEX["eyeLookDown_L"]] > 0.5
    assert down[EXPRESSION_INDEX["eyeLookUp_L"]] == 0
    turned = np.array([30.0, 0.0, 0.0], np.float32)
    far, _ = follow_with_lids(rest, turned, np.array([-25.0, 0.0], np.float32))
    assert far[0] == pytest.approx(-8, abs=1.0)


def test_a_tenth_of_the_people_is_kept_for_testing() -> None:
    share = np.mean([split_of(f"procedural/0/{n}") == "test" for n in range(2000)])
    assert 0.08 < share < 0.12
