"""What the comparison of systems draws and measures: costs, second losses, marks of routines, numbers of the paper."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from test_trials import SMALL

from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.paper import paper_table
from sapnet_core.experiments.results import curves, predictions
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.system_cost import system_cost
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.experiments.unlabeled_losses import UNLABELED_LOSSES, unlabeled_losses
from sapnet_core.reporting.beside_paper import beside_paper, order_agreement
from sapnet_core.reporting.cross_scores import SUB_SCORES, cross_figure, cross_scores
from sapnet_core.reporting.style import COLORS, use_style

SEEDS = (0, 1)


@pytest.fixture(autouse=True)
def closed():
    use_style()
    yield
    plt.close("all")


@pytest.mark.usefixtures("own_runs")
def test_the_cost_of_a_system_is_that_of_its_own_training_on_one_thread():
    threads = torch.get_num_threads()
    mlp, neighbors = replace(SMALL, method="mlp", overrides=()), replace(SMALL, method="coreg", overrides=())
    trials = {
        ("IV", "I3D+MLP", "supervised", 0): mlp,
        ("IV", "I3D+MLP", "10%", 0): mlp,
        ("VI", "COREG", "x", 0): neighbors,
    }
    table = system_cost(trials)
    assert table["system"].tolist() == ["I3D+MLP", "COREG"]
    assert table["measured on"].tolist() == [f"{SMALL.dataset} 10%", f"{SMALL.dataset} x"]
    assert table["parameters"].tolist()[1] == 0 and table["parameters"][0] > 10_000
    assert (table["videos/s"] > 0).all() and table["training, s"][0] > 0
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("own_runs")
def test_unlabeled_losses_are_the_first_and_last_values_of_the_stored_curves():
    trials = {("VAT", "10%", seed): replace(SMALL, method="vat", overrides=(), seed=seed) for seed in SEEDS}
    trials |= {("I3D+MLP", "10%", 0): replace(SMALL, method="mlp", overrides=())}
    run_trials(trials.values(), 1)
    table = unlabeled_losses(trials, "10%")
    assert table["system"].tolist() == ["VAT"] and table["second loss"].tolist() == ["L_vat"]
    values = [curves(trials["VAT", "10%", seed])["L_vat"] for seed in SEEDS]
    assert table["begins"][0] == pytest.approx(np.mean([v[v > 0].iloc[0] for v in values]))
    assert table["ends"][0] == pytest.approx(np.mean([v[v > 0].iloc[-1] for v in values]))
    assert unlabeled_losses(trials, "40%").empty
    assert UNLABELED_LOSSES["S4L"]["L_rot"] == pytest.approx(
        torch.nn.functional.cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item()
    )


@pytest.mark.usefixtures("own_runs")
def test_a_network_is_asked_for_both_sub_scores_of_the_same_routines():
    trials = {
        (f"SP {name.upper()}", seed): Trial(
            "finefs", "drawn", "ridge", 0.5, seed, name, 12, 8, steps=12, size=48, group="SP"
        )
        for name in SUB_SCORES
        for seed in SEEDS
    }
    run_trials(trials.values(), 1)
    cross = cross_scores(trials)
    assert len(cross) == 2 * len(trials) and set(cross["group"]) == {"SP"}
    for (column, seed), trial in trials.items():
        found, name = predictions(trial), column.split()[1].lower()
        own = cross.set_index(["learned", "asked", "seed"]).at[(name, name, seed), "rho"]
        assert own == pytest.approx(
            float(spearman(*(torch.tensor(found[n].to_numpy()) for n in ("predicted", "score"))))
        )
    data = {name: trial_data(trials[f"SP {name.upper()}", 0]) for name in SUB_SCORES}
    score = [data[name].score[~data[name].train] for name in SUB_SCORES]
    assert cross.attrs["true"] == {"SP": pytest.approx(float(spearman(*score)))}
    other = cross.query("learned == 'pcs' and asked == 'tes' and seed == 0")["rho"].item()
    mine = torch.tensor(predictions(trials["SP PCS", 0])["predicted"].to_numpy())
    assert other == pytest.approx(float(spearman(mine, score[1])))
    fig = cross_figure(cross)
    bars = [bar.get_height() for bar in fig.axes[0].patches]
    mean = cross.groupby(["asked", "learned"], sort=False)["rho"].mean()
    assert bars == pytest.approx([mean[asked, learned] for asked in SUB_SCORES for learned in SUB_SCORES])


def made_up() -> pd.DataFrame:
    rho = {OURS: 0.6, "VAT": 0.7, "S4L": 0.5, "I3D+MLP": 0.4, "TRS": 0.9}
    return pd.DataFrame(
        [("IV", c, s, seed, r + 0.01 * seed) for c in ("10%", "40%") for s, r in rho.items() for seed in SEEDS],
        columns=["table", "column", "system", "seed", "rho"],
    )


def test_dots_bars_and_diamonds_stand_at_their_numbers():
    runs = made_up()
    fig = beside_paper(runs, "Table IV, 3 seeds")
    assert (
        fig.get_suptitle() == "Table IV, 3 seeds"
        and fig is plt.gcf()
        and [ax.get_title() for ax in fig.axes] == ["10%", "40%"]
    )
    ax, paper = fig.axes[1], paper_table("IV")["40%"]
    names = [text.get_text() for text in fig.axes[0].get_yticklabels()]
    assert names == ["I3D+MLP", "S4L", OURS, "VAT", "TRS (after the paper)"]
    bars, dots, diamonds = (ax.lines[i::3] for i in range(3))
    for i, system in enumerate(["I3D+MLP", "S4L", OURS, "VAT", "TRS"]):
        rho = runs.query("column == '40%' and system == @system")["rho"]
        assert bars[i].get_xdata() == pytest.approx([rho.mean()] * 2) and dots[i].get_xdata() == pytest.approx(rho)
        shown = diamonds[i].get_xdata()[0]
        assert np.isnan(shown) if system == "TRS" else shown == paper[system]
        assert (bars[i].get_color() == COLORS[5]) == (system == OURS)


def test_orders_agree_over_the_systems_that_the_paper_prints():
    table = order_agreement(made_up()).set_index("column")
    paper = paper_table("IV")["10%"]
    both = ["I3D+MLP", "S4L", OURS, "VAT"]
    expected = pd.Series([0.4, 0.5, 0.6, 0.7]).corr(pd.Series([paper[s] for s in both]), method="spearman")
    assert table.loc["10%", "agreement"] == pytest.approx(expected) and table.loc["10%", "systems"] == len(both)
    assert table.loc["10%", "place"] == "3 of 5" and 0 < expected < 1
