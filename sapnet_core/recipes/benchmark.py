"""Benchmark the hot paths: each is timed beside a named alternative, with the difference between their results.

`python -m sapnet_core benchmark` prints the table. A ratio is the median time of the alternative divided by ours.
Rounds are interleaved, so that a change of the machine's load affects both. Times depend on the machine, ratios much
less.

`torch.utils.benchmark.Timer` measures one function after the other. With a load that came and went every 1.5 s, the
ratio of two convolutions of about 10 and 20 ms spread by 29 % (Timer's method timeit) and 55 % (blocked_autorange), and
by 18 % with `race`; under a steady load Timer was the better one, by 11 % against 21 %. Timer can take turns only by
timing single calls, for each of which it runs the function three times: that took three times as long as `race`.
"""

import platform
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.backbones.i3d import I3D, MIXED, POOL_BEFORE, FoldedI3D, Unit3D, fast_dtype, load_i3d
from sapnet_core.backbones.max_pool import same_padding
from sapnet_core.datasets.clips import CLIP, clip_starts
from sapnet_core.runtime.devices import torch_threads, usable_device
from sapnet_core.runtime.progress import waiting
from sapnet_core.sapnet.pseudo_labels import greedy_states, kmeans

__all__ = [
    "PlainI3D",
    "race",
    "inference",
    "training_step",
    "clustering",
    "selection",
    "compare",
    "machine",
    "print_comparisons",
]

GOALS = {  # the smallest ratio that is acceptable, by device and dtype
    "inference": {"cpu": {"float32": 3.0, "bfloat16": 6.0}, "cuda": {"bfloat16": 4.0, "float32": 4.0}},
    "training": {"cpu": {}, "cuda": {"bfloat16": 3.0, "float32": 3.0}},
}


class PlainI3D(nn.Module):
    """An I3D as it is commonly written, with the weights of an `I3D`: explicit zero padding before each convolution and
    pool, BatchNorm and ReLU as separate passes, PyTorch's default memory layout. (B, 3, T, H, W) -> the same maps."""

    def __init__(self, net: I3D):
        super().__init__()
        self.net = net

    @staticmethod
    def _padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        sizes = list(zip(x.shape[2:], kernel, stride, strict=True))[::-1]
        return F.pad(x, [n for size in sizes for n in same_padding(*size)])

    def _unit(self, unit: Unit3D, x: Tensor, stride: int = 1) -> Tensor:
        weight = unit.conv3d.weight
        x = self._padded(x, weight.shape[2:], (stride,) * 3)
        return F.relu(unit.bn(F.conv3d(x, weight, stride=stride)))

    def _pool(self, x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        return F.max_pool3d(self._padded(x, kernel, stride), kernel, stride)  # zeros never win: all values are >= 0

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        for name, layer in net.named_children():
            x = self._pool(x, *POOL_BEFORE[name]) if name in POOL_BEFORE else x
            if name not in MIXED:
                x = self._unit(layer, x, 2 if name == "Conv3d_1a_7x7" else 1) if name != "logits" else x
                continue
            one, two = self._unit(layer.b1b, self._unit(layer.b1a, x)), self._unit(layer.b2b, self._unit(layer.b2a, x))
            pooled = self._unit(layer.b3b, self._pool(x, (3, 3, 3), (1, 1, 1)))
            x = torch.cat([self._unit(layer.b0, x), one, two, pooled], 1)
        return x


def race(
    runners: dict[str, Callable[[], object]], rounds: int = 5, device: str = "cpu", warm: bool = False
) -> dict[str, float]:
    """Median seconds of each runner. The runners take turns; the first turn warms up and is not counted, unless they
    are `warm` already."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(warm, rounds + 1):
        for name, run in runners.items():
            start = time.perf_counter()
            run()
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(seconds)) for name, seconds in times.items()}


def _row(
    what: str, ours: str, other: str, seconds: dict[str, float], per: int, goal: float | None, error: float
) -> dict:
    mine, theirs = seconds[ours] / per * 1e3, seconds[other] / per * 1e3
    return {
        "what": what,
        "ours": ours,
        "ms": mine,
        "alternative": other,
        "its ms": theirs,
        "ratio": theirs / mine,
        "goal": goal,
        "difference": error,
    }


def inference(
    net: I3D | None = None,
    device: str = "cpu",
    size: int = 112,
    rounds: int = 5,
    dtype: torch.dtype | None = None,
    form: str | None = None,
) -> dict:
    """Time the features of one uint8 video, nine clips of 16 frames: `FoldedI3D` against `PlainI3D`, in ms per clip.

    `net` is the shipped network if None; `dtype` and `form` are those of `FoldedI3D`. The difference is the largest
    absolute difference of a feature, relative to the largest feature.
    """
    net = (net or load_i3d()).to(device).eval()
    folded, plain = FoldedI3D(net, dtype, form=form), PlainI3D(net)
    video = torch.randint(256, (1, 96, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    starts = clip_starts("9x16", 96)

    @torch.inference_mode()
    def simple() -> Tensor:
        clips = video[0, starts[:, None] + torch.arange(CLIP)].transpose(1, 2).to(device)  # (9, 3, 16, H, W)
        maps = plain(clips.float() * (2 / 255) - 1)
        return maps.mean((3, 4)).transpose(1, 2).flatten(0, 1)[None]

    expected = simple()
    error = float((folded.features(video, "9x16") - expected).abs().max() / expected.abs().max())
    name = str(folded.dtype).removeprefix("torch.")
    ours = f"FoldedI3D, {name}" + (f", {form}" if form else "")
    runners = {ours: lambda: folded.features(video, "9x16"), "plain form, float32": simple}
    goal = GOALS["inference"].get(torch.device(device).type, {}).get(name)
    what = f"I3D width {net.width:g}, inference, a clip of 16x{size}²"
    return _row(what, *runners, race(runners, rounds, device, warm=True), len(starts), goal, error)


def training_step(
    net: I3D | None = None, device: str = "cpu", size: int = 112, batch: int = 2, rounds: int = 3, mixed: bool = False
) -> dict:
    """Time one step of Adam on the mean square of the feature maps, with frozen running statistics: `I3D` with fused
    Adam, in bfloat16 if `mixed`, against `PlainI3D` with PyTorch's default Adam in float32; in ms per clip.

    The difference is the relative difference of the losses.
    """
    net = (net or load_i3d()).to(device).freeze_norm().train()
    clips = torch.randn(batch, 3, CLIP, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    plain, losses = PlainI3D(net), {}

    def step(name: str, forward: Callable[[Tensor], Tensor], fused: bool, on: bool) -> Callable[[], None]:
        def run() -> None:
            net.load_state_dict(state)  # both start from the same weights
            adam = torch.optim.Adam(net.parameters(), lr=1e-4, fused=fused)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=on):
                maps = forward(clips)
            loss = maps.float().square().mean()
            loss.backward()
            adam.step()
            adam.zero_grad(set_to_none=True)
            losses[name] = float(loss.detach())

        return run

    name = "bfloat16" if mixed else "float32"
    ours, other = f"I3D frozen BatchNorm, {name}", "plain form, float32"
    runners = {ours: step(ours, net, True, mixed), other: step(other, plain, False, False)}
    seconds = race(runners, rounds, device)
    goal = GOALS["training"].get(torch.device(device).type, {}).get(name)
    what = f"I3D width {net.width:g}, training step, a clip of 16x{size}²"
    return _row(what, ours, other, seconds, batch, goal, abs(losses[ours] / losses[other] - 1))


def some_videos(videos: int = 32, frames: int = 96, channels: int = 1024, device: str = "cpu") -> Tensor:
    """Synthetic features (B, T, C) that drift between phases as a video's do: five anchors per video, and noise."""
    draw = torch.Generator().manual_seed(0)
    anchors = torch.randn(videos, channels, 5, generator=draw)
    drift = F.interpolate(anchors, size=frames, mode="linear", align_corners=True).transpose(1, 2)
    return (drift + 0.5 * torch.randn(videos, frames, channels, generator=draw)).to(device)


def _inertia(x: Tensor, centers: Tensor) -> float:
    return float(torch.cdist(x.double(), centers.double()).amin(2).square().sum())


def clustering(M: int = 10, iterations: int = 10, rounds: int = 5, device: str = "cpu") -> list[dict]:
    """Time k-means of 32 videos of 96 frames: `pseudo_labels.kmeans` against faiss and scikit-learn in loops over
    videos, in ms for all videos.

    The difference is the relative difference of the inertias: above 0, ours is worse.

    Raises:
        ImportError: faiss or scikit-learn is not installed.
    """
    try:
        import faiss
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ImportError(f"{error}: install the alternatives with `pip install faiss-cpu scikit-learn`") from error
    x = some_videos(device=device)
    arrays, found = x.cpu().numpy(), {}

    def ours() -> None:
        found["ours"] = kmeans(x, M, iterations)[0].cpu()

    def by_faiss() -> None:
        made = [faiss.Kmeans(x.shape[2], M, niter=iterations, seed=0, min_points_per_centroid=1) for _ in arrays]
        for one, array in zip(made, arrays, strict=True):
            one.train(array)
        found["faiss, in a loop"] = torch.from_numpy(np.stack([one.centroids for one in made]))

    def by_sklearn() -> None:
        made = [KMeans(M, n_init=1, max_iter=iterations, random_state=0).fit(array) for array in arrays]
        found["scikit-learn, in a loop"] = torch.from_numpy(np.stack([one.cluster_centers_ for one in made]))

    others = {"faiss, in a loop": (by_faiss, 1.0), "scikit-learn, in a loop": (by_sklearn, 12.0)}
    # A race for each alternative: the threads of one library keep spinning for a while after it returns.
    seconds = {name: race({"ours": ours, name: other}, rounds, device) for name, (other, _) in others.items()}
    inertia = {name: _inertia(x.cpu(), centers) for name, centers in found.items()}
    what = "k-means, 32 videos x 96 x 1024, 10 centers"
    return [
        _row(what, "ours", name, seconds[name], 1, goal, inertia["ours"] / inertia[name] - 1)
        for name, (_, goal) in others.items()
    ]


def selection_by_loop(distance: np.ndarray, K: int, every_state: bool = False) -> np.ndarray:
    """Algorithm 1 on distances (B, M, T) in numpy, video by video: indices (B, K).

    `every_state` scores one state after the other, as the algorithm is printed; else all states of a video at once.
    """
    chosen = []
    for video in distance:
        own, nearest = [], np.full(video.shape[1], np.inf)
        for _ in range(K):
            if every_state:
                cost = np.array([np.minimum(nearest, state).mean() for state in video])
            else:
                cost = np.minimum(nearest, video).mean(1)
            cost[own] = np.inf
            own.append(int(cost.argmin()))
            nearest = np.minimum(nearest, video[own[-1]])
        chosen.append(own)
    return np.array(chosen)


def selection(M: int = 10, K: int = 3, rounds: int = 5, device: str = "cpu") -> list[dict]:
    """Time Algorithm 1 on the distances of 32 videos: `greedy_states` against loops in numpy, in ms for all videos.

    The difference is the share of selected states that differ.
    """
    x = some_videos(device=device).double()
    distance = torch.cdist(kmeans(x.float(), M)[0].double(), x)  # (B, M, T)
    array, mine, rows = distance.cpu().numpy(), greedy_states(distance, K).cpu(), []
    for name, every, goal in (("numpy, state by state", True, 15.0), ("numpy, video by video", False, None)):
        runners = {"ours": lambda: greedy_states(distance, K), name: partial(selection_by_loop, array, K, every)}
        wrong = float((mine != torch.from_numpy(selection_by_loop(array, K, every))).float().mean())
        what = f"selection, 32 videos x {M} states x 96, K = {K}"
        rows.append(_row(what, "ours", name, race(runners, rounds, device), 1, goal, wrong))
    return rows


def compare(device: str = "cpu", rounds: int = 5, threads: int | None = None) -> pd.DataFrame:
    """Run every comparison, one row each: what, ours, ms, alternative, its ms, ratio, goal (NaN if none), difference.

    `threads` is the number of PyTorch's threads on the CPU, unchanged if None.
    """
    with torch_threads(threads):
        torch.manual_seed(0)
        full = I3D(1.0)
        rows = [inference(None, device, rounds=rounds), inference(full, device, rounds=rounds)]
        rows += [training_step(None, device, rounds=rounds), training_step(full, device, rounds=rounds)]
        cuda = torch.device(device).type == "cuda"
        if not cuda and fast_dtype(device) != torch.float32:
            rows.insert(2, inference(full, device, rounds=rounds, dtype=torch.float32))
        if cuda:
            rows += [inference(full, device, 224, rounds)]
            rows += [training_step(full, device, 224, 4, rounds, mixed=True)]
        rows += [*clustering(rounds=rounds, device=device), *selection(rounds=rounds, device=device)]
    return pd.DataFrame(rows).astype({"goal": float})


def machine(device: str = "cpu") -> str:
    """Name of the GPU, or processor type, instruction set and number of threads."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} thread(s)"


def print_comparisons(device: str, rounds: int, threads: int | None) -> None:
    """Run and print the comparisons on this machine. Raises ValueError if it has no such device."""
    usable_device(device)
    with torch_threads(threads):
        print(machine(device))
        with waiting("timing"):
            table = compare(device, rounds)
        print(table.to_string(index=False, float_format="%.3g"))
