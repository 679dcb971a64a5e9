"""Join the rig's tensors and the trained face networks into the render checkpoint that is packed and sealed.

    python -m generator.training.join_face_networks --render DIR/render --faces runs/face --out DIR/render_faces

Reads runs/face/{motion,identity,decoder}/average.safetensors, writes <out>.safetensors (networks in half precision)
and <out>.json (the rig's settings and what the networks were trained with).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

RUNS = ("motion", "identity", "decoder")


def join(render: Path, faces: Path, out: Path) -> dict[str, object]:
    """Writes both files under temporary names first; returns the settings."""
    tensors: dict[str, Tensor] = {
        f"render.{name.removeprefix('render.')}": value
        for name, value in load_file(render.with_suffix(".safetensors")).items()
    }
    settings = json.loads(render.with_suffix(".json").read_text(encoding="utf-8"))
    runs: dict[str, object] = {}
    for run in RUNS:
        weights = faces / run / "average.safetensors"
        if not weights.exists():
            raise SystemExit(f"{weights} is missing; train it with generator.training.train_face_encoders or _decoder")
        tensors |= {f"render.{name}": value.half() for name, value in load_file(weights).items()}
        lines = (faces / run / "log.jsonl").read_text(encoding="utf-8").splitlines()
        runs[run] = json.loads(lines[-1])
    settings["networks"] = runs
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
    parser.add_argument("--faces", type=Path, required=True, help="folder with motion/, identity/, decoder/")
    parser.add_argument("--out", type=Path, required=True, help="path without ending")
    args = parser.parse_args()
    settings = join(args.render, args.faces, args.out)
    print(json.dumps(settings["networks"], indent=1))


if __name__ == "__main__":
    main()
