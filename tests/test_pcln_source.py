"""PCLN has the parts of its source: an encoder in the order of time, and a branch that reads products of two videos."""

import pytest
import torch
import torch.nn.functional as F
from test_methods import easy_set

from sapnet_core.methods import pcln


def test_the_sizes_are_those_of_the_source():
    net = pcln.PCLN(160, 2048, 0.3)
    assert net.encode(torch.randn(2, 160, 2048)).shape == (2, 512, 40)
    assert net.assess[0].in_features == 20480 and net.first.in_features == 512
    assert pcln.PCLN(18, 256, 0.3).assess[0].in_features == 512 * 5


@pytest.mark.parametrize("steps", [1, 3, 12, 68])
def test_any_number_of_steps_will_do(steps):
    net = pcln.PCLN(steps, 16, 0.0)
    f = net.encode(torch.randn(3, steps, 16))
    assert net.score(f).shape == (3,) and net.difference(f, torch.tensor([0, 1]), torch.tensor([1, 2])).shape == (2,)


def test_the_image_of_products_is_read_as_published():
    """The published order of operations: products of all channels, an image of 512 channels, a convolution."""
    net = pcln.PCLN(12, 16, 0.0)
    f = net.encode(torch.randn(4, 12, 16, generator=torch.Generator().manual_seed(0)))
    p, q = torch.triu_indices(4, 4, 1)
    shared = torch.relu(net.share(f))
    image = (shared[p] @ shared[q].transpose(1, 2)).reshape(-1, 512, 32, 4)
    image = F.max_pool2d(F.conv2d(image, net.first.weight[:, :, None, None], net.first.bias), 2)
    expected = torch.sigmoid(net.compare(F.max_pool2d(net.second(image), 2).flatten(1))).squeeze(1)
    assert torch.allclose(net.difference(f, p, q), expected, atol=1e-6)


def test_the_loss_is_that_of_all_pairs():
    train, _, _ = easy_set(labeled=6)
    run = pcln.training(train, {"dropout": 0.0}, torch.Generator().manual_seed(0))
    batches, net = run.samplers[0], run.network
    state = batches.state_dict()
    i = next(batches)
    batches.load_state_dict(state)  # so that the loss draws the same batch
    terms = run.loss(0)
    low, size = pcln.score_range(train)
    y, f, summed = (train.y[i] - low) / size, net.encode(train.frame[i]), torch.zeros(1)
    s = net.score(f)
    for p in range(6):
        for q in range(p + 1, 6):
            apart = net.difference(f, torch.tensor([p]), torch.tensor([q]))
            summed += 0.5 * ((s[p] - y[p]) ** 2 + (s[q] - y[q]) ** 2)
            summed += (apart - (y[p] - y[q]).abs()) ** 2 + (apart - (s[p] - s[q]).abs()) ** 2
    assert float(terms["L_all"].detach()) == pytest.approx(float(summed.detach()) / 15, rel=1e-4)


def test_the_pairs_teach_the_scores():
    run = pcln.training(easy_set()[0], {}, torch.Generator().manual_seed(0))
    run.loss(0)["L_agree"].backward()
    grads = {name: p.grad for name, p in run.network.named_parameters()}
    assert all(grads[name].abs().max() > 0 for name in ("assess.0.weight", "share.weight", "first.weight"))
