"""Both media: what was embedded is read back."""

from fractions import Fraction
from types import SimpleNamespace

import torch

from watermark import AudioEmbedder, MarkKey, Payload, VideoEmbedder, detect_audio, detect_video

KEY = MarkKey(bytes(range(32)), 7)


def test_a_marked_video_gives_its_payload_back() -> None:
    base = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(1)) * 200
    still = torch.nn.functional.interpolate(base, size=(256, 256), mode="bicubic").clamp(0, 255).to(torch.uint8)
    frames = still.repeat(50, 1, 1, 1)
    marked = VideoEmbedder(KEY, Payload(99), width=256, height=256, fps=Fraction(25)).push(frames)
    block = SimpleNamespace(frames=marked, times=[Fraction(i, 25) for i in range(50)])
    assert detect_video([block], [KEY]).payload == Payload(99)


def test_marked_sound_gives_its_payload_back() -> None:
    noise = torch.randn(5 * 16000, generator=torch.Generator().manual_seed(2)) * 0.1
    embedder = AudioEmbedder(KEY, Payload(99), sample_rate=16000)
    marked = torch.cat([embedder.push(noise), embedder.flush()])
    assert len(marked) == len(noise)
    assert detect_audio([marked], [KEY], sample_rate=16000).payload == Payload(99)
