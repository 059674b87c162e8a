"""Stacked training: several networks of one shape, trained as one program."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from sapnet_core.training.batches import BatchSampler
from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.loop import Terms, fit_steps
from sapnet_core.training.state import TrainingState

__all__ = ["fit_stacked"]


def fit_stacked(
    networks: Sequence[nn.Module],
    terms: Callable[..., Terms],
    batch: Callable[[dict[str, Tensor], int], tuple],
    steps: int,
    lr: float,
    log_every: int = 10,
    checkpoint: Checkpoint | None = None,
    draws: Sequence[torch.Generator | BatchSampler] = (),
    anneal: bool = True,
) -> list[list[dict[str, float]]]:
    """Train networks of one shape as one program (`torch.vmap`), each as `fit_steps` would train it alone.

    Many small runs together make use of a device that a single one leaves mostly idle. Sums are taken in another order
    than in a single run, so results agree up to rounding, which training amplifies.

    Args:
        networks: R modules of equal shapes, without buffers; their weights are replaced by the trained ones.
        terms: `terms(step, network, *inputs)`, the loss terms of one run, without control flow that depends on values.
        batch: maps all runs' weights (name -> (R, ...)) and the step to `inputs`, each (R, ...) or None.
        steps, lr, log_every, anneal: as in `fit_steps`.
        checkpoint: as in `fit_steps`, for all runs together.
        draws: the generators and batch samplers that `batch` draws from, for the checkpoint.

    Returns:
        R curves, as from `fit_steps`.

    Raises:
        ValueError: the networks have buffers.
        FloatingPointError: the loss of a run is not finite.
    """
    weights, buffers = stack_module_state(list(networks))
    if buffers:
        raise ValueError(f"networks with buffers ({', '.join(buffers)}) cannot be stacked: train them one by one")
    weights = {name: value.detach().requires_grad_() for name, value in weights.items()}

    def loss(step: int) -> Terms:
        inputs = batch(weights, step)

        def one(own: dict[str, Tensor], *given) -> Terms:
            return terms(step, lambda *x: functional_call(networks[0], own, x), *given)

        return torch.vmap(one, in_dims=(0, *(None if x is None else 0 for x in inputs)))(weights, *inputs)

    state = TrainingState(weights, draws=draws)
    rows = fit_steps(weights.values(), loss, steps, lr, log_every, checkpoint, state, anneal=anneal)
    with torch.no_grad():
        for run, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][run])
    return [[{k: v if k == "step" else v[run] for k, v in row.items()} for row in rows] for run in range(len(networks))]
