"""People with mixed skins: two to four portraits of one split each, none of them recognisable as the only source."""

import os
from pathlib import Path

import numpy as np
import pytest

from generator import GeneratorError
from generator.studio.head_model import StudioRig
from generator.studio.mixed_person import BakedSkin, SkinBank, _shares, blend_skins
from generator.studio.portrait_source import read_index
from generator.studio.skin_atlas import TILE_PX, build_atlas

DATA = Path(os.environ.get("VASARI_DATA", ""))
needs_portraits = pytest.mark.skipif(
    not ((DATA / "rig" / "ict_face.npz").is_file() and (DATA / "portraits" / "index.csv").is_file()),
    reason="set VASARI_DATA to a folder with rig/ict_face.npz and portraits/index.csv",
)


def flat_skin(tone: tuple[float, float, float]) -> BakedSkin:
    albedo = np.broadcast_to(np.array(tone, np.float32), (TILE_PX, TILE_PX, 3)).copy()
    trust = np.ones((TILE_PX, TILE_PX), np.float32)
    return BakedSkin(albedo, trust, np.array(tone, np.float32), np.array(tone, np.float32) * 0.7)


@pytest.fixture(scope="module")
def bank() -> SkinBank:
    rig = StudioRig(DATA / "rig")
    return SkinBank(rig, build_atlas(rig), DATA / "portraits")


@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_place_of_a_mixed_skin_comes_from_one_portrait_alone(count: int) -> None:
    shares = np.stack(list(_shares(count, np.random.default_rng(count))))
    assert shares.sum(0) == pytest.approx(1, abs=1e-4)
    assert shares.max() < 0.9
    assert shares.std() > 0.05


def test_blending_plain_skins_gives_a_tone_between_them() -> None:
    dark, light = flat_skin((0.1, 0.06, 0.04)), flat_skin((0.5, 0.35, 0.28))
    for seed in range(4):
        colour, trust, tone, _ = blend_skins([dark, light], np.random.default_rng(seed))
        assert trust.min() == pytest.approx(1, abs=1e-3)
        assert (tone > np.array(dark.tone) * 0.8).all()
        assert (tone < np.array(light.tone) * 1.2).all()
        assert np.abs(colour / tone - 1).max() < 0.05


@needs_portraits
def test_portraits_of_the_two_splits_never_meet(bank: SkinBank) -> None:
    names = {split: {facts.name for facts in pool} for split, pool in bank.pool.items()}
    assert not names["train"] & names["test"]
    assert len(names["train"]) > 5 * len(names["test"]) > 0
    for split in ("train", "test"):
        facts, skins = bank.draw(np.random.default_rng(3), split)
        assert 2 <= len(facts) == len(skins) <= 4
        assert {f.split for f in facts} == {split}
        assert not any(f.glasses for f in facts)


def test_a_portrait_folder_without_its_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"index\.csv is missing"):
        read_index(tmp_path)
    (tmp_path / "index.csv").write_text("file,glasses\na.jpg,0\n", encoding="utf-8")
    with pytest.raises(GeneratorError, match="lacks the column"):
        read_index(tmp_path)
