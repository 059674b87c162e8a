"""The one training loop: batches of indices, Adam, and a curve of every loss term; for one network or for a stack."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from sapnet_core.training.checkpoint import Keep, State

__all__ = ["batches", "fit_steps", "fit_stacked"]

Terms = dict[str, Tensor]
LINE = 16  # numbers of a cache line, where each weight begins: products read them as fast as before


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


def _as_one(parameters: Iterable[Tensor]) -> Tensor:
    """One tensor that holds these, of one type and device; they become views of it, and so do their gradients.

    An optimizer then has one tensor to look after where a network has forty, and computes the same up to rounding.
    """
    parts = list(parameters)
    rooms = [-(-part.numel() // LINE) * LINE for part in parts]
    one = torch.zeros(sum(rooms), dtype=parts[0].dtype, device=parts[0].device)
    one.grad = torch.zeros_like(one)
    for part, value, grad in zip(parts, one.split(rooms), one.grad.split(rooms), strict=True):
        value, part.grad = (room[: part.numel()].view_as(part) for room in (value, grad))
        part.data = value.copy_(part.detach())
    return one.requires_grad_()


def fit_steps(
    parameters: Iterable[Tensor],
    loss: Callable[[int], Terms],
    steps: int,
    lr: float,
    log_every: int = 10,
    keep: Keep | None = None,
    state: Callable[[], State] | None = None,
    replay: Callable[[], object] | None = None,
) -> list[dict[str, float]]:
    """Minimize `loss(step)["L_all"]` with Adam, no weight decay (the paper's setting).

    Args:
        parameters: the weights, of one type and device.
        loss: from the step to named scalars; all of them are recorded, "L_all" is minimized.
        steps: optimizer steps.
        lr: learning rate.
        log_every: every how many steps a row of the curve is kept.
        keep: keeps weights of earlier steps, and goes on from its file after a kill.
        state: gives what `keep` keeps, live tensors by name: all that `loss` changes, as does `network.state_dict`.
        replay: draws what one step draws from generators of its own, when `keep` goes on after steps that are done.

    Returns:
        One dict per kept step: "step" and the terms (lists where the terms are vectors, one entry a run).

    Raises:
        FloatingPointError: the loss is not finite; it names the step and the terms.
    """
    weights = _as_one(parameters)
    optimizer = torch.optim.Adam([weights], lr=lr, weight_decay=0.0, fused=True)
    live = state() if keep else {}
    done, curve = keep.begin(live, optimizer) if keep else (0, [])
    for _ in range(done):
        replay()
    for step in range(done, steps):
        terms = loss(step)
        weights.grad.zero_()
        terms["L_all"].sum().backward()  # runs of a stack share no weight: each gets the gradient of its own loss
        optimizer.step()
        if step % log_every == 0 or step == steps - 1:
            row = {name: value.detach().tolist() for name, value in terms.items()}
            if not torch.isfinite(torch.tensor(row["L_all"])).all():
                raise FloatingPointError(f"step {step}: the loss is not finite: {row}; lower the learning rate")
            curve.append({"step": step, **row})
        if keep:
            keep.after(step + 1, steps, live, optimizer, curve)
    return curve


def fit_stacked(
    networks: Sequence[nn.Module],
    terms: Callable[..., Terms],
    batch: Callable[[dict[str, Tensor], int], tuple],
    steps: int,
    lr: float,
    log_every: int = 10,
    keep: Keep | None = None,
    replay: Callable[[], object] | None = None,
) -> list[list[dict[str, float]]]:
    """Train networks of one shape side by side, as one program (`torch.vmap`), each as `fit_steps` would by itself.

    Many small runs so fill a device that one of them leaves idle. Sums are taken in another order than in a run alone:
    results agree up to rounding, which training amplifies.

    Args:
        networks: R modules of equal shapes, without buffers; their weights are replaced by the trained ones.
        terms: `terms(step, network, *inputs)`, the loss terms of one run, without control flow that depends on numbers.
        batch: from all runs' weights (name -> (R, ...)) and the step to `inputs`, each (R, ...) or None.
        keep, replay: as of `fit_steps`, for all runs at once.

    Returns:
        R curves, as of `fit_steps`.
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

    rows = fit_steps(weights.values(), loss, steps, lr, log_every, keep, lambda: weights, replay)
    with torch.no_grad():
        for run, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][run])
    return [[{k: v if k == "step" else v[run] for k, v in row.items()} for row in rows] for run in range(len(networks))]
