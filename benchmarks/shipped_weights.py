"""The shipped generator weights, opened with the demo's release key, for measurements of single parts."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from generator.rig_fit import RigShape
from policy.seal import open_sealed
from policy.state_folder import SHIPPED_RELEASE_KEY, SHIPPED_WEIGHTS, read_release_key


def shipped(part: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (names without the part's prefix) and configuration of `motion` or `render`."""
    opened = open_sealed(SHIPPED_WEIGHTS, read_release_key(SHIPPED_RELEASE_KEY))
    prefix = f"{part}."
    tensors = {name.removeprefix(prefix): t for name, t in opened.tensors.items() if name.startswith(prefix)}
    return tensors, dict(opened.config[part])


def shipped_rig() -> RigShape:
    """The face rig of the shipped renderer, for measuring devices."""
    tensors, _ = shipped("render")
    return RigShape.from_tensors({f"render.{name}": tensor for name, tensor in tensors.items()})
