"""Curves of controls as a request carries them: plain keys over time, every one of them checked and signed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeGuard

Keys = tuple[tuple[float, float], ...]
"""(seconds, value), times from 0 on and rising; the value changes evenly in between."""
EmotionKeys = tuple[tuple[float, str, float], ...]
"""(seconds, emotion, strength 0 to 1)."""

MAX_KEYS = 4096


def number_faults(name: str, value: object, limits: tuple[float, float]) -> list[str]:
    """What is wrong with one number, in words; empty when it is within the limits."""
    low, high = limits
    if not _is_number(value):
        return [f"{name} is not a number"]
    return [] if low <= value <= high else [f"{name} is {value:g}, allowed {low:g} to {high:g}"]


def keys_faults(name: str, keys: Sequence[Any], limits: tuple[float, float]) -> list[str]:
    """What is wrong with the curve of control `name`: its form, or the first value beyond the limits."""
    if wrong := _form_faults(name, keys, width=2):
        return wrong
    for time_s, value in keys:
        if wrong := number_faults(name, value, limits):
            return [f"at {time_s:g} s {wrong[0]}"]
    return []


def emotion_faults(emotion: object, known: Sequence[str]) -> list[str]:
    """What is wrong with an emotion, constant or over time."""
    if not isinstance(emotion, tuple):
        return _name_faults(emotion, known)
    if wrong := _form_faults("emotion", emotion, width=3):
        return wrong
    for time_s, name, strength in emotion:
        if wrong := _name_faults(name, known) + number_faults("emotion_strength", strength, (0.0, 1.0)):
            return [f"at {time_s:g} s {wrong[0]}"]
    return []


def _name_faults(emotion: object, known: Sequence[str]) -> list[str]:
    if isinstance(emotion, str) and emotion in known:
        return []
    return [f"emotion is {emotion!r:.40}, allowed {', '.join(known)}"]


def _form_faults(name: str, keys: Sequence[Any], *, width: int) -> list[str]:
    if not 1 <= len(keys) <= MAX_KEYS:
        return [f"the curve of {name} has {len(keys)} keys, allowed 1 to {MAX_KEYS}"]
    if not all(isinstance(key, tuple) and len(key) == width and _is_number(key[0]) for key in keys):
        return [f"the curve of {name} is not made of keys of {width} values, the first a time"]
    if keys[0][0] < 0 or any(a[0] >= b[0] for a, b in pairwise(keys)):
        return [f"the times of {name} do not rise from 0 s on"]
    return []


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
