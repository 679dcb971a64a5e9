"""Makes the clips on which the picture's mark is measured: our generator's, and natural ones brought to one shape.

    python -m benchmarks.watermark_material --work FOLDER --rig RIG [--clips NATURAL] [--portraits 10] [--takes 4]

Every clip is 512x512, 10 s, 25 frames/s, without a mark, as H.264 at CRF 8 in FOLDER/clips; what is there already is
kept. Portraits are people who don't exist, drawn by the studio from the rig; without --rig there is only the shipped
one. Each speaks `takes` times, with another mood, seed and passage of the shipped voice, through the shipped weights.
Natural clips are cut to their centre square and scaled; one that is shorter than 10 s runs forward and backward until
it fills them (its name says `pingpong`). They may show real people and stay in FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import resample
from tqdm import tqdm

from benchmarks.shipped_weights import shipped
from generator import AUDIO_RATE, EMOTIONS, Controls, Generator
from media import ClipWriter, MediaError, load_audio, read_frames, read_portrait

FPS = Fraction(25)
SIDE_PX = 512
SECONDS = 10
FRAMES = int(SECONDS * FPS)
CRF = 8  # of the clips before they are marked: hardly a trace
CLIP_SUFFIXES = frozenset({".mp4", ".mpg", ".mov", ".mkv", ".webm"})
BLOCK_FRAMES = 25


def draw_portraits(rig: Path, folder: Path, count: int) -> None:
    """`count` people who don't exist as PNG; some 25 s each."""
    import cv2

    from generator.studio.make_demo_portrait import Portrait
    from generator.studio.procedural_person import draw_traits
    from generator.studio.rig_mesh import RigMesh

    folder.mkdir(parents=True, exist_ok=True)
    for seed in tqdm(range(count), desc="portraits", disable=not sys.stderr.isatty()):
        path = folder / f"person{seed:02d}.png"
        if path.exists():
            continue
        complexion = draw_traits(np.random.default_rng(seed)).complexion
        picture = Portrait(RigMesh(rig), complexion, SIDE_PX, seed).picture()
        part = path.with_suffix(".part.png")
        cv2.imwrite(str(part), np.ascontiguousarray(picture[..., ::-1]))
        part.replace(path)


def passage(take: int) -> Tensor:
    """float32 [10 s at 16 kHz] of the shipped voice: another start, and another pitch and pace, for every take."""
    voice = load_audio(files("vasari") / "demo" / "voice.flac", sample_rate=AUDIO_RATE, max_s=60)
    paces = (1.0, 0.88, 1.14, 0.94, 1.07)
    spoken = resample(voice, AUDIO_RATE, round(AUDIO_RATE * paces[take % len(paces)] / 100) * 100)
    spoken = torch.roll(spoken, -(take * 7919 * AUDIO_RATE // 1000) % len(spoken))
    return spoken.repeat(SECONDS * AUDIO_RATE // len(spoken) + 1)[: SECONDS * AUDIO_RATE]


def a_talker() -> Generator:
    """The generator with the shipped weights."""
    motion, render = shipped("motion"), shipped("render")
    tensors = {f"motion.{k}": v for k, v in motion[0].items()} | {f"render.{k}": v for k, v in render[0].items()}
    return Generator.from_tensors(tensors, {"motion": motion[1], "render": render[1]})


def generated(talker: Generator, portrait: Path, take: int) -> Iterator[Tensor]:
    """Blocks of frames of one take, 250 in all."""
    face = talker.encode(read_portrait(portrait))
    controls = Controls(emotion=EMOTIONS[take % len(EMOTIONS)], emotion_strength=0.6, gaze_yaw_deg=3.0 * (take % 3 - 1))
    block, _ = talker.motion(passage(take), talker.start(controls=controls, seed=take), final=True)
    for start in range(0, FRAMES, BLOCK_FRAMES):
        yield talker.render(face, block[start : min(FRAMES, start + BLOCK_FRAMES)])


def natural(path: Path) -> tuple[Tensor, bool]:
    """Frames uint8 [250, 3, 512, 512] of a clip's centre square, and whether they had to run to and fro."""
    frames = torch.cat([block.frames for block in read_frames(path, end_s=float(SECONDS))])
    side = min(frames.shape[2:])
    top, left = (frames.shape[2] - side) // 2, (frames.shape[3] - side) // 2
    square = frames[:, :, top : top + side, left : left + side]
    if len(square) < 2:
        raise MediaError(str(path), expected="a clip", came=f"{len(square)} frame", remedy="Leave it out.")
    there_and_back = torch.cat([square, square.flip(0)[1:-1]])
    order = torch.arange(FRAMES) % len(there_and_back)
    chosen = there_and_back[order] if len(square) < FRAMES else square[:FRAMES]
    parts = [
        F.interpolate(f.float(), size=(SIDE_PX, SIDE_PX), mode="bicubic", antialias=True) for f in chosen.split(25)
    ]
    return torch.cat([p.round().clamp(0, 255).to(torch.uint8) for p in parts]), len(square) < FRAMES


def write_clip(path: Path, blocks: Iterator[Tensor]) -> None:
    """Through a name of its own, so that an interrupted run leaves no half clip under the right one."""
    part = path.with_suffix(".part.mp4")
    with ClipWriter(part, width=SIDE_PX, height=SIDE_PX, fps=FPS, sample_rate=None, crf=CRF) as writer:
        for frames in blocks:
            writer.write_frames(frames)
    part.replace(path)


def make_clips(work: Path, *, portraits: list[Path], takes: int, clips: list[Path]) -> None:
    """All clips that are not there yet."""
    folder = work / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(p, t, folder / f"{p.stem}-take{t}.mp4") for t in range(takes) for p in portraits]
    missing = [entry for entry in wanted if not entry[2].exists()]
    if missing:
        talker = a_talker()
        for portrait, take, path in tqdm(missing, desc="generated", disable=not sys.stderr.isatty()):
            write_clip(path, generated(talker, portrait, take + 10 * portraits.index(portrait)))
    for clip in tqdm(clips, desc="natural", disable=not sys.stderr.isatty()):
        if any(folder.glob(f"natural-{clip.stem}*.mp4")):
            continue
        frames, to_and_fro = natural(clip)
        write_clip(
            folder / f"natural-{clip.stem}{'-pingpong' if to_and_fro else ''}.mp4", iter(frames.split(BLOCK_FRAMES))
        )


def clips_below(folder: Path) -> list[Path]:
    """All clips below a folder, in a stable order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in CLIP_SUFFIXES)


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the clips.")
@click.option("--rig", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The studio's face rig.")
@click.option("--clips", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of natural clips.")
@click.option("--portraits", "count", default=10, show_default=True, help="People to draw.")
@click.option("--takes", default=4, show_default=True, help="Clips of each person.")
def main(work: Path, rig: Path | None, clips: Path | None, count: int, takes: int) -> None:
    torch.set_num_threads(1)
    people = [Path(str(files("vasari") / "demo" / "portrait.png"))]
    if rig is not None:
        draw_portraits(rig, work / "portraits", count)
        people = sorted((work / "portraits").glob("person??.png"))[:count]
    make_clips(work, portraits=people, takes=takes, clips=clips_below(clips) if clips else [])
    click.echo(f"{len(clips_below(work / 'clips'))} clips in {work / 'clips'}")


if __name__ == "__main__":
    main()
