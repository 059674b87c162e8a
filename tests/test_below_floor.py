"""A claim about systems that all lie below the degree of difficulty alone says so, wherever its statement is shown."""

import math
from dataclasses import replace

import pytest
import torch
from wording import in_order

from sapnet_core.experiments.floors import difficulty_alone, floors
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.resampling import Cell
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.reporting.below_floor import below_floor
from sapnet_core.reporting.claims import stated
from sapnet_core.reporting.ledger import ledger

QUICK = get_profile("quick")
CLAIMS = {claim.id: claim for claim in ledger()}


def first(table):
    return next(iter(declared_trials(table, QUICK).values()))


@pytest.mark.parametrize("table", ["I", "II"])
def test_the_floor_is_that_of_the_tables(table):
    in_table = floors(first(table)).set_index("system").at["difficulty alone", "rho"]
    assert difficulty_alone(first(table)) == pytest.approx(in_table, abs=1e-4)


def test_a_class_of_one_difficulty_has_no_floor():
    assert math.isnan(difficulty_alone(first("VI")))


def said(claim: str, **noise: float) -> str:
    """What is said of a claim if the predictions of its rows are the true scores with such noise."""
    one, trial = CLAIMS[claim], first("II")
    data = trial_data(trial)
    true = data.score[~data.train].double()
    cells = {}
    for place, name in enumerate(one.names):
        draw = torch.randn(2, len(true), generator=torch.Generator().manual_seed(place)).double()
        cells[name] = Cell(true + noise[name[1]] * true.std() * draw, true, "x")
    return below_floor(one, {name: [trial] for name in one.names}, cells)


def test_it_is_said_where_both_sides_lie_below_it_and_of_rho_alone():
    floor = difficulty_alone(first("II"))
    low, high = ({"SAP-Net (Ours)": noise, "I3D+MLP": 4.0} for noise in (3.0, 0.1))
    text = said("whole-fd", **low)
    assert in_order(text, "both", f"{floor:.3f}") and said("whole-fd", **high) == ""
    three = said("synergy-fd", **{"SAP-Net (Ours)": 3.0, "I3D+SSP": 3.0, "I3D+GCL": 3.0})
    assert in_order(three, "all", f"{floor:.3f}") and "both" not in three
    closer = replace(CLAIMS["whole-fd"], metric="closeness")
    assert below_floor(closer, {}, {}) == "" == below_floor(CLAIMS["whole-fd"], {}, {})
    row = {"statement": "a beats b", "below": text}
    assert stated(row) == f"a beats b ({text})" and stated({"statement": "a beats b"}) == "a beats b"


def test_a_claim_with_a_dataset_of_one_difficulty_has_no_floor():
    one = CLAIMS["works-everywhere"]
    cells = {name: Cell(torch.zeros(1, 9), torch.arange(9.0), "x") for name in one.names}
    assert float(spearman(cells[one.names[0]].predicted, torch.arange(9.0)).mean()) == 0
    assert below_floor(one, {name: [first(name[0])] for name in one.names}, cells) == ""
