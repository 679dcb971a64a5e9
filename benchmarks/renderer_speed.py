"""Speed and arithmetic of the renderer: frames per second on CPU and GPU, GFLOP per frame, against a fixed network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.results_page import Rows
from generator.face_state import FaceState
from generator.motion_block import MotionBlock
from generator.render import Renderer
from generator.rig import EXPRESSION_INDEX, EXPRESSION_NAMES

BLOCK = 16
RUNS = 5
GPU_BLOCK = 64
_TAP_FLOP = 8  # bilinear: four multiply-adds per sampled value
_PLACE_FLOP = 20  # and the four weights per place


def lively_motion(frames: int) -> MotionBlock:
    """A slow head turn with speech-like lips, blinks and wandering gaze."""
    t = torch.arange(frames) / 25
    pose = torch.zeros(frames, 6)
    pose[:, 0], pose[:, 1] = 12 * torch.sin(1.3 * t), 6 * torch.sin(0.9 * t + 1)
    pose[:, 2], pose[:, 5] = 3 * torch.sin(0.7 * t), 1 + 0.04 * torch.sin(0.5 * t)
    expression = torch.zeros(frames, len(EXPRESSION_NAMES))
    expression[:, EXPRESSION_INDEX["jawOpen"]] = 0.2 + 0.2 * torch.sin(15 * t)
    expression[:, EXPRESSION_INDEX["mouthPucker"]] = (0.4 * torch.sin(6 * t)).clamp(min=0)
    for side in "LR":
        expression[:, EXPRESSION_INDEX[f"eyeBlink_{side}"]] = (6 * torch.sin(2.2 * t) - 5).clamp(0, 1)
    gaze = torch.stack([6 * torch.sin(0.8 * t), 3 * torch.sin(1.1 * t)], 1)
    return MotionBlock(pose, expression, gaze)


def reference_network() -> nn.Sequential:
    """Eight plain convolutions, 64 channels, for [1, 64, 128, 128] in float32: 9.66 GFLOP, the same on every run."""
    torch.manual_seed(0)
    layers = [layer for _ in range(8) for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers).eval()


class ArithmeticCount(TorchDispatchMode):
    """Adds up floating-point operations while it is entered: convolutions and matrix products by their shapes (two
    per multiply-add), sampling by `_TAP_FLOP` and `_PLACE_FLOP`, everything else one per element of its result."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry and func._can_decompose():
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        self.flop += _operations(func, args, kwargs, out)
        return out


def _operations(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    packet = func._overloadpacket
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=out))
    if not isinstance(out, Tensor):
        return 0
    name = packet.__name__
    if name in ("mv", "dot"):
        return 2 * int(args[0].numel())
    if name.startswith("grid_sampler"):
        places = int(out.numel() // out.shape[1])
        return _TAP_FLOP * int(out.numel()) + _PLACE_FLOP * places
    if name.startswith("upsample_bilinear"):
        return _TAP_FLOP * int(out.numel())
    if name.startswith(("avg_pool", "max_pool")):
        window = args[1] if isinstance(args[1], int) else int(torch.tensor(args[1]).prod())
        return window * int(out.numel())
    pointwise = torch.Tag.pointwise in func.tags
    return int(out.numel()) if pointwise and out.is_floating_point() else 0


def measure_speed(renderer: Renderer, face: FaceState) -> Rows:
    """Blocks of 16 frames at 512 px, best of several runs, one and two threads, and the reference beside them."""
    threads, block, rows = torch.get_num_threads(), lively_motion(BLOCK), Rows()
    network, picture = reference_network(), torch.rand(1, 64, 128, 128, generator=torch.Generator().manual_seed(0))
    for count in (1, 2):
        torch.set_num_threads(count)
        frame_s = _best_s(lambda: renderer.render(face, block)) / BLOCK
        with torch.inference_mode():
            reference_s = _best_s(lambda: network(picture))
        suffix = "" if count == 2 else "_1_thread"
        rows[f"cpu_fps{suffix}"] = {"value": 1 / frame_s, "unit": "frames/s, 512 px, best run", "n": RUNS * BLOCK}
        rows[f"cpu_fps_ratio{suffix}"] = {
            "value": reference_s / frame_s,
            "unit": "frames in the time of eight 64-channel 3x3 convolutions at 128 px (9.66 GFLOP, fp32)",
            "n": RUNS,
        }
    used = time.process_time()
    renderer.render(face, block)
    spent_ms = (time.process_time() - used) / BLOCK * 1e3
    rows["cpu_ms_2_threads"] = {"value": spent_ms, "unit": "ms of CPU time per frame", "n": BLOCK}
    torch.set_num_threads(threads)
    return rows


def _best_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def measure_arithmetic(renderer: Renderer, face: FaceState, frames: int = 4) -> Rows:
    block = lively_motion(frames)
    renderer.render(face, block)
    with ArithmeticCount() as count:
        renderer.render(face, block)
    unit = "GFLOP after encoding: convolutions, products, sampling and every element computed"
    return {"gflop_per_frame": {"value": count.flop / frames / 1e9, "unit": unit, "n": frames}}


def measure_encoding(renderer: Renderer, portrait: Tensor) -> Rows:
    """The first portrait of a process loads the face finder's models; the second shows what a portrait costs."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        renderer.encode(portrait)
        times.append(time.perf_counter() - began)
    return {
        "encode_s": {"value": times[1], "unit": "s per portrait", "n": 1},
        "encode_first_s": {"value": times[0], "unit": "s, first portrait of a process", "n": 1},
    }


def measure_gpu(renderer: Renderer, portrait: Tensor) -> Rows:
    """`renderer` on a CUDA device: batched blocks, best of several runs."""
    face, block = renderer.encode(portrait), lively_motion(GPU_BLOCK)

    def work() -> None:
        renderer.render(face, block)
        torch.cuda.synchronize()

    fps = GPU_BLOCK / _best_s(work)
    unit = f"frames/s, 512 px, {torch.cuda.get_device_name()}, best run"
    return {"gpu_fps": {"value": fps, "unit": unit, "n": RUNS * GPU_BLOCK}}
