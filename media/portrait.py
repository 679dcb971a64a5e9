"""Reads a still portrait as RGB, whatever way it was saved."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from media.errors import MediaError
from media.guarded_input import Source, opened
from media.limits import MAX_PORTRAIT_BYTES

MIN_PORTRAIT_PX = 64
"""Smallest side of a portrait: no face can be made out in less."""

MAX_PORTRAIT_PX = 12_000
"""Largest side of a portrait: medium-format cameras stay below."""

MAX_PORTRAIT_PIXELS = 120_000_000
"""Most pixels of a portrait: 360 MB as RGB while it is read."""

MID_GREY = 128
"""What shines through transparent parts."""

_FORMATS = ("PNG", "JPEG", "WEBP")


def read_portrait(source: Source, *, min_px: int = MIN_PORTRAIT_PX, max_px: int = MAX_PORTRAIT_PX) -> Tensor:
    """A PNG, JPEG or WebP still picture as uint8 [3, H, W] RGB, each side within min_px..max_px.

    Turned upright by its EXIF orientation; transparency lies over mid grey; grey, palette, 16-bit and CMYK
    pictures become 8-bit RGB. An embedded ICC profile is left unapplied. Raises MediaError for anything
    else: other formats, animations, truncated files, decompression bombs.
    """
    with opened(source) as file, _decoding(file.label):
        if file.size > MAX_PORTRAIT_BYTES:
            raise _refusal(
                file.label,
                f"at most {MAX_PORTRAIT_BYTES >> 20} MiB",
                f"it has {file.size >> 20} MiB",
                "Save it smaller.",
            )
        data = file.read(file.size)
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_header(image, file.label, min_px, max_px)
            image.load()
            upright = ImageOps.exif_transpose(image)
            rgb = np.array(_flattened(upright).convert("RGB"))
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()


def _check_header(image: Image.Image, name: str, min_px: int, max_px: int) -> None:
    """Size and kind, known before a pixel is decoded."""
    width, height = image.size
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise _refusal(name, "a still picture", "it is animated", "Save one frame of it as PNG.")
    if max(width, height) > max_px or width * height > MAX_PORTRAIT_PIXELS:
        raise _refusal(name, f"at most {max_px} px a side", f"it is {width}x{height}", "Scale it down.")
    if min(width, height) < min_px:
        raise _refusal(
            name,
            f"at least {min_px} px a side",
            f"it is {width}x{height}",
            "Use a larger picture of the face.",
        )


def _flattened(image: Image.Image) -> Image.Image:
    """8-bit without transparency: 16-bit scaled down, alpha composited over mid grey."""
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image, dtype=np.float64)
        return Image.fromarray(np.clip(wide / 257.0 + 0.5, 0, 255).astype(np.uint8), "L")
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        grey = Image.new("RGBA", shown.size, (MID_GREY, MID_GREY, MID_GREY, 255))
        return Image.alpha_composite(grey, shown)
    return image


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turns what Pillow raises into a MediaError; its bomb warning counts as an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        raise _refusal(name, "a PNG, JPEG or WebP picture", "it is none", "Save the picture as PNG.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refusal(
            name, f"at most {MAX_PORTRAIT_PIXELS} pixels", "it would unpack to more", "Scale it down."
        ) from error
    except (OSError, ValueError, SyntaxError, LookupError, ArithmeticError, MemoryError, TypeError) as error:
        raise _refusal(
            name, "a whole picture", "it is truncated or damaged", "Copy, download or export it again."
        ) from error


def _refusal(name: str, expected: str, came: str, remedy: str) -> MediaError:
    return MediaError(name, expected=expected, came=came, remedy=remedy)
