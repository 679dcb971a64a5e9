"""Train the frame model on paired shards; resumable, keeps the running mean of the weights.

    python -m detector.training.train_frame_model --pairs pairs/ --validation pairs/ --out run/ [--minutes 25]

Loss: cross-entropy of the crop, of the map of made parts, and of the order within each pair (the same frame, motion,
codec chain and crop), where only what the decoder did can tell.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from detector.frame_model import FrameModel, FrameModelConfig


class Pairs:
    """All shards of a folder in memory: crops uint8 [N, 1 + F, S, S, 3], masks [N, 1 + F, 10, 10], kinds."""

    def __init__(self, folders: list[Path], pattern: str) -> None:
        parts = [
            np.load(path) for folder in folders for path in sorted(folder.glob(pattern)) if "part" not in path.stem
        ]
        if not parts:
            raise SystemExit(f"no shard {pattern} in {folders}; run detector.training.build_pairs first")
        self.shards = [{key: part[key] for key in ("crops", "masks", "kinds")} for part in parts]
        self.index = [(s, row) for s, shard in enumerate(self.shards) for row in range(len(shard["crops"]))]

    def group(self, number: int, random: np.random.Generator, fakes: int) -> tuple[Tensor, Tensor]:
        """The real and some of its fakes: uint8 [1 + fakes, 3, S, S], masks float [1 + fakes, 10, 10] in 0..1."""
        s, row = self.index[number]
        shard = self.shards[s]
        count = shard["crops"].shape[1] - 1
        members = np.concatenate([[0], 1 + random.choice(count, min(fakes, count), replace=fakes > count)])
        crops = torch.from_numpy(shard["crops"][row, members]).permute(0, 3, 1, 2)
        return crops, torch.from_numpy(shard["masks"][row, members]).float() / 255


def augmented(crops: Tensor, masks: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same cheap changes on all members of a group: mirror, light, colour, reduction, noise, cut-out."""
    if random.random() < 0.5:
        crops, masks = crops.flip(-1), masks.flip(-1)
    picture, size = crops.float(), crops.shape[-1]
    picture = (picture - 128) * random.uniform(0.8, 1.2) + 128 + random.uniform(-25, 25)
    picture = picture * torch.from_numpy(random.uniform(0.92, 1.08, (1, 3, 1, 1)).astype(np.float32))
    if random.random() < 0.25:
        small = int(size * random.uniform(0.5, 0.95))
        reduced = F.interpolate(picture, (small, small), mode="bilinear", antialias=True)
        picture = F.interpolate(reduced, (size, size), mode="bilinear")
    if random.random() < 0.2:
        noise = random.normal(0, random.uniform(0.5, 5), picture.shape[1:]).astype(np.float32)
        picture = picture + torch.from_numpy(noise)
    if random.random() < 0.3:
        side = int(random.integers(20, 70))
        y, x = random.integers(0, size - side, 2)
        picture[:, :, y : y + side, x : x + side] = float(random.uniform(0, 255))
    return picture.clamp(0, 255), masks


def batch_of(pairs: Pairs, random: np.random.Generator, groups: int, fakes: int) -> tuple[Tensor, Tensor]:
    """-> crops [G, 1 + F, 3, S, S] float 0..255, masks [G, 1 + F, 10, 10]."""
    chosen = random.integers(0, len(pairs.index), groups)
    members = [augmented(*pairs.group(int(n), random, fakes), random) for n in chosen]
    return torch.stack([m[0] for m in members]), torch.stack([m[1] for m in members])


def pair_loss(model: FrameModel, crops: Tensor, masks: Tensor) -> Tensor:
    """Mean over the batch of the crop's, the map's and the pair's cross-entropy."""
    groups, members = crops.shape[:2]
    with torch.autocast("cpu", torch.bfloat16):
        out = model(crops.flatten(0, 1))
    logits = out.logit.view(groups, members)
    labels = torch.zeros_like(logits)
    labels[:, 1:] = 1
    weights = torch.ones_like(logits)
    weights[:, 0] = members - 1  # as many reals as fakes
    crop_loss = F.binary_cross_entropy_with_logits(logits, labels, weights / weights.mean())
    map_loss = F.binary_cross_entropy_with_logits(out.map_logits, masks.flatten(0, 1))
    order_loss = F.softplus(-(logits[:, 1:] - logits[:, :1])).mean()
    return crop_loss + map_loss + 0.5 * order_loss


@torch.inference_mode()
def logits_of(model: FrameModel, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Crops uint8 [N, S, S, 3] -> logits [N]."""
    model.eval()
    batches = torch.split(torch.from_numpy(crops).permute(0, 3, 1, 2), 64)
    with torch.autocast("cpu", torch.bfloat16):
        return np.asarray(torch.cat([model(batch).logit for batch in batches]).float().numpy(), np.float32)


def validation(model: FrameModel, pairs: Pairs) -> dict[str, float]:
    """AUC of one frame per kind of fake against all reals, and the share of pairs in the right order."""
    by_kind: dict[str, list[float]] = {}
    real, right = [], []
    for shard in pairs.shards:
        people, members = shard["crops"].shape[:2]
        logits = logits_of(model, shard["crops"].reshape(-1, *shard["crops"].shape[2:])).reshape(people, members)
        real += list(logits[:, 0])
        right += list((logits[:, 1:] > logits[:, :1]).ravel())
        for kind, value in zip(shard["kinds"][:, 1:].ravel(), logits[:, 1:].ravel(), strict=True):
            by_kind.setdefault(str(kind).split(" ")[0], []).append(value)
    result = {
        f"auc {kind}": float(roc_auc_score([0] * len(real) + [1] * len(fake), real + fake))
        for kind, fake in sorted(by_kind.items())
    }
    every = [value for fake in by_kind.values() for value in fake]
    result["auc all"] = float(roc_auc_score([0] * len(real) + [1] * len(every), real + every))
    result["pairs in order"] = float(np.mean(right))
    return {name: round(value, 4) for name, value in result.items()}


class Run:
    """Network, running mean, optimiser and step; saved as safetensors so that training resumes."""

    def __init__(self, config: FrameModelConfig, folder: Path, rate: float) -> None:
        self.folder, self.step = folder, 0
        self.model, self.mean = FrameModel(config), FrameModel(config)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(self.model.parameters(), rate, weight_decay=0.02)

    def average(self) -> None:
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.mean.state_dict().values(), self.model.state_dict().values(), strict=True):
                mean.copy_(mean.lerp(now, 1 - decay) if mean.dtype.is_floating_point else now)

    def save(self, report: Mapping[str, object]) -> None:
        tensors = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items()}
        tensors |= {f"mean.{k}": v.contiguous() for k, v in self.mean.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{k}": v.contiguous() for k, v in state.items()}
        metadata = {"step": str(self.step), "config": json.dumps(asdict(self.model.config))}
        partial = self.folder / "last.part"
        save_file(tensors, partial, metadata)
        partial.replace(self.folder / "last.safetensors")
        with (self.folder / "history.jsonl").open("a") as history:
            history.write(json.dumps({"step": self.step, **report}) + "\n")

    def resume(self) -> None:
        path = self.folder / "last.safetensors"
        if not path.exists():
            return
        tensors = load_file(path)
        for name, network in (("model.", self.model), ("mean.", self.mean)):
            network.load_state_dict({k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)})
        state = self.optimiser.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, number, slot = key.split(".")
                state["state"].setdefault(int(number), {})[slot] = value
        self.optimiser.load_state_dict(state)
        lines = (self.folder / "history.jsonl").read_text().splitlines()
        self.step = json.loads(lines[-1])["step"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="folders of train-*.npz")
    parser.add_argument("--validation", type=Path, nargs="+", required=True, help="folders of calibration-*.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000, help="where the learning rate ends at nothing")
    parser.add_argument("--minutes", type=float, default=25.0, help="stop earlier when this time is over")
    parser.add_argument("--groups", type=int, default=8, help="pairs per batch")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "settings.json").write_text(json.dumps(vars(settings), default=str, indent=1))
    print(f"seed {settings.seed}")
    pairs, held = Pairs(settings.pairs, "train-*.npz"), Pairs(settings.validation, "calibration-*.npz")
    run = Run(FrameModelConfig(), settings.out, settings.rate)
    run.resume()
    random = np.random.default_rng([settings.seed, run.step])
    started, mean_loss = time.time(), 0.0
    for step in tqdm(range(run.step, settings.steps), initial=run.step, disable=not sys.stderr.isatty()):
        late = (time.time() - started) / 60 > settings.minutes
        progress = step / settings.steps
        for group in run.optimiser.param_groups:
            group["lr"] = settings.rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * progress))
        run.model.train()
        loss = pair_loss(run.model, *batch_of(pairs, random, settings.groups, 2))
        run.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), 2.0)
        run.optimiser.step()
        run.step = step + 1
        run.average()
        mean_loss = loss.item() if not mean_loss else 0.98 * mean_loss + 0.02 * loss.item()
        if run.step % 250 == 0 or run.step == settings.steps or late:
            report = {"loss": round(mean_loss, 4), "minutes": round((time.time() - started) / 60, 1)}
            report |= validation(run.mean, held)
            run.save(report)
            print(json.dumps({"step": run.step, **report}), flush=True)
        if late:
            break


if __name__ == "__main__":
    main()
