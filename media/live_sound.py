"""Sound that is still arriving: WAV or raw PCM from a pipe, at the two rates that are needed, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from torch import Tensor

from media.errors import MediaError
from media.limits import MAX_AUDIO_CHANNELS

LIVE_SOUND: Final = "<live sound>"
"""The name of what arrives, in errors."""
RATES_HZ: Final = (8_000, 96_000)
READ_BYTES: Final = 1 << 14
MAX_HEADER_BYTES: Final = 1 << 16
LAYOUTS: Final = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE

Read = Callable[[int], bytes]
"""Reads at least one and at most so many bytes, waiting for them; none at the end."""


@dataclass(frozen=True)
class PcmFormat:
    """Interleaved samples: `sample` is "s16" or "flt", little endian. Raises MediaError when it can't be taken."""

    rate_hz: int
    channels: int
    sample: str = "s16"

    def __post_init__(self) -> None:
        low, high = RATES_HZ
        if not (low <= self.rate_hz <= high and self.channels in LAYOUTS and self.sample in ("s16", "flt")):
            raise MediaError(
                LIVE_SOUND,
                expected=f"16-bit or float samples of {low} to {high} Hz, mono to 5.1",
                came=f"{self.sample}, {self.rate_hz} Hz, {self.channels} channels",
                remedy="Give WAV, or raw PCM with the right format.",
            )

    @property
    def frame_bytes(self) -> int:
        """One sample of every channel."""
        return self.channels * (2 if self.sample == "s16" else 4)


class LiveSound:
    """Reads PCM as it comes; `blocks` gives it mono at two rates. `sha256` is of all bytes taken so far."""

    def __init__(self, read: Read, raw: PcmFormat | None) -> None:
        """`raw` None: the bytes begin with a WAV header, which is read now."""
        self._read = read
        self._digest = hashlib.sha256()
        self._waiting = b""
        self._left: int | None = None
        self.format = raw or self._wav_header()
        self.seconds = 0.0

    @property
    def sha256(self) -> str:
        """Lower-case hex; after the last block, of the whole input."""
        return self._digest.hexdigest()

    def blocks(self, rates_hz: tuple[int, int], *, most_s: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of float32 [n] mono at the two rates, as soon as they can be had, `most_s` seconds in all.

        The two of a pair may differ in length by the resamplers' delay; over the whole sound they are equally long.
        Raises MediaError on a cut sample and on no sound at all.
        """
        size, total = self.format.frame_bytes, 0
        most = round(most_s * self.format.rate_hz)
        resamplers = [AudioResampler("flt", "mono", rate, options={"rematrix_maxval": "1.0"}) for rate in rates_hz]
        while total < most and (data := self._samples(min(READ_BYTES, (most - total) * size))):
            whole = len(data) - len(data) % size
            self._waiting = data[whole:]
            if whole:
                frame = self._frame(data[:whole])
                total += frame.samples
                self.seconds = total / self.format.rate_hz
                low, high = (_joined(resampler.resample(frame)) for resampler in resamplers)
                yield low, high
        if total == 0 or (total < most and self._waiting):
            raise MediaError(
                LIVE_SOUND,
                expected="whole samples",
                came="no sound" if total == 0 else f"{len(self._waiting)} bytes of a sample at the end",
                remedy="Check the sender, and rate and channels of raw PCM.",
            )
        low, high = (_joined(resampler.resample(None)) for resampler in resamplers)
        yield low, high

    def _samples(self, most: int) -> bytes:
        """What waits and what comes, at most up to the end of a WAV's data."""
        if self._left == 0:
            return b""
        wanted = most - len(self._waiting) if self._left is None else min(most - len(self._waiting), self._left)
        data = self._take(max(1, wanted))
        if not data:
            return b""
        if self._left is not None:
            self._left -= len(data)
        return self._waiting + data

    def _take(self, most: int) -> bytes:
        data = self._read(most)
        self._digest.update(data)
        return data

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._take(count - len(data))
            if not more:
                raise _no_wav("the header ends after so few bytes")
            data += more
        return data

    def _wav_header(self) -> PcmFormat:
        """RIFF chunks up to `data`; a length of 0 or 0xFFFFFFFF there means: until the end."""
        head = self._exactly(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            raise _no_wav("no RIFF header")
        found: PcmFormat | None = None
        taken = 0
        while True:
            kind, length = (head := self._exactly(8))[:4], int.from_bytes(head[4:8], "little")
            if kind == b"data":
                if found is None:
                    raise _no_wav("no format before the samples")
                self._left = None if length in (0, 0xFFFFFFFF) else length
                return found
            taken += length + length % 2
            if taken > MAX_HEADER_BYTES:
                raise _no_wav("a header longer than 64 KiB")
            chunk = self._exactly(length + length % 2)
            if kind == b"fmt ":
                found = _wav_format(chunk)

    def _frame(self, data: bytes) -> AudioFrame:
        kind = np.dtype("<i2") if self.format.sample == "s16" else np.dtype("<f4")
        values = np.frombuffer(data, kind).reshape(1, -1)
        if self.format.sample == "flt":
            values = np.clip(np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(values), format=self.format.sample, layout=LAYOUTS[self.format.channels]
        )
        frame.sample_rate = self.format.rate_hz
        return frame


def _wav_format(chunk: bytes) -> PcmFormat:
    if len(chunk) < 16:
        raise _no_wav("a format chunk of less than 16 bytes")
    code, channels = int.from_bytes(chunk[:2], "little"), int.from_bytes(chunk[2:4], "little")
    rate_hz, bits = int.from_bytes(chunk[4:8], "little"), int.from_bytes(chunk[14:16], "little")
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    sample = {(_PCM, 16): "s16", (_FLOAT, 32): "flt"}.get((code, bits))
    if sample is None or channels > MAX_AUDIO_CHANNELS:
        raise _no_wav(f"format {code} with {bits} bits and {channels} channels")
    return PcmFormat(rate_hz, channels, sample)


def _no_wav(came: str) -> MediaError:
    return MediaError(
        LIVE_SOUND,
        expected="WAV with 16-bit or float samples",
        came=came,
        remedy="Send WAV, or raw 16-bit PCM with its rate and channels named.",
    )


def _joined(frames: list[AudioFrame]) -> Tensor:
    """float32 [n] within [-1, 1]."""
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return torch.from_numpy(np.clip(samples, -1.0, 1.0).astype(np.float32))
