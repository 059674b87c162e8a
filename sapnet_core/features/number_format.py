"""Compute features in another number format than the processor's own.

A processor with bfloat16 computes features in it, and any other in float32, which moves a result more than another
order of sums does. Where a result is to be computed again, its features must have the format that they had before.
"""

from collections.abc import Iterator

import torch

from sapnet_core.backbones.registry import computing_in
from sapnet_core.features import extraction
from sapnet_core.features.extraction import Job
from sapnet_core.runtime.executors import run_tasks

__all__ = ["compute_in"]


def compute_in(numbers: torch.dtype | None, missing: list[Job], jobs: int) -> Iterator[list[Job]]:
    """`extraction.compute_all` with backbones that compute in the format `numbers`; None takes the processor's own."""
    if numbers is None:
        yield from extraction.compute_all(missing, jobs)
        return
    together: dict[str, list[Job]] = {}  # jobs that need the same videos, which are loaded once
    for job in missing:
        together.setdefault(job.videos, []).append(job)
    tasks = [(numbers, group) for group in together.values()]
    on_cpu = not missing or torch.device(missing[0].device).type == "cpu"
    for index, *_ in run_tasks(_compute, tasks, jobs if on_cpu else 1):
        yield tasks[index][1]


def _compute(numbers: torch.dtype, group: list[Job]) -> None:
    """Compute the shards of one group, in this process or in a worker."""
    with computing_in(numbers):
        for _ in extraction.compute_all(group, 1):
            pass
