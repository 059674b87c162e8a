"""The last two blocks of I3D, trainable from cached maps of the blocks before them.

The blocks up to Mixed_4f hold most of I3D's computation and little that is specific to a task. With these frozen, their
output is computed once per video (`FoldedI3D.trunk_maps`), and training Mixed_5b and Mixed_5c from it equals training
them from pixels.
"""

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from sapnet_core.backbones.i3d import I3D, LAST, use_running_statistics

__all__ = ["LastBlocks"]


class LastBlocks(nn.Module):
    """Mixed_5b and Mixed_5c of an I3D: maps (n, C', T', h, w) to (n, C, T', h, w). Parameters keep their names.

    The blocks are those of `net`, not copies. BatchNorm uses its running statistics in training mode too
    (`I3D.freeze_norm`).
    """

    def __init__(self, net: I3D):
        super().__init__()
        self.channels = net.channels
        for name in LAST:
            setattr(self, name, getattr(net, name))
        self.train(net.training)

    def train(self, mode: bool = True) -> "LastBlocks":
        return use_running_statistics(super().train(mode))

    def forward(self, x: Tensor, checkpoint: bool = False) -> Tensor:
        """Maps (n, C', T', h, w) of Mixed_4f -> maps (n, C, T', h, w) of Mixed_5c; `checkpoint` as in `I3D.forward`."""
        for layer in self.children():
            x = recomputed(layer, x, use_reentrant=False) if checkpoint else layer(x)
        return x
