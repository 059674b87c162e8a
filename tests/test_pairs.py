"""Paired differences over seeds and videos, their verdicts, and the drawings that show them."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from sapnet_core.experiments import pairs
from sapnet_core.experiments.metrics import mean_interval, paired_difference, spearman
from sapnet_core.experiments.pairs import Paired, claims_table, seed_scores, together, verdict
from sapnet_core.reporting import plots

VIDEOS, SEEDS = 40, 3


@pytest.fixture
def stored(monkeypatch):
    """Predictions of two systems in two columns: A follows the truth more closely than B."""
    draw = np.random.default_rng(0)
    true = draw.normal(size=VIDEOS)
    tables = {
        (system, column, seed): pd.DataFrame(
            {"key": range(VIDEOS), "score": true, "predicted": true + noise * draw.normal(size=VIDEOS)}
        )
        for system, noise in (("A", 0.3), ("B", 1.5))
        for column in ("10%", "20%")
        for seed in range(SEEDS)
    }
    monkeypatch.setattr(pairs, "predictions", lambda key: tables[key])
    return tables, {key: key for key in tables}


def test_differences_are_those_of_the_metrics(stored):
    tables, trials = stored
    scores = seed_scores(trials, resamples=300)
    true = torch.tensor(tables["A", "10%", 0]["score"].to_numpy())
    A, B = ([torch.tensor(tables[s, "10%", i]["predicted"].to_numpy()) for i in range(SEEDS)] for s in "AB")
    found = scores.difference([("A", "10%")], [("B", "10%")])
    by_seed = [float(spearman(a, true) - spearman(b, true)) for a, b in zip(A, B, strict=True)]
    assert found[:3] == pytest.approx(mean_interval(by_seed))
    one = pairs.SeedScores({k: v[:1] for k, v in scores.rho.items()}, {k: v[:1] for k, v in scores.again.items()})
    core = paired_difference(A[0], B[0], true, resamples=300)
    assert one.difference([("A", "10%")], [("B", "10%")])[3:] == pytest.approx((core.low, core.high))


def test_the_mean_over_columns_is_taken_within_a_seed(stored):
    scores = seed_scores(stored[1], resamples=50)
    found = scores.difference([("A", "10%"), ("A", "20%")], [("B", "10%"), ("B", "20%")])
    by_seed = sum(scores.rho["A", c] - scores.rho["B", c] for c in ("10%", "20%")) / 2
    assert found[:3] == pytest.approx(mean_interval(by_seed))
    same = scores.difference([("A", "10%")], [("A", "10%")])
    assert same == pytest.approx((0, 0, 0, 0, 0))


def test_unlike_test_videos_and_missing_seeds_are_refused(stored):
    tables, trials = stored
    with pytest.raises(ValueError, match="need the same"):
        seed_scores({key: key for key in trials if key != ("B", "20%", 2)}, 10)
    tables["B", "20%", 2] = tables["B", "20%", 2].assign(score=0.5)
    with pytest.raises(ValueError, match="other test videos"):
        seed_scores(trials, 10)


def test_keys_of_two_parts_give_their_first(stored):
    tables, trials = stored
    flat = {(key[0], key[2]): key for key in trials if key[1] == "10%"}
    assert set(seed_scores(flat, 10).rho) == {"A", "B"}


@pytest.mark.parametrize(
    ("seeds", "videos", "said"),
    [
        ((0.1, 0.3), (0.1, 0.2), "supported"),
        ((-0.3, -0.1), (-0.2, -0.1), "contradicted"),
        ((-0.1, 0.3), (0.1, 0.2), "undecided"),
        ((0.1, 0.3), (-0.1, 0.2), "undecided"),
        ((float("nan"), float("nan")), (0.1, 0.2), "undecided"),
        ((0.1, 0.3), (-0.2, -0.1), "undecided"),
    ],
)
def test_verdicts_ask_both_intervals(seeds, videos, said):
    found = Paired(0.0, *seeds, *videos)
    turned = {"supported": "contradicted", "contradicted": "supported"}.get(said, said)
    assert verdict(found) == said and verdict(found, -1) == turned


def test_a_claim_of_many_parts():
    yes, no, open_ = Paired(0.2, 0.1, 0.3, 0.1, 0.3), Paired(-0.2, -0.3, -0.1, -0.3, -0.1), Paired(0, -1, 1, -1, 1)
    assert together(["supported"] * 2) == "supported" and together(["supported", "undecided"]) == "undecided"
    assert together(["undecided", "contradicted"]) == "contradicted" and together([]) == "undecided"
    table = claims_table({"one": yes, "some": {"x": yes, "y": open_}, "all": {"x": yes, "y": no, "z": open_}})
    assert table["verdict"].tolist() == ["supported", "undecided", "contradicted"]
    assert str(yes) == f"{yes}" == "+0.200 [+0.100, +0.300]"
    assert table["difference"].tolist() == ["+0.200", "+0.000 (y, the least)", "-0.200 (y, the least)"]


def test_drawings_show_the_numbers_they_are_given():
    rows = {"10%": Paired(0.1, 0.0, 0.2, 0.05, 0.15), "mean": Paired(-0.1, -0.3, 0.1, -0.2, 0.0)}
    fig, (a, b, c, d) = plt.subplots(1, 4)
    plots.forest(a, rows, gap_before="mean")
    assert [t.get_text() for t in a.get_yticklabels()] == list(rows) and a.get_yticks().tolist() == [0.0, 1.3]
    over_seeds, over_videos = (np.array([line[:, 0] for line in part.get_segments()]) for part in a.collections)
    assert over_seeds.tolist() == [[0.0, 0.2], [-0.3, 0.1]] and over_videos.tolist() == [[0.05, 0.15], [-0.2, 0.0]]
    plots.stems(b, dict(zip((1, 2), rows.values(), strict=True)))
    assert b.lines[-1].get_ydata().tolist() == [0.1, -0.1]
    values = [[0.5, 0.7], [0.6, 0.6]]
    plots.seed_curve(c, (1, 2), values)
    assert c.lines[-1].get_ydata() == pytest.approx([0.6, 0.6]) and sorted(c.lines[0].get_ydata()) == [
        0.5,
        0.6,
        0.6,
        0.7,
    ]
    plots.seed_marks(d, (1, 2), values, "gray")
    assert d.lines[-1].get_ydata() == pytest.approx([0.6, 0.6]) and len(set(d.lines[0].get_xdata())) == 4
    plt.close(fig)
