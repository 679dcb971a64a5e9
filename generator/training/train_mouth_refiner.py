"""Train the mouth network on pairs of drawn and real windows around talkers' mouths.

    python -m generator.training.train_mouth_refiner --pairs FOLDER --out runs/mouth [--without A --without B]

FOLDER holds what `benchmarks.mouth_pairs` writes: `<talker>_<clip>.safetensors`. Talkers named by `--without` are not
trained on; errors on them are logged. Colours, size, turn and side vary at random, of input and target alike, so that
skin of any tone and paintings are not pulled towards the talkers seen. Stops and resumes like every training here.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from generator.mouth_refiner import MouthRefiner, moved
from generator.training.resumable import ResumableRun

SKIPPED = 3  # the first frames are nearly the source itself
FACE_WEIGHT, GRADIENT_WEIGHT, STILL_WEIGHT = 0.35, 0.5, 0.02
FLOW_UNIT = 0.2  # a flow of one pixel counts as this much of the mean colour
SMOOTH = 4 / 255  # errors below are squared, above counted as they are (Charbonnier)


@dataclass(frozen=True)
class Windows:
    """planes [N, 11, 72, 80] and moves [N, 1, 72, 80] of `MouthView`; target [N, 3, 72, 80], the real frame in units of
    mean [N, 3, 1, 1] less one; masks [N, 2, 72, 80]: lips, face."""

    planes: Tensor
    moves: Tensor
    target: Tensor
    mean: Tensor
    masks: Tensor

    def __getitem__(self, which: Tensor) -> Windows:
        return Windows(*(tensor[which].float() for tensor in vars(self).values()))

    def __len__(self) -> int:
        return len(self.planes)


def load_windows(folder: Path, without: tuple[str, ...]) -> tuple[Windows, dict[str, Windows]]:
    """All frames of the talkers to train on; those of the others by clip."""
    known: list[Windows] = []
    new: dict[str, Windows] = {}
    for path in sorted(folder.glob("*_*.safetensors")):
        stored = load_file(path)
        stored["mean"] = stored["mean"].view(1, 3, 1, 1).expand(len(stored["planes"]), -1, -1, -1)
        windows = Windows(*(stored[name][SKIPPED:] for name in ("planes", "moves", "target", "mean", "masks")))
        if path.stem.split("_")[0] in without:
            new[path.stem] = windows
        else:
            known.append(windows)
    if not known:
        raise SystemExit(f"{folder} holds no pairs to train on; make them with benchmarks.mouth_pairs")
    return Windows(*(torch.cat([getattr(w, name) for w in known]) for name in vars(known[0]))), new


def vary(seen: Windows, rng: torch.Generator) -> Windows:
    return vary_colours(vary_side(_turn(seen, rng), torch.rand(len(seen), generator=rng) < 0.5), rng)


def _turn(seen: Windows, rng: torch.Generator) -> Windows:
    """Turned by up to 6 degrees and resized by up to 12 %, coordinates with the pixels."""
    count = len(seen)
    angle = (torch.rand(count, generator=rng) * 2 - 1) * 0.1
    size = ((torch.rand(count, generator=rng) * 2 - 1) * 0.12).exp()
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # picture axes
    height, width = seen.planes.shape[2:]
    shape = torch.tensor([width / 2, height / 2])
    back = turn.transpose(1, 2) / size[:, None, None] * shape[None, None] / shape[None, :, None]
    grid = F.affine_grid(F.pad(back, (0, 1)), [count, 1, height, width], align_corners=False)
    stack = torch.cat([seen.planes[:, :9], seen.target, seen.moves, seen.masks], 1)
    turned = F.grid_sample(stack, grid, padding_mode="border", align_corners=False)
    source = torch.einsum("bij,bjhw->bihw", turn * size[:, None, None], turned[:, 7:9])
    planes = torch.cat([turned[:, :7], source, seen.planes[:, 9:]], 1)
    return replace(seen, planes=planes, target=turned[:, 9:12], moves=turned[:, 12:13], masks=turned[:, 13:])


def vary_side(seen: Windows, swap: Tensor) -> Windows:
    """Left and right change places where `swap` [N] says so."""
    planes, at = seen.planes.clone(), swap[:, None, None, None]
    planes = torch.where(at, planes.flip(3), planes)
    planes[swap, 7] *= -1
    planes[swap, 9] *= -1
    flipped = {
        name: torch.where(at, getattr(seen, name).flip(3), getattr(seen, name)) for name in ("moves", "target", "masks")
    }
    return replace(seen, planes=planes, **flipped)


def vary_colours(seen: Windows, rng: torch.Generator) -> Windows:
    """Another curve of tones, another saturation, channels mixed; the gain of each channel needs no change, since
    colours count in units of their mean."""
    count = len(seen)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *(shape or (1,)), 1, 1, generator=rng) * (high - low) + low

    mixing = torch.eye(3) + (torch.rand(count, 3, 3, generator=rng) - 0.5) * 0.3
    mixing = mixing / mixing.sum(2, keepdim=True)
    curve, saturation = draw(-0.35, 0.35).exp(), draw(0.3, 1.3)
    pictures = []
    for part in (seen.planes[:, :3], seen.planes[:, 3:6], seen.target):
        colours = ((part + 1) * seen.mean / 255).clamp(1e-3, 1) ** curve
        colours = torch.einsum("bij,bjhw->bihw", mixing, colours)
        grey = colours.mean(1, keepdim=True)
        pictures.append((grey + saturation * (colours - grey)).clamp(1e-3, 1.2) * 255)
    mean = pictures[1].mean((2, 3), keepdim=True).clamp(min=12)
    now, own, target = (picture / mean - 1 for picture in pictures)
    return replace(seen, planes=torch.cat([now, own, seen.planes[:, 6:]], 1), target=target, mean=mean)


def loss_of(network: MouthRefiner, seen: Windows) -> Tensor:
    residual, flow = (change * seen.moves for change in network(seen.planes))
    made = moved(seen.planes[:, :3], flow, "bicubic") + residual  # sharp as at full size
    unit = seen.mean / seen.mean.mean(1, keepdim=True)
    error = (made - seen.target) * unit * (seen.mean.mean(1, keepdim=True) / 255)
    weight = seen.masks[:, :1] + FACE_WEIGHT * seen.masks[:, 1:2]
    pixels = ((error.square() + SMOOTH**2).sqrt() * weight).sum() / weight.sum() / 3
    edges = pixels.new_zeros(())
    for axis in (2, 3):
        steps = error.diff(dim=axis)
        near = weight.narrow(axis, 1, weight.shape[axis] - 1)
        edges = edges + ((steps.square() + SMOOTH**2).sqrt() * near).sum() / near.sum() / 3
    change = residual.square().sum(1, keepdim=True) + (FLOW_UNIT * flow).square().sum(1, keepdim=True)
    still = (change * (1.1 - seen.masks[:, 1:2])).mean()
    return pixels + GRADIENT_WEIGHT * edges + STILL_WEIGHT * still


@torch.no_grad()
def errors(network: MouthRefiner, clips: dict[str, Windows]) -> dict[str, float]:
    """PSNR in dB at half size, of the warp and with the network, inside the lips and the face; means over clips."""
    found: dict[str, list[float]] = {}
    for windows in clips.values():
        every = windows[torch.arange(len(windows))]
        residual, flow = (change * every.moves for change in network(every.planes))
        made = moved(every.planes[:, :3], flow, "bicubic") + residual
        for name, picture in (("warp", every.planes[:, :3]), ("made", made)):
            error = ((picture - every.target) * every.mean).square()
            for part, mask in (("lips", every.masks[:, :1]), ("face", every.masks[:, 1:2])):
                inside = (mask > 0.5).float()
                level = (error * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)) / 3
                found.setdefault(f"{name}_{part}_db", []).append(float((10 * (255**2 / level).log10()).mean()))
    return {name: sum(values) / len(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", action="append", default=[], metavar="TALKER")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--check", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    network = MouthRefiner().to(memory_format=torch.channels_last)
    run = ResumableRun({"mouth": network}, args.out, rate=args.rate, steps=args.steps, seed=args.seed)
    known, new = load_windows(args.pairs, tuple(args.without))
    averaged = MouthRefiner().eval()
    print(f"{len(known)} frames to train on, {len(new)} clips to test on, from step {run.step}", flush=True)
    bar = tqdm(initial=run.step, total=args.steps, disable=not sys.stderr.isatty(), unit="step")
    while run.step < args.steps:
        rng = run.generator()
        seen = known[torch.randint(len(known), (args.batch,), generator=rng)]
        loss = loss_of(network, vary(seen, rng))
        run.descend(loss)
        bar.update()
        if run.step % args.check == 0 or run.step == args.steps:
            averaged.load_state_dict({k.removeprefix("mouth."): v for k, v in run.averaged().items()})
            found = errors(averaged, new) if new else {}
            run.save({"loss": round(float(loss.detach()), 5), **{k: round(v, 3) for k, v in found.items()}})
            print(run.step, round(run.seconds), {k: round(v, 2) for k, v in found.items()}, flush=True)


if __name__ == "__main__":
    main()
