"""The settings that tuning tries: the search space of SAP-Net and of each compared system.

`tune_methods` scores the candidates and chooses among them.
"""

import random
from itertools import product

from sapnet_core.experiments.systems import CONTROLS, OURS, RIVALS, SYSTEMS

__all__ = ["BUDGET", "CANDIDATES", "DEFAULTS", "SPACES", "search_candidates"]

# system -> setting -> values to draw from
RATES = (3e-4, 1e-3, 3e-3)
SPACES: dict[str, dict[str, tuple]] = {
    OURS: {"dropout": (0.0, 0.3), "warmup": (0.1, 0.5), "lr": RATES},
    "I3D+MLP": {"batch": (0, 8, 32), "lr": RATES},
    "I3D+MLP (clips in order)": {"batch": (0, 8, 32), "lr": RATES},
    "C3D-AVG-MTL": {"weight": (0.1, 0.3, 1.0), "dropout": (0.0, 0.3), "lr": RATES},
    "COREG": {"k": (3, 5, 9), "pool": (100, 400), "iterations": (30, 100, 200), "orders": ((2.0, 5.0), (1.0, 2.0))},
    "Pseudo-labels": {"sigma": (2.0, 5.0, 10.0), "neighbors": (3, 5, 10), "read": ("mean", "mode"), "lr": RATES},
    "VAT": {"eps": (0.1, 0.3, 1.0), "weight": (0.3, 1.0, 3.0), "ordered": (False, True), "lr": RATES},
    "S4L": {"weight": (0.1, 0.3, 1.0), "lr": RATES},
    "S4AQA": {"recovery": (0.1, 1.0), "adversarial": (0.1, 1.0), "lr": RATES},
    "USDL": {"sigma": (2.0, 5.0, 10.0), "read": ("mean", "mode"), "lr": RATES},
    "MUSDL": {"sigma": (0.5, 1.0, 2.0), "read": ("mean", "mode"), "lr": RATES},
    "TSA": {"width": (32, 64, 128), "exemplars": (5, 10, 20), "lr": RATES},
    "SVR": {"kernel": ("linear", "rbf"), "C": (0.1, 1.0, 10.0), "epsilon": (0.05, 0.1, 0.3)},
    "Action-Net": {"width": (64, 128), "postures": (4, 16, 80), "lr": RATES},
    "GDLT": {"alpha": (0.1, 1.0), "dropout": (0.0, 0.3), "width": (64, 128), "lr": RATES},
    "VST+MLP": {"batch": (0, 8, 32), "lr": RATES},
    "CoRe": {"width": (64, 128, 256), "exemplars": (5, 10, 20), "lr": RATES},
    "TSA-Net": {"batch": (0, 8, 32), "lr": RATES},
    "TAP": {"queries": (3, 5), "ranking": (0.1, 1.0), "dropout": (0.1, 0.3), "lr": RATES},
    "PCLN": {"weight": (0.3, 1.0, 3.0), "dropout": (0.0, 0.3), "lr": RATES},
    "DAE-CoRe": {"likelihood": (True, False), "exemplars": (5, 10, 20), "lr": RATES},
    "HGCN": {"scenes": (4, 7), "groups": (1, 4, 8), "lr": RATES},
    "FSPN": {"width": (16, 32), "contrast": (0.1, 1.0), "exemplars": (5, 10, 20), "lr": RATES},
    "SGN": {"width": (64, 128), "weight": (0.1, 1.0), "dropout": (0.1, 0.3), "lr": RATES},
    "APT": {"queries": (3, 5), "width": (64, 128), "dropout": (0.1, 0.3), "lr": RATES},
    "TRS": {"weight": (0.3, 1.0, 3.0), "depth": (1, 2, 4), "noise": (0.1, 0.3), "lr": RATES},
    "BASL": {"weight": (0.3, 1.0), "boundary": (0.1, 0.2), "noise": (0.05, 0.3), "dropout": (0.1, 0.3), "lr": RATES},
}
# system -> the values of these settings in its defaults, which no draw should repeat. They are those of the methods'
# `SETTINGS`, written again because these import PyTorch, which command lines that list candidates do without.
DEFAULTS: dict[str, tuple] = {
    OURS: (0.0, 1 / 3, 1e-3),
    "I3D+MLP": (0, 1e-3),
    "I3D+MLP (clips in order)": (0, 1e-3),
    "C3D-AVG-MTL": (1.0, 0.0, 1e-3),
    "COREG": (3, 100, 100, (2.0, 5.0)),
    "Pseudo-labels": (5.0, 10, "mean", 1e-3),
    "VAT": (0.3, 1.0, False, 1e-3),
    "S4L": (1.0, 1e-3),
    "S4AQA": (1.0, 0.1, 1e-3),
    "USDL": (5.0, "mean", 1e-3),
    "MUSDL": (1.0, "mean", 1e-3),
    "TSA": (64, 10, 1e-3),
    "SVR": ("rbf", 1.0, 0.1),
    "Action-Net": (128, 80, 1e-3),
    "GDLT": (1.0, 0.3, 64, 1e-3),
    "VST+MLP": (0, 1e-3),
    "CoRe": (256, 10, 1e-3),
    "TSA-Net": (0, 1e-3),
    "TAP": (5, 1.0, 0.1, 1e-3),
    "PCLN": (1.0, 0.3, 1e-3),
    "DAE-CoRe": (True, 10, 1e-3),
    "HGCN": (7, 4, 1e-3),
    "FSPN": (16, 1.0, 10, 1e-3),
    "SGN": (128, 1.0, 0.1, 1e-3),
    "APT": (3, 128, 0.1, 1e-3),
    "TRS": (1.0, 2, 0.1, 1e-3),
    "BASL": (1.0, 0.1, 0.05, 0.3, 1e-3),
}
BUDGET = 6  # number of candidates per system


def search_candidates(system: str) -> dict[str, tuple[str, dict]]:
    """The defaults and `BUDGET` - 1 draws from the rest of a system's search space, or all of it where it holds fewer:
    name -> (method, settings).

    Raises:
        ValueError: the system has no search space; the message lists the systems that have one.
    """
    if system not in SPACES:
        raise ValueError(f"system {system!r} has no search space: choose one of {', '.join(SPACES)}")
    method, space = {**SYSTEMS, **CONTROLS, **RIVALS}[system][0], SPACES[system]
    grid, rng = list(product(*space.values())), random.Random(system)
    drawn = rng.sample(grid, min(BUDGET - 1, len(grid)))
    rest = [values for values in grid if values not in drawn]
    others = [v for v in (*drawn, *rng.sample(rest, len(rest))) if v != DEFAULTS[system]][: BUDGET - 1]
    drawn = [{}, *(dict(zip(space, values, strict=True)) for values in others)]
    return {f"{system}: " + (", ".join(f"{k} = {v}" for k, v in s.items()) or "defaults"): (method, s) for s in drawn}


# name -> (method, settings that differ from its defaults)
CANDIDATES: dict[str, tuple[str, dict]] = {}
for _system in SPACES:
    CANDIDATES |= search_candidates(_system)
