"""The quality factors of twins, without rendering them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.runtime.seeds import seed_of
from sapnet_core.simulator import sport_of
from sapnet_core.simulator.settings import settings_for

__all__ = ["twin_factors"]


def twin_factors(records: Sequence[Record], seed: int = 0) -> Tensor:
    """The quality factors (N, F) in [0, 1] of the twins of N records of one dataset: those that `simulate` shows with
    this seed and the dataset's settings.

    Raises:
        ValueError: the dataset has no twins.
    """
    rows = []
    for record in records:
        judged = torch.Generator().manual_seed(seed_of(record.dataset, f"{record.key}/quality", seed))
        rows.append(sport_of(record.dataset).quality_factors(record, settings_for(record.dataset), judged))
    return torch.stack(rows).float()
