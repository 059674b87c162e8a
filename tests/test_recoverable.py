"""The simulator's labels can be recovered from its pixels: ridge regression on actor-crop features beats the floor."""

import pytest
import torch

from sapnet_core.datasets.dive_numbers import parse_dive
from sapnet_core.experiments.metrics import spearman
from sapnet_core.features.source import source_records
from sapnet_core.features.store import twin_features


def ridge(x, y, train, penalty):
    """Ridge predictions for the rows outside `train`; columns are standardized over `train`."""
    x = ((x - x[train].mean(0)) / (x[train].std(0) + 1e-4)).double()
    y = y.double()
    known, mean = x[train], y[train].mean()
    weight = torch.linalg.solve(known @ known.T + penalty * torch.eye(len(known)), y[train] - mean)
    return x[~train] @ known.T @ weight + mean


@pytest.mark.slow
def test_quality_and_position_show_in_the_actor_crop(tmp_path):
    records = source_records("finediving", 160, 80, 11, None, tmp_path)
    features = twin_features(records, seed=11, views=("actor",), folder=tmp_path, jobs=1)
    x = features.views["actor"].mean(1)  # (N, C)
    train = torch.tensor([r.split == "train" for r in records])
    execution = torch.tensor([r.execution for r in records])
    difficulty = torch.tensor([r.difficulty for r in records])
    floor = float(spearman(difficulty[~train], execution[~train]))
    reached = float(spearman(ridge(x, execution, train, 100.0), execution[~train]))
    assert reached > max(0.0, floor) + 0.3
    # The information is in the pixels: with scrambled labels, the same regression finds nothing.
    scrambled = execution[torch.randperm(len(records), generator=torch.Generator().manual_seed(0))]
    assert reached > float(spearman(ridge(x, scrambled, train, 100.0), execution[~train])) + 0.3
    pike = torch.tensor([float(parse_dive(r.action).position == "B") for r in records])
    guessed = ridge(x, pike, train, 100.0) > pike[train].mean()
    share = float(pike[~train].mean())
    assert float((guessed == pike[~train].bool()).float().mean()) > max(share, 1 - share) + 0.1
