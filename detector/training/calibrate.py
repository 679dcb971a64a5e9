"""From a training run and held-out pairs to the shipped files: weights, feature range, calibration, gates.

    python -m detector.training.calibrate --run run/ --pairs pairs/ --out detector/weights/

Uses calibration persons for every threshold and test persons only for the figures it prints and keeps beside them.
"""

import argparse
import hashlib
import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from detector.calibration import Calibration, FeatureRange, conformal_threshold
from detector.detector import SETTINGS_NAME, WEIGHTS_NAME
from detector.frame_model import FrameModel, FrameModelConfig
from detector.training.autoencoders import HELD_OUT

RATE = 0.05
DIRECTIONS = 32
FACE_PX_EDGES = (32, 48, 64, 80, 96, 128, 10_000)
AUC_BAR = 0.7  # a face size is scored only where the lower end of the interval stays above this


def kind_name(kind: str) -> str:
    """Family of a fake; twins of the decoder that training never saw have their own."""
    family, _, decoder = kind.partition(" ")
    return "unseen twin" if decoder.startswith(HELD_OUT.name) else family


class Scored:
    """Logits, features and bookkeeping of every crop of some shards, flat: real and fakes, one row each."""

    def __init__(self, model: FrameModel, folders: list[Path], split: str, limit: int = 1000) -> None:
        logits, features, kinds, people, sizes, sources = [], [], [], [], [], []
        for folder in folders:
            for path in sorted(folder.glob(f"{split}-*.npz"))[:limit]:
                shard = np.load(path)
                crops = shard["crops"]
                out = [model(b) for b in torch.split(torch.from_numpy(crops).flatten(0, 1).permute(0, 3, 1, 2), 64)]
                logits.append(torch.cat([o.logit for o in out]))
                features.append(torch.cat([o.features for o in out]))
                kinds += [kind_name(str(kind)) for kind in shard["kinds"].ravel()]
                sources += [folder.name] * crops.shape[0] * crops.shape[1]
                people += [str(person) for person in shard["person"].repeat(crops.shape[1])]
                px = [json.loads(str(chain))["face_px"] for chain in shard["chain"]]
                sizes += list(np.repeat(px, crops.shape[1]))
        if not logits:
            raise SystemExit(f"no {split}-*.npz in {folders}; run detector.training.build_pairs first")
        self.logits: NDArray[np.float64] = torch.cat(logits).double().numpy()
        self.features = torch.cat(features)
        self.kinds, self.people, self.face_px = np.array(kinds), np.array(people), np.array(sizes)
        self.sources = np.array(sources)
        self.fake = self.kinds != "real"

    def one_real_per_person(self) -> list[float]:
        """The first draw of each person: scores that are exchangeable, as conformal thresholds need."""
        first: dict[str, float] = {}
        for person, logit in zip(self.people[~self.fake], self.logits[~self.fake], strict=True):
            first.setdefault(str(person), float(logit))
        return list(first.values())

    def auc(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        """AUC of the chosen rows with its 95 % interval over persons."""
        random, people = np.random.default_rng(0), np.unique(self.people[chosen])
        rows = {person: np.flatnonzero(chosen & (self.people == person)) for person in people}
        draws = []
        for _ in range(200):
            picked = np.concatenate([rows[p] for p in random.choice(people, len(people))])
            if len(np.unique(self.fake[picked])) == 2:
                draws.append(roc_auc_score(self.fake[picked], self.logits[picked]))
        low, high = np.quantile(draws, [0.025, 0.975])
        value = roc_auc_score(self.fake[chosen], self.logits[chosen])
        return {"auc": round(float(value), 4), "ci95": [round(float(low), 4), round(float(high), 4)], "n": len(people)}

    def table(self) -> dict[str, Any]:
        """AUC per kind of fake against the reals it was paired with, and per face size."""
        result = {}
        for kind in sorted(set(self.kinds) - {"real"}):
            fakes = self.kinds == kind
            beside = np.isin(self.sources, self.sources[fakes])  # the reals of the same shards
            result[f"kind {kind}"] = self.auc(fakes | (~self.fake & beside))
        for low, high in itertools.pairwise(FACE_PX_EDGES):
            inside = (self.face_px >= low) & (self.face_px < high)
            if len(np.unique(self.people[inside])) >= 20:
                result[f"face {low} px"] = self.auc(inside)
        return result | {"all": self.auc(np.ones_like(self.fake))}


def smallest_face_px(table: dict[str, Any]) -> float:
    """The lowest measured size from which on every size keeps its interval above the bar."""
    smallest = float(FACE_PX_EDGES[-2])
    for low in reversed(FACE_PX_EDGES[:-1]):
        row = table.get(f"face {low} px")
        if row is None or row["ci95"][0] < AUC_BAR:
            break
        smallest = float(low)
    return smallest


def fitted(scored: Scored, smallest_px: float, feature_range: FeatureRange) -> Calibration:
    """Platt slope and intercept, conformal threshold and distance gate from calibration persons."""
    platt = LogisticRegression(class_weight="balanced").fit(scored.logits[:, None], scored.fake)
    reals = scored.one_real_per_person()
    distances = [feature_range.distance(row[None]) for row in scored.features[torch.from_numpy(~scored.fake)]]
    return Calibration(
        slope=float(platt.coef_[0, 0]),
        intercept=float(platt.intercept_[0]),
        threshold_logit=conformal_threshold(reals, RATE),
        false_positive_rate=RATE,
        persons=len(reals),
        min_face_px=smallest_px,
        max_distance=float(np.quantile(distances, 0.99)),
    )


def as_shipped(tensor: Tensor) -> Tensor:
    """Filters in half precision, so that the file is half as large; everything measured here uses them so."""
    return tensor.half().contiguous() if tensor.ndim == 4 else tensor.contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of train_frame_model.py")
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="folders of build_pairs.py, all splits")
    parser.add_argument("--out", type=Path, required=True)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tensors = load_file(settings.run / "last.safetensors")
    model = FrameModel(FrameModelConfig()).eval()
    shipped = {k.removeprefix("mean."): as_shipped(v) for k, v in tensors.items() if k.startswith("mean.")}
    model.load_state_dict({name: tensor.float() for name, tensor in shipped.items()})
    train = Scored(model, settings.pairs[:1], "train", limit=2)
    feature_range = FeatureRange.fitted(train.features, directions=DIRECTIONS)
    held = Scored(model, settings.pairs, "calibration")
    held_table = held.table()
    calibration = fitted(held, smallest_face_px(held_table), feature_range)
    test = Scored(model, settings.pairs, "test")
    reals = test.one_real_per_person()
    figures = {
        "calibration persons": held_table,
        "test persons": test.table(),
        "test false positives": float(np.mean(np.array(reals) > calibration.threshold_logit)),
        "test true positives": float(np.mean(test.logits[test.fake] > calibration.threshold_logit)),
    }
    shipped |= {"range.mean": feature_range.mean, "range.directions": feature_range.directions}
    data = save(shipped)
    record = {
        "model": asdict(model.config),
        "calibration": asdict(calibration),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "figures": figures,
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    for name, content in ((WEIGHTS_NAME, data), (SETTINGS_NAME, json.dumps(record, indent=1).encode())):
        partial = settings.out / f"{name}.part"
        partial.write_bytes(content)
        partial.replace(settings.out / name)
    print(json.dumps(figures | asdict(calibration), indent=1))


if __name__ == "__main__":
    main()
