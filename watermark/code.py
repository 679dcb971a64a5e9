"""Tail-biting convolutional code of rate 1/4 and constraint length 15, with a soft list decoder.

The generators are those of the Galileo probe's (15, 1/4) code (Dolinar, JPL TDA Report 42-95, 1988).
128 bits become 512. The reader knows the first 16 bits (version and key id of the key it tries),
which is more than the 14 bits of memory: so the circular trellis starts and ends in a known state,
and one Viterbi pass gives the most likely word. The list adds the paths that differ from it by the
narrowest single decisions; the payload's tag picks the right one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from watermark.payload import HEADER_BITS, WIRE_BITS

GENERATORS = (0o46321, 0o51271, 0o63667, 0o70535)
MEMORY = 14
RATE = len(GENERATORS)
CODED_BITS = WIRE_BITS * RATE
LIST_SIZE = 16
_STATES = 1 << MEMORY
_HALF = _STATES // 2


@lru_cache(maxsize=1)
def _output_pattern() -> NDArray[np.int64]:
    """The four output bits, as a number 0..15, of each 15-bit register (newest bit lowest): [32768]."""
    register = np.arange(2 * _STATES)
    pattern = np.zeros(2 * _STATES, np.int64)
    for place, generator in enumerate(GENERATORS):
        parity = register & generator
        for shift in (8, 4, 2, 1):
            parity ^= parity >> shift
        pattern |= (parity & 1) << place
    return pattern


def encode(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Code word uint8 [512] of a message uint8 [128]."""
    register = 0
    for bit in bits[-MEMORY:]:
        register = register << 1 | int(bit)
    coded = np.empty((WIRE_BITS, RATE), np.uint8)
    for step, bit in enumerate(bits):
        register = (register << 1 | int(bit)) & (2 * _STATES - 1)
        coded[step] = _output_pattern()[register] >> np.arange(RATE) & 1
    return coded.reshape(-1)


def decode(soft: NDArray[np.float64], header: NDArray[np.uint8], *, list_size: int = LIST_SIZE) -> NDArray[np.uint8]:
    """The most likely messages whose first 16 bits are `header`, best first: uint8 [<= list_size, 128].

    `soft` [512] is proportional to the log-likelihood ratio of each coded bit, positive for a 1.
    """
    word = np.asarray(soft, np.float32).reshape(WIRE_BITS, RATE)
    ones = (np.arange(1 << RATE)[:, None] >> np.arange(RATE) & 1).astype(np.float32) * 2 - 1
    branch = word @ ones.T  # [128, 16] metric of each output pattern at each step
    order = np.roll(np.arange(WIRE_BITS), -HEADER_BITS)  # the trellis starts after the header
    taken, margin = _forward(branch, header, order)
    return _trace(taken, margin, header, order, list_size)


def _forward(
    branch: NDArray[np.float32], header: NDArray[np.uint8], order: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which predecessor won at each step and state, and by how much: two arrays [128, 16384]."""
    pattern = _output_pattern()[:_STATES].reshape(_HALF, 2)  # oldest bit 0; with a 1 all outputs flip
    metric = np.full(_STATES, -1e30, np.float32)
    metric[_state_of(header[-MEMORY:])] = 0
    taken = np.empty((WIRE_BITS, _HALF, 2), np.bool_)
    margin = np.empty((WIRE_BITS, _HALF, 2), np.float32)
    for step, place in enumerate(order):
        gain = branch[place][pattern]
        zero, one = metric[:_HALF, None] + gain, metric[_HALF:, None] - gain
        np.subtract(one, zero, out=margin[step])
        np.greater(margin[step], 0, out=taken[step])
        survivors = np.maximum(zero, one)
        if place < HEADER_BITS:
            survivors[:, 1 - header[place]] = -1e30
        metric = survivors.reshape(-1)
    np.abs(margin, out=margin)
    return taken.reshape(WIRE_BITS, -1), margin.reshape(WIRE_BITS, -1)


def _trace(
    taken: NDArray[np.bool_],
    margin: NDArray[np.float32],
    header: NDArray[np.uint8],
    order: NDArray[np.int64],
    list_size: int,
) -> NDArray[np.uint8]:
    """Trace the best path back, then the paths that leave it at its narrowest decisions."""

    def walk(bits: NDArray[np.uint8], step: int, state: int, flip: bool) -> list[float]:
        margins = []
        for t in range(step, -1, -1):
            bits[t] = state & 1
            margins.append(float(margin[t, state]))
            oldest = bool(taken[t, state]) ^ (flip and t == step)
            states[t] = state
            state = state >> 1 | (_HALF if oldest else 0)
        return margins[::-1]

    states = [0] * WIRE_BITS
    best = np.empty(WIRE_BITS, np.uint8)
    margins = walk(best, WIRE_BITS - 1, _state_of(header[-MEMORY:]), False)
    path = tuple(states)
    words = [best]
    for step in np.argsort(margins, kind="stable")[: list_size - 1]:
        if margins[step] > 1e29:  # beyond here lie only paths that the header forbids
            break
        other = best.copy()
        walk(other, int(step), path[step], True)
        words.append(other)
    messages = np.empty((len(words), WIRE_BITS), np.uint8)
    messages[:, order] = np.stack(words)
    return messages


def _state_of(bits: NDArray[np.uint8]) -> int:
    return int("".join(str(int(bit)) for bit in bits), 2)
