r"""Makes labelled frames of talking heads: training data with exact labels.

    python -m generator.studio.make_frames --rig FOLDER [--portraits FOLDER] --out FOLDER \
        --kind procedural|mixed|lifted --people N --frames K [--size 256] [--seed S] [--workers 1]

Writes one file per take, OUT/<kind>/<seed>_<person>.safetensors; a second take of the same person in another light
(<seed>_<person>_b) for every person with an odd number. Existing files are skipped, so that a stopped run goes on.
The same seed gives the same bytes. docs/STUDIO.md describes the tensors.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from generator.studio.head_model import StudioRig
from generator.studio.lifted_person import lift
from generator.studio.mixed_person import SkinBank, build_mixed_person
from generator.studio.portrait_source import PortraitBank
from generator.studio.procedural_person import build_person
from generator.studio.skin_atlas import Atlas, build_atlas
from generator.studio.splits import source_id, split_of
from generator.studio.takes import lifted_take, procedural_take, write_take

KINDS = ("procedural", "mixed", "lifted")


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    rig: Path
    portraits: Path | None
    out: Path
    kind: str
    frames: int
    size_px: int
    seed: int
    oversampling: float
    device: str

    def path(self, person: int, take: int) -> Path:
        return self.out / self.kind / f"{self.seed}_{person:06d}{'_b' if take else ''}.safetensors"

    def missing(self, person: int) -> list[int]:
        """Takes that aren't there yet."""
        return [take for take in range(1 + person % 2) if not self.path(person, take).exists()]


@dataclass(frozen=True)
class Take:
    """Tensors of a take; person: the name that all takes of a person share; sources: ids of the portraits."""

    number: int
    tensors: dict[str, Tensor]
    person: str
    split: str
    sources: list[str]


class Maker:
    """Makes the takes of one person after the other."""

    def __init__(self, order: Order) -> None:
        torch.set_num_threads(1)
        self.order = order
        self.rig = StudioRig(order.rig, order.device)
        self.atlas: Atlas = build_atlas(self.rig)
        self.skins: SkinBank | None = None
        self.portraits: PortraitBank | None = None
        if order.kind == "mixed" and order.portraits is not None:
            self.skins = SkinBank(self.rig, self.atlas, order.portraits)
        elif order.kind == "lifted" and order.portraits is not None:
            self.portraits = PortraitBank(self.rig, order.portraits, order.seed)

    def make(self, person: int) -> int:
        """Frames written."""
        written = 0
        for take in self._takes(person, self.order.missing(person)):
            facts = {
                "kind": self.order.kind,
                "seed": str(self.order.seed),
                "person": take.person,
                "take": str(take.number),
                "sources": json.dumps(take.sources),
                "split": take.split,
            }
            write_take(self.order.path(person, take.number), take.tensors, facts)
            written += len(take.tensors["frames"])
        return written

    def _random(self, person: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.order.seed, KINDS.index(self.order.kind), person, stream])

    def _takes(self, person: int, numbers: list[int]) -> Iterator[Take]:
        if not numbers:
            return
        order = self.order
        size: tuple[int, int, float] = (order.frames, order.size_px, order.oversampling)
        name = f"{order.kind}/{order.seed}/{person}"
        split, rng = split_of(name), self._random(person, 0)
        if self.portraits is not None:
            portrait = self.portraits.fitted(person)
            lifted = lift(self.rig, portrait, rng)
            source = source_id(portrait.facts.name)
            for number in numbers:
                tensors = lifted_take(portrait, lifted, self._random(person, 1 + number), *size)
                yield Take(number, tensors, f"lifted/{source}", portrait.facts.split, [source])
            return
        sources: list[str] = []
        if self.skins is None:
            built = build_person(self.rig, self.atlas, rng)
        else:
            built, used = build_mixed_person(self.rig, self.atlas, self.skins, rng, split)
            sources = [source_id(facts.name) for facts in used]
        for number in numbers:
            yield Take(number, procedural_take(built, self._random(person, 1 + number), *size), name, split, sources)


_maker: Maker | None = None


def _start(order: Order) -> None:
    global _maker
    _maker = Maker(order)


def _make(person: int) -> int:
    assert _maker is not None
    return _maker.make(person)


@click.command(help=__doc__)
@click.option("--rig", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="Rig folder.")
@click.option("--portraits", type=click.Path(path_type=Path, exists=True, file_okay=False), help="With index.csv.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to fill.")
@click.option("--kind", required=True, type=click.Choice(KINDS))
@click.option("--people", required=True, type=click.IntRange(1), help="Number of people.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="Number of the first person.")
@click.option("--frames", default=16, show_default=True, type=click.IntRange(1), help="Per take, source included.")
@click.option("--size", "size_px", default=256, show_default=True, type=click.IntRange(64, 1024))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--oversampling", default=1.5, show_default=True, type=click.FloatRange(1, 4), help="Smoother edges.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
def main(
    rig: Path, portraits: Path | None, out: Path, kind: str, people: int, first: int, frames: int, size_px: int,
    seed: int, workers: int, oversampling: float, device: str,
) -> None:  # fmt: skip
    if kind != "procedural" and portraits is None:
        raise click.ClickException(f"--kind {kind} needs --portraits, a folder of pictures with index.csv")
    order = Order(rig, portraits, out, kind, frames, size_px, seed, oversampling, device)
    wanted = [person for person in range(first, first + people) if order.missing(person)]
    start, total = time.monotonic(), 0
    with tqdm(total=len(wanted), unit="person", disable=not sys.stderr.isatty()) as bar:
        for count in _each(order, wanted, workers):
            total += count
            bar.update()
    took_s = time.monotonic() - start
    rate = total / max(took_s, 1e-6)
    click.echo(
        f"{out / kind}: {total} frames of {len(wanted)} people, seed {seed}, {took_s:.0f} s, {rate:.1f} frames/s"
    )


def _each(order: Order, wanted: list[int], workers: int) -> Iterator[int]:
    if not wanted:
        return
    if workers == 1:
        maker = Maker(order)
        yield from (maker.make(person) for person in wanted)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_start, initargs=(order,)) as pool:
        yield from pool.imap_unordered(_make, wanted)


if __name__ == "__main__":
    main()
