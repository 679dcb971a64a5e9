"""Lifted portraits: the source is the photo, labels agree with it, what the photo doesn't show is hidden."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from generator.studio.lifted_person import lift
from generator.studio.lifted_stage import LiftedStage, lifted_moments
from generator.studio.make_frames import Maker, Order
from generator.studio.portrait_source import CROP_PX, FittedPortrait, PortraitBank
from generator.studio.scene import Label
from generator.studio.splits import source_id
from generator.studio.take_sampling import Target

DATA = Path(os.environ.get("VASARI_DATA", ""))
pytestmark = pytest.mark.skipif(
    not ((DATA / "rig" / "ict_face.npz").is_file() and (DATA / "portraits" / "index.csv").is_file()),
    reason="set VASARI_DATA to a folder with rig/ict_face.npz and portraits/index.csv",
)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    out = tmp_path_factory.mktemp("lifted")
    return Maker(Order(DATA / "rig", DATA / "portraits", out, "lifted", 4, 128, 2, 1.5, "cpu"))


@pytest.fixture(scope="module")
def portrait(maker: Maker) -> FittedPortrait:
    bank = maker.portraits
    assert isinstance(bank, PortraitBank)
    return bank.fitted(0)


def test_the_lifted_head_lies_on_the_photo_in_the_photos_own_pose(maker: Maker, portrait: FittedPortrait) -> None:
    person = lift(maker.rig, portrait, np.random.default_rng(0))
    pose = np.array(portrait.fit.yaw_pitch_roll_deg, np.float32)
    source = Target(person.rest_expression, pose, np.zeros(3, np.float32), 1.0, person.rest_gaze)
    stage = LiftedStage(person, CROP_PX // 2, 1.5)
    (moment,) = lifted_moments(person, [source])
    drawn = stage.draw(moment)
    off = (drawn.landmarks[:468] * 2 - torch.from_numpy(portrait.landmarks[:468])).norm(dim=1)
    assert float(off.median()) < 1.5
    photo = stage.source_frame(moment, portrait.landmarks, portrait.photo)
    face = (drawn.mask == Label.FACE) & (photo.mask == Label.FACE)
    assert int(face.sum()) > 3000
    assert float((drawn.rgb[face].float() - photo.rgb[face].float()).abs().mean()) < 6
    background = drawn.mask == Label.BACKGROUND
    assert float((drawn.rgb[background].float() - photo.rgb[background].float()).abs().mean()) < 3


def test_a_turned_head_hides_what_the_photo_does_not_show(maker: Maker) -> None:
    maker.make(0)
    path = maker.order.path(0, 0)
    take = load_file(path)
    assert not bool((take["mask"][0] == Label.HIDDEN).any())
    assert bool((take["mask"][1:] == Label.HIDDEN).flatten(1).any(1).all())
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    (source,) = json.loads(facts["sources"])
    assert facts["person"] == f"lifted/{source}"
    assert source in {source_id(f.name) for f in maker.portraits.facts if f.split == facts["split"]}


def test_portraits_with_glasses_or_open_mouths_are_not_lifted(maker: Maker) -> None:
    assert maker.portraits is not None
    assert not any(f.glasses or f.mouth_gap >= 0.04 for f in maker.portraits.facts)
