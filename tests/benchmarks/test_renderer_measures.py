"""The measuring devices of the renderer find what was put in, on landmarks and pictures whose truth is known."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.exact_people import exact_people
from benchmarks.face_read_out import (
    CONTROLS,
    EYE_CORNERS,
    Person,
    meet,
    pose_change_deg,
    read,
    stored_scale,
    turn_matrix,
)
from benchmarks.interval import mean_interval
from benchmarks.iris_shift import IRIS_DISTANCE_CM, NoIrisError, gaze_change_deg
from benchmarks.renderer_controls import Measured, asked_motion, gaze_rows, leakage_rows, pose_rows
from benchmarks.renderer_identity import identity_rows, roc_area
from benchmarks.renderer_reenactment import Scores, psnr_db, reenactment_rows
from benchmarks.renderer_speed import ArithmeticCount, reference_network
from generator.face_landmarks import IRIS_CENTRE, LID_LOWER, LID_UPPER
from generator.motion_block import MotionBlock
from generator.rig_fit import FOCAL, RigShape

SMALL_RIG = Path(__file__).resolve().parents[1] / "generator" / "fixtures" / "render_small.safetensors"
SIZE = 512
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@pytest.fixture(scope="module")
def rig() -> RigShape:
    return RigShape.from_tensors(load_file(SMALL_RIG))


@pytest.fixture(scope="module")
def person(rig: RigShape) -> Person:
    """Someone met a little turned, on landmarks of the rig itself."""
    shape = rig.neutral + np.tensordot(np.random.default_rng(3).normal(0, 0.6, len(rig.identity)), rig.identity, 1)
    points = shape[rig.landmark_vertex] @ turn_matrix(4, -3, 2).T + [0.5, -0.4, -95]
    return meet(rig, with_irises(pixels(points)), SIZE)


def pixels(points: Array) -> Array:
    k = FOCAL * SIZE / 2 / -points[:, 2]
    return np.stack([SIZE / 2 + k * points[:, 0], SIZE / 2 - k * points[:, 1]], 1)


def with_irises(marks: Array) -> Array:
    middles = [marks[list(pair)].mean(0) for pair in EYE_CORNERS]
    return np.concatenate([marks, np.repeat(middles, 5, 0)])


def seen(person: Person, turn: Array, weights: Array) -> Array:
    """Landmarks of the person turned from where they were met, with control weights."""
    shape = person.points + np.tensordot(weights, person.controls, 1)
    return with_irises(pixels(shape @ (turn @ person.rotation).T + person.translation))


@pytest.mark.parametrize("asked", [(25, 0, 0), (0, 15, 0), (0, 0, -15), (-20, 10, 8), (12, -14, -3)])
def test_a_known_turn_of_landmarks_gives_that_pose(person: Person, asked: tuple[float, float, float]) -> None:
    reading = read(person, seen(person, turn_matrix(*asked), np.zeros(len(CONTROLS))))
    assert pose_change_deg(person.rotation, reading.rotation) == pytest.approx(asked, abs=0.05)
    assert np.abs(reading.controls).max() < 0.01


def test_a_known_expression_is_read_and_does_not_become_pose(person: Person) -> None:
    for index in range(len(CONTROLS)):
        weights = np.zeros(len(CONTROLS))
        weights[index] = 0.6
        reading = read(person, seen(person, turn_matrix(10, -5, 0), weights))
        assert reading.controls == pytest.approx(weights, abs=0.02)
        assert pose_change_deg(person.rotation, reading.rotation) == pytest.approx((10, -5, 0), abs=0.1)


def eyes_picture(person: Person, iris_shift_px: tuple[float, float], lid_px: float = 9.0) -> tuple[torch.Tensor, Array]:
    """Two bright eyes with dark irises on skin, and landmarks with their lids."""
    marks = seen(person, np.eye(3), np.zeros(len(CONTROLS)))
    picture = np.full((SIZE, SIZE, 3), (190, 140, 120), np.uint8)
    for side, pair in enumerate(EYE_CORNERS):
        (x0, y0), (x1, y1) = marks[list(pair)]
        for ids, sign in ((LID_UPPER, -1), (LID_LOWER, 1)):
            t = np.linspace(0, 1, len(ids[side]))
            marks[list(ids[side])] = np.stack(
                [x0 + t * (x1 - x0), y0 + t * (y1 - y0) + sign * lid_px * np.sin(np.pi * t)], 1
            )
        outline = np.concatenate([marks[list(LID_UPPER[side])], marks[list(LID_LOWER[side])][::-1]])
        eye = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(eye, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        ball = np.full((SIZE, SIZE, 3), 235, np.uint8)
        middle = tuple(np.round((marks[IRIS_CENTRE[side]] + iris_shift_px) * 16).astype(int).tolist())
        cv2.circle(ball, middle, round(8.5 * 16), (60, 40, 25), -1, cv2.LINE_AA, 4)
        share = eye[..., None] / 255
        picture = (picture * (1 - share) + ball * share).astype(np.uint8)
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous(), marks


@pytest.mark.parametrize("asked", [(12.0, 0.0), (-18.0, 0.0), (0.0, 8.0), (10.0, -6.0)])
def test_irises_moved_by_a_known_amount_give_that_gaze(person: Person, asked: tuple[float, float]) -> None:
    eyes = person.eyes @ person.rotation.T + person.translation
    px_per_cm = FOCAL * SIZE / 2 / -eyes[:, 2].mean()
    shift = np.sin(np.radians(asked)) * IRIS_DISTANCE_CM * px_per_cm
    before, marks = eyes_picture(person, (0, 0))
    after, _ = eyes_picture(person, tuple(shift))
    assert gaze_change_deg(person, before, marks, after, marks) == pytest.approx(asked, abs=1.2)


def test_shut_eyes_have_no_gaze(person: Person) -> None:
    before, marks = eyes_picture(person, (0, 0))
    after, shut = eyes_picture(person, (0, 0), lid_px=0.2)
    with pytest.raises(NoIrisError):
        gaze_change_deg(person, before, marks, after, shut)


def a_measurement(pose_off: float = 0.0, gaze_off: float = 0.0, leak: float = 0.0, back_deg: float = 0.0) -> Measured:
    _, poses, gazes = asked_motion(np.random.default_rng(0))
    controls = len(CONTROLS)
    return Measured(
        pose_asked_deg=poses,
        pose_deg=poses + np.array([pose_off, 0, 0]),
        gaze_asked_deg=gazes,
        gaze_deg=gazes + np.array([0, gaze_off]),
        controls_by_pose=np.full((len(poses), controls), leak),
        pose_by_control_deg=np.full((controls, 3), 1.0) * [back_deg, 0, 0],
        response=np.ones(controls),
    )


def test_rows_state_the_errors_that_were_put_in() -> None:
    measured = [a_measurement(pose_off=3.0, gaze_off=2.0) for _ in range(3)]
    rows = pose_rows(measured) | gaze_rows(measured)
    assert rows["pose_error_deg"]["value"] == pytest.approx(1.0)
    assert rows["pose_error_yaw_deg"]["value"] == pytest.approx(3.0)
    assert rows["pose_gain_pitch"]["value"] == pytest.approx(1.0)
    assert rows["gaze_error_deg"]["value"] == pytest.approx(2.0, abs=0.01)
    assert rows["pose_error_deg"]["n"] == sum(len(m.pose_deg) for m in measured)


@pytest.mark.parametrize(("leak", "back_deg", "worse"), [(0.07, 0.0, 7.0), (0.02, 6.0, 4.0)])
def test_leakage_is_that_of_the_worse_direction(leak: float, back_deg: float, worse: float) -> None:
    rows = leakage_rows([a_measurement(leak=leak, back_deg=back_deg)] * 2)
    assert rows["leakage_pct"]["value"] == pytest.approx(worse)


def test_frames_without_a_face_are_left_out_and_not_counted() -> None:
    good, blind = a_measurement(pose_off=3.0), a_measurement()
    blind.pose_deg[:] = np.nan
    row = pose_rows([good, blind])["pose_error_deg"]
    assert row["value"] == pytest.approx(1.0)
    assert row["n"] == len(good.pose_deg)


def test_asked_motion_changes_one_thing_at_a_time() -> None:
    block, poses, gazes = asked_motion(np.random.default_rng(1))
    changed = torch.stack([block.pose[:, :3].any(1), block.gaze.any(1), block.expression.any(1)], 1).sum(1)
    assert changed[0] == 0
    assert (changed[1:] == 1).all()
    assert np.abs(poses).max() <= 25
    assert np.abs(gazes).max() <= 20


def test_the_stored_scale_names_every_control() -> None:
    assert stored_scale().shape == (len(CONTROLS),)
    assert stored_scale().min() > 0.4


def test_verification_is_perfect_when_own_sources_are_nearest_and_blind_when_all_are_alike() -> None:
    owner = np.array([0, 0, 1, 2])
    similarity = np.eye(3)[owner]
    genuine = owner[:, None] == np.arange(3)
    assert roc_area(similarity, genuine) == 1.0
    assert roc_area(np.ones((4, 3)), genuine) == 0.5
    people = np.arange(40)
    assert identity_rows(np.eye(40), people)["identity_auc"]["ci95"] == [1.0, 1.0]


def test_the_interval_resamples_whole_groups() -> None:
    alike = [np.full(100, 1.0), np.full(100, 3.0)]
    mean, (low, high) = mean_interval(alike)
    assert (mean, low, high) == (2.0, 1.0, 3.0)


def test_a_clip_counts_as_better_only_on_face_and_lips() -> None:
    clips = {
        "a": Scores(np.array([31.0, 27.0]), np.array([26.0, 22.0]), np.array([28.0, 24.0])),
        "b": Scores(np.array([31.0, 23.0]), np.array([26.0, 22.0]), np.array([28.0, 24.0])),
    }
    rows = reenactment_rows(clips)
    assert rows["grid_clips_better_than_lift"]["value"] == 1
    assert rows["grid_clips_better_than_copy"]["value"] == 2
    assert rows["grid_lips_psnr_db"]["value"] == 25.0
    assert "grid_face_lift_psnr_db" not in reenactment_rows({"a": Scores(np.ones(2), np.ones(2), np.full(2, np.nan))})


def test_psnr_looks_only_inside_the_outline() -> None:
    real, made = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    made[16:49, 16:49] = 16
    square = np.array([[20, 20], [44, 20], [44, 44], [20, 44]])
    assert psnr_db(made, real, square) == pytest.approx(20 * np.log10(255 / 16))


def test_arithmetic_is_counted_as_two_operations_per_multiply_add() -> None:
    with ArithmeticCount() as count, torch.inference_mode():
        reference_network()(torch.zeros(1, 64, 128, 128))
    products = 8 * 2 * 64 * 64 * 9 * 128 * 128
    assert products <= count.flop <= products * 1.01
    with ArithmeticCount() as count, torch.inference_mode():
        nn.functional.grid_sample(torch.zeros(1, 3, 8, 8), torch.zeros(1, 10, 10, 2), align_corners=False)
    assert count.flop == 100 * (3 * 8 + 20)


@pytest.mark.slow
def test_studio_people_are_the_source_at_rest_and_turn_as_asked() -> None:
    rig = Path(os.environ.get("VASARI_DATA", "missing")) / "rig"
    if not rig.is_dir():
        pytest.skip("VASARI_DATA names no folder with rig/")
    ((source, draw),) = exact_people(rig, 1, seed=5)
    block = MotionBlock.join([MotionBlock.still(1), MotionBlock.still(1)])
    block.pose[1, 0] = 15
    still, turned = draw(block)
    assert torch.equal(still, source)
    assert (turned.float() - source).abs().mean() > 1
