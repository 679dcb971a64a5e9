"""Join the rig's tensors and trained networks into the render checkpoint that is packed and sealed.

    python -m generator.training.join_face_networks --render DIR/render --mouth runs/mouth --out DIR/render_mouth
    python -m generator.training.join_face_networks --render DIR/render --faces runs/face --out DIR/render_faces

Reads runs/mouth/average.safetensors and runs/face/{motion,identity,decoder}/average.safetensors, writes
<out>.safetensors (networks in half precision) and <out>.json (the rig's settings and what the networks were trained
with).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

FACE_RUNS = ("motion", "identity", "decoder")


def join(render: Path, runs: Mapping[str, Path], out: Path) -> dict[str, object]:
    """`runs`: name -> folder of a finished training. Writes both files under temporary names first; returns the
    settings."""
    tensors: dict[str, Tensor] = {
        f"render.{name.removeprefix('render.')}": value
        for name, value in load_file(render.with_suffix(".safetensors")).items()
    }
    settings = json.loads(render.with_suffix(".json").read_text(encoding="utf-8"))
    trained: dict[str, object] = dict(settings.get("networks", {}))
    for name, folder in runs.items():
        weights = folder / "average.safetensors"
        if not weights.exists():
            raise SystemExit(f"{weights} is missing; train it first, see docs/TRAINING.md")
        tensors |= {f"render.{key}": value.half() for key, value in load_file(weights).items()}
        lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        trained[name] = json.loads(lines[-1])
    settings["networks"] = trained
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
    temporary.rename(out.with_suffix(".safetensors"))
    temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    temporary.rename(out.with_suffix(".json"))
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", type=Path, required=True, help="the rig's checkpoint, without ending")
    parser.add_argument("--mouth", type=Path, help="folder of generator.training.train_mouth_refiner")
    parser.add_argument("--faces", type=Path, help="folder with motion/, identity/, decoder/")
    parser.add_argument("--out", type=Path, required=True, help="path without ending")
    args = parser.parse_args()
    runs: dict[str, Path] = {"mouth": args.mouth} if args.mouth else {}
    runs |= {name: args.faces / name for name in FACE_RUNS} if args.faces else {}
    if not runs:
        parser.error("nothing to join: give --mouth, --faces or both")
    settings = join(args.render, runs, args.out)
    print(json.dumps(settings["networks"], indent=1))


if __name__ == "__main__":
    main()
