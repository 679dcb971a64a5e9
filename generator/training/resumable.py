"""A training run that can be stopped at any moment and goes on from its last checkpoint. No pickle: safetensors."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WARM_UP = 100


class ResumableRun:
    """AdamW over several networks with a cosine schedule; `folder` gets last.safetensors and log.jsonl."""

    def __init__(self, networks: Mapping[str, nn.Module], folder: Path, *, rate: float, steps: int, seed: int) -> None:
        self.networks, self.folder, self.rate, self.steps, self.seed = dict(networks), folder, rate, steps, seed
        self.named = [(f"{k}.{n}", p) for k, net in networks.items() for n, p in net.named_parameters()]
        self.named = [(name, parameter) for name, parameter in self.named if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW([p for _, p in self.named], rate, (0.9, 0.98), weight_decay=0.01)
        self.average = {name: p.detach().clone() for name, p in self.named}
        self.step, self.seconds = 0, 0.0
        self._since = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        if self._last.exists():
            self._load(load_file(self._last))

    @property
    def _last(self) -> Path:
        return self.folder / "last.safetensors"

    def generator(self) -> torch.Generator:
        """Random numbers of the present step, the same after a resumption."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)

    def descend(self, loss: Tensor) -> None:
        """One optimiser step; keeps a running average of the weights, which is what is shipped."""
        share = min(self.step / self.steps, 1.0)
        ramp = min(1.0, (self.step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * share)) + 0.005
        self.optimiser.param_groups[0]["lr"] = self.rate * ramp
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_([p for _, p in self.named], 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.named:
                self.average[name].lerp_(parameter, 1 - keep)

    def averaged(self) -> dict[str, Tensor]:
        """All weights under `<network>.<name>`, trained ones averaged."""
        every = {f"{k}.{n}": t.detach() for k, net in self.networks.items() for n, t in net.state_dict().items()}
        return {name: self.average.get(name, value).clone().contiguous() for name, value in every.items()}

    def save(self, note: Mapping[str, float]) -> None:
        """Checkpoint, average and one line of the log, the files renamed into place."""
        self.seconds += time.perf_counter() - self._since
        self._since = time.perf_counter()
        tensors = {"step": torch.tensor(self.step), "seconds": torch.tensor(self.seconds)}
        for key, net in self.networks.items():
            tensors |= {f"weight.{key}.{n}": t for n, t in net.state_dict().items()}
        for name, parameter in self.named:
            tensors[f"average.{name}"] = self.average[name]
            moments = self.optimiser.state.get(parameter, {})
            tensors |= {f"{part}.{name}": value for part, value in moments.items()}
        self._write("last.safetensors", tensors)
        self._write("average.safetensors", self.averaged())
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": self.step, "seconds": round(self.seconds), **note}) + "\n")

    def _write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        temporary = self.folder / f".{name}.part"
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, temporary)
        temporary.rename(self.folder / name)

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self.step, self.seconds = int(tensors["step"]), float(tensors["seconds"])
        for key, net in self.networks.items():
            net.load_state_dict({n: tensors[f"weight.{key}.{n}"] for n in net.state_dict()})
        for name, parameter in self.named:
            self.average[name] = tensors[f"average.{name}"]
            if f"exp_avg.{name}" in tensors:
                parts = ("step", "exp_avg", "exp_avg_sq")
                self.optimiser.state[parameter] = {part: tensors[f"{part}.{name}"] for part in parts}
