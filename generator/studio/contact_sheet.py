"""A sheet of studio takes to look at: each take has a row of frames and below it masks with landmarks.

python -m generator.studio.contact_sheet --frames FOLDER --out sheet.png [--takes N]
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

_COLOURS = np.array(
    [(40, 40, 40), (230, 170, 140), (200, 30, 60), (250, 250, 250), (90, 60, 30), (160, 110, 90), (70, 100, 170),
     (255, 0, 255), (0, 200, 200)], np.uint8
)  # fmt: skip


def sheet(files: list[Path], *, columns: int, side_px: int, masks: bool) -> NDArray[np.uint8]:
    rows = []
    for path in files:
        take = load_file(path)
        frames, mask = take["frames"].numpy()[:columns], take["mask"].numpy()[:columns]
        marks, visible = take["landmarks"].numpy(), take["visible"].numpy()
        how = cv2.INTER_AREA if side_px < frames.shape[1] else cv2.INTER_CUBIC
        rows.append(_row([cv2.resize(f, (side_px, side_px), interpolation=how) for f in frames], columns, side_px))
        if masks:
            shown = []
            for k, labels in enumerate(mask):
                picture = cv2.resize(_COLOURS[labels], (side_px, side_px), interpolation=cv2.INTER_NEAREST)
                for (x, y), seen in zip(marks[k] * side_px / mask.shape[1], visible[k], strict=True):
                    cv2.circle(
                        picture, (round(float(x)), round(float(y))), 1, (0, 255, 0) if seen else (255, 60, 0), -1
                    )
                shown.append(picture)
            rows.append(_row(shown, columns, side_px))
    return np.concatenate(rows)


def _row(pictures: list[NDArray[np.uint8]], columns: int, side_px: int) -> NDArray[np.uint8]:
    empty = np.zeros((side_px, side_px, 3), np.uint8)
    return np.concatenate([*pictures, *[empty] * (columns - len(pictures))], 1)


@click.command(help=__doc__)
@click.option("--frames", "folder", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--takes", default=8, show_default=True, type=click.IntRange(1))
@click.option("--columns", default=8, show_default=True, type=click.IntRange(1), help="Frames shown of a take.")
@click.option("--side", "side_px", default=192, show_default=True, type=click.IntRange(32), help="Pixels of a frame.")
@click.option("--masks/--no-masks", default=True, show_default=True)
def main(folder: Path, out: Path, takes: int, columns: int, side_px: int, masks: bool) -> None:
    files = sorted(folder.rglob("*.safetensors"))[:takes]
    if not files:
        raise click.ClickException(f"{folder} holds no takes; make some with generator.studio.make_frames")
    temporary = out.with_suffix(".part.png")
    if not cv2.imwrite(str(temporary), sheet(files, columns=columns, side_px=side_px, masks=masks)[..., ::-1]):
        raise click.ClickException(f"{temporary} can't be written")
    temporary.replace(out)
    click.echo(f"{out}: {len(files)} takes")


if __name__ == "__main__":
    main()
