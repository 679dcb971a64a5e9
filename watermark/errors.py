"""The one error of this package."""

from __future__ import annotations


class WatermarkError(Exception):
    """Raised when a mark can't be made or looked for: wrong type, shape, size, rate or key."""
