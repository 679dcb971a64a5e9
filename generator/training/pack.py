"""Join a motion checkpoint, its lips and a render checkpoint into one safetensors file, ready to be sealed.

    python -m generator.training.pack --motion DIR/motion --lips FOLDS/all.safetensors --render DIR/render \
        --out generator.safetensors

`--motion` and `--render` name a pair `<path>.safetensors` (tensors) and `<path>.json` (configuration). The result has
the tensors under the prefixes "motion." ("motion.lips." those of `fit_lip_opening`) and "render.", and {"config":
"<JSON of both configurations>"} as metadata.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def pack(parts: Mapping[str, Path], lips: Path, out: Path) -> dict[str, object]:
    """`parts` name -> path without ending; writes `out` under a temporary name first; returns the configuration."""
    if not lips.exists():
        raise SystemExit(f"{lips} is missing; --lips takes a file of generator.training.fit_lip_opening")
    tensors: dict[str, Tensor] = {f"motion.lips.{name}": value for name, value in load_file(str(lips)).items()}
    config: dict[str, object] = {}
    for name, path in parts.items():
        weights, settings = path.with_suffix(".safetensors"), path.with_suffix(".json")
        for file in (weights, settings):
            if not file.exists():
                raise SystemExit(f"{file} is missing; --{name} takes the path of both files without their ending")
        loaded = load_file(str(weights))
        tensors |= {f"{name}.{key.removeprefix(f'{name}.')}": value.contiguous() for key, value in loaded.items()}
        config[name] = json.loads(settings.read_text())
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    save_file(tensors, str(temporary), metadata={"config": json.dumps(config, sort_keys=True)})
    temporary.rename(out)
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", type=Path, required=True, help="path of the motion checkpoint, without ending")
    parser.add_argument(
        "--lips", type=Path, required=True, help="all.safetensors of generator.training.fit_lip_opening"
    )
    parser.add_argument("--render", type=Path, required=True, help="path of the render checkpoint, without ending")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = pack({"motion": args.motion, "render": args.render}, args.lips, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {', '.join(config)}")


if __name__ == "__main__":
    main()
