"""C3D, the backbone of C3D-AVG-MTL: eight 3x3x3 convolutions with max-pools between them, of any width.

Source: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015. A feature is the
output of `conv5b` averaged over space: two steps per 16-frame clip, as with I3D. The published fc6 needs a fifth pool
and frames of exactly 112 x 112; it is left out, so that frames may have any size.

The published network has no normalization, but training from scratch needs it. `C3D(width, norm=True)` has BatchNorm
after every convolution, and `published()` folds it into the convolutions: stored weights and the inference form have
only convolutions with biases, under the names of the Sports-1M weights in circulation (conv1, conv2, conv3a ...).
"""

from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sapnet_core.backbones.frozen import Clipwise, conv_relu
from sapnet_core.backbones.i3d import fast_dtype
from sapnet_core.backbones.max_pool import max_pool_same
from sapnet_core.runtime.files import check_weights, fill_weights, read_weights

__all__ = ["C3D", "FrozenC3D", "SHIPPED", "load_c3d"]

SHIPPED = Path(__file__).parent.parent / "weights" / "c3d_sim.safetensors"
CHANNELS = {  # output channels of each convolution at width 1
    "conv1": 64,
    "conv2": 128,
    "conv3a": 256,
    "conv3b": 256,
    "conv4a": 512,
    "conv4b": 512,
    "conv5a": 512,
    "conv5b": 512,
}
# max-pools before a layer: kernel and stride (equal) over (time, height, width)
POOL_BEFORE = {"conv2": (1, 2, 2), "conv3a": (2, 2, 2), "conv4a": (2, 2, 2), "conv5a": (2, 2, 2)}


def pooled(x: Tensor, layer: str) -> Tensor:
    """The input of a layer: its maps `x`, max-pooled where a pool precedes the layer. An odd last frame, row or column
    is pooled by itself, as in Caffe."""
    size = POOL_BEFORE.get(layer)
    return max_pool_same(x, size, size) if size else x


class C3D(nn.Module):
    """C3D up to conv5b.

    `width` multiplies every channel count; 1 is the published network (512 channels out). With `norm` BatchNorm follows
    each convolution. `forward` maps (B, 3, T, H, W) to (B, 512 * width, T/8, H/16, W/16), each rounded up. `scaling`
    is the pixel scaling that its weights expect: a key of `backbones.frozen.SCALINGS`.
    """

    def __init__(self, width: float = 1.0, norm: bool = False):
        super().__init__()
        self.width, self.scaling, cin = width, "symmetric", 3
        for name, channels in CHANNELS.items():
            cout = max(1, round(channels * width))
            setattr(self, name, nn.Conv3d(cin, cout, 3, padding=1, bias=not norm))
            cin = cout
        self.norm = nn.ModuleDict({n: nn.BatchNorm3d(getattr(self, n).out_channels) for n in CHANNELS} if norm else {})
        self.channels = cin

    def forward(self, x: Tensor) -> Tensor:
        for name in CHANNELS:
            x = getattr(self, name)(pooled(x, name))
            x = F.relu(self.norm[name](x) if self.norm else x, inplace=True)
        return x

    def published(self) -> "C3D":
        """A copy without normalization, in evaluation mode: running statistics are folded into weights and biases."""
        net = deepcopy(self).eval()
        for name, norm in net.norm.items():
            setattr(net, name, fuse_conv_bn_eval(getattr(net, name), norm))
        net.norm = nn.ModuleDict()
        return net


class FrozenC3D(Clipwise):
    """The inference form of a C3D, with or without normalization. `dtype` None takes `fast_dtype`."""

    def __init__(self, net: C3D, dtype: torch.dtype | None = None):
        net = net.published()
        device = net.conv1.weight.device
        super().__init__(device, net.channels, dtype or fast_dtype(device), net.scaling)
        self.layers = {}
        for name in CHANNELS:
            layer = getattr(net, name)
            weight = layer.weight.detach().to(self.dtype, memory_format=torch.channels_last_3d)
            self.layers[name] = weight, layer.bias.detach().to(self.dtype)

    def maps(self, clips: Tensor) -> Tensor:
        for name, (weight, bias) in self.layers.items():
            clips = conv_relu(pooled(clips, name), weight, bias, (1, 1, 1), (1, 1, 1))
        return clips


def load_c3d(path: Path | str = SHIPPED) -> C3D:
    """The C3D in a file, as published: float32, on the CPU, evaluation mode.

    Args:
        path: a file written by `pretrain`, or Sports-1M weights under PyTorch's names (conv1.weight, conv1.bias,
            conv2.weight ...; names may begin with "module."), in torch's format (no code from it is run) or in
            safetensors. Entries of fc6, fc7 and fc8 are ignored.

    Sports-1M weights were trained in Caffe on BGR pixels from 0 to 255 with the channel means subtracted. The PyTorch
    files hold them unchanged, and code that loads them often ignores channel order and mean. Here the input channels of
    the first kernel are reversed, so that the network takes RGB like all others, and `scaling` is "sports-1m". (The
    published MTL-AQA code feeds "imagenet" RGB pixels and fine-tunes; a frozen network needs the input that it was
    trained with.)

    Raises:
        ValueError: the file has another format, or an entry is missing, unknown, of another shape or not finite; the
            message names file and entry. No weight keeps its random initial value.
        FileNotFoundError: no such file.
    """
    state, metadata = read_weights(path)
    state = {name: t for name, t in state.items() if name.partition(".")[0] not in ("fc6", "fc7", "fc8")}
    first = state.get("conv1.weight", torch.zeros(64))
    width = len(first) / CHANNELS["conv1"] if first.shape[1:] == (3, 3, 3, 3) else 1.0
    with torch.device("meta"):
        planned = C3D(width).state_dict()
    check_weights(planned, state, path)
    net = C3D(width)
    fill_weights(net, state, path)
    if "recipe" not in metadata:
        net.scaling = "sports-1m"
        net.conv1.weight.data = net.conv1.weight.data.flip(1)
    return net.eval()
