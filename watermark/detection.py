"""What a detector says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import log10
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from watermark.code import decode
from watermark.key import MarkKey
from watermark.payload import TAG_BITS, Payload, header_bits, unpack
from watermark.pose import Pose

Medium = Literal["video", "audio"]
MOST_ATTEMPTS = 1 << 17  # tags compared in one search: picture and sound together stay below 2^-30, which is 9.3e-10


@dataclass(frozen=True)
class Detection:
    """The outcome of one blind search.

    `log10_false_positive` bounds, for anything that was made without knowledge of the key, the
    probability that this search would have reported a mark. Proof: a payload is reported only if
    its 48-bit tag equals HMAC(tag subkey, header and manifest id). The candidates are functions
    of the input and of subkeys derived under other labels, so to them the tag is 48 fair coin
    tosses (HMAC is a pseudorandom function); one candidate passes with probability 2^-48, and by
    the union bound n candidates with at most n * 2^-48. n counts every tag that was compared: all
    keys, windows, poses, time phases and list entries, and `TagCheck` compares no more than MOST_ATTEMPTS.
    Nothing else can make `found` true; the pilot only chooses which candidates are worth a look.

    `pilot_z` is the strongest pilot peak in standard deviations of its null; `seconds_used` how
    much picture or (audible) sound the search had read when it ended. `pose` says how the picture that
    was read lies in the original frame (crop, scale, turn, mirror, tilt) and how fast it runs; None for
    sound and where nothing was found.
    """

    medium: Medium
    payload: Payload | None
    key_id: int | None
    log10_false_positive: float
    pilot_z: float
    seconds_used: float
    pose: Pose | None = None

    @property
    def found(self) -> bool:
        """True only if a payload with a genuine tag was read."""
        return self.payload is not None

    @property
    def stopped(self) -> bool:
        """True if the search ended without a mark at MOST_ATTEMPTS tags, before it had looked at everything."""
        return not self.found and self.log10_false_positive >= log10(MOST_ATTEMPTS) - TAG_BITS * log10(2) - 1e-9


class TagCheck:
    """Decodes soft words and compares tags, and counts every comparison."""

    def __init__(self, most: int = MOST_ATTEMPTS) -> None:
        """No more than `most` tags are ever compared."""
        self._most = most
        self.attempts = 0

    @property
    def exhausted(self) -> bool:
        """Whether no further tag may be compared: whoever searches must stop."""
        return self.attempts >= self._most

    def read(self, soft: NDArray[np.float64], key: MarkKey) -> Payload | None:
        """The payload in `soft` [512] (log-likelihood ratios), if one of the list carries a genuine tag.

        None also when `exhausted`, before the word was looked at or on the way through its list.
        """
        return None if self.exhausted else self._first(decode(soft, header_bits(key)), key)

    def _first(self, words: Iterable[NDArray[np.uint8]], key: MarkKey) -> Payload | None:
        for word in words:
            if self.exhausted:
                return None
            self.attempts += 1
            payload = unpack(word, key)
            if payload is not None:
                return payload
        return None

    @property
    def log10_false_positive(self) -> float:
        """log10(attempts * 2^-48), 0 at most; with no attempt yet, the bound of one."""
        return min(0.0, log10(max(1, self.attempts)) - TAG_BITS * log10(2))
