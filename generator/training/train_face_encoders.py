"""Train the encoders of faces on the studio's takes: motion (pose, dynamics, landmarks), and identity.

    python -m generator.training.train_face_encoders motion --takes FOLDER --out runs/face/motion --steps 3000
    python -m generator.training.train_face_encoders identity --takes FOLDER --out runs/face/identity --steps 2000

Takes of the split "train" are trained on; every `--check` steps the errors on the split "test" (other people, other
textures) are printed and logged, and the run can go on from there after a stop. The averaged weights are in
OUT/average.safetensors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from generator.face_networks import CODE_PX, HALF_PX, DynamicsReadOut, IdentityEncoder, MotionEncoder
from generator.training.picture_augmentation import Framing, vary_colours
from generator.training.resumable import ResumableRun
from generator.training.studio_takes import LEFT, TOP, find_takes, load_take

INNER_EYES = (33, 263)  # outer corners: their distance is the unit of landmark errors


@dataclass(frozen=True)
class Frames:
    """All frames of many takes: crops uint8 [N, 3, 192, 192]; turns [N, 3] yaw, pitch, roll / 30 degrees; centre [N, 2]
    and log scale [N]; named [N, 55]; landmarks [N, 478, 2] in -1..1 of the crop; seen [N, 478]; person [N]."""

    crops: Tensor
    degrees: Tensor
    centre: Tensor
    log_scale: Tensor
    named: Tensor
    landmarks: Tensor
    seen: Tensor
    person: Tensor

    def __len__(self) -> int:
        return len(self.crops)


def load_frames(folder: Path, split: str, limit: int | None = None) -> Frames:
    parts: list[tuple[Tensor, ...]] = []
    people: dict[str, int] = {}
    for path in tqdm(find_takes(folder, split=split)[:limit], desc=split, disable=not sys.stderr.isatty()):
        take = load_take(path)
        place = take.place
        marks = (take.landmarks - torch.tensor([LEFT, TOP])) / (HALF_PX / 2) - 1
        person = torch.full((len(take),), people.setdefault(f"{take.kind} {take.person}", len(people)))
        row = (take.crops, take.pose / 30, place.centre, place.scale.log(), take.named, marks, take.visible, person)
        parts.append(row)
    if not parts:
        raise SystemExit(f"{folder} holds no takes of the split {split!r}; make some with generator.studio.make_frames")
    return Frames(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def motion_losses(
    encoder: MotionEncoder, read_out: DynamicsReadOut, frames: Frames, rows: Tensor, framing: Framing, pictures: Tensor
) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        codes = encoder(pictures)
    named = torch.cat([frames.named[rows, :53], framing.gaze(frames.named[rows, 53:])], 1)
    centre = framing.points(frames.centre[rows][:, None])[:, 0]
    degrees = frames.degrees[rows] + torch.stack([torch.zeros_like(framing.turn)] * 2 + [framing.turn], 1) * (
        180 / torch.pi / 30
    )
    log_scale = frames.log_scale[rows] + framing.size.log()
    pose = torch.cat([degrees, centre, log_scale[:, None]], 1)
    marks = framing.points(frames.landmarks[rows])
    weight = 0.3 + 0.7 * frames.seen[rows].float()
    said = read_out(codes.dynamics.float())
    back = read_out.code_of(named)
    mark_error = ((codes.landmarks.float() - (marks + 1) / 2).abs().sum(2) * weight).mean()
    return {
        "pose": 2.0 * F.smooth_l1_loss(codes.pose.float(), pose, beta=0.05),
        "landmarks": 12.0 * mark_error,
        "expression": 3.0 * F.smooth_l1_loss(said[:, :53], named[:, :53], beta=0.1),
        "gaze": 1.5 * F.smooth_l1_loss(said[:, 53:], named[:, 53:], beta=0.1),
        "back": 0.05 * F.mse_loss(back, codes.dynamics.float().detach()),
        "size": 1e-3 * codes.dynamics.float().pow(2).mean(),
    }


@torch.no_grad()
def motion_errors(encoder: MotionEncoder, read_out: DynamicsReadOut, frames: Frames) -> dict[str, float]:
    """Mean errors without augmentation, and the explained share of expression's spread."""
    rows = torch.arange(0, len(frames), max(len(frames) // 600, 1))
    poses, named, marks = [], [], []
    for part in torch.split(rows, 64):
        pictures = F.interpolate(frames.crops[part].float() / 255, size=(CODE_PX, CODE_PX), mode="area")
        with torch.autocast("cpu", torch.bfloat16):
            codes = encoder(pictures)
        poses.append(codes.pose.float())
        named.append(read_out(codes.dynamics.float()))
        marks.append(codes.landmarks.float() * 2 - 1)
    pose, said, points = torch.cat(poses), torch.cat(named), torch.cat(marks)
    truth, known = frames.landmarks[rows], frames.named[rows]
    eyes = (truth[:, INNER_EYES[0]] - truth[:, INNER_EYES[1]]).norm(dim=1).clamp(min=0.05)
    distance = (points - truth).norm(dim=2) / eyes[:, None]
    spread = (known[:, :53] - known[:, :53].mean(0)).pow(2).sum()
    return {
        "pose_deg": float((pose[:, :3] - frames.degrees[rows]).abs().mean() * 30),
        "gaze_deg": float((said[:, 53:] - known[:, 53:]).abs().mean() * 20),
        "expression_explained": float(1 - (said[:, :53] - known[:, :53]).pow(2).sum() / spread),
        "landmarks_pct_of_eye_distance": float(distance[frames.seen[rows] > 0].median() * 100),
    }


def identity_loss(encoder: IdentityEncoder, pictures: Tensor, person: Tensor) -> Tensor:
    """Supervised contrast (Khosla et al. 2020): pictures of one person attract, of others repel."""
    with torch.autocast("cpu", torch.bfloat16):
        codes = encoder(pictures)
    likeness = codes.float() @ codes.float().T / 0.1
    itself = torch.eye(len(codes), dtype=torch.bool)
    same = (person[:, None] == person[None]) & ~itself
    log_share = likeness - likeness.masked_fill(itself, -1e9).logsumexp(1, keepdim=True)
    return -(log_share * same).sum() / same.sum().clamp(min=1)


@torch.no_grad()
def identity_errors(encoder: IdentityEncoder, frames: Frames) -> dict[str, float]:
    """Verification AUC on pairs of frames of people never seen."""
    rows = torch.arange(0, len(frames), max(len(frames) // 600, 1))
    codes = torch.cat(
        [
            encoder(F.interpolate(frames.crops[part].float() / 255, size=(CODE_PX, CODE_PX), mode="area"))
            for part in torch.split(rows, 64)
        ]
    )
    likeness, person = codes @ codes.T, frames.person[rows]
    pairs = torch.triu(torch.ones_like(likeness, dtype=torch.bool), 1)
    same = (person[:, None] == person[None])[pairs]
    order = likeness[pairs].argsort()
    ranks = torch.empty(len(order)).double()
    ranks[order] = torch.arange(1, len(order) + 1, dtype=torch.float64)
    hits, misses = int(same.sum()), int((~same).sum())
    return {"auc": float((ranks[same].sum() - hits * (hits + 1) / 2) / max(hits * misses, 1))}


def draw_people(frames: Frames, people: int, each: int, rng: torch.Generator) -> Tensor:
    """Rows: `each` frames of `people` random persons."""
    rows = []
    for person in torch.randperm(int(frames.person.max()) + 1, generator=rng)[:people]:
        own = torch.nonzero(frames.person == person).flatten()
        rows.append(own[torch.randint(len(own), (each,), generator=rng)])
    return torch.cat(rows)


def train_motion(run: ResumableRun, train: Frames, test: Frames, args: argparse.Namespace) -> None:
    encoder, read_out = run.networks["motion"], run.networks["read_out"]
    assert isinstance(encoder, MotionEncoder)
    assert isinstance(read_out, DynamicsReadOut)

    def loss(rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(train), (args.batch,), generator=rng)
        framing = Framing.random(args.batch, rng)
        pictures = vary_colours(framing.pictures(train.crops[rows].float() / 255, CODE_PX), rng)
        return torch.stack(list(motion_losses(encoder, read_out, train, rows, framing, pictures).values())).sum()

    descend(run, loss, lambda: motion_errors(encoder, read_out, test), args)


def train_identity(run: ResumableRun, train: Frames, test: Frames, args: argparse.Namespace) -> None:
    encoder = run.networks["identity"]
    assert isinstance(encoder, IdentityEncoder)

    def loss(rng: torch.Generator) -> Tensor:
        rows = draw_people(train, args.batch // 3, 3, rng)
        framing = Framing.random(len(rows), rng, 0.7)
        pictures = vary_colours(framing.pictures(train.crops[rows].float() / 255, CODE_PX), rng)
        return identity_loss(encoder, pictures, train.person[rows])

    descend(run, loss, lambda: identity_errors(encoder, test), args)


def descend(
    run: ResumableRun,
    loss: Callable[[torch.Generator], Tensor],
    errors: Callable[[], dict[str, float]],
    args: argparse.Namespace,
) -> None:
    bar = tqdm(initial=run.step, total=args.steps, disable=not sys.stderr.isatty(), unit="step")
    total, count = 0.0, 0
    while run.step < args.steps:
        value = loss(run.generator())
        run.descend(value)
        bar.update()
        total, count = total + float(value.detach()), count + 1
        if run.step % args.check == 0 or run.step == args.steps:
            note = {"loss": round(total / count, 4)} | {k: round(v, 4) for k, v in errors().items()}
            total, count = 0.0, 0
            run.save(note)
            print(run.step, round(run.seconds), note, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("motion", "identity"))
    parser.add_argument("--takes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--check", type=int, default=250)
    parser.add_argument("--limit", type=int, help="only the first takes of each split")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    networks: dict[str, nn.Module] = (
        {"motion": MotionEncoder(), "read_out": DynamicsReadOut()}
        if args.what == "motion"
        else {"identity": IdentityEncoder()}
    )
    for net in networks.values():
        net.to(memory_format=torch.channels_last)
    run = ResumableRun(networks, args.out, rate=args.rate, steps=args.steps, seed=args.seed)
    known, new = (load_frames(args.takes, split, args.limit) for split in ("train", "test"))
    print(f"{args.what}: {len(known)} frames to train on, {len(new)} to test on, from step {run.step}", flush=True)
    (train_motion if args.what == "motion" else train_identity)(run, known, new, args)


if __name__ == "__main__":
    main()
