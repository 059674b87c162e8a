"""The changing state of a training, as named tensors that can be saved and restored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sapnet_core.training.batches import BatchSampler

__all__ = ["TrainingState", "grouped"]


@dataclass(frozen=True)
class TrainingState:
    """The changing state of a training, without the optimizer but with PyTorch's global RNG.

    Attributes:
        weights: the weights and buffers by name; the parameters themselves, not copies.
        memory: other tensors that the loss changes in place, such as pseudo-labels.
        draws: the generators and samplers of batches and other random choices.
    """

    weights: Mapping[str, Tensor]
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    draws: Sequence[torch.Generator | BatchSampler] = ()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(iter(self.weights.values())).device

    def tensors(self) -> dict[str, Tensor]:
        """The state as tensors of their own shapes; weights and memory are not copied.

        Returns:
            "weights/<name>" and "memory/<name>" -> the tensor of this name; "draws/<i>/<name>" -> the state of the i-th
            of `draws`: "generator", uint8 (n,), or the entries of `BatchSampler.state_dict`; "rng/cpu", and "rng/cuda"
            where the weights are on a GPU -> the state of PyTorch's global RNG, uint8 (n,).
        """
        found = {f"weights/{name}": value for name, value in self.weights.items()}
        found |= {f"memory/{name}": value for name, value in self.memory.items()}
        for i, draw in enumerate(self.draws):
            own = {"generator": draw.get_state()} if isinstance(draw, torch.Generator) else draw.state_dict()
            found |= {f"draws/{i}/{name}": value for name, value in own.items()}
        found["rng/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            found["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def restore(self, groups: dict[str, dict[str, Tensor]]) -> None:
        """Restore the state in place from the result of `tensors`, passed through `grouped`.

        Args:
            groups: "weights", "memory", "draws" and "rng" -> tensors by the rest of their names, with the shapes that
                `tensors` gave them.

        Raises:
            KeyError, IndexError: a tensor has a name that this state lacks, or the state of PyTorch's RNG is absent.
            RuntimeError: the shape of a tensor does not fit the one that it replaces.
        """
        with torch.no_grad():
            for part, live in (("weights", self.weights), ("memory", self.memory)):
                for name, value in groups.get(part, {}).items():
                    live[name].copy_(value)
        for i, own in grouped(groups.get("draws", {})).items():
            draw = self.draws[int(i)]
            draw.set_state(own["generator"]) if isinstance(draw, torch.Generator) else draw.load_state_dict(own)
        torch.set_rng_state(groups["rng"]["cpu"])
        if "cuda" in groups["rng"]:
            torch.cuda.set_rng_state(groups["rng"]["cuda"], self.device)


def grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group tensors by the part of their names before the first slash: the name a/b/c becomes b/c in group a."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        first, _, rest = name.partition("/")
        groups.setdefault(first, {})[rest] = value
    return groups
