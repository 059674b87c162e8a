"""Do networks that learned a routine's technical score also predict its component score, and the other way round?

Each network learned one of the two sub-scores of FineFS, and its predictions are correlated with both.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from sapnet_core.experiments.intervals import correlation_interval
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.reporting.plots import beyond
from sapnet_core.reporting.style import COLORS, PAGE

__all__ = ["SUB_SCORES", "cross_figure", "cross_scores"]

SUB_SCORES = ("pcs", "tes")  # program components, technical elements


def cross_scores(trials: Mapping[tuple[str, int], Trial]) -> pd.DataFrame:
    """Correlate the predictions of each network with both true sub-scores of the same test videos.

    Args:
        trials: (column, seed) -> a trial of one system that has a result; columns are named "SP PCS", "SP TES", "FS
            PCS" and "FS TES".

    Returns:
        One row per group, learned sub-score, sub-score asked for, and seed: group, learned, asked, seed, rho.
        `attrs["true"]` maps a group to the correlation of its two true sub-scores.
    """
    rows, true = [], {}
    for group in dict.fromkeys(column.split()[0] for column, _ in trials):
        own = {name: {s: t for (c, s), t in trials.items() if c == f"{group} {name.upper()}"} for name in SUB_SCORES}
        data = {name: trial_data(next(iter(of.values()))) for name, of in own.items()}
        test = ~data["pcs"].train
        keys = [record.key for record, keep in zip(data["pcs"].records, test, strict=True) if keep]
        score = {name: of.score[test].double() for name, of in data.items()}
        true[group] = float(spearman(score["pcs"], score["tes"]))
        for learned, of in own.items():
            for seed, trial in of.items():
                found = predictions(trial).set_index("key").loc[keys, "predicted"].to_numpy()
                rows += [
                    (group, learned, asked, seed, float(spearman(torch.tensor(found), score[asked])))
                    for asked in SUB_SCORES
                ]
    table = pd.DataFrame(rows, columns=["group", "learned", "asked", "seed", "rho"])
    table.attrs["true"] = true
    return table


def cross_figure(cross: pd.DataFrame, where: str = "") -> Figure:
    """Draw the mean over seeds as bars with their 95 % intervals, with an arrow where one goes on beyond the panel, and
    every seed as a dot, one panel a group; the figure is the current one. `where` names source and size for the title,
    beside the number of seeds."""
    groups = list(dict.fromkeys(cross["group"]))
    fig, axes = plt.subplots(1, len(groups), figsize=(PAGE, 3.4), sharey=True, squeeze=False)
    axes[0, 0].set(ylabel="Spearman's ρ", ylim=(min(0.0, 1.2 * float(cross["rho"].min())), 1))
    for ax, group in zip(axes[0], groups, strict=True):
        for i, asked in enumerate(SUB_SCORES):
            for j, learned in enumerate(SUB_SCORES):
                own = (cross["group"] == group) & (cross["learned"] == learned) & (cross["asked"] == asked)
                seeds, x = cross.loc[own, "rho"], j + 0.4 * i - 0.2
                label = f"asked for {asked.upper()}" if j == 0 else None
                ax.bar(x, seeds.mean(), 0.36, color=COLORS[i], label=label)
                _, low, high = correlation_interval(seeds.tolist())
                ax.vlines(x + 0.1, low, high, color="black", lw=1)
                beyond(ax, x + 0.1, low, high, "black", axis="y", size=6)
                ax.plot(np.full(len(seeds), x), seeds, ".", color="black", ms=4)
        ax.set(
            xticks=range(len(SUB_SCORES)),
            xticklabels=[f"learned {m.upper()}" for m in SUB_SCORES],
            title=f"FineFS, {group}",
        )
    seeds = f"{cross['seed'].nunique()} seeds"
    fig.suptitle(f"SAP-Net on {', '.join(filter(None, (where, seeds)))}\n(lines: 95 % over seeds)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
