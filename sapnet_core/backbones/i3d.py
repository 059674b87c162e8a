"""The backbone E_theta (Eq. 1): I3D, the inflated Inception-v1 of Carreira & Zisserman (CVPR 2017), of any width.

The network has two forms. `I3D` is the trainable form; its parameter names are those of the published Kinetics
checkpoint `rgb_imagenet.pt`, so that file loads as it is. `FoldedI3D` is the inference form, which extracts features:
batch normalization is folded into the convolutions, and tensors are channels-last. The first layer runs on folded
pixels (`folded_stem`), unless Winograd convolution (`winograd`) or float32 on a CPU makes plain pixels faster; wide
layers of the inference form can use Winograd convolution as well.

Both pad as TensorFlow's SAME does (more at the back than in front where the total is odd), as the published weights
expect. A checkpoint records neither BatchNorm's eps (1e-3 as trained; forks run it with 1e-5) nor how pixels are scaled
(to [-1, 1] as the weights expect, or by ImageNet's mean and deviation as public AQA code does): both are options here.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from sapnet_core.backbones.folded_stem import fold_kernel, fold_space, pad_space
from sapnet_core.backbones.frozen import FUSED, Clipwise, conv_relu
from sapnet_core.backbones.max_pool import NEIGHBORS, max_pool, max_pool_same, same_padding
from sapnet_core.backbones.winograd import ConvOverTime
from sapnet_core.runtime.files import read_tensors

EPS = 1e-3
FORMS = ("direct", "winograd")
# Winograd pays off only from WIDE channels (in and out) and LONG frames upward; below that its transforms cost more
# than they save (measured).
WIDE, LONG = 64, {torch.float32: 3, torch.bfloat16: 8}
STEM = "Conv3d_1a_7x7"
STEM_ZEROS = 2  # zero frames on each side of a clip that the first layer itself pads: oneDNN skips products with them
CLIPS_AT_ONCE = 9
SHIPPED = Path(__file__).parent.parent / "weights" / "i3d_sim.safetensors"

# Output channels at width 1 of b0 (1x1), b1a (1x1) -> b1b (3x3), b2a (1x1) -> b2b (3x3), b3b (1x1 after a pool).
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
LAST = ("Mixed_5b", "Mixed_5c")  # the blocks that can be trained from the maps before them
# Max-pools before a layer: (kernel, stride) over (time, height, width).
POOL_BEFORE = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


Net = TypeVar("Net", bound=nn.Module)


class Unit3D(nn.Module):
    """A convolution of stride 1 (stride 2 where the kernel is 7x7x7), followed by BatchNorm and ReLU."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, eps: float = EPS):
        super().__init__()
        self.conv3d = nn.Conv3d(cin, cout, kernel, padding=1 if kernel == 3 else 0, bias=False)
        self.bn = nn.BatchNorm3d(cout, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        # with running statistics, BatchNorm is a scale and a shift per channel; folded into the convolution, it costs
        # no extra pass over the maps
        weight, bias = (self.conv3d.weight, None) if self.bn.training else fold(self)
        stride, padding = (1, 1, 1), self.conv3d.padding
        if self.conv3d.kernel_size[0] == 7:
            x = F.pad(pad_space(x), (0, 0, 0, 0, *same_padding(x.shape[2], 7, 2)))  # (B, 3, T, H, W), padded
            x, weight, stride = fold_space(x.movedim(1, -1)), fold_kernel(weight), (2, 1, 1)
        if x.device.type == "cpu" and self.conv3d.kernel_size[0] == 1:
            # with one thread, F.conv3d returns maps that are not channels-last, which makes all later layers several
            # times slower; F.linear keeps the layout
            x = F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
        else:
            x = F.conv3d(x, weight, bias, stride, padding)
        return F.relu(self.bn(x) if self.bn.training else x, inplace=True)


class Mixed(nn.Module):
    """Inception block: four branches side by side, concatenated over channels."""

    def __init__(self, cin: int, channels: tuple[int, ...], eps: float = EPS):
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3 = channels
        self.b0 = Unit3D(cin, c0, 1, eps)
        self.b1a, self.b1b = Unit3D(cin, c1a, 1, eps), Unit3D(c1a, c1b, 3, eps)
        self.b2a, self.b2b = Unit3D(cin, c2a, 1, eps), Unit3D(c2a, c2b, 3, eps)
        self.b3b = Unit3D(cin, c3, 1, eps)
        self.channels = c0 + c1b + c2b + c3

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool3d(x, 3, 1, 1)
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


def use_running_statistics(net: Net) -> Net:
    """Put the BatchNorm of a network into evaluation mode; its scale and shift stay trainable. Returns the network."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()
    return net


class I3D(nn.Module):
    """I3D up to Mixed_5c, and its classifier where `classes` is given.

    `width` multiplies every channel count; 1 is the published network (1024 channels out). Parameter names are those of
    `rgb_imagenet.pt`. `forward` maps (B, 3, T, H, W) in [-1, 1] to (B, 1024 * width, T/8, H/32, W/32), each rounded up.
    """

    def __init__(self, width: float = 1.0, classes: int | None = None, eps: float = EPS):
        super().__init__()
        c = [max(1, round(n * width)) for n in (64, 64, 192)]
        self.width, self.classes, self.norm_frozen = width, classes, False
        self.Conv3d_1a_7x7 = Unit3D(3, c[0], 7, eps)
        self.Conv3d_2b_1x1 = Unit3D(c[0], c[1], 1, eps)
        self.Conv3d_2c_3x3 = Unit3D(c[1], c[2], 3, eps)
        cin = c[2]
        for name, channels in MIXED.items():
            block = Mixed(cin, tuple(max(1, round(n * width)) for n in channels), eps)
            setattr(self, name, block)
            cin = block.channels
        self.channels = cin
        if classes is not None:
            self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(cin, classes, 1)})

    def freeze_norm(self) -> "I3D":
        """Use BatchNorm's running statistics in training mode too, for batches too small to estimate their own.

        Scale and shift stay trainable. Returns self.
        """
        self.norm_frozen = True
        return self.train(self.training)

    def train(self, mode: bool = True) -> "I3D":
        super().train(mode)
        return use_running_statistics(self) if self.norm_frozen else self

    def forward(self, x: Tensor, checkpoint: bool = False) -> Tensor:
        """Feature maps of clips. `checkpoint` stores only the inputs of layers for the backward pass and recomputes the
        rest: about a third more time, a fraction of the memory."""
        for name, layer in self.named_children():
            if name != "logits":
                x = max_pool_same(x, *POOL_BEFORE[name]) if name in POOL_BEFORE else x
                x = recomputed(layer, x, use_reentrant=False) if checkpoint else layer(x)
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Class scores (B, classes, T') of clips (B, 3, T, H, W): the maps are averaged over windows of two time steps
        and the whole image, then a 1x1x1 convolution is applied."""
        maps = self(x)
        return self.logits["conv3d"](F.avg_pool3d(maps, (min(2, maps.shape[2]), *maps.shape[3:]), 1)).flatten(2)

    def folded(self, dtype: torch.dtype | None = None, scaling: str = "symmetric") -> "FoldedI3D":
        """The inference form of this network, on its device; arguments as in `FoldedI3D`."""
        return FoldedI3D(self, dtype, scaling)


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the hardware supports it (a CPU with AMX or AVX-512 BF16, recent GPUs), else float32.

    On a CPU, oneDNN must be allowed to use these instructions: below AVX-512 (`ONEDNN_MAX_CPU_ISA`), it refuses
    convolutions in bfloat16.
    """
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def training_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where its gradients of convolutions are correct (GPUs as in `fast_dtype`, a CPU with AMX), else float32.

    On a CPU with AVX-512 BF16 alone, oneDNN's weight gradient of a 3x3x3 convolution on maps of 2x2x2 reads
    uninitialized memory: it differs from call to call, and is sometimes NaN. Inference is unaffected.
    """
    if torch.device(device).type == "cpu" and not torch.cpu._is_amx_tile_supported():
        return torch.float32
    return fast_dtype(device)


def fold(unit: Unit3D) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals `unit`'s convolution and BatchNorm (running statistics)."""
    # gamma (w x - mu) / sqrt(var + eps) + beta = (gamma / sqrt(var + eps)) w x + (beta - gamma mu / sqrt(var + eps))
    scale = unit.bn.weight / (unit.bn.running_var + unit.bn.eps).sqrt()
    return unit.conv3d.weight * scale.view(-1, 1, 1, 1, 1), unit.bn.bias - unit.bn.running_mean * scale


class FoldedI3D(Clipwise):
    """The inference form of an I3D: features of uint8 videos, without gradients.

    `dtype` None takes `fast_dtype`: bfloat16 where it is native (features then differ from float32 by about 5e-3 of the
    largest), else float32. Results are bit-identical from call to call on one machine and dtype; on a CPU, where each
    video is a batch of its own, they do not depend on how videos are grouped. `scaling` is a key of `SCALINGS`.

    `form` is the convolution algorithm, which changes the result only by rounding: "direct", or "winograd", which
    needs fewer multiplications (`ConvOverTime`) in the first layer and in 3x3x3 layers of at least `WIDE` channels on
    at least `LONG` frames. None takes "winograd" on a CPU with oneDNN if the network runs in float32 or is at least as
    wide as the published one, else "direct".

    Raises:
        ValueError: unknown `scaling` or `form`.
    """

    def __init__(
        self,
        net: I3D,
        dtype: torch.dtype | None = None,
        scaling: str = "symmetric",
        *,
        form: str | None = None,
    ):
        device = net.Conv3d_1a_7x7.conv3d.weight.device
        dtype, fused = dtype or fast_dtype(device), FUSED and device.type == "cpu"
        pays = fused and (dtype == torch.float32 or len(net.Conv3d_1a_7x7.conv3d.weight) >= WIDE)
        self.form = form or ("winograd" if pays else "direct")
        if self.form not in FORMS:
            raise ValueError(f"form {form!r} is unknown: choose one of {', '.join(FORMS)}")
        super().__init__(device, net.channels, dtype, scaling)
        # in float32, oneDNN convolves the 3 unfolded channels faster than the 12 folded ones
        self.folds = self.form == "direct" and not (fused and dtype == torch.float32)
        self.stem_stride = (2, 1, 1) if self.folds else (2, 2, 2)
        self.layers, self.fewer = {}, {}
        for name, unit in net.named_modules():
            if isinstance(unit, Unit3D):
                weight, bias = (tensor.detach() for tensor in fold(unit))
                if self.form == "winograd" and weight.shape[2] > 1 and (name == STEM or min(weight.shape[:2]) >= WIDE):
                    stride, padding = (2, 0) if name == STEM else (1, 1)
                    self.fewer[name] = ConvOverTime(weight, bias, self.dtype, stride, padding)
                if name == STEM and self.folds:
                    weight = fold_kernel(weight)
                weight = weight.to(self.dtype, memory_format=torch.channels_last_3d)
                self.layers[name] = weight, bias.to(self.dtype)

    def layer(self, x: Tensor, name: str) -> Tensor:
        """One convolution with bias and ReLU."""
        if name in self.fewer and (name == STEM or x.shape[2] >= LONG.get(self.dtype, 3)):
            return self.fewer[name](x)
        weight, bias = self.layers[name]
        if name == STEM:
            return conv_relu(x, weight, bias, self.stem_stride, (STEM_ZEROS, 0, 0))
        return conv_relu(x, weight, bias, (1, 1, 1), (1, 1, 1) if weight.shape[2] == 3 else (0, 0, 0))

    def frames(self, videos: Tensor) -> Tensor:
        """Uint8 videos (B, T, 3, H, W) as input of the first layer, (B, T + 1, H', W', 3 or 12).

        Pixels are scaled, padded in space, and folded as by `fold_space` if `folds` is set; frame T is all zeros, which
        pads clips in time.
        """
        b, t, _, h, w = videos.shape
        fold, ((above, below), (before, after)) = 2 if self.folds else 1, (same_padding(n, 7, 2) for n in (h, w))
        rows, columns = -(-(above + h + below) // fold), -(-(before + w + after) // fold)
        x = torch.zeros(b, t + 1, rows, columns, 3 * fold**2, device=self.device, dtype=self.dtype)
        pixels = self.scaled(videos)
        # a folded channel is one color of every second row and column, so that each is copied as one strided plane
        for channel, (i, j, color) in enumerate(product(range(fold), range(fold), range(3))):
            row, column = (i - above) % fold, (j - before) % fold  # first row and column of that channel in the image
            plane = pixels[:, :, color, row::fold, column::fold]
            top, left = (row + above) // fold, (column + before) // fold
            x[:, :t, top : top + plane.shape[2], left : left + plane.shape[3], channel] = plane
        return x

    def clip_index(self, starts: Tensor, length: int, frames: int) -> Tensor:
        """Frame numbers (clips, L') of the clips of `length` frames that begin at `starts` (clips,).

        The number `frames` stands for the zero frame, which supplies the padding in time that the first layer does not
        add itself; L' counts it, and is `length` in the "winograd" form.
        """
        index = starts[:, None] + torch.arange(length, device=self.device)
        if self.form == "winograd":  # `ConvOverTime` pads in time itself
            return index
        front, back = (zeros - STEM_ZEROS for zeros in same_padding(length, 7, 2))
        return F.pad(index, (front, back), value=frames)

    def clips(self, frames: Tensor, index: Tensor) -> Tensor:
        """Clips (B*N, 3 or 12, L', H', W') of `frames` (B, T + 1, H', W', ...), chosen by frame numbers (N, L')."""
        if self.form == "winograd" and len(index) == 1:  # consecutive frames: a view, without a copy
            clips = frames[:, None, index[0, 0] : index[0, -1] + 1]
        else:
            clips = frames[:, index]
        return clips.flatten(0, 1).movedim(-1, 1)

    def early(self, x: Tensor) -> Tensor:
        """Apply the first layers: from clips (see `clips`) to the input of Mixed_3b."""
        for name in (STEM, "Conv3d_2b_1x1", "Conv3d_2c_3x3"):
            x = self.layer(max_pool(x, *POOL_BEFORE[name]) if name in POOL_BEFORE else x, name)
        return max_pool(x, *POOL_BEFORE["Mixed_3b"])

    def trunk(self, x: Tensor) -> Tensor:
        """Apply the middle layers: from the input of Mixed_3b to the input of Mixed_5b, (B, C, T/8, H/32, W/32)."""
        for name in MIXED:
            x = max_pool(x, *POOL_BEFORE[name]) if name in ("Mixed_4b", "Mixed_5b") else x
            if name in LAST:
                break
            x = self.mixed(x, name)
        return x

    def late(self, x: Tensor) -> Tensor:
        """Apply the other layers: from the input of Mixed_3b to the output of Mixed_5c, (B, C, T/8, H/32, W/32)."""
        x = self.trunk(x)
        for name in LAST:
            x = self.mixed(x, name)
        return x

    def mixed(self, x: Tensor, name: str) -> Tensor:
        """One Inception block."""
        first, *parts = (self.layer(x, f"{name}.{branch}") for branch in ("b0", "b1a", "b2a"))
        one, two = (self.layer(part, f"{name}.b{i}b") for i, part in enumerate(parts, 1))
        return torch.cat([first, one, two, self.layer(max_pool(x, *NEIGHBORS), f"{name}.b3b")], 1)

    def steps(self, videos: Tensor, starts: Tensor, length: int) -> Tensor:
        """Like `Clipwise.steps`."""
        maps = self._by_clips(self.late, videos, starts, length)
        steps = [part.float().mean((3, 4)).transpose(1, 2).unflatten(0, (len(videos), -1)) for part in maps]
        return torch.cat(steps, 1)  # (B, clips, T', C)

    @torch.inference_mode()
    def trunk_maps(self, videos: Tensor, clip_sampling: str) -> Tensor:
        """The inputs of Mixed_5b (B, clips, C', T', H/32, W/32) of uint8 videos (B, T, 3, H, W), for `LastBlocks`.

        Raises:
            ValueError: as `features`.
        """

        def compute(one: Tensor, starts: Tensor, length: int) -> Tensor:
            maps = self._by_clips(self.trunk, one, starts, length)
            return torch.cat([part.contiguous().unflatten(0, (len(one), -1)) for part in maps], 1)

        return self.of_clips(compute, videos, clip_sampling)

    def _by_clips(
        self, last: Callable[[Tensor], Tensor], videos: Tensor, starts: Tensor, length: int
    ) -> Iterator[Tensor]:
        """Yield the outputs (B*some, C, T', H', W') of `last`, whose input is that of Mixed_3b, for groups of clips.

        On a CPU, the first layers take one clip at a time, `last` takes `CLIPS_AT_ONCE`.
        """
        index, x = self.clip_index(starts, length, videos.shape[1]), self.frames(videos)
        # a CPU's caches hold the large early maps of one clip, or the small late maps of several
        group, at_once = (CLIPS_AT_ONCE, 1) if self.device.type == "cpu" else (len(index), len(index))
        for some in index.split(group):
            early = [self.early(self.clips(x, few)) for few in some.split(at_once)]
            yield last(torch.cat(early))


def state_digest(state: dict[str, Tensor]) -> str:
    """Short hash of named tensors: names, shapes and float32 values."""
    sha = hashlib.sha256()
    for name in sorted(state):
        sha.update(f"{name}{tuple(state[name].shape)}".encode())
        sha.update(state[name].detach().float().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


def load_i3d(path: Path = SHIPPED) -> I3D:
    """The I3D in a file written by `pretrain`, whose metadata gives the width: float32, on the CPU, evaluation mode."""
    tensors, metadata = read_tensors(path)
    net = I3D(float(metadata["width"]))
    counters = {name: t for name, t in net.state_dict().items() if name.endswith("num_batches_tracked")}
    net.load_state_dict({**counters, **{name: t.float() for name, t in tensors.items()}})
    return net.eval()


def load_shipped(device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> FoldedI3D:
    """The I3D that comes with the package, pre-trained on simulated dives, in its inference form."""
    return load_i3d().to(device).folded(dtype)
