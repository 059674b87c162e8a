"""Exercises of the notebooks: a reader's function beside the suite's own, on a few cases.

As stored, the reader's function is empty. The cell then says so and raises nothing, so that the notebook runs as a
whole before anything is written.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sapnet_core.reporting.checks import check

__all__ = ["attempt"]


def attempt(
    yours: Callable,
    reference: Callable,
    cases: Mapping[str, tuple],
    tolerance: float = 1e-5,
    gradients: bool = False,
) -> bool:
    """Compare a reader's function with a reference on every case, and print one line for each.

    A function that returns None is not written yet: one line says so. A right result prints a line with ✓, a wrong one
    a line with ✗ that tells the largest difference; neither raises.

    Args:
        yours: the reader's function; it gets copies of the arguments, and may change them.
        reference: maps the same arguments to the right result, a number or an array.
        cases: name of each case -> its arguments.
        tolerance: largest absolute difference allowed, element by element.
        gradients: whether the gradients of the result with respect to all real tensors among the arguments are
            compared, too. Where none arrives, the gradient is 0.

    Returns:
        Whether all cases are right.
    """
    good = []
    for name, arguments in cases.items():
        mine, slopes = _run(yours, arguments, gradients)
        if mine is None:
            print(f"… {yours.__name__} is not written yet: it returns None. Fill it in, and run this cell again.")
            return False
        right, wanted = _run(reference, arguments, gradients)
        good.append(_told(f"{name}", mine, right, tolerance))
        if good[-1] and gradients:
            slope, want = (torch.cat([x.flatten() for x in some]) for some in (slopes, wanted))
            good.append(_told(f"{name}, gradients", slope, want, tolerance))
    return all(good)


def _run(function: Callable, arguments: tuple, gradients: bool) -> tuple[object, list[Tensor]]:
    """The result, and its gradients with respect to the real tensors among the arguments (none if not asked for)."""
    given = [x.detach().clone() if isinstance(x, Tensor) else x for x in arguments]
    leaves = [x for x in given if gradients and isinstance(x, Tensor) and x.is_floating_point()]
    for leaf in leaves:
        leaf.requires_grad_()
    result = function(*given)
    if not (isinstance(result, Tensor) and result.requires_grad):
        return result, [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
    return result.detach(), [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True)]


def _told(name: str, mine: object, right: object, tolerance: float) -> bool:
    """Print whether a result is right."""
    if isinstance(mine, tuple | list):
        try:
            mine = torch.as_tensor(mine)
        except (TypeError, ValueError, RuntimeError):
            print(f"✗ {name}: a {type(mine).__name__} of mixed content, where one number or array is expected")
            return False
    try:
        check(name, mine, right, tolerance)
    except (AssertionError, TypeError, ValueError) as fault:
        print(str(fault).partition("\n")[0] if isinstance(fault, AssertionError) else f"✗ {name}: no number or array")
        return False
    return True
