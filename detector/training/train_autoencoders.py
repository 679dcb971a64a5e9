"""Train the twin autoencoders on the training persons; snapshots on the way are twins of lower quality.

python -m detector.training.train_autoencoders --faces faces.npz --out twins/ [--steps 1200]
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from detector.training.autoencoders import HELD_OUT, TWINS, PatchCritic, TwinAutoencoder, TwinConfig, save_twin

PATCH_PX = 96


def patches(crops: NDArray[np.uint8], random: np.random.Generator, count: int) -> Tensor:
    """Random squares of random scale from the training crops: float32 [count, 3, PATCH_PX, PATCH_PX] in 0..1."""
    out = []
    for person in random.integers(0, len(crops), count):
        side = int(random.integers(PATCH_PX, int(PATCH_PX * 2.4)))
        y, x = random.integers(0, crops.shape[1] - side, 2)
        cut = torch.from_numpy(crops[person, y : y + side, x : x + side]).permute(2, 0, 1)[None].float() / 255
        out.append(F.interpolate(cut, (PATCH_PX, PATCH_PX), mode="bilinear", antialias=True))
    batch = torch.cat(out)
    return batch.flip(-1) if random.random() < 0.5 else batch


def reconstruction_loss(twin: Tensor, real: Tensor) -> Tensor:
    """L1 on the picture and, heavier, on two bands of its fine detail."""
    loss, difference = F.l1_loss(twin, real), twin - real
    for weight in (2.0, 2.0):
        coarse = F.avg_pool2d(difference, 2)
        loss = loss + weight * (difference - F.interpolate(coarse, scale_factor=2.0, mode="bilinear")).abs().mean()
        difference = coarse
    return loss


def train(
    config: TwinConfig, crops: NDArray[np.uint8], out: Path, steps: int, batch: int, seed: int
) -> dict[str, object]:
    """Train one autoencoder; writes <name>.safetensors and snapshots <name>-early.safetensors."""
    torch.manual_seed(seed)
    random, started = np.random.default_rng(seed), time.time()
    twin, critic = TwinAutoencoder(config), PatchCritic()
    twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(twin.parameters(), 2e-3, weight_decay=1e-4)
    critic_optimiser = torch.optim.AdamW(critic.parameters(), 4e-4, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    error = 0.0
    for step in tqdm(range(steps), desc=config.name, disable=not sys.stderr.isatty()):
        real = patches(crops, random, batch).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            made = twin(real)
        loss = reconstruction_loss(made, real)
        critical = config.adversarial and step > steps // 2
        if critical:
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss - config.adversarial * critic(made).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if critical:
            with torch.autocast("cpu", torch.bfloat16):
                apart = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(made.detach())).mean()
            critic_optimiser.zero_grad()
            apart.backward()  # type: ignore[no-untyped-call]
            critic_optimiser.step()
        schedule.step()
        error = 0.98 * error + 0.02 * float(F.mse_loss(made.detach(), real))
        if step == steps // 3:
            save_twin(twin, out / f"{config.name}-early.safetensors")
    save_twin(twin, out / f"{config.name}.safetensors")
    psnr_db = -10 * float(np.log10(error / (1 - 0.98**steps)))
    return {"name": config.name, "psnr_db": round(psnr_db, 2), "steps": steps, "seconds": round(time.time() - started)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", nargs="*", default=(), help="names of the autoencoders to train; all by default")
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    settings.out.mkdir(parents=True, exist_ok=True)
    print(f"seed {settings.seed}")
    with np.load(settings.faces) as faces:
        crops = faces["crops"][faces["splits"] == "train"]
    for number, config in enumerate((*TWINS, HELD_OUT)):
        if (settings.out / f"{config.name}.safetensors").exists():
            continue  # resumed
        if settings.only and config.name not in settings.only:
            continue
        result = train(config, crops, settings.out, settings.steps, settings.batch, settings.seed + number)
        print(json.dumps(result), flush=True)
        (settings.out / f"{config.name}.json").write_text(
            json.dumps({**result, "seed": settings.seed + number}, indent=1)
        )


if __name__ == "__main__":
    main()
