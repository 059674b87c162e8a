"""What was looked at of a system that does not beat a control: its search, its file, and where it departs.

A comparison with a control (`paired_differences.control_differences`) tells which systems do not beat it. These
functions gather, for one line about each of them, what its search of settings gained (`methods/tuning.csv`), and what
is not as in its source: the sentence of `caveats`, or the first deviation that its file lists.
"""

import inspect
import re

import pandas as pd

from sapnet_core.experiments.statistics import SUPPORTED
from sapnet_core.experiments.systems import get_system, marked
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.methods import get_description
from sapnet_core.recipes.tune_methods import TUNING, best_of
from sapnet_core.reporting.caveats import CAVEATS

__all__ = ["file_lines", "first_deviation", "not_above", "search_gain"]

DEVIATIONS = re.compile(r"\b[Dd]eviations?(?: [^:.]*)?: (.*)")
# what every file says, since it holds for every system
SHARED = re.compile(r"backbone is frozen|C3D is frozen|training settings are those|Adam at")
LONG = 16  # words from which a deviation is cut at its first comma


def _file_of(system: str):
    """The module of `methods` that describes a system's training."""
    return inspect.getmodule(inspect.unwrap(get_description(get_system(system)[0])))


def file_lines(system: str) -> int:
    """Number of lines of the file in `methods` that a system has."""
    return len(inspect.getsource(_file_of(system)).splitlines())


def first_deviation(system: str) -> str:
    """The first deviation from its source that a system's file lists, without those that all systems share and up to
    its first comma if it is long; "" if it lists none."""
    found = DEVIATIONS.search(" ".join((_file_of(system).__doc__ or "").split()))
    items = re.split(r"[;:] |\. ", found[1].removesuffix(".")) if found else []
    first = next((item for item in items if not SHARED.search(item)), "")
    return first.partition(", ")[0] if len(first.split()) > LONG else first


def search_gain(system: str) -> tuple[int, float]:
    """How many candidates the search of settings tried for a system, and how far the one that it chose lies above the
    published settings, in mean rho on validation videos of other twins; (0, 0.0) if it has not tried the system."""
    table = pd.read_csv(TUNING)
    tried = table[(table["setting"].str.partition(": ")[0] == system) & (table["format"] == FORMAT)]
    means = tried.groupby("setting")["rho_mean"].mean()
    if f"{system}: defaults" not in means.index:
        return 0, 0.0
    return len(means), float(means[best_of(system, table)] - means[f"{system}: defaults"])


def not_above(differences: pd.DataFrame, names: dict[str, str]) -> list[str]:
    """One line in Markdown for each system that is not above every control in every column.

    Args:
        differences: from `control_differences`.
        names: control -> its name in a line.
    """
    lines = []
    for system, rows in differences.groupby("system", sort=False):
        parts = []
        for control, part in rows[rows["verdict"] != SUPPORTED].groupby("control", sort=False):
            cells = [f"{d:+z.3f} ({c}, {v})" for d, c, v in part[["difference", "column", "verdict"]].to_numpy()]
            parts.append(f"against {names[control]} {', '.join(cells)}")
        if parts:
            lines.append(f"**{marked(system)}**: {'; '.join(parts)}. {_looked_at(system.removesuffix(' (searched)'))}")
    return lines


def _looked_at(system: str) -> str:
    """What was looked at, in one sentence or two."""
    count, gain = search_gain(system)
    searched = f"a search of {count} settings gained {gain:+.3f}"
    if not count:
        searched = "its settings were not searched"
    elif gain <= 0:
        searched = f"its own settings were the best of {count}"
    if system in CAVEATS:
        return f"Looked at: {searched}. {system} {CAVEATS[system]}"
    departs = first_deviation(system)
    return f"Looked at: {searched}; " + (f"first deviation of its file: {departs}." if departs else "no deviation.")
