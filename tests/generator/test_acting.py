"""The performance model beside the lips: stress and phrase move the head, moods and seeds differ, silence is calm."""

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("soundfile", reason="the studio needs soundfile (pip install '.[training]')")

from generator.controls import Controls, ControlValues
from generator.motion_latent import MOOD, MOOD_AXES, MOUTH, POSE, SIZE
from generator.motion_visemes import SILENCE, VISEMES
from generator.studio.acting import act, draw_controls, read_script

FRAMES = 200


def two_phrases() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Syllables from 1 to 3 s and from 4 to 6.4 s; one in five is loud."""
    classes, level = np.full(FRAMES, SILENCE), np.full(FRAMES, -60.0)
    for start in (*range(25, 75, 5), *range(100, 160, 5)):
        classes[start : start + 2], classes[start + 2 : start + 5] = VISEMES.index("DD"), VISEMES.index("AA")
        level[start : start + 5] = 0.0 if start % 25 == 0 else -9.0
    mouth = np.zeros((FRAMES, 17), np.float32)
    mouth[classes == VISEMES.index("AA"), 0] = 0.2
    return classes, level, mouth


def play(wanted: ControlValues, seed: int) -> npt.NDArray[np.float32]:
    return act(*two_phrases(), wanted, np.random.default_rng(seed))


def mean_spread(wanted: ControlValues, part: slice = slice(None)) -> float:
    return float(np.mean([play(wanted, seed)[part, POSE][:, :3].std(0) for seed in range(20)]))


def test_phrases_and_loud_syllables_are_found() -> None:
    classes, level, _ = two_phrases()
    script = read_script(classes, level)
    assert script.phrases == ((25, 75), (100, 160))
    loud = {start + 3 for start in (25, 50, 100, 125, 150)}
    assert loud <= {at for at, _ in script.stresses}
    strength = dict(script.stresses)
    assert min(strength[at] for at in loud) > max([s for at, s in script.stresses if at not in loud], default=0)


def test_the_chin_sinks_after_stress() -> None:
    wanted = Controls().at(0)
    tracks = np.mean([play(wanted, seed)[:, POSE][:, 1] for seed in range(200)], 0)
    assert np.mean([tracks[at + 6] - tracks[at - 1] for at in (28, 53, 103, 128, 153)]) > 0.5


def test_seeds_are_different_performances_of_the_same_lips() -> None:
    wanted = Controls().at(0)
    one, other = play(wanted, 1), play(wanted, 2)
    assert one.shape == (FRAMES, SIZE)
    assert np.array_equal(one[:, MOUTH], other[:, MOUTH])
    assert np.abs(one[:, POSE] - other[:, POSE]).max() > 0.5
    assert np.array_equal(one, play(wanted, 1))


def test_a_listener_is_calmer_than_a_speaker() -> None:
    wanted = Controls().at(0)
    assert mean_spread(wanted, slice(0, 20)) < 0.5 * mean_spread(wanted, slice(30, 70))


def test_anger_moves_the_head_more_than_sadness_does() -> None:
    assert mean_spread(Controls(emotion="angry").at(0)) > 1.3 * mean_spread(Controls(emotion="sad").at(0))


def test_brows_rise_on_stress_alone_and_moods_move_their_own_axes() -> None:
    brow, smile = MOOD_AXES.index("browInnerUp"), MOOD_AXES.index("mouthSmile")
    neutral = np.stack([play(Controls().at(0), seed)[:, MOOD] for seed in range(20)])
    assert neutral[:, :20].max() == 0
    assert neutral[..., brow].max() > 0.2
    assert np.abs(neutral[..., smile]).max() == 0
    assert np.abs(play(Controls(emotion="happy").at(0), 1)[:, MOOD][:, smile]).max() > 0.01


def test_drawn_controls_are_within_their_limits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        drawn = vars(draw_controls(rng))
        assert Controls(**drawn).at(0) is not None, drawn  # Controls raises outside of the limits
