"""The trainer of all methods: a killed training resumes to the same bits, and snapshots change nothing.

Both are tested for each of `METHODS`, so that a new method is covered as soon as it is listed there.
"""

from functools import cache

import pytest
import torch
from interruption import Killed, Mortal
from test_methods import easy_set
from torch import nn

from sapnet_core.methods import METHODS, Fitted, Training, get_method
from sapnet_core.methods.base import train as train_run
from sapnet_core.training.batches import BatchSampler
from sapnet_core.training.checkpoint import Checkpoint

CLOSED = {"coreg", "ridge", "svr"}  # methods without optimizer steps
SETTINGS = {  # so that every term and every kind of random number is used early
    "sap-net": {"warmup": 0.2, "tau": 0.1, "decoder_channels": 8, "dropout": 0.3},
    "pseudo-labels": {"warmup": 0.2},
    "avg-mtl": {"dropout": 0.3},
}
STEPS = 20


def fit(method: str, checkpoint: Checkpoint) -> Fitted:
    settings = {"steps": STEPS, "batch": 12, **SETTINGS.get(method, {})}
    settings = {name: value for name, value in settings.items() if method not in CLOSED or name == "steps"}
    return get_method(method)(easy_set()[0], settings, torch.Generator().manual_seed(3), checkpoint)


@cache
def undisturbed(method: str) -> tuple[Fitted, torch.Tensor]:
    """A training with five snapshots, and its predictions of the other videos; both tests compare with it."""
    fitted = fit(method, Checkpoint(snapshot_count=5))
    return fitted, fitted.predict(easy_set()[1])


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_resumes_to_the_same_bits(method, tmp_path):
    alone, predicted = undisturbed(method)
    assert (alone.network is None) == (method in CLOSED)
    if method in CLOSED:
        return
    file = tmp_path / ".training-x.safetensors"
    for dies in (3, 10, 11):  # killed three times
        with pytest.raises(Killed):
            fit(method, Mortal(file, 5, dies))
    before = torch.get_rng_state()
    resumed = fit(method, Mortal(file, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert [[*row.items()] for row in resumed.curves] == [[*row.items()] for row in alone.curves]
    assert [step for step, _ in resumed.snapshots] == [4, 8, 12, 16, 20]
    for (_, one), (_, other) in zip(alone.snapshots, resumed.snapshots, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(resumed.predict(easy_set()[1]), predicted)


@pytest.mark.parametrize("method", METHODS)
def test_snapshots_change_nothing_and_end_with_the_last_step(method):
    plain, (watched, predicted) = fit(method, Checkpoint()), undisturbed(method)
    x = easy_set()[1]
    assert torch.equal(plain.predict(x), predicted) and plain.curves == watched.curves
    assert not plain.snapshots and bool(watched.snapshots) == (method not in CLOSED)
    if watched.snapshots:
        first, last = watched.snapshots[0][1], watched.snapshots[-1][1]
        assert all(torch.equal(value, last[name]) for name, value in watched.network.state_dict().items())
        watched.network.load_state_dict(first)  # `predict` uses the network's current weights
        assert not torch.equal(watched.predict(x), predicted)
        watched.network.load_state_dict(last)


def own_random_numbers(train, settings, generator):
    """A method that draws from its generator, from PyTorch's global RNG and in batches, and counts what it has seen."""
    net, seen = nn.Linear(train.frame.shape[2], 1), torch.zeros(len(train.y))
    draw = BatchSampler(train.labeled, 7, generator)

    def loss(step):
        i = torch.cat([next(draw), train.labeled[torch.randint(len(train.labeled), (3,), generator=generator)]])
        seen[i] += 1
        noise = 0.1 * torch.randn(len(i))
        return {"L_all": (seen[i] * (score(train.videos[i]) + noise - train.y[i]).square()).mean()}

    def score(videos):
        return net(videos.frame.mean(1)).squeeze(1)

    return Training(net, loss, score, settings["steps"], 1e-2, [draw], {"seen": seen})


def test_a_method_may_draw_from_its_generator_from_torch_and_in_batches(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "mine", own_random_numbers)
    test_a_killed_training_resumes_to_the_same_bits("mine", tmp_path)


def test_batches_go_on_where_they_were():
    one, other = (BatchSampler(torch.arange(10), 4, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for _ in range(4):
        next(one)
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    assert all(torch.equal(next(one), next(other)) for _ in range(9))


def test_what_is_no_training_is_named():
    with pytest.raises(TypeError, match="str"):
        train_run(lambda train, settings, generator: "fitted", easy_set()[0], {}, torch.Generator())
