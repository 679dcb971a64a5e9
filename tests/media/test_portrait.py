"""Portraits come out as upright 8-bit RGB, however they were saved."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from media import MediaError, read_portrait

ORIENTATION = 0x0112


def gradient(height: int = 80, width: int = 120) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) * 255 // (height + width)], 2)
    return Image.fromarray(pixels.astype(np.uint8), "RGB")


def saved(image: Image.Image, form: str = "PNG", **settings: object) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **settings)  # type: ignore[arg-type]
    return data.getvalue()


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def off_by(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().mean())


@pytest.mark.parametrize(
    ("form", "settings", "tolerance"),
    [("PNG", {}, 0.0), ("JPEG", {"quality": 97}, 2.0), ("WEBP", {"lossless": True}, 0.0)],
)
def test_each_format_gives_the_picture(form: str, settings: dict[str, object], tolerance: float) -> None:
    read = read_portrait(saved(gradient(), form, **settings))
    assert (read.dtype, tuple(read.shape), read.is_contiguous()) == (torch.uint8, (3, 80, 120), True)
    assert off_by(read, pixels(gradient())) <= tolerance


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_applied(orientation: int, stored: Image.Transpose | None) -> None:
    picture = gradient() if stored is None else gradient().transpose(stored)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert torch.equal(read_portrait(saved(picture, "PNG", exif=exif)), pixels(gradient()))


def test_transparency_lies_over_mid_grey() -> None:
    clear = gradient().convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    assert (read_portrait(saved(clear)) == 128).all()
    half = Image.new("RGBA", (80, 80), (228, 128, 28, 128))
    assert read_portrait(saved(half))[:, 5, 5].tolist() == [178, 128, 78]


def test_a_transparent_palette_colour_lies_over_mid_grey() -> None:
    palette = Image.new("P", (80, 80), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert (read_portrait(saved(palette, transparency=0)) == 128).all()
    assert read_portrait(saved(palette))[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_pictures_have_three_equal_channels(mode: str) -> None:
    read = read_portrait(saved(gradient().convert(mode)))
    assert torch.equal(read[0], read[1])
    assert torch.equal(read[1], read[2])
    assert read.float().std() > 20


def test_16_bit_grey_is_scaled_not_cut() -> None:
    wide = (np.mgrid[0:80, 0:120][1] * 65535 // 119).astype(np.uint16)
    read = read_portrait(saved(Image.fromarray(wide)))
    assert read[0, 0, 0] == 0
    assert read[0, 0, -1] == 255
    assert (read[0].float() - torch.from_numpy(wide.astype(np.float32)) / 257).abs().max() <= 0.51


def test_16_bit_rgb_is_scaled_not_cut() -> None:
    colours = bytes(value for column in range(64) for value in struct.pack(">3H", column * 1040, 65535, 0))
    rows = b"".join(b"\0" + colours for _ in range(64))
    data = png(struct.pack(">2I5B", 64, 64, 16, 2, 0, 0, 0), rows)
    read = read_portrait(data)
    assert read[:, 10, 63].tolist() == [255, 255, 0]
    assert abs(int(read[0, 10, 32]) - 32 * 1040 // 257) <= 1


def test_cmyk_becomes_rgb() -> None:
    read = read_portrait(saved(gradient().convert("CMYK"), "JPEG", quality=97))
    assert off_by(read, pixels(gradient())) < 6


def test_an_embedded_profile_is_left_unapplied() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert torch.equal(read_portrait(saved(gradient(), icc_profile=profile)), pixels(gradient()))


def test_path_bytes_and_file_object_give_the_same(tmp_path: Path) -> None:
    data = saved(gradient())
    (tmp_path / "p.png").write_bytes(data)
    with (tmp_path / "p.png").open("rb") as file:
        for source in (tmp_path / "p.png", str(tmp_path / "p.png"), file, data):
            assert torch.equal(read_portrait(source), pixels(gradient()))


def png(header: bytes, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_unpacks() -> None:
    for width, height in ((60_000, 60_000), (11_900, 11_900), (13_000, 100)):
        bomb = png(struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0), bytes(100_000))
        with pytest.raises(MediaError, match=f"{width}x{height}|unpack to more"):
            read_portrait(bomb)


def test_a_bomb_in_a_text_chunk_is_refused() -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(80_000_000))
    body = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    data = saved(gradient())
    with pytest.raises(MediaError):
        read_portrait(data[:33] + body + data[33:])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_refused(form: str) -> None:
    data = saved(gradient(), form)
    for share in (0.95, 0.5, 0.1):
        with pytest.raises(MediaError, match=r"truncated or damaged|it is none"):
            read_portrait(data[: int(len(data) * share)])


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animations_are_refused(form: str) -> None:
    data = saved(gradient(), form, save_all=True, append_images=[gradient().rotate(90)], duration=100)
    with pytest.raises(MediaError, match="animated"):
        read_portrait(data)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused(form: str) -> None:
    with pytest.raises(MediaError, match="PNG, JPEG or WebP"):
        read_portrait(saved(gradient(), form))


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000), b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError):
        read_portrait(data)


def test_too_small_and_too_large_are_refused() -> None:
    with pytest.raises(MediaError, match="at least 64 px a side, but it is 20x20"):
        read_portrait(saved(gradient(20, 20)))
    with pytest.raises(MediaError, match="at most 100 px a side, but it is 120x80"):
        read_portrait(saved(gradient()), max_px=100)
    assert read_portrait(saved(gradient(20, 20)), min_px=16).shape == (3, 20, 20)
