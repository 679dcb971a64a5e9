"""Evenly spaced frames of a clip on one sheet, each with its time."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from media import probe, read_frames

PAPER, INK = (251, 250, 247), (70, 66, 60)
GAP_PX, CAPTION_PX = 10, 24


def contact_sheet(clip: Path, *, columns: int = 6, rows: int = 3, tile_px: int = 196) -> bytes:
    """PNG bytes with `columns` x `rows` frames of `clip`, in reading order.

    Raises `media.MediaError` when the clip can't be decoded.
    """
    duration_s = probe(clip).duration_s
    wanted = [duration_s * (i + 0.5) / (columns * rows) for i in range(columns * rows)]
    tiles: list[tuple[float, Image.Image]] = []
    for block in read_frames(clip, max_side_px=tile_px):
        for frame, time_s in zip(block.frames, block.times, strict=True):
            if len(tiles) < len(wanted) and float(time_s) >= wanted[len(tiles)] - 1e-6:
                tiles.append((float(time_s), Image.fromarray(frame.permute(1, 2, 0).numpy())))
    return _png(_laid_out(tiles, columns, tile_px))


def _laid_out(tiles: list[tuple[float, Image.Image]], columns: int, tile_px: int) -> Image.Image:
    lines = -(-len(tiles) // columns)
    height_px = max((tile.height for _, tile in tiles), default=0)
    sheet = Image.new(
        "RGB",
        (GAP_PX + columns * (tile_px + GAP_PX), GAP_PX + lines * (height_px + CAPTION_PX + GAP_PX)),
        PAPER,
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for number, (time_s, tile) in enumerate(tiles):
        left = GAP_PX + (number % columns) * (tile_px + GAP_PX)
        top = GAP_PX + (number // columns) * (height_px + CAPTION_PX + GAP_PX)
        sheet.paste(tile, (left + (tile_px - tile.width) // 2, top))
        pen.text((left + tile_px // 2, top + height_px + 4), f"{time_s:.2f} s", fill=INK, font=font, anchor="ma")
    return sheet


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
