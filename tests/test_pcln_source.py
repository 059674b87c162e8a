"""PCLN has the parts of its source: an encoder in the order of time, and a branch that reads products of two videos."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_numbers import filled, numbers, tensors
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


def test_the_loss_has_its_value():
    """Products of all channels of two videos, read as an image in NumPy, and the errors of scores and differences."""
    net, w = filled(pcln.PCLN(8, 16, 0.0), 40, 0.05)
    x, y, rows = numbers(12, 3, 8, 16), np.array([0.2, 0.9, 0.4]), [(0, 1), (0, 2), (1, 2)]

    def mixed(name: str, x: np.ndarray) -> np.ndarray:
        """A linear map of the channels, the last axis."""
        return x @ w[f"{name}.weight"].reshape(w[f"{name}.weight"].shape[:2]).T + w[f"{name}.bias"]

    def chain(name: str, x: np.ndarray) -> np.ndarray:
        parts = sorted({int(key.split(".")[1]) for key in w if key.startswith(f"{name}.")})
        for part in parts:
            x = mixed(f"{name}.{part}", x)
            x = x if part == parts[-1] else np.maximum(x, 0)
        return 1 / (1 + np.exp(-x[..., 0]))

    def halved(x: np.ndarray) -> np.ndarray:
        """The largest of two neighbors along the first two axes."""
        return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max((1, 3))

    f = x
    for block in (0, 4):
        f = np.maximum(mixed(f"encoder.{block}", f), 0)
        f = f.reshape(3, f.shape[1] // 2, 2, -1).max(2)
    f = f.transpose(0, 2, 1)  # (3, 512, 2)
    scores = chain("assess", f.reshape(3, -1))
    shared = np.maximum(mixed("share", f.transpose(0, 2, 1)), 0).transpose(0, 2, 1)
    value = ((scores - y) ** 2).mean()
    for p, q in rows:
        image = (shared[p] @ shared[q].T).reshape(512, 32, 4).transpose(1, 2, 0)
        image = halved(mixed("second", halved(mixed("first", image))))
        apart = chain("compare", image.transpose(2, 0, 1).reshape(-1))
        value += ((apart - abs(y[p] - y[q])) ** 2 + (apart - abs(scores[p] - scores[q])) ** 2) / 3
    assert value == pytest.approx(0.3673235095004772, rel=1e-12)
    x, y = tensors(x, y)
    f = net.encode(x)
    p, q = torch.tensor(rows).T
    found, apart = net.score(f), net.difference(f, p, q)
    errors = (apart - (y[p] - y[q]).abs()).square() + (apart - (found[p] - found[q]).abs()).square()
    assert float(((found - y).square().mean() + errors.mean()).detach()) == pytest.approx(value, rel=1e-9)
