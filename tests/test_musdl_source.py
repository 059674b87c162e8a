"""MUSDL has one network per judge, as many as the largest panel has seats."""

from dataclasses import replace

import pytest
import torch
from test_methods import easy_set, predict

from sapnet_core.experiments.metrics import spearman
from sapnet_core.methods import TrainSet, musdl


def panels_of(size: int) -> tuple[TrainSet, torch.Tensor, torch.Tensor]:
    """`easy_set` with panels of `size` judges, whose middle three add up to the score."""
    train, x, y = easy_set()
    judges = train.judges[:, :size]
    lowest = (size - 3) // 2
    return replace(train, judges=judges, y=judges.sort(1).values[:, lowest : lowest + 3].sum(1) / 30), x, y


@pytest.mark.parametrize("size", [3, 5, 7])
def test_there_are_as_many_networks_as_seats(size):
    train, x, y = panels_of(size)
    made = musdl.training(train, {}, torch.Generator().manual_seed(0))
    assert made.network(x.frame.mean(1)).shape == (len(x), size, 21)
    assert spearman(predict("musdl", train, x), y) > 0.8


def test_no_judge_shares_weights_with_another():
    made = musdl.training(easy_set()[0], {}, torch.Generator().manual_seed(0))
    made.network(torch.randn(4, 16))[:, 2].square().sum().backward()
    moved = {name.split(".")[1] for name, p in made.network.named_parameters() if p.grad.abs().max() > 0}
    assert moved == {"2"}


def test_an_empty_seat_teaches_its_network_nothing():
    train, _, _ = easy_set()
    small = train.judges.sort(1).values.clone()
    small[:, [0, 1, 5, 6]] = torch.nan  # three judges, in the middle seats of seven
    made = musdl.training(replace(train, judges=small), {}, torch.Generator().manual_seed(0))
    made.loss(0)["L_all"].backward()
    learned = {name.split(".")[1] for name, p in made.network.named_parameters() if p.grad.abs().max() > 0}
    assert learned == {"2", "3", "4"}


def test_a_panel_of_two_is_refused():
    train, x, _ = easy_set()
    with pytest.raises(ValueError, match="panels.* three "):
        predict("musdl", replace(train, judges=train.judges[:, :2]), x)
