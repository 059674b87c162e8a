"""Action-Net has the parts of its source: two streams, a symmetrically normalized graph and a bounded output."""

import pytest
import torch
from test_methods import easy_set

from sapnet_core.methods import VideoBatch, action_net


def test_the_graph_is_symmetric_and_normalized_by_the_degrees():
    a = action_net.time_graph(6, torch.device("cpu"))
    assert torch.allclose(a, a.T)
    assert float(torch.linalg.eigvalsh(a).max()) == pytest.approx(1, abs=1e-5)  # the largest of Q^-1/2 E Q^-1/2
    assert (a.diagonal(1) < a.diagonal()[1:]).all()  # neighbors in time count less than the step itself
    assert not torch.allclose(a.sum(1), torch.ones(6), atol=0.01)  # unlike a row-normalized graph


def test_postures_are_spread_over_the_whole_video():
    x = torch.arange(12.0).reshape(1, 12, 1)
    assert action_net.postures(x, 4).flatten().tolist() == [1, 4, 7, 10]
    assert torch.equal(action_net.postures(x, 80), x)


def test_both_streams_and_both_embedding_layers_learn():
    made = action_net.training(easy_set()[0], {"steps": 5}, torch.Generator().manual_seed(0))
    made.network.train()
    made.loss(0)["L_all"].backward()
    grads = {name: float(p.grad.abs().max()) for name, p in made.network.named_parameters()}
    embeddings = {f"streams.{stream}.embed.{layer}.weight" for stream in (0, 1) for layer in (0, 2)}
    graphs = {f"streams.{stream}.graph.{layer}.weight" for stream in (0, 1) for layer in (0, 1)}
    assert all(grads[name] > 0 for name in embeddings | graphs)


def test_the_streams_see_clips_and_single_steps():
    train, x, _ = easy_set()
    made = action_net.training(train, {"postures": 3}, torch.Generator().manual_seed(0))
    made.network.eval()
    swapped = x.frame.clone()
    swapped[:, [0, 1]] = x.frame[:, [1, 0]]  # the first clip stays; none of the three postures is among its steps
    assert torch.allclose(made.score(VideoBatch(swapped)), made.score(x))
    swapped[:, [2, 3]] = x.frame[:, [3, 2]]  # the second step of the second clip is no posture, the first is
    assert not torch.allclose(made.score(VideoBatch(swapped)), made.score(x))


def test_scores_stay_inside_the_extended_range_of_the_labels():
    train, x, _ = easy_set()
    made = action_net.training(train, {}, torch.Generator().manual_seed(0))
    made.network.eval()
    known = train.y[train.labeled]
    margin = 0.1 * (known.max() - known.min())
    for extreme in (1e3, -1e3):
        found = made.score(VideoBatch(extreme * x.frame))
        assert ((known.min() - margin - 1e-4 <= found) & (found <= known.max() + margin + 1e-4)).all()


def test_dropout_acts_in_training_alone():
    made = action_net.training(easy_set()[0], {}, torch.Generator().manual_seed(0))
    x = easy_set()[1]
    made.network.train()
    assert not torch.equal(made.score(x), made.score(x))
    made.network.eval()
    assert torch.equal(made.score(x), made.score(x))
