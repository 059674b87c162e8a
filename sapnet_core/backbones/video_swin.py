"""Video Swin Transformer, the backbone of VST+MLP: torchvision's network, up to its last normalization.

Source: Liu et al., "Video Swin Transformer", CVPR 2022. Patches of frames are tokens; tokens attend to each other in
windows of time and space, which are shifted from block to block; between four stages 2x2 neighbors are merged. A
feature is the normalized last map averaged over space, and over time to two steps per 16-frame clip.

The package ships a small network (`small_form`) trained on simulated dives. It has BatchNorm where the published ones
have LayerNorm: with LayerNorm it learned nothing in as many optimizer steps as the other backbones had, for any
learning rate, window or first layer tried. (LayerNorm scales a token of flat water up to the magnitude of a token of
the diver; whether that is the reason was not tested.) Kinetics weights are torchvision's files (`swin3d_t`, `swin3d_s`,
`swin3d_b`), which the user supplies.
"""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.video import SwinTransformer3d

from sapnet_core.backbones.frozen import Clipwise
from sapnet_core.backbones.i3d import fast_dtype
from sapnet_core.runtime.files import check_weights, fill_weights, read_weights

__all__ = ["FrozenSwin", "SHIPPED", "VideoSwin", "load_swin", "small_form"]

SHIPPED = Path(__file__).parent.parent / "weights" / "swin_sim.safetensors"
# entries that need not be stored: an index that follows from the window size, and BatchNorm's counts of batches
ASIDE = ("relative_position_index", "num_batches_tracked")


class TokenNorm(nn.BatchNorm1d):
    """BatchNorm over the last axis of tokens (..., C)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).view(x.shape)


def small_form(width: float = 0.25) -> dict:
    """Arguments of the network in the package; `width` multiplies Swin-T's channels, 96 to 768.

    A token spans four frames, where the published networks take two: training and inference take half the time.
    """
    return {
        "patch_size": [4, 4, 4],
        "embed_dim": 8 * round(12 * width),
        "depths": [2, 2, 2, 2],
        "num_heads": [1, 2, 4, 8],
        "window_size": [4, 7, 7],
        "stochastic_depth_prob": 0.0,
        "norm_layer": TokenNorm,
    }


class VideoSwin(SwinTransformer3d):
    """torchvision's network without its head; it takes the same arguments.

    `forward` maps (B, 3, T, H, W) to (B, 8 * embed_dim, T/p, H/32, W/32), each rounded up, for tokens of p frames.
    `scaling` is the pixel scaling that its weights expect: a key of `backbones.frozen.SCALINGS`.
    """

    def __init__(self, **form):
        super().__init__(**form)
        del self.head
        self.channels, self.scaling = self.num_features, "symmetric"

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.features(self.patch_embed(x)))  # (B, T', H', W', C)
        return tokens.movedim(-1, 1)


class FrozenSwin(Clipwise):
    """The inference form of a Video Swin. `dtype` None takes `fast_dtype`."""

    at_once = 8

    def __init__(self, net: VideoSwin, dtype: torch.dtype | None = None):
        device = net.norm.weight.device
        super().__init__(device, net.channels, dtype or fast_dtype(device), net.scaling)
        self.net = deepcopy(net).eval().to(self.dtype)

    def maps(self, clips: Tensor) -> Tensor:
        return self.net(clips)


def load_swin(path: Path | str = SHIPPED) -> VideoSwin:
    """The Video Swin in a file: float32, on the CPU, evaluation mode.

    Args:
        path: a file written by `pretrain`, or a state dict of torchvision's swin3d_t, swin3d_s or swin3d_b (names may
            begin with "module."), in torch's format (no code from it is run) or in safetensors. The head is ignored.
            The published networks expect "imagenet" pixel scaling, and were trained on frames of 224 x 224.

    Raises:
        ValueError: the file has another format, or an entry is missing, unknown, of another shape or not finite; the
            message names file and entry. No weight keeps its random initial value.
        FileNotFoundError: no such file.
    """
    state, metadata = read_weights(path)
    state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    own = "recipe" in metadata
    form = small_form(_embedding(state) / 96) if own else _published_form(state)
    with torch.device("meta"):
        planned = VideoSwin(**form).state_dict()
    check_weights(planned, {name: t for name, t in planned.items() if name.endswith(ASIDE)} | state, path)
    net = VideoSwin(**form)
    net.scaling = "symmetric" if own else "imagenet"
    aside = {name: tensor for name, tensor in net.state_dict().items() if name.endswith(ASIDE)}
    fill_weights(net, {**aside, **state}, path)
    return net.eval()


def _embedding(state: dict[str, Tensor]) -> int:
    """Channels of the first layer; 96, as in Swin-T, if the state dict has no entry of a plausible shape for it."""
    bias = state.get("patch_embed.proj.bias", torch.zeros(96))
    return len(bias) if bias.ndim == 1 and 8 <= len(bias) <= 2**16 else 96


def _published_form(state: dict[str, Tensor]) -> dict:
    """Arguments of the published network that a state dict most likely holds; the caller checks every entry."""
    embed = 128 if _embedding(state) == 128 else 96
    deep = 18 if embed == 128 or any(name.startswith("features.4.17.") for name in state) else 6
    return {
        "patch_size": [2, 4, 4],
        "embed_dim": embed,
        "depths": [2, 2, deep, 2],
        "num_heads": [embed // 32 * n for n in (1, 2, 4, 8)],
        "window_size": [8, 7, 7],
    }
