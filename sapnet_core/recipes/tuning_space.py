"""The settings that tuning tries: candidates for SAP-Net, and the search space of each compared system.

`tune_methods` scores the candidates and chooses among them.
"""

import random
from itertools import product

from sapnet_core.experiments.systems import CONTROLS, RIVALS, SYSTEMS

__all__ = ["BUDGET", "CANDIDATES", "SPACES", "search_candidates"]

# name -> (method, settings that differ from its defaults); the systems of the tables are included for comparison
CANDIDATES: dict[str, tuple[str, dict]] = {
    **SYSTEMS,
    **CONTROLS,
    "I3D+MLP, unit_targets = True": ("mlp", {"unit_targets": True}),
    "I3D+MLP (clips in order), unit_targets = True": ("mlp-ordered", {"unit_targets": True}),
    "decoder_channels = C": ("sap-net", {"decoder_channels": None}),
    "decoder = psnet": ("sap-net", {"decoder": "psnet"}),
    "unit_targets = False": ("sap-net", {"unit_targets": False}),
    "L_reg alone, unit_targets = False": ("sap-net", {**CONTROLS["SAP-Net, L_reg alone"][1], "unit_targets": False}),
    "dropout = 0.5": ("sap-net", {"dropout": 0.5}),
    "grades = 3": ("sap-net", {"grades": 3}),
    "confidence = agreement": ("sap-net", {"confidence": "agreement"}),
    "tau = 0": ("sap-net", {"tau": 0.0}),
    "warmup = 0.1": ("sap-net", {"warmup": 0.1}),
    "lr = 3e-4": ("sap-net", {"lr": 3e-4}),
    "lambda_ubc = lambda_gc = 0.1": ("sap-net", {"lambda_ubc": 0.1, "lambda_gc": 0.1}),
    "no consistency": ("sap-net", {"lambda_un": 0.0}),
    "consistency alone": ("sap-net", {"lambda_ubc": 0.0, "lambda_gc": 0.0}),
    "teacher not supervised": ("sap-net", {"supervise_teacher": False}),
}

# system -> setting -> values to draw from
RATES = (3e-4, 1e-3, 3e-3)
SPACES: dict[str, dict[str, tuple]] = {
    "I3D+MLP": {"lr": RATES, "unit_targets": (False, True), "batch": (8, 16, 32)},
    "I3D+MLP (clips in order)": {"lr": RATES, "unit_targets": (False, True), "batch": (8, 16, 32)},
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
    "Action-Net": {"width": (64, 128), "postures": (2, 4, 8), "lr": RATES},
    "GDLT": {"alpha": (0.1, 1.0), "dropout": (0.0, 0.3), "width": (64, 128), "lr": RATES},
    "VST+MLP": {"lr": RATES, "unit_targets": (False, True), "batch": (8, 16, 32)},
}
BUDGET = 6  # number of candidates per system


def search_candidates(system: str) -> dict[str, tuple[str, dict]]:
    """The defaults and `BUDGET` - 1 different draws from a system's search space: name -> (method, settings).

    Raises:
        ValueError: the system has no search space; the message lists the systems that have one.
    """
    if system not in SPACES:
        raise ValueError(f"system {system!r} has no search space: choose one of {', '.join(SPACES)}")
    method, space = {**SYSTEMS, **CONTROLS, **RIVALS}[system][0], SPACES[system]
    grid = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    drawn = [{}, *random.Random(system).sample(grid, BUDGET - 1)]
    return {f"{system}: " + (", ".join(f"{k} = {v}" for k, v in s.items()) or "defaults"): (method, s) for s in drawn}


for _system in SPACES:
    CANDIDATES |= search_candidates(_system)
