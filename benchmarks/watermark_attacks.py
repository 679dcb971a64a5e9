"""What platforms and people do to a clip, as data: one line of `ATTACKS` is one attack, a name and its steps.

A clip is a stream of (presentation time in seconds, frame uint8 [H, W, 3] RGB); a step takes a stream and gives one.
Frames pass one by one through real encoders and decoders, so that a detector that has seen enough ends the work.
Where an edit is what is measured, it is saved as people save it: with one H.264 encode at CRF 23 behind it.
Encoders run with one thread, their own defaults and x264's preset `medium`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
Stream = Iterator[tuple[Fraction, Picture]]
TICK = Fraction(1, 90_000)
CODECS: Mapping[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "h264", {"preset": "medium"}),
    "hevc": ("libx265", "hevc", {"preset": "fast", "x265-params": "log-level=none:pools=none:frame-threads=1"}),
    "vp9": ("libvpx-vp9", "vp9", {"b": "0", "deadline": "good", "cpu-used": "5"}),
    "av1": ("libsvtav1", "libdav1d", {"preset": "9", "svtav1-params": "lp=1"}),
}


@dataclass(frozen=True)
class Step:
    """One operation on a stream and its parameters."""

    operation: Callable[..., Stream]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, stream: Stream) -> Stream:
        return self.operation(stream, **self.parameters)

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.operation.__name__}({inside})"


@dataclass(frozen=True)
class Attack:
    """A named chain of steps. `every_clip`: the issue of the matter, run on all clips and not on a share of them."""

    name: str
    steps: tuple[Step, ...] = ()
    every_clip: bool = False

    def __call__(self, stream: Stream) -> Stream:
        for step in self.steps:
            stream = step(stream)
        return stream

    def __str__(self) -> str:
        return " > ".join(map(str, self.steps)) or "as marked"


def step(operation: Callable[..., Stream], **parameters: Any) -> Step:
    return Step(operation, parameters)


def attack(name: str, *steps: Step, every_clip: bool = False) -> Attack:
    return Attack(name, steps, every_clip)


# Codecs -----------------------------------------------------------------------------------------


def encode(stream: Stream, *, codec: str = "h264", crf: int | None = None, kbit: int | None = None) -> Stream:
    """Through encoder and decoder, at a quality or a bit rate."""
    encoder_name, decoder_name, options = CODECS[codec]
    encoder: Any = None
    decoder: Any = av.CodecContext.create(decoder_name, "r")
    decoder.thread_count = 1
    for time, picture in stream:
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        if encoder is None:
            encoder = av.CodecContext.create(encoder_name, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate, encoder.thread_count = TICK, Fraction(25), 1
            if kbit is not None:
                encoder.bit_rate = kbit * 1000
                limits = {"maxrate": f"{kbit}k", "bufsize": f"{2 * kbit}k"}
            encoder.options = options | ({"crf": str(crf)} if kbit is None else limits)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = round(time / TICK), TICK
        for packet in encoder.encode(frame):
            yield from _shown(decoder.decode(packet))
    for packet in encoder.encode(None) if encoder is not None else ():
        yield from _shown(decoder.decode(packet))
    yield from _shown(decoder.decode(None))


def _shown(frames: Iterable[Any]) -> Stream:
    for frame in frames:
        yield frame.pts * TICK, frame.to_ndarray(format="rgb24")


def palette(stream: Stream, *, colours: int = 256) -> Stream:
    """As in a GIF: one palette, taken from the first frame, and error diffusion."""
    chosen: Any = None
    for time, picture in stream:
        image = Image.fromarray(picture)
        chosen = chosen or image.quantize(colours, method=Image.Quantize.MEDIANCUT)
        drawn = image.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)
        yield time, np.asarray(drawn.convert("RGB"))


# Geometry ---------------------------------------------------------------------------------------


def each(stream: Stream, change: Callable[[Picture], Any]) -> Stream:
    for time, picture in stream:
        yield time, np.ascontiguousarray(change(picture), dtype=np.uint8)


def crop(stream: Stream, *, area: float) -> Stream:
    """A window of this share of the area, off centre."""

    def cut(picture: Picture) -> Picture:
        height, width = (round(side * area**0.5) for side in picture.shape[:2])
        top, left = (picture.shape[0] - height) * 5 // 16, (picture.shape[1] - width) * 9 // 16
        return picture[top : top + height, left : left + width]

    return each(stream, cut)


def scale(stream: Stream, *, factor: float = 1.0, across: float = 1.0, short_px: int | None = None) -> Stream:
    """To `factor` of both sides and `across` more of the width, or to a short side of so many pixels."""

    def resized(picture: Picture) -> Any:
        height, width = picture.shape[:2]
        by = short_px / min(height, width) if short_px else factor
        size = (round(width * by * across / 2) * 2, round(height * by / 2) * 2)
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if by < 1 else cv2.INTER_CUBIC)

    return each(stream, resized)


def rotate(stream: Stream, *, degrees: float) -> Stream:
    """About the centre, in a frame of the same size; black where nothing is left."""

    def turned(picture: Picture) -> Any:
        height, width = picture.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC)

    return each(stream, turned)


def quarter_turns(stream: Stream, *, count: int) -> Stream:
    return each(stream, lambda picture: np.rot90(picture, count))


def mirror(stream: Stream) -> Stream:
    return each(stream, lambda picture: picture[:, ::-1])


def perspective(stream: Stream, *, strength: float) -> Stream:
    """As seen from the side: the corners move inwards by up to `strength` of a side."""
    moves = np.array([[1.0, 0.35], [0.2, 0.55], [0.0, 0.3], [0.8, 0.0]], np.float32) * strength
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)

    def tilted(picture: Picture) -> Any:
        height, width = picture.shape[:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        moved = corners + moves * inwards * np.array([width, height], np.float32)
        matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
        return cv2.warpPerspective(picture, matrix, (width, height), flags=cv2.INTER_CUBIC)

    return each(stream, tilted)


def letterbox(stream: Stream, *, ratio: float = 16 / 9) -> Stream:
    """Black bars left and right up to this width to height."""

    def framed(picture: Picture) -> Any:
        height, width = picture.shape[:2]
        side = max(0, round(height * ratio) - width) // 2
        return cv2.copyMakeBorder(picture, 0, 0, side, side, cv2.BORDER_CONSTANT)

    return each(stream, framed)


def picture_in_picture(stream: Stream, *, side_px: int) -> Stream:
    """Small in a page of 1280x720: a player among text."""
    page = _page(1280, 720)

    def pasted(picture: Picture) -> Picture:
        shown = page.copy()
        shown[140 : 140 + side_px, 700 : 700 + side_px] = cv2.resize(
            picture, (side_px, side_px), interpolation=cv2.INTER_AREA
        )
        return shown

    return each(stream, pasted)


@lru_cache(maxsize=4)
def _page(width: int, height: int) -> Picture:
    page = np.full((height, width, 3), 247, np.uint8)
    cv2.rectangle(page, (0, 0), (width, 56), (36, 52, 84), -1)
    cv2.putText(page, "A page with a player", (24, 38), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (240, 240, 240), 2, cv2.LINE_AA)
    for line in range(26):
        words = "lorem ipsum dolor sit amet consectetur " * 3
        text = words[line * 5 % 30 :][: 48 + line % 7]
        place = (28, 96 + 23 * line)
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (60, 60, 66), 1, cv2.LINE_AA)
    return page


def screenshot(stream: Stream) -> Stream:
    """One moment of the clip, 520 px high in a page of 1280x720, before anything was compressed."""
    return picture_in_picture(still(stream), side_px=520)


def still(stream: Stream, *, at_s: float = 2.0) -> Stream:
    """One frame."""
    for time, picture in stream:
        if time >= at_s:
            yield Fraction(0), picture
            return


# Time -------------------------------------------------------------------------------------------


def frame_rate(stream: Stream, *, fps: int) -> Stream:
    """The picture that stands at each new moment, as players and converters choose it."""
    count, last = 0, None
    for time, picture in stream:
        while last is not None and Fraction(count, fps) < time:
            yield Fraction(count, fps), last
            count += 1
        last = picture
    if last is not None:
        yield Fraction(count, fps), last


def drop(stream: Stream, *, share: float, seed: int = 0) -> Stream:
    """Frames lost at random; the others keep their times."""
    rng = np.random.default_rng(seed)
    for time, picture in stream:
        if rng.random() >= share:
            yield time, picture


def speed(stream: Stream, *, factor: float) -> Stream:
    """Faster (above 1) or slower, then again at 25 frames/s."""
    return frame_rate(((time / Fraction(factor).limit_denominator(100), picture) for time, picture in stream), fps=25)


def late_start(stream: Stream, *, frames: int) -> Stream:
    """Without its first frames; times begin at 0 again."""
    first: Fraction | None = None
    for number, (time, picture) in enumerate(stream):
        if number >= frames:
            first = time if first is None else first
            yield time - first, picture


# Tone, texture, overlays ------------------------------------------------------------------------


def tone(stream: Stream, *, gain: float = 1.0, contrast: float = 1.0, gamma: float = 1.0) -> Stream:
    level = np.arange(256, dtype=np.float64)
    curve = 255 * (np.clip(((level - 128) * contrast + 128) * gain, 0, 255) / 255) ** gamma
    table = np.round(curve).clip(0, 255).astype(np.uint8)
    return each(stream, lambda picture: cv2.LUT(picture, table))


def hue(stream: Stream, *, degrees: float) -> Stream:
    def shifted(picture: Picture) -> Any:
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(degrees / 2)) % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    return each(stream, shifted)


def gray(stream: Stream) -> Stream:
    return each(stream, lambda picture: cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def blur(stream: Stream, *, sigma_px: float) -> Stream:
    return each(stream, lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma_px))


def median(stream: Stream, *, width_px: int) -> Stream:
    return each(stream, lambda picture: cv2.medianBlur(picture, width_px))


def sharpen(stream: Stream, *, amount: float) -> Stream:
    def sharper(picture: Picture) -> Any:
        return cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (0, 0), 1.5), -amount, 0)

    return each(stream, sharper)


def noise(stream: Stream, *, sigma: float, seed: int = 0) -> Stream:
    """Gaussian, new in every frame."""
    rng = np.random.default_rng(seed)

    def grainy(picture: Picture) -> Any:
        grain = rng.standard_normal(picture.shape, np.float32) * sigma
        return np.round(picture + grain).clip(0, 255)

    return each(stream, grainy)


def overlay(stream: Stream) -> Stream:
    """A line of text on a bar and a logo in a corner, as reposted clips carry them."""

    def drawn(picture: Picture) -> Picture:
        shown = picture.copy()
        height, width = shown.shape[:2]
        bar = slice(round(0.80 * height), round(0.92 * height))
        shown[bar] = (0.35 * shown[bar]).astype(np.uint8)
        place, size = (round(0.05 * width), round(0.885 * height)), height / 640
        cv2.putText(
            shown, "WATCH THIS BEFORE IT IS GONE", place, cv2.FONT_HERSHEY_DUPLEX, size, (255,) * 3, 1, cv2.LINE_AA
        )
        cv2.circle(
            shown, (round(0.9 * width), round(0.1 * height)), round(0.07 * height), (220, 40, 60), -1, cv2.LINE_AA
        )
        return shown

    return each(stream, drawn)


def moire(stream: Stream, *, strength: float = 0.06) -> Stream:
    """The beat of a screen's grid with a camera's: two slow oblique waves that drift."""
    waves: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def beating(time: Fraction, picture: Picture) -> Picture:
        size = picture.shape[:2]
        if size not in waves:
            y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
            waves[size] = (0.31 * x + 0.17 * y, 0.09 * x - 0.23 * y)
        one, other = waves[size]
        shade = 1 + strength * 0.5 * (np.sin(one + 2 * float(time)) + np.sin(other - 1.3 * float(time)))
        return np.asarray((picture * shade[..., None]).clip(0, 255), np.uint8)

    return ((time, beating(time, picture)) for time, picture in stream)


# The table --------------------------------------------------------------------------------------

SAVED = step(encode, crf=23)
FILMED = (step(perspective, strength=0.06), step(moire), step(tone, gamma=1.2))

ATTACKS: tuple[Attack, ...] = (
    attack("clean", every_clip=True),
    attack("crf23", step(encode, crf=23), every_clip=True),
    attack("crf28", step(encode, crf=28), every_clip=True),
    attack("crf33", step(encode, crf=33), every_clip=True),
    attack("crf38", step(encode, crf=38), every_clip=True),
    attack("crop_90", step(crop, area=0.9), SAVED),
    attack("crop_75", step(crop, area=0.75), SAVED),
    attack("crop_50", step(crop, area=0.5), SAVED),
    attack("crop_25", step(crop, area=0.25), SAVED),
    attack("scale_30", step(scale, factor=0.3), SAVED),
    attack("scale_50", step(scale, factor=0.5), SAVED),
    attack("scale_75", step(scale, factor=0.75), SAVED),
    attack("scale_150", step(scale, factor=1.5), SAVED),
    attack("scale_200", step(scale, factor=2.0), SAVED),
    *(attack(f"rotate_{angle}", step(rotate, degrees=angle), SAVED) for angle in (2, 5, 10, 15, -2, -5, -10, -15)),
    attack("rotate_90", step(quarter_turns, count=1), SAVED),
    attack("rotate_180", step(quarter_turns, count=2), SAVED),
    attack("rotate_270", step(quarter_turns, count=3), SAVED),
    attack("mirror", step(mirror), SAVED),
    attack("perspective", step(perspective, strength=0.1), SAVED),
    attack("aspect_90", step(scale, across=0.9), SAVED),
    attack("aspect_110", step(scale, across=1.1), SAVED),
    attack("letterbox", step(letterbox), SAVED),
    attack("fps_24", step(frame_rate, fps=24), SAVED),
    attack("fps_30", step(frame_rate, fps=30), SAVED),
    attack("fps_60", step(frame_rate, fps=60), SAVED),
    attack("drop_10", step(drop, share=0.1), SAVED),
    attack("speed_90", step(speed, factor=0.9), SAVED),
    attack("speed_110", step(speed, factor=1.1), SAVED),
    attack("late_start", step(late_start, frames=37), SAVED),
    attack("brightness_50", step(tone, gain=0.5), SAVED),
    attack("brightness_150", step(tone, gain=1.5), SAVED),
    attack("contrast_50", step(tone, contrast=0.5), SAVED),
    attack("contrast_150", step(tone, contrast=1.5), SAVED),
    attack("gamma_70", step(tone, gamma=0.7), SAVED),
    attack("gamma_150", step(tone, gamma=1.5), SAVED),
    attack("hue_90", step(hue, degrees=90), SAVED),
    attack("gray", step(gray), SAVED),
    attack("blur_1", step(blur, sigma_px=1.0), SAVED),
    attack("blur_2", step(blur, sigma_px=2.0), SAVED),
    attack("median_5", step(median, width_px=5), SAVED),
    attack("sharpen", step(sharpen, amount=1.0), SAVED),
    attack("noise_5", step(noise, sigma=5.0), SAVED),
    attack("noise_10", step(noise, sigma=10.0), SAVED),
    attack("messenger", step(scale, short_px=360), step(encode, kbit=500)),
    attack("hevc28", step(encode, codec="hevc", crf=28)),
    attack("vp9", step(encode, codec="vp9", crf=33)),
    attack("av1", step(encode, codec="av1", crf=35)),
    attack("gif", step(palette)),
    attack("gif_12fps", step(frame_rate, fps=12), step(palette)),
    attack("overlay", step(overlay), SAVED),
    attack("screen_recording", *FILMED, step(encode, crf=28)),
    attack("combined", step(crop, area=0.5), step(tone, gain=0.5), step(encode, crf=28), step(encode, crf=28),
           every_clip=True),
    attack("still", step(still)),
    attack("still_saved", step(encode, crf=23), step(still)),
    attack("screenshot", step(screenshot)),
    attack("pip", step(picture_in_picture, side_px=360), SAVED),
)  # fmt: skip

CURVES: Mapping[str, tuple[Attack, ...]] = {
    "crf": tuple(attack(f"{crf}", step(encode, crf=crf)) for crf in (18, 23, 28, 33, 36, 38, 40, 42)),
    "area_percent": tuple(attack(f"{a}", step(crop, area=a / 100), SAVED) for a in (90, 75, 60, 50, 40, 30, 25, 20)),
    "angle_deg": tuple(attack(f"{a}", step(rotate, degrees=a), SAVED) for a in (0, 2, 5, 10, 15, 20, 30, 45)),
}
"""Attacks along one parameter, for the plots: parameter -> attacks named by its values."""


def chosen(names: str) -> list[Attack]:
    """The attacks named in a comma-separated list; a name that ends in * stands for all that begin so."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {one.name for one in ATTACKS}
    unknown = [
        n for n in wanted if n not in known and not (n.endswith("*") and any(k.startswith(n[:-1]) for k in known))
    ]
    if unknown:
        raise ValueError(f"no such attack: {', '.join(unknown)}; there are {', '.join(sorted(known))}")

    def named(one: Attack) -> bool:
        return any(one.name == n or (n.endswith("*") and one.name.startswith(n[:-1])) for n in wanted)

    return [one for one in ATTACKS if not wanted or named(one)]
