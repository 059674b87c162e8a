"""Time the inference form of I3D stage by stage."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from sapnet_core.backbones.i3d import MIXED, POOL_BEFORE, STEM, FoldedI3D
from sapnet_core.backbones.max_pool import max_pool
from sapnet_core.datasets.clips import CLIP, clip_starts
from sapnet_core.recipes.benchmark import race

__all__ = ["stages"]


def stages(net: FoldedI3D, size: int = 112, rounds: int = 5) -> pd.DataFrame:
    """Time the stages of `FoldedI3D.features`: one row per stage, for one clip of 16 frames out of nine.

    Columns: stage, gflop (10^9 multiplications and additions of direct convolution, whatever the algorithm used), ms.
    """
    device, video = str(net.device), torch.randint(256, (1, 96, 3, size, size), dtype=torch.uint8)
    clips, flops, layer, rows = 9 if net.device.type == "cpu" else 1, [], net.layer, []

    def noted(x: Tensor, name: str) -> Tensor:
        out, weight = layer(x, name), net.layers[name][0]
        flops.append(2 * weight.numel() // len(weight) * out.numel())
        return out

    def stage(name: str, run: Callable[[Tensor], Tensor], x: Tensor, per: int) -> Tensor:
        """Time a stage on an input of `per` clips."""
        flops.clear()
        net.layer = noted
        out = run(x)
        net.layer = layer
        gflop = sum(flops) / per / 1e9
        seconds = race({name: lambda: run(x)}, rounds, device, warm=True)[name]
        rows.append((name, gflop, seconds / per * 1e3))
        return out

    def pooled(name: str, x: Tensor, per: int) -> Tensor:
        return stage(f"pool before {name}", lambda x: max_pool(x, *POOL_BEFORE[name]), x, per)

    with torch.inference_mode():
        frames = stage("pixels", net.frames, video, 9)
        clip = net.clips(frames, net.clip_index(clip_starts("9x16", 96)[:1], CLIP, 96))
        x = stage(STEM, lambda x: net.layer(x, STEM), clip, 1)
        for name in ("Conv3d_2b_1x1", "Conv3d_2c_3x3"):
            x = pooled(name, x, 1) if name in POOL_BEFORE else x
            x = stage(name, partial(lambda name, x: net.layer(x, name), name), x, 1)
        x = torch.cat([pooled("Mixed_3b", x, 1)] * clips)
        for name in MIXED:
            x = pooled(name, x, clips) if name in ("Mixed_4b", "Mixed_5b") else x
            x = stage(name, partial(lambda name, x: net.mixed(x, name), name), x, clips)
    return pd.DataFrame(rows, columns=["stage", "gflop", "ms"])
