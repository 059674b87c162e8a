"""Where the time of the inference form goes, stage by stage, and the two peaks of a device that bound it."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from sapnet_core.backbones.i3d import MIXED, POOL_BEFORE, STEM, FoldedI3D
from sapnet_core.datasets.clips import CLIP, clip_starts
from sapnet_core.recipes.benchmark import race

__all__ = ["peaks", "stages"]


def stages(net: FoldedI3D, size: int = 112, rounds: int = 5) -> pd.DataFrame:
    """Where the time of `FoldedI3D.features` goes: one row a stage, for a clip of 16 frames out of nine.

    Columns: stage, gflop, megabytes (each operation reads its inputs and writes its output once), ms.
    """
    device, video = str(net.device), torch.randint(256, (1, 96, 3, size, size), dtype=torch.uint8)
    clips, moved, layer, rows = 9 if net.device.type == "cpu" else 1, [], net.layer, []

    def noted(x: Tensor, name: str) -> Tensor:
        out, weight = layer(x, name), net.layers[name][0]
        flop = 2 * weight.numel() // len(weight) * out.numel()
        moved.append((flop, (x.numel() + weight.numel() + out.numel()) * x.element_size()))
        return out

    def stage(name: str, run: Callable[[Tensor], Tensor], x: Tensor, per: int, besides: int = 0) -> Tensor:
        """Time a stage for `per` clips; beside its convolutions it moves `besides` times its input and output."""
        moved.clear()
        net.layer = noted
        out = run(x)
        net.layer = layer
        flop, size = (sum(part) for part in zip(*moved, (0, besides * (x.nbytes + out.nbytes)), strict=True))
        seconds = race({name: lambda: run(x)}, rounds, device, warm=True)[name]
        rows.append((name, flop / per / 1e9, size / per / 1e6, seconds / per * 1e3))
        return out

    def pooled(name: str, x: Tensor, per: int) -> Tensor:
        return stage(f"pool before {name}", lambda x: net.pool(x, *POOL_BEFORE[name]), x, per, 1)

    with torch.inference_mode():
        frames = stage("pixels", net.frames, video, 9, 1)
        clip = net.clips(frames, net.clip_index(clip_starts("9x16", 96)[:1], CLIP, 96))
        x = stage(STEM, lambda x: net.layer(x, STEM), clip, 1)
        for name in ("Conv3d_2b_1x1", "Conv3d_2c_3x3"):
            x = pooled(name, x, 1) if name in POOL_BEFORE else x
            x = stage(name, partial(lambda name, x: net.layer(x, name), name), x, 1)
        x = torch.cat([pooled("Mixed_3b", x, 1)] * clips)
        for name in MIXED:
            x = pooled(name, x, clips) if name in ("Mixed_4b", "Mixed_5b") else x
            x = stage(name, partial(lambda name, x: net.mixed(x, name), name), x, clips, 2)  # pool, concatenation
    return pd.DataFrame(rows, columns=["stage", "gflop", "megabytes", "ms"])


def peaks(device: str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[float, float]:
    """What this device reaches at best: GFLOP/s of a large matrix product, and GB/s of a large copy (read + write)."""
    side, long = (1024, 2**25) if torch.device(device).type == "cpu" else (8192, 2**29)
    a, source = torch.randn(side, side, device=device, dtype=dtype), torch.zeros(long, device=device)
    target = torch.empty_like(source)
    seconds = race({"product": lambda: a @ a, "copy": lambda: target.copy_(source)}, 5, device)
    return 2e-9 * side**3 / seconds["product"], 2e-9 * source.nbytes / seconds["copy"]
