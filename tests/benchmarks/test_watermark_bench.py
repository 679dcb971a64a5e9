"""The mark's bench: attacks do what their names say, runs are planned and resumed, rows are honest."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import watermark as bench
from benchmarks.picture_quality import difference_sheet, psnr_db, ssim
from benchmarks.watermark_attacks import (
    ATTACKS,
    Attack,
    Stream,
    chosen,
    drop,
    encode,
    frame_rate,
    late_start,
    palette,
    speed,
)
from benchmarks.watermark_clips import talking_head
from benchmarks.watermark_splice import border_errors, overlap
from media import ClipWriter

FRAMES = talking_head(16, side=128, seed=2)


def stream() -> Stream:
    return bench.stream_of(FRAMES)


def test_every_attack_has_a_name_of_its_own() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize(
    "attack",
    [a for a in ATTACKS if a.name not in ("late_start", "still", "still_saved", "screenshot")],
    ids=lambda a: a.name,
)
def test_every_attack_gives_ordered_frames_of_one_size_back(attack: Attack) -> None:
    came = list(attack(bench.stream_of(FRAMES[:8])))
    assert len({picture.shape for _, picture in came}) == 1
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for _, picture in came)
    times = [time for time, _ in came]
    assert times == sorted(set(times))
    assert len(came) >= 3


def test_an_encoder_keeps_frames_times_and_content() -> None:
    came = list(encode(stream(), crf=18))
    assert [float(time) for time, _ in came] == pytest.approx([i / 25 for i in range(16)], abs=0.001)
    after = torch.from_numpy(np.stack([picture for _, picture in came])).permute(0, 3, 1, 2)
    assert psnr_db(FRAMES, after) > 34


def test_attacks_on_time_do_what_they_say() -> None:
    assert len(list(frame_rate(stream(), fps=50))) == pytest.approx(32, abs=2)
    faster = list(speed(stream(), factor=1.25))
    assert len(faster) == pytest.approx(13, abs=1)
    assert 8 <= len(list(drop(stream(), share=0.3))) < 16


def test_a_late_start_begins_at_zero_again() -> None:
    came = list(late_start(stream(), frames=5))
    assert len(came) == 11
    assert came[0][0] == 0
    assert np.array_equal(came[0][1], list(stream())[5][1])


def test_a_palette_leaves_no_more_colours_than_it_has() -> None:
    _, picture = next(palette(stream(), colours=32))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 32


def test_attacks_are_chosen_by_name_and_prefix() -> None:
    assert [attack.name for attack in chosen("mirror, crf*")] == ["crf23", "crf28", "crf33", "crf38", "mirror"]
    assert len(chosen("")) == len(ATTACKS)
    with pytest.raises(ValueError, match="no such attack: tilt"):
        chosen("tilt")


def test_psnr_and_ssim_of_known_changes() -> None:
    assert psnr_db(FRAMES, FRAMES) > 100
    assert ssim(FRAMES, FRAMES) == pytest.approx(1)
    shifted = (FRAMES.int() + 2).clamp(0, 255).to(torch.uint8)
    assert psnr_db(FRAMES, shifted) == pytest.approx(20 * np.log10(255 / 2), abs=0.3)
    noisy = (FRAMES + 20 * torch.randn(FRAMES.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)
    assert ssim(FRAMES, noisy.to(torch.uint8)) < 0.8


def test_the_sheet_shows_before_after_and_the_change(tmp_path: Path) -> None:
    difference_sheet([("one", FRAMES[0], FRAMES[1]), ("two", FRAMES[2], FRAMES[3])], tmp_path / "sheet.png")
    import cv2

    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (256, 384, 3)


def test_the_plan_shares_attacks_among_clips_and_has_controls() -> None:
    clips = [Path(f"{n}.mp4") for n in range(12)]
    runs = bench.plan(clips, chosen("crf28,mirror"), share=5, controls=2)
    counts = {name: sum(r.attack == name and r.marked for r in runs) for name in ("crf28", "mirror", bench.QUALITY)}
    assert counts == {"crf28": 12, "mirror": 5, bench.QUALITY: 12}
    assert sum(not run.marked for run in runs) == 4
    assert runs == bench.plan(clips, chosen("crf28,mirror"), share=5, controls=2)


def test_a_run_is_recorded_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips").mkdir()
    frames = talking_head(80, side=256, seed=3)
    with ClipWriter(tmp_path / "clips" / "a.mp4", width=256, height=256, fps=Fraction(25), sample_rate=None) as clip:
        clip.write_frames(frames)
    outcomes = bench.measure(tmp_path, chosen("clean"), share=1, controls=1, jobs=1, limit=9)
    assert [(one.attack, one.marked, one.right) for one in outcomes if one.attack == "clean"] == [
        ("clean", True, True),
        ("clean", False, False),
    ]
    rows = bench.rows_of(outcomes)
    assert rows["attack.clean"]["value"] == 1
    assert rows["attack.clean"]["ci95"][0] == pytest.approx(0.025)
    assert rows["controls_found"]["value"] == 0
    assert 44 < rows["psnr_db"]["value"] < 50
    monkeypatch.setattr(bench, "run_all", lambda jobs, _: iter(()) if not jobs else pytest.fail("run again"))
    assert bench.measure(tmp_path, chosen("clean"), share=1, controls=1, jobs=1, limit=9) == outcomes
    recorded = bench.measure(tmp_path, chosen("clean,crf23"), share=1, controls=1, jobs=1, limit=9, run=False)
    assert recorded == outcomes, "what was not run is left out"
    lines = (tmp_path / "outcomes.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["mark"] in {bench.mark_version(), bench.mark_version(ATTACKS[0])}


def test_another_attack_or_mark_is_another_version() -> None:
    assert bench.mark_version(ATTACKS[1]) != bench.mark_version(ATTACKS[2])
    changed = dataclasses.replace(ATTACKS[1], steps=ATTACKS[2].steps)
    assert bench.mark_version(changed) == bench.mark_version(ATTACKS[2])


def test_overlap_and_borders_of_spans() -> None:
    assert overlap([(1, 5)], [(1, 5)], 10) == 1
    assert overlap([(0, 4)], [(2, 6)], 10) == pytest.approx(1 / 3, abs=0.01)
    assert overlap([(0, 4)], [], 10) == 0
    assert border_errors([(0, 4), (8, 10)], [(0, 4.2), (7.9, 10)], 10) == pytest.approx([0.2, 0.1])
