"""Train appearance encoder and decoder on the studio's takes and what the warp alone makes of them.

    python -m generator.training.train_face_decoder --takes FOLDER --priors FOLDER --encoders runs/face
        --out runs/face/decoder --steps 8000

Codes are swapped inside a person, after VASA-1: appearance and identity come from any frame of a take, pose and
dynamics from the frame to be drawn; half of the dynamics codes are read from that frame, half come from its numbers.
Losses: shade (pixels averaged over the size of the map of light, so that a warp that is a pixel off is not answered
with blur), features of the motion encoder, the same result whichever frame the appearance came from
(`consistency`), and the source's identity kept when another person's dynamics drive it (`cross_identity`). Stops and
resumes like the encoders' training.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from generator.face_networks import (
    CODE_PX,
    AppearanceEncoder,
    Decoder,
    DynamicsReadOut,
    HeadPlace,
    IdentityEncoder,
    MotionEncoder,
    spread,
    to_canonical,
)
from generator.training.resumable import ResumableRun
from generator.training.studio_takes import LEFT, TOP, Take, find_takes, load_take

MOUTH, EYE = 2, 3  # values of the mask


@dataclass(frozen=True)
class Example:
    """One take: crops and warped uint8 [K, 3, 192, 192], layers uint8 [K, 2, 192, 192], weight float16
    [K, 1, 192, 192], place of each frame, named [K, 55]."""

    crops: Tensor
    warped: Tensor
    layers: Tensor
    weight: Tensor
    place: HeadPlace
    named: Tensor


def load_examples(takes: Path, priors: Path, split: str, limit: int | None = None) -> list[Example]:
    examples = []
    for path in tqdm(find_takes(takes, split=split)[:limit], desc=split, disable=not sys.stderr.isatty()):
        prior = priors / path.parent.name / path.name
        if prior.exists():
            take, made = load_take(path), load_file(prior)
            row = (take.crops.clone(), made["warped"], made["layers"], pixel_weight(take), take.place, take.named)
            examples.append(Example(*row))
    if not examples:
        raise SystemExit(f"{priors} has nothing for {takes}, split {split!r}; run generator.training.render_priors")
    return examples


def pixel_weight(take: Take) -> Tensor:
    """Zero where the studio does not know the truth, more where looks are decided: mouth and eyes."""
    size = take.crops.shape[-1]
    mask = take.mask[:, TOP : TOP + size, LEFT : LEFT + size]
    near = F.max_pool2d(((mask == MOUTH) | (mask == EYE)).float()[:, None], 9, stride=1, padding=4)
    return ((0.5 + 0.5 * (mask != 0).float()[:, None] + 3 * near) * take.trusted[:, None]).half()


@dataclass(frozen=True)
class Batch:
    """B portraits, N = B * each frames to draw; `owner` [N] the portrait of each."""

    portrait: Tensor  # [B, 3, 192, 192]
    portrait_layers: Tensor
    portrait_place: HeadPlace
    other: Tensor  # another frame of the same people
    other_layers: Tensor
    other_place: HeadPlace
    owner: Tensor
    target: Tensor
    warped: Tensor
    layers: Tensor
    weight: Tensor
    place: HeadPlace
    change: Tensor  # [N, 55] expression added to the portrait's, gaze turned from the portrait's


def draw(examples: list[Example], portraits: int, each: int, rng: torch.Generator) -> Batch:
    picked = [examples[i] for i in torch.randint(len(examples), (portraits,), generator=rng).tolist()]
    frames = [torch.randint(0, len(e.crops), (each,), generator=rng) for e in picked]
    others = [int(torch.randint(1, len(e.crops), (1,), generator=rng)) for e in picked]
    gain = (torch.rand(portraits, 3, 1, 1, generator=rng) * 0.3 + 0.85) * (
        torch.rand(portraits, 1, 1, 1, generator=rng) * 0.4 + 0.75
    )
    owner = torch.arange(portraits).repeat_interleave(each)

    def pixels(parts: list[Tensor], by: Tensor) -> Tensor:
        return (torch.cat(parts).float() / 255 * by).clamp(0, 1)

    def places(rows: list[Tensor]) -> HeadPlace:
        columns = [[getattr(e.place, n)[r] for e, r in zip(picked, rows, strict=True)] for n in vars(picked[0].place)]
        return HeadPlace(*(torch.cat(c) for c in columns))

    first, second = [torch.tensor([0])] * portraits, [torch.tensor([o]) for o in others]
    return Batch(
        pixels([e.crops[:1] for e in picked], gain),
        torch.cat([e.layers[:1] for e in picked]).float() / 255,
        places(first),
        pixels([e.crops[o : o + 1] for e, o in zip(picked, others, strict=True)], gain),
        torch.cat([e.layers[o : o + 1] for e, o in zip(picked, others, strict=True)]).float() / 255,
        places(second),
        owner,
        pixels([e.crops[f] for e, f in zip(picked, frames, strict=True)], gain[owner]),
        pixels([e.warped[f] for e, f in zip(picked, frames, strict=True)], gain[owner]),
        torch.cat([e.layers[f] for e, f in zip(picked, frames, strict=True)]).float() / 255,
        torch.cat([e.weight[f] for e, f in zip(picked, frames, strict=True)]).float(),
        places(frames),
        torch.cat([asked_change(e.named[f], e.named[:1]) for e, f in zip(picked, frames, strict=True)]),
    )


def asked_change(named: Tensor, portrait: Tensor) -> Tensor:
    """What the renderer is asked for: expressions can be added to a portrait's, not taken away."""
    change = named - portrait
    return torch.cat([change[:, :53].clamp(min=0), change[:, 53:]], 1)


class Networks:
    """What is trained (appearance, decoder, the way from numbers to codes) and the frozen encoders beside it."""

    def __init__(self, encoders: Path) -> None:
        self.appearance, self.decoder = AppearanceEncoder(), Decoder()
        self.motion, self.read_out, self.identity = MotionEncoder(), DynamicsReadOut(), IdentityEncoder()
        weights = load_file(encoders / "motion" / "average.safetensors")
        weights |= load_file(encoders / "identity" / "average.safetensors")
        for name in ("motion", "read_out", "identity"):
            net: nn.Module = getattr(self, name)
            net.load_state_dict({k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")})
            net.requires_grad_(False)
        self.read_out.back.requires_grad_(True)
        for net in (self.appearance, self.decoder, self.motion, self.identity):
            net.to(memory_format=torch.channels_last)

    def trained(self) -> dict[str, nn.Module]:
        return {"appearance": self.appearance, "decoder": self.decoder, "read_out": self.read_out}

    def canonical(self, portrait: Tensor, layers: Tensor, place: HeadPlace) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            volume = self.appearance(portrait, layers)
        return to_canonical(volume.float(), place)

    @torch.no_grad()
    def identity_of(self, pictures: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.identity(small(pictures)).float()

    @torch.no_grad()
    def dynamics_of(self, pictures: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.motion(small(pictures)).dynamics.float()

    def draw(self, canonical: Tensor, dynamics: Tensor, identity: Tensor, batch: Batch) -> Tensor:
        """[N, 3, 192, 192]: the warped pixels with what the decoder adds."""
        with torch.autocast("cpu", torch.bfloat16):
            light = self.decoder(canonical, batch.place, dynamics, identity, batch.warped, batch.layers)
        return batch.warped + spread(light.float(), batch.layers)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Of the motion encoder, its three finest resolutions."""
        h, maps = pictures * 2 - 1, []
        with torch.autocast("cpu", torch.bfloat16):
            for index, stage in enumerate(self.motion.trunk.stages):
                if index and isinstance(stage, nn.Conv2d):
                    maps.append(h.float())
                    if len(maps) == 3:
                        return maps
                h = stage(h)
        return maps


def small(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures, size=(CODE_PX, CODE_PX), mode="area")


def losses(nets: Networks, batch: Batch, rng: torch.Generator, step: int) -> dict[str, Tensor]:
    """Weighted parts of the objective; the two that draw a second time take turns, every fourth step each."""
    identity = nets.identity_of(batch.portrait)
    from_other = torch.rand(len(batch.portrait), generator=rng) < 0.4
    canonical = nets.canonical(batch.portrait, batch.portrait_layers, batch.portrait_place)
    second = nets.canonical(batch.other, batch.other_layers, batch.other_place)
    mixed = torch.where(from_other[:, None, None, None, None], second, canonical)
    read = torch.rand(len(batch.owner), 1, generator=rng) < 0.5
    dynamics = torch.where(read, nets.dynamics_of(batch.target), by_numbers(nets, batch))
    made = nets.draw(mixed[batch.owner], dynamics, identity[batch.owner], batch)
    shade = F.avg_pool2d((made - batch.target) * batch.weight, 6).abs()
    seen, wanted = nets.features(made), nets.features(batch.target)
    known = F.avg_pool2d((batch.weight > 0).float(), 2)
    perceptual = made.new_zeros(())
    for ours, real in zip(seen, wanted, strict=True):
        at = F.interpolate(known, size=ours.shape[2:], mode="area")
        perceptual = perceptual + ((ours - real).abs() * at).mean() / real.abs().mean()
    parts = {
        "shade": 6.0 * shade.mean(),
        "perceptual": 0.12 * perceptual,
    }
    if step % 4 == 0:
        twin = nets.draw(second[batch.owner], dynamics, identity[batch.owner], batch)
        parts["consistency"] = 3.0 * ((twin - made.detach()).abs() * batch.weight).mean()
    if step % 4 == 2:
        swapped = dynamics.roll(len(dynamics) // 2, 0)
        driven = nets.draw(canonical[batch.owner], swapped, identity[batch.owner], batch)
        with torch.autocast("cpu", torch.bfloat16):
            kept = nets.identity(small(driven)).float()
        parts["cross_identity"] = 0.15 * (1 - (kept * identity[batch.owner]).sum(1)).mean()
    return parts


def by_numbers(nets: Networks, batch: Batch) -> Tensor:
    """Codes as `Renderer` makes them: the portrait's own, changed by what is asked of it."""
    own = nets.dynamics_of(batch.portrait)[batch.owner]
    return nets.read_out.changed(own, batch.change)


@torch.no_grad()
def errors(nets: Networks, examples: list[Example]) -> dict[str, float]:
    """PSNR in dB of the warp alone and of the decoder on test takes, all trusted pixels and near mouth and eyes."""
    sums = torch.zeros(2, 2)
    counts = torch.zeros(2)
    rng = torch.Generator().manual_seed(5)
    for start in range(0, min(len(examples), 40), 4):
        group = examples[start : start + 4]
        batch = draw(group, len(group), 4, rng)
        canonical = nets.canonical(batch.portrait, batch.portrait_layers, batch.portrait_place)
        identity = nets.identity_of(batch.portrait)
        dynamics = by_numbers(nets, batch)
        made = nets.draw(canonical[batch.owner], dynamics, identity[batch.owner], batch)
        for column, where in enumerate((batch.weight > 0.6, batch.weight > 1.5)):
            counts[column] += where.sum() * 3
            for row, picture in enumerate((batch.warped, made.clamp(0, 1))):
                sums[row, column] += ((picture - batch.target) ** 2 * where).sum()
    psnr = -10 * (sums / counts).log10()
    names = (("warp_head_db", "warp_mouth_eyes_db"), ("head_db", "mouth_eyes_db"))
    return {names[r][c]: float(psnr[r, c]) for r in range(2) for c in range(2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--takes", type=Path, required=True)
    parser.add_argument("--priors", type=Path, required=True)
    parser.add_argument("--encoders", type=Path, required=True, help="folder with motion/ and identity/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--portraits", type=int, default=4, help="per step")
    parser.add_argument("--each", type=int, default=3, help="frames per portrait and step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--check", type=int, default=200)
    parser.add_argument("--start", type=Path, help="weights to begin with: average.safetensors of another run")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    nets = Networks(args.encoders)
    if args.start:
        for name, net in nets.trained().items():
            own = load_file(args.start).items()
            net.load_state_dict({k.removeprefix(f"{name}."): v for k, v in own if k.startswith(f"{name}.")})
    run = ResumableRun(nets.trained(), args.out, rate=args.rate, steps=args.steps, seed=args.seed)
    known, new = (load_examples(args.takes, args.priors, split, args.limit) for split in ("train", "test"))
    print(f"{len(known)} takes to train on, {len(new)} to test on, from step {run.step}", flush=True)
    bar = tqdm(initial=run.step, total=args.steps, disable=not sys.stderr.isatty(), unit="step")
    while run.step < args.steps:
        rng = run.generator()
        parts = losses(nets, draw(known, args.portraits, args.each, rng), rng, run.step)
        run.descend(torch.stack(list(parts.values())).sum())
        bar.update()
        if run.step % args.check == 0 or run.step == args.steps:
            found = errors(nets, new)
            run.save({k: round(v, 3) for k, v in found.items()})
            said = {k: round(float(v.detach()), 4) for k, v in parts.items()} | {
                k: round(v, 2) for k, v in found.items()
            }
            print(run.step, round(run.seconds), said, flush=True)


if __name__ == "__main__":
    main()
