"""Contact sheet: held-out portraits in rows, what the renderer makes of them in columns.

    python -m benchmarks.portrait_sheet --portraits FOLDER --out SHEET.png [--count 30] [--seed 0]

FOLDER holds pictures and `index.csv` (columns file, glasses, mouth_gap, smile, yaw_deg, as in the data's README);
without it every picture of the folder may be chosen. Rows are drawn so that glasses, closed and open lips, smiles,
turned heads, dark and light pictures all occur; every fifth is shown as a painting, a drawing or a grey photograph.
The sheet shows real people: it is for looking, not for publishing.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.renderer import a_renderer
from generator import EXPRESSION_INDEX, GeneratorError, MotionBlock
from media import MediaError, read_portrait

HELD_OUT_SHARE = 0.2
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
Picture = NDArray[np.uint8]

COLUMNS: Mapping[str, Mapping[str, float]] = {
    "rest": {},
    "mouth open": {"jawOpen": 0.5},
    "smile": {"mouthSmile": 0.7, "cheekSquint": 0.3},
    "blink": {"eyeBlink": 1.0},
    "yaw +20": {"yaw": 20},
    "yaw -20": {"yaw": -20},
    "pitch +12": {"pitch": 12},
    "pitch -12": {"pitch": -12},
    "gaze left": {"gaze_yaw": -20},
    "gaze right": {"gaze_yaw": 20},
}


def moment(asked: Mapping[str, float]) -> MotionBlock:
    """One frame; expression names without `_L` and `_R` mean both sides."""
    pose = torch.tensor([[asked.get("yaw", 0), asked.get("pitch", 0), asked.get("roll", 0), 0, 0, 1]]).float()
    gaze = torch.tensor([[asked.get("gaze_yaw", 0), asked.get("gaze_pitch", 0)]]).float()
    expression = torch.zeros(1, len(EXPRESSION_INDEX))
    for name, weight in asked.items():
        for axis in (name, f"{name}_L", f"{name}_R"):
            if axis in EXPRESSION_INDEX:
                expression[0, EXPRESSION_INDEX[axis]] = weight
    return MotionBlock(pose, expression, gaze)


def painted(portrait: Tensor) -> Tensor:
    """As if in oil: flat strokes, strong edges."""
    return _through_bgr(portrait, lambda bgr: cv2.stylization(bgr, sigma_s=45, sigma_r=0.45))


def drawn(portrait: Tensor) -> Tensor:
    """As if with coloured pencils."""
    return _through_bgr(portrait, lambda bgr: cv2.pencilSketch(bgr, sigma_s=50, sigma_r=0.07, shade_factor=0.05)[1])


def smoothed(portrait: Tensor) -> Tensor:
    """Without texture, as on a cartoon."""
    return _through_bgr(portrait, lambda bgr: cv2.edgePreservingFilter(bgr, flags=1, sigma_s=50, sigma_r=0.4))


def greyed(portrait: Tensor) -> Tensor:
    """A grey photograph."""
    return _through_bgr(portrait, lambda bgr: cv2.cvtColor(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


STYLES: tuple[Callable[[Tensor], Tensor], ...] = (painted, drawn, greyed, smoothed)


def _through_bgr(portrait: Tensor, change: Callable[[Picture], Any]) -> Tensor:
    bgr = cv2.cvtColor(portrait.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2BGR)
    rgb = cv2.cvtColor(np.asarray(change(bgr), np.uint8), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous()


def held_out(folder: Path) -> list[dict[str, str]]:
    """Rows of the index whose person falls into the held-out share by a hash of their id."""
    index = folder / "index.csv"
    if index.is_file():
        with index.open(newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [{"file": p.name} for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES]
    if not rows:
        raise click.ClickException(f"{folder}: holds no pictures ({', '.join(SUFFIXES)}); name a folder of portraits")
    kept = [row for row in rows if _hash(row.get("person_id") or row["file"]) < HELD_OUT_SHARE]
    return kept or rows


def _hash(name: str) -> float:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def choose(rows: list[dict[str, str]], folder: Path, count: int, seed: int) -> list[dict[str, str]]:
    """Round robin over the kinds of portraits, each shuffled by the seed."""
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [rows[i] for i in order]

    def number(row: dict[str, str], name: str) -> float:
        return float(row.get(name) or 0)

    brightness = {row["file"]: float(cv2.imread(str(folder / row["file"]), 0).mean()) for row in shuffled}
    ranked = sorted(brightness.values())
    dark = ranked[len(ranked) // 5]
    kinds: tuple[Callable[[dict[str, str]], bool], ...] = (
        lambda row: row.get("glasses") == "1",
        lambda row: number(row, "mouth_gap") < 0.02,
        lambda row: number(row, "mouth_gap") > 0.06,
        lambda row: abs(number(row, "yaw_deg")) > 14,
        lambda row: brightness[row["file"]] <= dark,
        lambda row: True,
    )
    chosen: list[dict[str, str]] = []
    for turn in range(len(kinds) * len(rows)):
        if len(chosen) >= min(count, len(rows)):
            break
        fitting = [row for row in shuffled if row not in chosen and kinds[turn % len(kinds)](row)]
        chosen += fitting[:1]
    return chosen


def write_sheet(folder: Path, out: Path, *, count: int, seed: int, side_px: int) -> list[str]:
    """Writes the sheet; one line for every portrait that was refused."""
    renderer, block = a_renderer(), MotionBlock.join([moment(asked) for asked in COLUMNS.values()])
    strips, refused = [_header(side_px)], []
    chosen = choose(held_out(folder), folder, count, seed)
    for index, row in enumerate(tqdm(chosen, unit="portrait", disable=not sys.stderr.isatty())):
        try:
            portrait = read_portrait(folder / row["file"])
            if index % 5 == 4:
                portrait = STYLES[index // 5 % len(STYLES)](portrait)
            face = renderer.encode(portrait)
        except (GeneratorError, MediaError) as error:
            refused.append(f"{row['file']}: {error}")
            continue
        source = face.picture.to(torch.uint8)[None].cpu()
        frames = torch.cat([source, renderer.render(face, block).cpu()])
        strips.append(_strip(frames, f"{index} {row['file'][:10]}", side_px))
    cv2.imwrite(str(out), np.concatenate(strips))
    return refused


def _strip(frames: Tensor, title: str, side_px: int) -> Picture:
    cells = []
    for frame in frames.permute(0, 2, 3, 1).numpy():
        face = cv2.cvtColor(frame[56:456, 56:456], cv2.COLOR_RGB2BGR)
        cells.append(cv2.resize(face, (side_px, side_px), interpolation=cv2.INTER_AREA))
    strip = np.concatenate(cells, 1)
    return np.asarray(cv2.putText(strip, title, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 255), 1), np.uint8)


def _header(side_px: int) -> Picture:
    names = ("source", *COLUMNS)
    header: Picture = np.full((22, side_px * len(names), 3), 255, np.uint8)
    for index, name in enumerate(names):
        cv2.putText(header, name, (index * side_px + 6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return header


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option("--portraits", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="a PNG")
@click.option("--count", type=click.IntRange(1, 500), default=30, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--side", "side_px", type=click.IntRange(64, 512), default=200, show_default=True, help="px of a cell")
def main(portraits: Path, out: Path, count: int, seed: int, side_px: int) -> None:
    for line in write_sheet(portraits, out, count=count, seed=seed, side_px=side_px):
        click.echo(f"refused: {line}")
    click.echo(f"{out} written; it shows the people in {portraits}")


if __name__ == "__main__":
    main()
