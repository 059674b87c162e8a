"""A backbone that learns with the method: equal to training from pixels, resumable, and refused where it cannot be."""

from dataclasses import replace

import pytest
import torch
from interruption import Killed, Mortal

from sapnet_core.backbones.i3d import LAST, fast_dtype, load_i3d, training_dtype
from sapnet_core.backbones.last_blocks import LastBlocks
from sapnet_core.experiments.fit import fit_trial, stack_key, trainable_backbone, training_task, view_scale
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import run_trial
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.methods import get_method
from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.trainable_backbone import TrainableBackbone

pytestmark = pytest.mark.usefixtures("own_runs")

FROZEN = Trial("finediving", "drawn", "sap-net", 0.5, 0, "score", 12, 6, steps=8, size=48)
LATE = replace(FROZEN, backbone_training="last blocks", overrides=(("batch", 4), ("batch_unlabeled", 4)))
ALL = replace(FROZEN, method="mlp", train=6, test=4, steps=3, backbone_training="all", overrides=(("batch", 1),))


@pytest.fixture
def videos():
    return torch.randint(256, (2, 96, 3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def relative(found, expected):
    return float((found - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize("clip_sampling", ["9x16", "dense", "segments"])
def test_last_blocks_from_maps_are_trained_as_from_pixels(videos, clip_sampling):
    """The features, and the gradient of every weight of the two blocks, with all other weights frozen."""
    net = load_i3d()
    maps = net.folded(torch.float32).trunk_maps(videos, clip_sampling)
    assert maps.shape[:3] == (2, {"9x16": 9, "dense": 1, "segments": 6}[clip_sampling], 208)
    pixels, cached = TrainableBackbone(net, clip_sampling), TrainableBackbone(LastBlocks(load_i3d()), clip_sampling)
    own = {name for name, _ in cached.net.named_parameters()}
    for name, weight in net.named_parameters():
        weight.requires_grad_(name in own)
    assert {name.partition(".")[0] for name in own} == set(LAST) and len(own) == 36
    expected, found = pixels("frame", videos), cached("frame", maps)
    assert expected.shape == found.shape and relative(found, expected) < 1e-5
    for output in (expected, found):
        output.square().mean().backward()
    weights = dict(cached.net.named_parameters())
    for name, weight in net.named_parameters():
        if name in own:
            assert relative(weights[name].grad, weight.grad) < 1e-4, name


@pytest.fixture
def backbone():
    return TrainableBackbone(load_i3d(), "9x16")


def test_features_are_those_of_the_store(videos, backbone):
    stored = load_i3d().folded(torch.float32)
    with torch.no_grad():
        found = backbone("frame", videos)
        segments = TrainableBackbone(load_i3d(), "segments")("frame", videos)
    assert relative(found, stored.features(videos, "9x16")) < 1e-4
    assert relative(segments, stored.features(videos, "segments").unflatten(1, (-1, 2)).mean(2)) < 1e-4


def test_each_view_is_standardized_by_its_own_scale(videos, backbone):
    with torch.no_grad():
        frame = backbone("frame", videos)
        backbone.standardize({"frame": videos, "actor": videos[:1]})
        found, other = backbone("frame", videos), backbone("actor", videos)
    steps = found.unflatten(1, (-1, 2))
    torch.testing.assert_close(steps.mean((0, 1)), torch.zeros_like(steps[0, 0]), atol=1e-4, rtol=0)
    mean, deviation = backbone.scales["actor"]
    torch.testing.assert_close(other, ((frame.unflatten(1, (-1, 2)) - mean) / deviation).flatten(1, 2))


def gradients(backbone, videos):
    """The gradient of every weight of the backbone, by name."""
    backbone.zero_grad(set_to_none=True)
    backbone("frame", videos).square().mean().backward()
    return {name: weight.grad.clone() for name, weight in backbone.net.named_parameters()}


def test_checkpointing_changes_no_gradient_and_keeps_less(videos, backbone):
    def kept(on):
        backbone.checkpoint, sizes = on, []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            backbone("frame", videos[:1])
        return sum(sizes)

    assert kept(True) < 0.4 * kept(False)
    expected, found = (gradients(backbone, videos[:1]) for backbone.checkpoint in (False, True))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_mixed_precision_stays_near(videos, backbone):
    expected = gradients(backbone, videos[:1])["Conv3d_1a_7x7.conv3d.weight"]
    backbone.mixed = True
    found = gradients(backbone, videos[:1])["Conv3d_1a_7x7.conv3d.weight"]
    mixed = training_dtype("cpu") == torch.bfloat16  # elsewhere its gradients are wrong, and float32 is used
    assert found.dtype == torch.float32 and torch.equal(found, expected) != mixed
    assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.95


@pytest.mark.parametrize("numbers", [torch.float32, fast_dtype("cpu")], ids=["float32", "native"])
def test_it_begins_as_the_frozen_backbone(numbers, monkeypatch):
    """Scaling divides by deviations, which may be tiny in a small set and then enlarge every rounding; so where one of
    both sides computes in bfloat16, features are compared in their own unit."""
    monkeypatch.setenv("SAPNET_NUMBERS", str(numbers).removeprefix("torch."))
    exact = numbers == training_dtype("cpu") == torch.float32
    data, maps = trial_data(FROZEN), trial_data(LATE)
    learn = torch.nonzero(data.train).flatten()
    backbone = trainable_backbone(LATE, maps, learn)
    for view in ("frame", "actor"):
        mean, std = view_scale(data.features, learn, view)
        features = data.features.views[view].unflatten(1, (-1, 2))
        with torch.no_grad():
            found = backbone(view, maps.features.views[view]).unflatten(1, (-1, 2))
        if exact:
            assert relative(found, (features - mean) / std) < 1e-4
        assert relative(found * std + mean, features) < (1e-5 if exact else 0.01)


@pytest.mark.parametrize("trial", [LATE, ALL, replace(LATE, method="mlp-ordered", overrides=(("batch", 4),))])
def test_it_learns(trial):
    """Weights of the backbone move, BatchNorm's statistics stay, and the result is stored as any other."""
    data = trial_data(trial)
    task = training_task(replace(trial, steps=1, overrides=(*trial.overrides, ("lr_backbone", 1e-12))), data)
    start = task.fit().network.state_dict()
    fitted = fit_trial(trial, data).fitted
    after = fitted.network.state_dict()
    kept = [name for name in after if ".running_" in name]
    moved = [name for name in after if name.startswith("backbone.") and name.endswith("conv3d.weight")]
    assert len(moved) == (12 if trial.backbone_training == "last blocks" else 57)
    assert all((after[name] - start[name]).abs().max() > 1e-5 for name in moved)
    assert all(torch.equal(after[name], start[name]) for name in kept)
    run_trial(trial)
    assert -1 <= results([trial]).rho[0] <= 1
    assert stack_key(trial, data) is None


def test_the_loss_falls_if_the_backbone_alone_learns():
    trial = replace(LATE, method="mlp", steps=60, overrides=(("batch", 6), ("lr", 1e-12), ("lr_backbone", 1e-3)))
    curve = [row["L_all"] for row in fit_trial(trial, trial_data(trial)).fitted.curves]
    assert curve[-1] < 0.3 * curve[0]


@pytest.mark.parametrize("trial", [LATE, pytest.param(ALL, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_to_the_same_bits(trial, tmp_path):
    data = trial_data(trial)

    def train(checkpoint):
        task = training_task(trial, data)
        return get_method(trial.method)(task.train, task.settings, task.generator(), checkpoint)

    alone, file = train(Checkpoint()), tmp_path / ".training-x.safetensors"
    with pytest.raises(Killed):
        train(Mortal(file, 1, 2))
    resumed = train(Mortal(file, 1))
    assert resumed.curves[-1] == alone.curves[-1]
    weights = alone.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.network.state_dict().items())


def test_a_step_can_be_chosen():
    best = fit_trial(replace(LATE, select="test-best"), trial_data(LATE))
    assert 1 <= best.fitted.step <= LATE.steps


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"backbone_training": "some"}, "last blocks"),
        ({"method": "gdlt", "overrides": ()}, "mlp, mlp-ordered, sap-net"),
        ({"backbone": "c3d", "teacher": "frame"}, "c3d"),
        ({"teacher": "photometric"}, "photometric"),
        ({"overrides": (("lr_backbone", 0.0),)}, "lr_backbone"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, word):
    with pytest.raises(ValueError, match=word):
        replace(LATE, **changes)
