"""The training loop: Adam on named loss terms, with a curve of every term."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.state import TrainingState

__all__ = ["Terms", "fit_steps"]

Terms = dict[str, Tensor]
CACHE_LINE = 16  # in float32 numbers; each weight begins at a cache line, so that matrix products read it at full speed


def _as_one(parameters: Iterable[Tensor]) -> Tensor:
    """Merge parameters of one dtype and device into one tensor; they and their gradients become views of it.

    The optimizer then updates one tensor instead of some forty, with the same result up to rounding.
    """
    parts = list(parameters)
    sizes = [-(-part.numel() // CACHE_LINE) * CACHE_LINE for part in parts]
    one = torch.zeros(sum(sizes), dtype=parts[0].dtype, device=parts[0].device)
    one.grad = torch.zeros_like(one)
    for part, value, grad in zip(parts, one.split(sizes), one.grad.split(sizes), strict=True):
        value, part.grad = (room[: part.numel()].view_as(part) for room in (value, grad))
        part.data = value.copy_(part.detach())
    return one.requires_grad_()


def fit_steps(
    parameters: Iterable[Tensor],
    loss: Callable[[int], Terms],
    steps: int,
    lr: float,
    log_every: int = 10,
    checkpoint: Checkpoint | None = None,
    state: TrainingState | None = None,
    others: Iterable[tuple[Iterable[Tensor], float]] = (),
    anneal: bool = True,
) -> list[dict[str, float]]:
    """Minimize `loss(step)["L_all"]` by Adam without weight decay (the paper's setting).

    Args:
        parameters: the weights, of one dtype and device.
        loss: maps the step to named scalars, or vectors with one entry per stacked run; all of them are recorded,
            "L_all" is minimized.
        steps: number of optimizer steps.
        lr: learning rate, of the first step with `anneal`.
        log_every: interval, in steps, between rows of the curve; the last step always has a row.
        checkpoint: takes snapshots of the weights, and resumes from its file after a kill.
        state: all tensors and generators that change during the training; required with a `checkpoint`.
        others: further weights that learn at another rate, as pairs (weights, learning rate).
        anneal: whether the learning rates fall to 0 over the steps, along half a cosine.

    Returns:
        One dict per recorded step: "step" and the terms (lists with one entry per run where the terms are vectors).

    Raises:
        FloatingPointError: the loss of a recorded step is not finite; the message gives the step and the terms.
        OSError: the checkpoint's file cannot be read at present.
    """
    given = [(parameters, lr), *others]
    parts = [{"params": [_as_one(some)], "lr": rate} for some, rate in given]
    weights = [part["params"][0] for part in parts]
    optimizer = torch.optim.Adam(parts, weight_decay=0.0, fused=True)
    done, curve = checkpoint.resume(state, optimizer) if checkpoint else (0, [])
    for step in range(done, steps):
        for group, (_, rate) in zip(optimizer.param_groups, given, strict=True):
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2 if anneal else rate
        terms = loss(step)
        for part in weights:
            part.grad.zero_()
        terms["L_all"].sum().backward()  # stacked runs share no weights: each gets the gradient of its own loss
        optimizer.step()
        if step % log_every == 0 or step == steps - 1:
            row = {name: value.detach().tolist() for name, value in terms.items()}
            if not torch.isfinite(torch.tensor(row["L_all"])).all():
                raise FloatingPointError(f"step {step}: the loss is not finite: {row}; lower the learning rate")
            curve.append({"step": step, **row})
        if checkpoint:
            checkpoint.after_step(step + 1, steps, state, optimizer, curve)
    return curve
