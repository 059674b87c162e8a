"""The compared systems: each learns by its defining term, uses labeled scores alone, and is reproducible."""

import math
import random
from argparse import Namespace
from dataclasses import fields, replace
from functools import cache
from importlib import import_module
from itertools import product

import pandas as pd
import pytest
import torch
from test_trials import SMALL

from sapnet_core.datasets.label_details import ATTRIBUTES, label_details
from sapnet_core.datasets.label_split import label_split
from sapnet_core.experiments.fit import fit_trial, train_set, training_task
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.paper import paper_table
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.systems import CONTROLS, FOOTNOTES, OURS, PAIRS, RIVALS, SEARCHED, SYSTEMS, marked
from sapnet_core.experiments.tables import COMPARISONS, comparison_trials, declared_trials
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.methods import (
    METHODS,
    Fitted,
    TrainSet,
    VideoBatch,
    coreg,
    gdlt,
    get_description,
    get_method,
    musdl,
    own_methods,
    pseudo,
    s4aqa,
    s4l,
    sapnet,
    tsa,
    usdl,
    vat,
)
from sapnet_core.methods.settings import check_settings
from sapnet_core.recipes import tune_methods
from sapnet_core.recipes.tune_methods import TUNING, best_of
from sapnet_core.recipes.tuning_space import BUDGET, CANDIDATES, DEFAULTS, SPACES, search_candidates

pytestmark = pytest.mark.usefixtures("own_runs")

# method -> settings that disable its defining term
TERMS = {
    "coreg": {"co_training": False},
    "pseudo-labels": {"warmup": 1.0},
    "vat": {"weight": 0.0},
    "s4l": {"weight": 0.0},
    "s4aqa": {"recovery": 0.0},
    "avg-mtl": {"weight": 0.0},
    "usdl": {"sigma": 1e-3},  # no distribution: all weight on one bin
    "musdl": {"sigma": 1e-3},
    "tsa": {"procedure": False},
    "svr": {"kernel": "linear"},
    "action-net": {"context": False},
    "gdlt": {"alpha": 0.0},
    "hgcn": {"gather": False},
    "pcln": {"weight": 0.0},
    "core": {"levels": 1},
    "tap": {"ranking": 0.0},
    "fspn": {"contrast": 0.0},
    "dae-core": {"likelihood": False},
    "tsa-net": {"attend": False},
    "sgn": {"text": False},
    "apt": {"parse": False},
    "trs": {"weight": 0.0},
    "basl": {"weight": 0.0},
}
ON = {"avg-mtl": {"backbone": "c3d", "teacher": "frame"}}  # needs the features of this backbone
MORE = {
    "pseudo-labels": {"adaptive": False},
    "s4aqa": {"adversarial": 0.0},
    "tsa": {"attend": False},
    "action-net": {"static": False},
    "hgcn": {"refine": False},
    "core": {"exemplars": 1},
    "tap": {"sparsity": 0.0},
    "fspn": {"attend": False},
    "dae-core": {"exemplars": 1},
    "sgn": {"weight": 0.0},
    "apt": {"queries": 1},
    "trs": {"remember": False},
    "basl": {"consistency": 0.0},
}
COUNT, STEPS, CHANNELS = 90, 12, 16


def easy_set(labeled: int = 40) -> tuple[TrainSet, VideoBatch, torch.Tensor]:
    """A synthetic set whose features, judges' scores, transitions and attributes all follow one quality per video.

    The first `labeled` of the `COUNT` training videos are annotated. Actions and difficulties, one for each of four
    actions, do not depend on the quality. The averages of four cells are the features, and the actor is in the first
    one. Returns the training set, `COUNT` other videos, and their scores.
    """
    g = torch.Generator().manual_seed(5)
    quality = torch.rand(2 * COUNT, generator=g)
    x = 0.5 * torch.randn(2 * COUNT, STEPS, CHANNELS, generator=g)
    x[:, :, 0] += 3 * (quality[:, None] - 0.5)
    turn = torch.stack([0.2 + 0.1 * torch.rand(2 * COUNT, generator=g), 0.7 + 0.1 * quality], 1)
    x[:, :, 1] += (torch.linspace(0, 1, STEPS) > turn[:, 1:]) * 2.0
    judges = (10 * quality[:, None] + 0.2 * torch.randn(2 * COUNT, 7, generator=g)).clamp(0, 10)
    y = judges.sort(1).values[:, 2:5].sum(1) / 30
    what = torch.stack([(quality * n).long().clamp(max=n - 1) for n in ATTRIBUTES.values()], 1)
    hidden = torch.arange(COUNT) >= labeled
    seen = [part[:COUNT].masked_fill(hidden[:, None], torch.nan) for part in (y[:, None], judges, turn)]
    seen = [seen[0].squeeze(1), *seen[1:], what[:COUNT].masked_fill(hidden[:, None], -1)]
    turned = x[:COUNT, None] + 2 * torch.eye(CHANNELS)[2:5, None]  # each rotation shifts a channel of its own
    action = torch.arange(2 * COUNT) % 4
    known = [{"difficulty": 2 + 0.1 * part, "action": part} for part in action.split(COUNT)]
    apart = 0.3 * torch.randn(2 * COUNT, STEPS, 2, 2, CHANNELS, generator=g)
    maps = (x[:, :, None, None] + apart - apart.mean((2, 3), keepdim=True)).bfloat16().split(COUNT)
    box = torch.tensor([0.0, 0, 1, 1]).expand(COUNT, STEPS, 8, 4)
    known = [{**facts, "maps": own, "boxes": box} for facts, own in zip(known, maps, strict=True)]
    train = TrainSet(x[:COUNT], x[:COUNT], torch.linspace(0, 1, STEPS), *seen, **known[0], rotated=turned)
    return train, VideoBatch(x[COUNT:], x[COUNT:], **known[1]), y[COUNT:]


SMALL_BATCH = {"fspn": {"batch": 8}}  # a step of FSPN takes 20 times as long as one of most others
BRIEF = 30  # steps of a training that is only compared with another one


@cache
def predicted(method: str, steps: int = BRIEF) -> torch.Tensor:
    """What a method with its published settings predicts of the easy set, trained once for all tests that compare it
    with other trainings; no test changes it."""
    return predict(method, *easy_set()[:2], steps=steps)


def predict(method: str, train: TrainSet, x: VideoBatch, seed: int = 0, **settings) -> torch.Tensor:
    settings = {"steps": 60, **SMALL_BATCH.get(method, {}), **settings}
    fitted = get_method(method)(train, settings, torch.Generator().manual_seed(seed))
    return fitted.predict(x)


@pytest.mark.parametrize("method", TERMS)
def test_each_learns_an_easy_set_the_same_way_every_time(method):
    train, x, y = easy_set()
    before = torch.get_rng_state()
    first = predict(method, train, x)
    assert torch.equal(torch.get_rng_state(), before)  # the global RNG stays untouched
    assert first.shape == y.shape and spearman(first, y) > 0.8
    assert (first - y).abs().mean() < 0.3  # mean absolute error, in the unit of y
    brief = predicted(method)
    _ = torch.rand(3)
    assert torch.equal(predict(method, train, x, steps=BRIEF), brief)


# Switches that change the number of parameters, and with it the numbers that the others are drawn from: these two
# leave all that remains as it is, so that the network without the term can be given the same parameters.
DROPPED = (("hgcn", {"refine": False}), ("apt", {"parse": False}))
# Without dropout, whose draws depend on the network's layers, only the term is left to differ.
STILL = {"sgn": {"dropout": 0.0}}


@pytest.mark.parametrize("method, off", [*TERMS.items(), *MORE.items()])
def test_the_defining_term_matters(method, off):
    train, x, _ = easy_set()
    steps = 60 if "adversarial" in off else BRIEF  # its gradient grows during the training
    own = STILL.get(method, {})
    found = predict(method, train, x, steps=steps, **own) if own else predicted(method, steps)
    assert not torch.allclose(found, predict(method, train, x, steps=steps, **own, **off), atol=1e-4)


@pytest.mark.parametrize("method, off", DROPPED)
def test_a_part_matters_with_all_other_parameters_equal(method, off):
    train, x, _ = easy_set()
    full, part = (get_description(method)(train, s, torch.Generator().manual_seed(0)) for s in ({}, off))
    left = part.network.state_dict()
    part.network.load_state_dict({name: full.network.state_dict()[name] for name in left})
    for run in (full, part):
        run.network.eval()
    assert not torch.allclose(full.score(x), part.score(x), atol=1e-4)


EVERY = (*TERMS, "ridge", "mlp", "mlp-ordered", "sap-net")


@pytest.mark.parametrize("method", EVERY)
def test_a_wrong_setting_is_refused_by_name(method):
    train, x, _ = easy_set()
    with pytest.raises(ValueError, match=" lambda_zz.*steps"):
        predict(method, train, x, lambda_zz=1.0)


WRONG = {
    "lr": (0.0, -1e-3, math.nan, math.inf, "0.001", True),
    "batch": (-1, 1.5, None),  # 0 lets the number of labeled videos decide
    "batch_unlabeled": (0,),
    "unit_targets": (1, "yes"),
    "weight": (-1.0, math.nan),
    "dropout": (1.0,),
    "tau": (1.5, -0.1),
    "warmup": (1.1, -1),
    "rounds": (0,),
    "neighbors": (0,),
    "adaptive": (1,),
    "grades": (0, 2.5),
    "ordered": (None,),
    "k": (0,),
    "pool": (0,),
    "iterations": (-1,),
    "sigma": (0,),
    "orders": ((1.0,), (1.0, 0.0), 2.0),
    "eps": (-0.1,),
    "xi": (0.0,),
    "recovery": (-1.0,),
    "adversarial": (math.inf,),
    "bins": (1,),
    "read": ("median", None),
    "width": (0,),
    "exemplars": (0,),
    "attend": (0,),
    "refine": (1,),
    "gather": (None,),
    "scenes": (0,),
    "groups": (0, 1.5),
    "levels": (0, 9),
    "queries": (0,),
    "ranking": (-1.0,),
    "sparsity": (math.nan,),
    "match": ("dive", None),
    "subactions": (0, 1),
    "contrast": (-1.0,),
    "beta": (-0.1,),
    "likelihood": (1,),
    "tube": (None,),
    "text": ("yes",),
    "parse": (0,),
    "depth": (0,),
    "noise": (-0.1,),
    "decay": (1.1,),
    "remember": (1,),
    "consistency": (-1.0,),
    "boundary": (0.0, 0.6),
    "agreement": (-0.1,),
    "mask": (1.1,),
    "kernel": ("poly",),
    "C": (0.0,),
    "epsilon": (-0.1,),
    "postures": (0,),
    "alpha": (-1.0,),
    "margin": (math.nan,),
    "steps": (0, 1.5),
}


def settings_of(method: str) -> dict:
    """The settings of a registered method with their defaults."""
    entry = METHODS[method].partition(":")[0]
    return vars(import_module(f"sapnet_core.methods.{entry}"))["SETTINGS"]


@pytest.mark.parametrize("method", EVERY)
def test_a_setting_of_the_wrong_kind_or_size_is_named_before_any_work(method):
    known = {**settings_of(method), "steps": 60}
    for name in known.keys() & WRONG.keys():
        for value in WRONG[name]:
            with pytest.raises(ValueError, match=rf"\b{name}\b") as refusal:
                check_settings(method, {name: value})
            assert "\n" not in str(refusal.value)
    check_settings(method, known)  # the defaults are valid
    check_settings(method, {})


def test_a_method_of_ones_own_checks_its_own_settings(monkeypatch):
    monkeypatch.setitem(METHODS, "mine", lambda train, settings, generator: "fitted")
    check_settings("mine", {"penalty": "any"})
    with pytest.raises(ValueError, match="'nonesuch'.*mlp"):
        check_settings("nonesuch", {})


@pytest.mark.parametrize("method", EVERY)
def test_one_label_is_learned_and_none_is_refused(method):
    train, x, _ = easy_set(labeled=1)
    width = {"decoder_channels": 8} if method == "sap-net" else {}
    assert predict(method, train, x, steps=3, **width).isfinite().all()
    with pytest.raises(ValueError, match=" 90 .* score"):
        replace(train, y=torch.full_like(train.y, torch.nan))


def test_features_that_do_not_fit_are_refused():
    train, _, _ = easy_set()
    for wrong in (
        {"actor": train.actor[:, :5]},
        {"positions": train.positions[:3]},
        {"y": train.y[:7]},
        {"frame": train.frame[0], "actor": train.actor[0]},
    ):
        with pytest.raises(ValueError, match="both views"):
            replace(train, **wrong)
    with pytest.raises(ValueError, match="rotated frames"):
        replace(train, rotated=train.rotated[:, :2])


@pytest.mark.parametrize("method", ["coreg", "pseudo-labels", "vat", "s4l", "s4aqa", "trs", "basl"])
def test_unlabeled_videos_are_learned_from(method):
    train, x, _ = easy_set()
    other = train.frame.clone()
    other[train.unlabeled] = other[train.unlabeled].flip(2)
    assert not torch.equal(predicted(method), predict(method, replace(train, frame=other), x, steps=BRIEF))


SUPERVISED = (
    *("avg-mtl", "usdl", "musdl", "tsa", "action-net", "gdlt", "hgcn", "pcln", "core", "tap"),
    *("fspn", "dae-core", "tsa-net", "sgn", "apt"),
)


@pytest.mark.parametrize("method", SUPERVISED)
def test_supervised_systems_see_labeled_videos_alone(method):
    train, x, _ = easy_set()
    other, maps = train.frame.clone(), train.maps.clone()
    other[train.unlabeled], maps[train.unlabeled] = 1e3, 1e3
    other = replace(train, frame=other, actor=other, maps=maps)
    assert torch.equal(predicted(method), predict(method, other, x, steps=BRIEF))


@pytest.mark.parametrize("method", EVERY)
def test_hidden_annotations_change_nothing_bit_for_bit(method):
    overrides = SMALL.overrides if method == "sap-net" else ()
    trial = replace(SMALL, method=method, target="execution", overrides=overrides, **ON.get(method, {}))
    data = trial_data(trial)
    learn = torch.nonzero(data.train).flatten()
    labeled = label_split(data.score[learn], trial.share, trial.seed)
    hidden, scrambled = learn[~labeled], list(data.records)
    names = ("score", "difficulty", "judges", "transitions", "action")
    for i, j in zip(hidden.tolist(), hidden.flip(0).tolist(), strict=True):
        scrambled[i] = replace(data.records[i], **{name: getattr(data.records[j], name) for name in names})
    other = replace(data, records=tuple(scrambled), score=torch.tensor([r.score for r in scrambled]))
    assert not torch.equal(other.score, data.score)
    given, swapped = (train_set(trial, d, learn, labeled) for d in (data, other))
    assert given.y[~labeled].isnan().all() and given.judges[~labeled].isnan().all()
    x = training_task(trial, data).videos
    settings = {"steps": 4, **dict(overrides)}
    assert torch.equal(predict(method, given, x, **settings), predict(method, swapped, x, **settings))


@pytest.mark.parametrize("method", EVERY)
def test_annotations_of_test_videos_change_nothing_bit_for_bit(method):
    overrides = SMALL.overrides if method == "sap-net" else ()
    trial = replace(SMALL, method=method, target="execution", overrides=overrides, **ON.get(method, {}))
    data = trial_data(trial)
    test, scrambled = torch.nonzero(~data.train).flatten(), list(data.records)
    for i, j in zip(test.tolist(), test.flip(0).tolist(), strict=True):
        own = {name: getattr(data.records[j], name) for name in ("score", "judges", "transitions", "subactions")}
        scrambled[i] = replace(data.records[i], **own)
    other = replace(data, records=tuple(scrambled), score=torch.tensor([r.score for r in scrambled]))
    assert not torch.equal(other.score, data.score)
    assert torch.equal(fit_trial(trial, data).predicted, fit_trial(trial, other).predicted)


def test_a_batch_of_videos_has_no_place_for_a_score():
    batch = training_task(SMALL, trial_data(SMALL)).videos
    assert {field.name for field in fields(batch)} == {*("frame", "actor", "difficulty", "action", "maps", "boxes")}
    assert batch.maps is None and batch.boxes is None  # SAP-Net looks at no cells
    assert len(batch) == len(trial_data(SMALL).records) and len(batch[torch.tensor([2, 0])]) == 2
    records = trial_data(SMALL).records
    assert batch.difficulty.tolist() == pytest.approx([r.difficulty for r in records])
    same = torch.tensor([[a.action == b.action for b in records] for a in records])
    assert torch.equal(batch.action[:, None] == batch.action, same)


def test_what_a_dataset_does_not_announce_is_none():
    data = trial_data(SMALL)
    bare = replace(
        data, records=tuple(replace(r, action="") for r in data.records), difficulty=torch.ones(len(data.records))
    )
    task = training_task(SMALL, bare)
    for known in (task.videos, task.train):
        assert known.difficulty is None and known.action is None
    part = replace(data, records=(replace(data.records[0], action=""), *data.records[1:]))
    assert training_task(SMALL, part).videos.action[0] == -1


def test_only_training_videos_have_a_photometric_view():
    data = trial_data(SMALL)
    assert torch.equal(training_task(SMALL, data).videos.actor[data.train], training_task(SMALL, data).train.actor)
    photometric = training_task(replace(SMALL, teacher="photometric"), data)
    assert photometric.videos.actor is None and photometric.train.actor is not None


def test_facts_that_do_not_fit_the_videos_are_refused():
    train, x, _ = easy_set()
    for given in (x, train):
        for name in ("difficulty", "action"):
            for wrong in (getattr(given, name)[:5], getattr(given, name)[:, None]):
                with pytest.raises(ValueError, match=rf"{name} ") as refusal:
                    replace(given, **{name: wrong})
                assert "\n" not in str(refusal.value)
    for name in ("actor", "maps", "boxes"):
        with pytest.raises(ValueError, match=f"{name} "):
            replace(x, **{name: getattr(x, name)[:5]})


def test_what_a_set_does_not_annotate_is_refused():
    train, x, _ = easy_set()
    with pytest.raises(ValueError, match="musdl .*panels"):
        predict("musdl", replace(train, judges=None), x)
    with pytest.raises(ValueError, match="target='execution'"):
        predict("musdl", replace(train, y=train.y / 3), x)
    with pytest.raises(ValueError, match="s4l .*rotated frames"):
        predict("s4l", replace(train, rotated=None), x)
    with pytest.raises(ValueError, match="tsa .*transitions"):
        predict("tsa", replace(train, transitions=None), x)
    for method, wrong in (("usdl", {"read": "median"}), ("svr", {"kernel": "poly"})):
        with pytest.raises(ValueError, match=next(iter(wrong.values()))):
            predict(method, train, x, **wrong)
    # without attributes, the score alone is learned
    assert predict("avg-mtl", replace(train, attributes=None), x).isfinite().all()


def test_details_of_labeled_dives_alone():
    records = trial_data(SMALL).records[:6]
    labeled = torch.tensor([True, False] * 3)
    found = label_details(records, labeled)
    assert found["judges"][~labeled].isnan().all() and (found["attributes"][~labeled] == -1).all()
    turns = found["transitions"][labeled]
    assert ((turns > 0) & (turns < 1)).all() and (turns[:, 0] <= turns[:, 1]).all()
    assert (found["attributes"][labeled] < torch.tensor([*ATTRIBUTES.values()])).all()
    strangers = [replace(r, action="Ball", judges=(), transitions=()) for r in records]
    assert label_details(strangers, labeled) == {"judges": None, "transitions": None, "attributes": None}


def test_gains_of_coreg_are_those_of_refitting():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 4, generator=g), torch.randn(20, generator=g)
    far = torch.cdist(x, x, p=2.0)
    h = coreg._Neighbors(far, 2.0, torch.arange(20), y, 3)
    pool = torch.arange(20, 60)
    gains, guesses = h.gains(pool)
    own = h.predict(far[:20, :20])[0]
    for u, gain, guess in zip(pool.tolist(), gains, guesses, strict=True):
        near = far[u, :20].topk(3, largest=False).indices
        assert guess == pytest.approx(float(y[near].mean()), abs=1e-5)
        more = coreg._Neighbors(far, 2.0, torch.tensor([*range(20), u]), torch.cat([y, guess[None]]), 3)
        after = more.predict(far[:20][:, more.known])[0]
        by_hand = ((y - own) ** 2 - (y - after) ** 2)[near].sum()
        assert float(gain) == pytest.approx(float(by_hand), abs=1e-4)


def test_the_adversary_goes_where_the_score_changes_most():
    weight = torch.tensor([3.0, 4.0])
    r = vat.adversary(lambda x: x @ weight, torch.zeros(5, 2), eps=0.5, xi=0.1)
    assert torch.allclose((r @ weight).abs(), torch.full((5,), 2.5), atol=1e-4)  # the score changes by eps ||w||


def test_rotations_are_told_apart_with_the_rotation_loss_alone():
    train, _, _ = easy_set()
    right = {}
    for weight in (0.0, 1.0):
        fitted = get_method("s4l")(train, {"steps": 60, "weight": weight}, torch.Generator().manual_seed(0))
        with torch.no_grad():
            h = torch.relu(fitted.network["trunk"](s4l.four_rotations(train, ordered=False)))
            told = fitted.network["rotation"](h).argmax(2)
        right[weight] = float((told == torch.arange(4)).float().mean())
    assert right[1.0] > 0.95 and right[0.0] < 0.6


def test_rotations_change_what_is_predicted():
    train, x, _ = easy_set()
    still = replace(train, rotated=train.frame.unsqueeze(1).expand(-1, 3, -1, -1))
    assert not torch.allclose(predict("s4l", train, x), predict("s4l", still, x), atol=1e-4)


def test_the_gradient_is_reversed():
    x = torch.ones(3, requires_grad=True)
    s4aqa.reverse_gradient(x, 0.5).sum().backward()
    assert x.grad.tolist() == [-0.5] * 3


def test_a_distribution_sits_on_its_score():
    centers = torch.linspace(0, 1, 101)
    p = usdl.normal_bins(torch.tensor([0.3, torch.nan]), centers, 0.05)
    assert float(p[0].sum()) == pytest.approx(1) and float(p[0] @ centers) == pytest.approx(0.3, abs=1e-4)
    assert p[1].isnan().all()
    assert float(usdl.divergence(p[0], p[0].clamp(min=1e-30).log())) == pytest.approx(0, abs=1e-5)


def test_a_pseudo_score_is_the_mean_of_the_nearest_labeled_scores():
    x = torch.tensor([[0.0], [1.0], [4.0], [0.4], [3.8]])
    y = torch.tensor([0.1, 0.3, 0.9, torch.nan, torch.nan])
    flat = torch.zeros(5, 11)
    found = pseudo.pseudo_scores(x, flat, y, neighbors=2, alpha=1.0)
    assert torch.allclose(found, torch.tensor([0.1, 0.3, 0.9, 0.2, 0.6]))
    like = flat.index_put((torch.tensor([2, 3]), torch.tensor([7, 7])), torch.tensor(9.0))  # 3 is predicted like 2
    by_features, by_prediction = (pseudo.pseudo_scores(x, like, y, 1, alpha)[3] for alpha in (0.0, 100.0))
    assert float(by_features) == pytest.approx(0.1) and float(by_prediction) == pytest.approx(0.9)
    assert float(pseudo.pseudo_scores(x, flat, y, neighbors=50, alpha=0.0)[4]) == pytest.approx(1.3 / 3)


def test_widths_become_those_of_the_trusted_predictions():
    centers = torch.linspace(0, 1, 101)
    scores = torch.tensor([0.3, 0.3, 0.7, 0.7, 0.5])
    spread = torch.tensor([0.02, 0.02, 0.08, 0.2, 0.1])
    logits = torch.stack([usdl.normal_bins(y, centers, s) for y, s in zip(scores, spread, strict=True)])
    logits = logits.clamp(min=1e-30).log()
    trusted = torch.tensor([True, True, True, False, False])
    found = pseudo.adapted_widths(scores, logits, trusted, centers, torch.full((101,), 0.05))
    assert float(found[30]) == pytest.approx(0.02, rel=0.1) and float(found[70]) == pytest.approx(0.08, rel=0.1)
    rest = torch.ones(101, dtype=torch.bool).index_fill(0, torch.tensor([30, 70]), False)
    assert (found[rest] == 0.05).all()


def test_the_recovered_clip_is_the_masked_one_without_its_index():
    """Every clip has a feature of its own, so that the right one can be told from all others."""
    train, _, _ = easy_set()
    own = 2 * torch.randn(STEPS // 2, CHANNELS, generator=torch.Generator().manual_seed(1)).repeat_interleave(2, 0)
    seen = own + 0.1 * train.frame
    fitted = get_method("s4aqa")(
        replace(train, frame=seen), {"steps": 300, "lr": 3e-3, "adversarial": 0.0}, torch.Generator().manual_seed(0)
    )
    x = s4aqa.clips(seen)
    right = []
    with torch.no_grad():
        for k in range(x.shape[1]):
            masked = x.clone()
            masked[:, k] = 0
            found = fitted.network["decoder"](fitted.network["encoder"](masked))
            right.append((torch.cdist(found, own[::2]).argmin(1) == k).float().mean())
    assert float(torch.stack(right).mean()) > 0.9


def test_smaller_panels_are_the_middle_of_the_largest():
    nan = torch.nan
    panels = torch.tensor([[7.0, 1, 2, 6, 5, 4, 3], [3.0, 1, 2, nan, nan, nan, nan], [nan] * 7])
    seats = musdl.sorted_panels(panels)
    assert seats[0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert seats[1, 2:5].tolist() == [1, 2, 3] and seats[1].isnan().sum() == 4 and seats[2].isnan().all()


def test_stages_are_read_in_order():
    x = torch.arange(21.0).reshape(1, 21, 1)
    found = tsa.stages(x, torch.tensor([[5.0, 15.0]])).squeeze()
    assert torch.allclose(
        found, torch.tensor([[0.0, 1, 2, 3, 4], [5.0, 7.25, 9.5, 11.75, 14], [15.0, 16.25, 17.5, 18.75, 20]])
    )


def test_grades_apart_cost_nothing():
    apart = torch.eye(3).repeat(4, 1, 1)  # every video has the same three, orthogonal embeddings
    assert float(gdlt.grade_triplet(apart, 1.0)) == pytest.approx(0, abs=1e-6)
    assert float(gdlt.grade_triplet(torch.ones(4, 3, 3), 1.0)) == pytest.approx(1)


def test_a_method_is_one_line(monkeypatch):
    train, x, y = easy_set()
    monkeypatch.setitem(METHODS, "mine", lambda train, settings, generator: Fitted(lambda x: x.frame.mean((1, 2))))
    assert torch.equal(predict("mine", train, x), x.frame.mean((1, 2)))
    assert {*EVERY} == set(METHODS) - {"mine", *own_methods()}


@pytest.mark.parametrize("table", COMPARISONS)
def test_every_printed_row_runs(table):
    declared = comparison_trials(table, PROFILES["study"])
    quick = {key[0] for key in comparison_trials(table, PROFILES["quick"])}
    assert {key[0] for key in declared} - quick == ({"S4L"} if table == "VI" else set())
    printed = paper_table(table)
    assert set(printed.index) <= {system for system, *_ in declared}
    assert {column for _, column, _ in declared} <= set(printed.columns)
    for system, cells in printed.iterrows():
        assert {(system, column) for column in cells.dropna().index if column != "Avg"} <= {k[:2] for k in declared}
    shared = {t for name in ("I", "fig06") for t in declared_trials(name, PROFILES["study"]).values()}
    # shares the trials of Table I and Figure 6
    assert table != "IV" or {t for k, t in declared.items() if "SAP-Net" in k[0]} <= shared


def test_pair_systems_compare_dives_of_one_number_on_finediving():
    pairs = {name for name, (method, _) in RIVALS.items() if "match" in settings_of(method)}
    assert pairs == set(PAIRS)
    for table, found in (("IV", "difficulty"), ("V", "action")):
        for (system, *_), trial in comparison_trials(table, PROFILES["quick"]).items():
            if system in PAIRS:
                assert dict(trial.overrides).get("match", settings_of(trial.method)["match"]) == found


def test_rows_that_need_a_word_have_one():
    assert marked("APT") == "APT (after its title)" and marked("CoRe") == "CoRe"
    assert marked("I3D+MLP (clips in order) (searched)") == "I3D+MLP, clips in order, searched"
    assert all(marked(name).count("(") < 2 for name in (*SYSTEMS, *CONTROLS, *RIVALS, *SEARCHED))
    rows = set(COMPARISONS["IV"][0]) | set(COMPARISONS["VI"][0])
    assert {name for name in RIVALS if FOOTNOTES.get(name) == "after the paper"} == rows - {
        *paper_table("IV").index,
        *paper_table("VI").index,
        *CONTROLS,
        *SEARCHED,
        "I3D+MLP",
    }


def test_a_set_without_judges_has_no_musdl(monkeypatch):
    bare = tuple(replace(r, judges=()) for r in trial_data(SMALL).records)
    monkeypatch.setattr("sapnet_core.experiments.tables.trial_records", lambda trial: bare)
    rows = {system for system, *_ in comparison_trials("V", PROFILES["quick"])}
    assert "MUSDL" not in rows and {"USDL", "TSA"} <= rows


def test_a_system_that_was_not_searched_keeps_its_defaults():
    tried = pd.read_csv(TUNING)
    others = tried[~tried.setting.str.startswith("VAT: ")]
    assert best_of("VAT", others) == "VAT: defaults" != best_of("VAT", tried)


@pytest.mark.parametrize("system", SPACES)
def test_the_tables_use_what_the_search_chose(system):
    tried = pd.read_csv(TUNING)
    best = best_of(system, tried)
    method, chosen = search_candidates(system)[best]
    if system == OURS:  # the table's row leaves out settings that are the defaults
        network, training = sapnet.check({})
        default = vars(network) | vars(training)
        chosen = {name: value for name, value in chosen.items() if value != default[name]}
    used = {**RIVALS, **{name.removesuffix(" (searched)"): row for name, row in SEARCHED.items()}, OURS: SYSTEMS[OURS]}
    assert (method, chosen) == used[system]
    assert tried[tried.setting == best].chosen.all()


@pytest.mark.parametrize("system", SPACES)
def test_a_search_tries_different_settings(system):
    """Each candidate differs from the defaults and from every other one in a value, not only in its name."""
    candidates = list(search_candidates(system).values())
    method = candidates[0][0]
    known = settings_of(method)
    if method == "sap-net":
        known = {name: value for part in sapnet.check({}) for name, value in vars(part).items()}
    defaults = {name: known[name] for name in SPACES[system]}
    assert tuple(defaults.values()) == DEFAULTS[system]
    assert math.prod(map(len, SPACES[system].values())) >= BUDGET
    assert len({repr({**defaults, **settings}) for _, settings in candidates}) == BUDGET


@pytest.mark.parametrize("system", SPACES)
def test_a_replaced_draw_moves_no_other(system):
    space = SPACES[system]
    first = random.Random(system).sample(list(product(*space.values())), BUDGET - 1)
    first = [dict(zip(space, values, strict=True)) for values in first if values != DEFAULTS[system]]
    _, *others = [settings for _, settings in search_candidates(system).values()]
    assert others[: len(first)] == first


def test_a_search_can_train_what_its_table_lacks(tmp_path, monkeypatch):
    """`--missing` takes candidates without rows of this format, keeps the other rows, and chooses again."""
    names = list(search_candidates("VAT"))
    rows = [(name, "mtl-aqa", 0.1, 2, 0.5 + 0.01 * k, 0.1, FORMAT, k == 4) for k, name in enumerate(names[:5])]
    rows[1] = (*rows[1][:6], FORMAT - 1, False)
    gone = ("VAT: eps = 7.0", "mtl-aqa", 0.1, 2, 0.9, 0.1, FORMAT, False)
    columns = ["setting", "dataset", "share", "seeds", "rho_mean", "rho_sd", "format", "chosen"]
    table = pd.DataFrame([*rows, gone], columns=columns)
    monkeypatch.setattr(tune_methods, "TUNING", tmp_path / "tuning.csv")
    table.to_csv(tune_methods.TUNING, index=False)
    ran = []
    monkeypatch.setattr(tune_methods, "run_trials", lambda trials, *_, **bars: ran.extend(trials))
    found = {"dataset": "mtl-aqa", "share": 0.1, "rho": [0.7, 0.8]}
    monkeypatch.setattr(tune_methods, "results", lambda trials: pd.DataFrame(found))
    asked = {"search": ["VAT"], "missing": True, "jobs": 1}
    tune_methods.main(Namespace(**asked))
    assert ran == [trial for name in (names[1], names[5]) for trial in tune_methods.tuning_trials(name)]
    after = pd.read_csv(tune_methods.TUNING).set_index("setting")
    assert set(after.index) == set(names) and (after.format == FORMAT).all()
    assert after.rho_mean[names[4]] == 0.54 and after.rho_mean[names[5]] == 0.75
    assert list(after.index[after.chosen]) == [best_of("VAT", after.reset_index())] == [names[1]]
    ran.clear()
    tune_methods.main(Namespace(**asked))
    assert not ran


def test_every_system_has_one_budget():
    assert set(RIVALS) <= set(SPACES)
    for system in SPACES:
        candidates = search_candidates(system)
        assert len(candidates) == BUDGET and candidates == search_candidates(system)
        assert set(candidates) <= set(CANDIDATES) and f"{system}: defaults" in candidates
    train, x, _ = easy_set()
    for system in RIVALS:  # the method accepts every candidate
        for method, settings in search_candidates(system).values():
            assert predict(method, train, x, **settings | {"steps": 2}).isfinite().all()
