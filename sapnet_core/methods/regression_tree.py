"""The group-aware regression tree of CoRe: binary decisions down to the interval that holds a relative score.

Source: Yu et al., "Group-aware Contrastive Regression for Action Quality Assessment", ICCV 2021, Section 3.3. Each
inner node decides between its two children from features of its own, and gives each child its features:

    p(child c | node) = softmax_c(V z),    z_c = relu(W_c z),    log p(leaf) = sum of log p along its path

Each leaf finds the place inside its interval by a linear layer of its own.
"""

import torch
from torch import Tensor, nn

__all__ = ["RegressionTree"]


class _PerNode(nn.Module):
    """One linear layer per node, initialized as `nn.Linear`: (B, nodes, inputs) -> (B, nodes, outputs)."""

    def __init__(self, nodes: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(nodes, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(nodes, 1, outputs).uniform_(-bound, bound))

    def forward(self, z: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, z.transpose(0, 1), self.weight).transpose(0, 1)


class RegressionTree(nn.Module):
    """Features of pairs (B, D) -> logarithmic probabilities of the leaves (B, K) and places in them (B, K).

    There are `levels` decisions from the root to a leaf and K = 2^levels leaves, from the most negative interval to the
    most positive one. Every node has features of the size `width`.
    """

    def __init__(self, inputs: int, width: int, levels: int):
        super().__init__()
        self.root = nn.Linear(inputs, width)
        self.decide = nn.ModuleList(_PerNode(2**level, width, 2) for level in range(levels))
        self.grow = nn.ModuleList(_PerNode(2**level, width, 2 * width) for level in range(levels))
        self.place = _PerNode(2**levels, width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.relu(self.root(x)).unsqueeze(1)  # (B, nodes of the level, width)
        log_p = x.new_zeros(len(x), 1)
        for decide, grow in zip(self.decide, self.grow, strict=True):
            log_p = (log_p.unsqueeze(2) + decide(z).log_softmax(2)).flatten(1)
            z = torch.relu(grow(z)).unflatten(2, (2, -1)).flatten(1, 2)
        return log_p, self.place(z).squeeze(2)
