"""What was looked at of a system that does not beat a control: its search, its file, and where it departs.

A comparison with a control (`paired_differences.control_differences`) tells which systems do not beat it. These
functions gather, for one row about each of them, what its search of settings gained (`methods/tuning.csv`), what is
not as in its source (`caveats`), how its training ended where it is below a control by the verdict, and, where one
thing of it was changed at a time (`recipes.look_at_core`), what each change gained (`methods/looked_at.csv`).
"""

import inspect
from collections.abc import Mapping

import numpy as np
import pandas as pd

from sapnet_core.experiments.intervals import Interval
from sapnet_core.experiments.results import curves, predictions
from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED
from sapnet_core.experiments.systems import get_system, marked
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.methods import get_description
from sapnet_core.recipes.look_at_core import LOOKED_AT, TABLES
from sapnet_core.recipes.tune_methods import TUNING, best_of
from sapnet_core.reporting.caveats import CAVEATS, DEPARTS
from sapnet_core.reporting.heatmap import VERDICT_SIGNS

__all__ = ["changes_tried", "file_lines", "not_above", "search_gain", "training_end"]


def _file_of(system: str):
    """The module of `methods` that describes a system's training."""
    return inspect.getmodule(inspect.unwrap(get_description(get_system(system)[0])))


def file_lines(system: str) -> int:
    """Number of lines of the file in `methods` that a system has."""
    return len(inspect.getsource(_file_of(system)).splitlines())


def search_gain(system: str) -> tuple[int, float]:
    """How many candidates the search of settings tried for a system, and how far the one that it chose lies above the
    published settings, in mean rho on validation videos of other twins; (0, 0.0) if it has not tried the system."""
    table = pd.read_csv(TUNING)
    tried = table[(table["setting"].str.partition(": ")[0] == system) & (table["format"] == FORMAT)]
    means = tried.groupby("setting")["rho_mean"].mean()
    if f"{system}: defaults" not in means.index:
        return 0, 0.0
    return len(means), float(means[best_of(system, table)] - means[f"{system}: defaults"])


def changes_tried(system: str, names: dict[str, str], table: pd.DataFrame | None = None) -> str:
    """Sentences on the changes that were tried one at a time: what each gained, and which reaches a control that the
    system does not reach; "" where none was tried.

    Args:
        system: a row's name.
        names: a control's name -> what it is called in the sentences.
        table: rows as in `LOOKED_AT`, by default these.
    """
    table = pd.read_csv(LOOKED_AT) if table is None else table
    table = table[table["format"] == FORMAT]
    own = table[table["system"] == system].set_index("candidate")
    changed = own.drop(index=TABLES, errors="ignore")
    if TABLES not in own.index or changed.empty:
        return ""
    before = own.loc[TABLES]
    labels = "all labels" if before["share"] == 1 else f"{before['share']:.0%} of the labels"
    gains = "; ".join(f"{name} {Interval(r.difference, r.low, r.high)}" for name, r in changed.iterrows())
    sentences = [
        f"One thing of {system} was changed at a time, on the validation videos with which settings are searched, with "
        f"{labels} and {before['seeds']} seeds (`methods/{LOOKED_AT.name}`). Its ρ there, {before['rho_mean']:.3f}, "
        f"changed by (95 % interval): {gains}."
    ]
    best = changed["rho_mean"].idxmax()
    for control, name in names.items():
        for rho in table.loc[table["system"] == control, "rho_mean"]:
            gap, reaches = rho - before["rho_mean"], changed.index[changed["rho_mean"] >= rho]
            if gap <= 0:
                sentences.append(
                    f"On average over these seeds {system} is not below {name} there, which has {rho:.3f}."
                )
            elif len(reaches):
                listed = " and ".join(f'"{change}"' for change in reaches)
                close = "closes" if len(reaches) == 1 else "each close"
                sentences.append(f"On average over these seeds {listed} {close} the gap of {gap:.3f} to {name}.")
            else:
                most = changed.at[best, "difference"]
                part = f'the most is {most:+.3f}, by "{best}"' if most > 0 else "none gains anything"
                sentences.append(f"None closes the gap of {gap:.3f} to {name}: {part}.")
    return " ".join(sentences)


def training_end(curve: pd.DataFrame) -> tuple[float, float, float] | None:
    """How a training ended: its loss (`L_all`) at the first step and on average over the last tenth of the steps, and
    the part of this fall that came after two thirds of the steps (from the mean of the tenth of the steps before, to
    the last tenth). None if the system has no loss that is trained, or its loss does not fall."""
    if "L_all" not in curve or len(loss := curve["L_all"].to_numpy()) < 30:
        return None
    done = (np.arange(len(loss)) + 1) / len(loss)
    begins, ends = loss[0], loss[done > 0.9].mean()
    before = loss[(done > 2 / 3 - 0.1) & (done <= 2 / 3)].mean()
    return (float(begins), float(ends), float((before - ends) / (begins - ends))) if ends < begins else None


def _trained(rows: pd.DataFrame, system: str, trials: Mapping[tuple[str, str, int], Trial]) -> str:
    """A sentence on the training and the predictions of a system in the column in which it is furthest below a control
    by the verdict; "" where it is below none, or no trial of it is given."""
    below = rows[rows["verdict"] == CONTRADICTED]
    if below.empty:
        return ""
    column = below.loc[below["difference"].idxmin(), "column"]
    own = [trial for (name, of, _), trial in trials.items() if (name, of) == (system, column)]
    if not own:
        return ""
    spreads = [table["predicted"].std() / table["score"].std() for table in map(predictions, own)]
    said = f"its predictions of test videos spread {np.mean(spreads):.2f} times as far as the scores"
    if len(ends := [end for trial in own if (end := training_end(curves(trial)))]) == len(own):
        begins, last, late = np.mean(ends, 0)
        said = (
            f"its training loss falls from {begins:.2f} to {last:.2f}, {100 * max(late, 0):.0f} % of this in the last "
            f"third of the steps, and {said}"
        )
    return f"Where it is furthest below ({column}), {said}."


def not_above(
    differences: pd.DataFrame, names: dict[str, str], trials: Mapping[tuple[str, str, int], Trial] | None = None
) -> pd.DataFrame:
    """One row for each system that is not above every control in every column.

    Args:
        differences: from `control_differences`.
        names: control -> its name in the header.
        trials: (system, column, seed) -> a trial that has a result. With them a row says how the training ended of a
            system that is below a control by the verdict.

    Returns:
        A data frame with columns system, "against" and a name for each control (the differences that are not above 0 by
        their verdict, each with its column and a sign for the verdict), and "what was looked at", in Markdown.
        `attrs["note"]` says what the signs mean, and `tables.show` prints it below.
    """
    found = []
    for system, rows in differences.groupby("system", sort=False):
        if (rows["verdict"] == SUPPORTED).all():
            continue
        row = {"system": marked(system)}
        for control, name in names.items():
            own = rows[rows["control"] == control]
            cells = own.loc[own["verdict"] != SUPPORTED, ["column", "difference", "verdict"]].to_numpy()
            listed = ", ".join(f"{column} {d:+z.3f} {VERDICT_SIGNS[verdict][0]}" for column, d, verdict in cells)
            row[f"against {name}"] = listed or ("—" if own.empty else "above in every column")
        said = [_looked_at(system.removesuffix(" (searched)"), names), _trained(rows, system, trials or {})]
        found.append({**row, "what was looked at": " ".join(filter(None, said))})
    columns = ["system", *(f"against {name}" for name in names.values()), "what was looked at"]
    table = pd.DataFrame(found, columns=columns)
    signs = ", ".join(f"{sign} {words}" for verdict, (sign, words) in VERDICT_SIGNS.items() if verdict != SUPPORTED)
    table.attrs["note"] = f"{signs.replace('SAP-Net ', '')}. Cells in which a system is above the control are left out."
    return table


def _looked_at(system: str, names: dict[str, str]) -> str:
    """What was looked at, in one sentence or more."""
    count, gain = search_gain(system)
    searched = f"A search of {count} settings gained {gain:+.3f}"
    if not count:
        searched = "Its settings were not searched"
    elif gain <= 0:
        searched = f"Its own settings were the best of {count}"
    departs = CAVEATS.get(system) or DEPARTS.get(system)
    said = f"{system} {departs}" if departs else "Its file names no deviation of its own."
    return " ".join(filter(None, [f"{searched}. {said}", changes_tried(system, names)]))
