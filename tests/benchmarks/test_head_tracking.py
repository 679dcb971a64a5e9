"""The tracker that looks at filmed and at made heads: it reads known turns, and both sides go the same way."""

import cv2
import numpy as np
import pytest
import torch

from benchmarks.face_read_out import meet
from benchmarks.head_tracking import TrackedClip, face_marks, head_turns_deg, mpeg1, steadied
from benchmarks.motion_controls import DEMO_PORTRAIT
from benchmarks.motion_naturalness import WINDOW, compared_heads
from benchmarks.shipped_weights import shipped_rig
from media import read_portrait


def test_a_turned_picture_is_read_as_a_turned_head_after_the_film_codec() -> None:
    picture = read_portrait(DEMO_PORTRAIT).permute(1, 2, 0).numpy()
    size = 288
    turned = []
    for roll_deg in np.linspace(0, 6, 13):
        about = cv2.getRotationMatrix2D((picture.shape[1] / 2, picture.shape[0] / 2), roll_deg, size / picture.shape[0])
        about[:, 2] += size / 2 - np.array([picture.shape[1], picture.shape[0]]) / 2
        turned.append(cv2.warpAffine(picture, about, (size, size), borderMode=cv2.BORDER_REPLICATE))
    film = mpeg1(torch.from_numpy(np.stack(turned)).permute(0, 3, 1, 2), 1_000_000)
    assert film.shape == (13, 3, size, size)
    roll = head_turns_deg(shipped_rig(), face_marks(film))[:, 2]
    assert abs(roll[-1] - roll[0]) == pytest.approx(6, abs=1.0)


def test_the_mouth_is_not_looked_at() -> None:
    marks = face_marks(read_portrait(DEMO_PORTRAIT)[None])[0]
    scale = 512 / read_portrait(DEMO_PORTRAIT).shape[1]
    person = meet(shipped_rig(), marks * scale, 512)
    trusted = steadied(shipped_rig(), person).trust[:, 0] > 0
    assert not trusted[[13, 14, 61, 291, 17, 152]].any()  # lips and chin
    assert trusted[[6, 168, 151]].any()  # bridge of the nose, forehead
    assert trusted.sum() < (person.trust[:, 0] > 0).sum()


def test_statistics_of_talkers_and_of_ours_come_from_what_was_tracked() -> None:
    seconds = np.arange(WINDOW) / 25
    slow = np.stack([np.sin(2 * np.pi * seconds)] * 3, 1)
    fast = 0.5 * np.stack([np.sin(2 * np.pi * 4.5 * seconds)] * 3, 1)
    clip = TrackedClip(talker=slow + fast, ours=slow, made=np.zeros_like(slow), still=np.zeros_like(slow))
    found = compared_heads([clip, clip])
    assert float(found["head_pitch_deg"].made[0][0]) == pytest.approx(np.sqrt(0.5), rel=0.15)
    assert found["head_speed"].row()["value"] == pytest.approx(float(found["head_speed"].human[0]), rel=0.2)
    assert found["head_speed_fast"].row()["value"] < 0.2 * float(found["head_speed_fast"].human[0])
