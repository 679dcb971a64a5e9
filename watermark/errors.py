"""The errors of this package."""

from __future__ import annotations


class WatermarkError(Exception):
    """Raised when a mark can't be made or looked for: wrong type, shape, size, rate or key."""


class TooShortError(WatermarkError):
    """Raised by a detector for less picture or sound than a mark needs."""


class TooSmallError(WatermarkError):
    """Raised for frames too small or too narrow to carry a mark."""
