"""The shipped weights over a minute: nothing in the model's own past may carry the head away."""

from importlib.resources import files
from pathlib import Path

import torch

from benchmarks.shipped_weights import shipped
from generator import Controls
from generator.motion import MotionModel
from media import load_audio

MINUTE = 60 * 16_000


def test_the_head_stays_where_a_talkers_head_is() -> None:
    voice = load_audio(Path(str(files("vasari") / "demo" / "voice.flac")), sample_rate=16_000, max_s=60.0)
    sound = voice.repeat(MINUTE // len(voice) + 1)[:MINUTE]
    model = MotionModel.from_tensors(*shipped("motion"))
    block, _ = model.step(sound, model.start(Controls(), 11), final=True)
    angles, scale = block.pose[:, :3], block.pose[:, 5]
    assert float(angles.abs().max()) < 7
    assert float((scale - 1).abs().max()) < 0.04
    halves = torch.stack([half.std(0) for half in angles.chunk(2)])
    assert float(halves[:, :2].min()) > 0.4  # and it goes on moving
