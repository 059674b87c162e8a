"""The one training loop: batches of indices, Adam, and a curve of every loss term."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["batches", "fit_steps"]


def batches(indices: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of `size` of the given indices (n,), each epoch in a new seeded order.

    A last, smaller batch of an epoch is filled up from the next epoch, so that all batches have one size;
    where fewer than `size` indices exist, a batch is the whole set.
    """
    size, left = min(size, len(indices)), indices[:0]
    while True:
        while len(left) < size:
            left = torch.cat([left, indices[torch.randperm(len(indices), generator=generator)]])
        yield left[:size]
        left = left[size:]


def fit_steps(
    parameters, loss: Callable[[int], dict[str, Tensor]], steps: int, lr: float, log_every: int = 10
) -> list[dict[str, float]]:
    """Minimize `loss(step)["L_all"]` with Adam, no weight decay (the paper's setting).

    Args:
        parameters: what `torch.optim.Adam` takes.
        loss: from the step to named scalars; all of them are recorded, "L_all" is minimized.
        steps: optimizer steps.
        lr: learning rate.
        log_every: every how many steps a row of the curve is kept.

    Returns:
        One dict per kept step: "step" and the terms.

    Raises:
        FloatingPointError: the loss is not finite; it names the step and the terms.
    """
    optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=0.0, fused=True)  # one kernel for all weights
    curve = []
    for step in range(steps):
        terms = loss(step)
        optimizer.zero_grad(set_to_none=True)
        terms["L_all"].backward()
        optimizer.step()
        if step % log_every == 0 or step == steps - 1:
            row = {name: float(value.detach()) for name, value in terms.items()}
            if not torch.isfinite(torch.tensor(row["L_all"])):
                raise FloatingPointError(f"step {step}: the loss is not finite: {row}; lower the learning rate")
            curve.append({"step": step, **row})
    return curve
