"""The renderer: re-enactment of real talkers, control errors, leakage, speed, still background, equal bits.

    python -m benchmarks.renderer --data FOLDER [--prototypes FOLDER] [--tracks FOLDER] [--folds FOLDER]
    python -m benchmarks.renderer --data FOLDER --only controls --portraits 40
    python -m benchmarks.renderer --only gpu        on a machine with an NVIDIA GPU: gpu_fps, needs no data

FOLDER holds `rig/` (the full rig), `portraits/` (with index.csv) and `grid/` (clips with tracked motion); none ships
here. Without it speed, background and bits are measured on the demo portrait. Writes benchmarks/results/renderer.json.
What the figures mean stands in the modules of the parts: `renderer_reenactment`, `renderer_controls`,
`renderer_identity`, `renderer_speed`; the measuring device is `face_read_out`, checked on `exact_people`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.exact_people import measure_exact
from benchmarks.face_read_out import stored_scale
from benchmarks.renderer_controls import (
    Draw,
    gaze_rows,
    held_out_portraits,
    leakage_rows,
    measure_portraits,
    pose_rows,
)
from benchmarks.renderer_identity import colour_and_shape, identity_rows, measure_identity, network_embedding
from benchmarks.renderer_reenactment import Lift, measure_reenactment, reenactment_rows
from benchmarks.renderer_speed import lively_motion, measure_arithmetic, measure_encoding, measure_gpu, measure_speed
from benchmarks.results_page import Rows, commit, number, write_results
from benchmarks.shipped_weights import shipped, shipped_rig
from generator.face_state import FaceState
from generator.render import Renderer
from generator.working_picture import SIZE_PX
from media import read_portrait

ROOT = Path(__file__).resolve().parents[1]
PORTRAIT = ROOT / "vasari" / "demo" / "portrait.png"
EXACT_SEED = 202  # other people than those that the device's scale was measured on
Parts = Mapping[str, Callable[[], Rows]]


@dataclass(frozen=True)
class Sources:
    """Where the data lies, and how much of it is used."""

    data: Path | None = None
    prototypes: Path | None = None
    tracks: Path | None = None
    portraits: int = 40
    exact_people: int = 16
    clips: int | None = None
    networks: Path | None = None
    folds: Path | None = None


def a_renderer(device: str = "cpu", mouth: Mapping[str, Tensor] | None = None) -> Renderer:
    """The shipped one; with another mouth network than its own, or without any ({})."""
    tensors, config = shipped("render")
    if mouth is not None:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("mouth.")} | dict(mouth)
    return Renderer.from_tensors({f"render.{name}": tensor for name, tensor in tensors.items()}, config, device)


def parts(sources: Sources) -> Parts:
    """Name -> what measures its rows; those without their data are left out."""
    renderer = a_renderer()
    portrait = read_portrait(PORTRAIT)
    known: dict[str, Callable[[], Rows]] = {
        "speed": lambda: _speed(renderer, portrait),
        "exactness": lambda: measure_exactness(renderer, renderer.encode(portrait)),
    }
    if torch.cuda.is_available():
        known["gpu"] = lambda: measure_gpu(a_renderer("cuda"), portrait)
    data = sources.data
    if data is not None:
        lift = Lift(sources.prototypes, data) if sources.prototypes else None
        known["reenactment"] = lambda: reenactment_rows(
            measure_reenactment(
                renderer_of_folds(sources.folds), data / "grid", clips=sources.clips, tracks=sources.tracks, lift=lift
            )
        )
        known["controls"] = lambda: _controls(renderer, data / "portraits", sources.portraits)
        known["identity"] = lambda: _identity(renderer, data / "portraits", sources.portraits, sources.networks)
        known["device"] = lambda: _device(data / "rig", sources.exact_people)
    return known


def renderer_of_folds(folds: Path | None) -> Callable[[str], Renderer]:
    """Talker -> renderer whose mouth network never saw the talker: of `folds`, folders `without_A_B` of
    `generator.training.train_mouth_refiner`; without folds, the warp alone, since the shipped network has seen them."""
    made: dict[str, Renderer] = {}

    def renderer_for(talker: str) -> Renderer:
        found = [f for f in folds.glob("without_*") if talker in f.name.split("_")[1:]] if folds else []
        if folds and len(found) != 1:
            raise click.ClickException(f"{folds} has {len(found)} folds without talker {talker}; expected one")
        key = found[0].name if found else ""
        if key not in made:
            made[key] = a_renderer(mouth=load_file(found[0] / "average.safetensors") if found else {})
        return made[key]

    return renderer_for


def _speed(renderer: Renderer, portrait: Tensor) -> Rows:
    rows = measure_encoding(renderer, portrait)
    face = renderer.encode(portrait)
    return rows | measure_speed(renderer, face) | measure_arithmetic(renderer, face)


def _drawer(renderer: Renderer) -> Callable[[Tensor], tuple[Tensor, Draw]]:
    """Portrait -> its working picture uint8 [3, 512, 512] and how to draw it."""

    def draw_for(portrait: Tensor) -> tuple[Tensor, Draw]:
        face = renderer.encode(portrait)
        return face.picture.to(torch.uint8), lambda block: renderer.render(face, block)

    return draw_for


def _controls(renderer: Renderer, folder: Path, count: int) -> Rows:
    measured = measure_portraits(shipped_rig(), _drawer(renderer), held_out_portraits(folder, count))
    return pose_rows(measured) | gaze_rows(measured) | leakage_rows(measured)


def _identity(renderer: Renderer, folder: Path, count: int, networks: Path | None) -> Rows:
    """With a trained identity network: of `networks`, else the shipped one; without any, by a stand-in and under its
    name."""
    tensors = load_file(networks) if networks else shipped("render")[0]
    own = {name.removeprefix("render."): tensor for name, tensor in tensors.items()}
    embed, key = network_embedding(own), "identity_auc"
    if embed is None:
        embed, key = colour_and_shape, "identity_auc_colour_and_shape"
    return identity_rows(*measure_identity(embed, _drawer(renderer), held_out_portraits(folder, count)), key)


def _device(rig_folder: Path, people: int) -> Rows:
    """What the measuring device gets wrong where the truth is known: procedural people of the studio."""
    measured = measure_exact(shipped_rig(), stored_scale(), rig_folder, people, EXACT_SEED)
    prefix = "measuring_"
    return pose_rows(measured, prefix) | gaze_rows(measured, prefix) | leakage_rows(measured, prefix)


def measure_exactness(renderer: Renderer, face: FaceState, frames: int = 24) -> Rows:
    """Pixels that change outside the dilated head; largest difference of a re-run, however it is cut and threaded."""
    block = lively_motion(frames)
    whole = renderer.render(face, block)
    matte = face.upper_texture[0, 3].view(SIZE_PX, 2, SIZE_PX, 2).amax((1, 3)).cpu().numpy()
    near = cv2.dilate((matte > 0).astype(np.uint8), np.ones((97, 97))) > 0
    outside = torch.from_numpy(~near)
    changed = (whole != face.picture.to(torch.uint8)).any(1)[:, outside].sum()
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    again = torch.cat([renderer.render(face, block[i : i + 5]) for i in range(0, frames, 5)])
    torch.set_num_threads(threads)
    pixels = int(outside.sum()) * frames
    return {
        "background_changed_px": {
            "value": int(changed),
            "unit": f"of {pixels} pixels 48 px off the person",
            "n": frames,
        },
        "rerun_max_abs_diff": {
            "value": int((again.int() - whole.int()).abs().max()),
            "unit": "of 255; re-run in blocks of 5, other thread count",
            "n": frames,
        },
    }


@click.command(help=__doc__)
@click.option("--data", envvar="VASARI_DATA", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--prototypes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with portrait_lift.py and rig_render.py: measures the lift baseline beside the renderer.",
)
@click.option(
    "--tracks",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with <clip>.npz: pose, expression, gaze of every frame.",
)
@click.option(
    "--folds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Mouth networks of generator.training.train_mouth_refiner in without_A_B/ ...: each talker by one that "
    "never saw the talker.",
)
@click.option("--portraits", default=40, show_default=True, help="Held-out portraits.")
@click.option("--exact-people", default=16, show_default=True, help="Studio people that check the device.")
@click.option("--clips", type=int, help="Only the first N clips.")
@click.option(
    "--networks",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoint with identity network, of generator.training.join_face_networks.",
)
@click.option(
    "--only", multiple=True, help="speed, exactness, gpu, reenactment, controls, identity, device; others keep."
)
@click.option("--dry-run", is_flag=True, help="Print, write nothing.")
def main(
    data: Path | None, prototypes: Path | None, tracks: Path | None, portraits: int, exact_people: int,
    clips: int | None, networks: Path | None, folds: Path | None, only: tuple[str, ...], dry_run: bool,
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    commit()  # results don't change the commit that they belong to
    of_parts = parts(Sources(data, prototypes, tracks, portraits, exact_people, clips, networks, folds))
    unknown = set(only) - set(of_parts)
    if unknown:
        raise click.BadParameter(f"can't measure {', '.join(sorted(unknown))} here; there are {', '.join(of_parts)}")
    for name, measure_part in of_parts.items():
        if only and name not in only:
            continue
        rows = {key: {**row, "command": "python -m benchmarks.renderer"} for key, row in measure_part().items()}
        if not dry_run:
            write_results("renderer", rows)
        for key, row in rows.items():
            click.echo(f"{key:40s} {number(row['value']):>10s} {row['unit']}")


if __name__ == "__main__":
    main()
