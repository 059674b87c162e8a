"""The training loop equals plain Adam, whatever form it stores the weights in."""

import pytest
import torch
from torch import nn

from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.loop import fit_steps
from sapnet_core.training.state import TrainingState


def network():
    torch.manual_seed(0)
    return nn.ModuleDict({"used": nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1)), "idle": nn.Linear(3, 2)})


X, Y = (torch.randn(20, n, generator=torch.Generator().manual_seed(n)) for n in (5, 1))


def error(net):
    return (net["used"](X) - Y).square().mean()


def test_it_is_adam_with_half_a_cosine_and_leaves_weights_that_no_term_reads():
    net, plain = network(), network()
    curve = fit_steps(net.parameters(), lambda step: {"L_all": error(net)}, 30, 1e-2)
    adam = torch.optim.Adam(plain["used"].parameters(), lr=1e-2)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 30)
    for _ in range(30):
        adam.zero_grad()
        error(plain).backward()
        adam.step()
        falling.step()
    for own, other in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-5)
    assert torch.equal(net["idle"].weight, network()["idle"].weight)
    assert curve[0]["L_all"] == pytest.approx(error(network()).item())
    assert curve[-1]["L_all"] < curve[0]["L_all"]


def test_snapshots_are_the_weights_of_their_step():
    net, seen, checkpoint = network(), [], Checkpoint(snapshot_count=3)

    def loss(step):
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"L_all": error(net)}

    state = TrainingState(net.state_dict(keep_vars=True))
    fit_steps(net.parameters(), loss, 6, 1e-2, checkpoint=checkpoint, state=state)
    assert [done for done, _ in checkpoint.snapshots] == [2, 4, 6]
    for done, weights in checkpoint.snapshots:
        then = seen[done] if done < 6 else net.state_dict()
        assert all(torch.equal(weights[name], then[name]) for name in then)
    assert not torch.equal(checkpoint.snapshots[0][1]["used.0.weight"], checkpoint.snapshots[1][1]["used.0.weight"])


def test_a_trained_network_can_be_trained_on():
    net = network()
    first = fit_steps(net.parameters(), lambda step: {"L_all": error(net)}, 20, 1e-2)
    again = fit_steps(net.parameters(), lambda step: {"L_all": error(net)}, 20, 1e-2)
    assert again[0]["L_all"] < first[-1]["L_all"] and again[-1]["L_all"] < again[0]["L_all"]
