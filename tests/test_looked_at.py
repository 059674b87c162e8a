"""What is said of a system that does not beat a control comes from its file and from the search's table."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from wording import in_order

from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNDECIDED
from sapnet_core.experiments.systems import EVERY, RIVALS
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.recipes.look_at_core import CONTROLS, SYSTEM, TABLES
from sapnet_core.recipes.tuning_space import BUDGET
from sapnet_core.reporting import looked_at
from sapnet_core.reporting.caveats import CAVEATS, DEPARTS
from sapnet_core.reporting.heatmap import VERDICT_SIGNS
from sapnet_core.reporting.looked_at import changes_tried, file_lines, not_above, search_gain, training_end


@pytest.mark.parametrize("system", RIVALS)
def test_every_system_has_a_file_and_what_departs_is_said_once(system):
    assert 20 < file_lines(system) < 300
    assert (system in CAVEATS) != (system in DEPARTS)


def test_what_departs_is_said_of_systems_that_exist_in_one_sentence_each():
    assert set(DEPARTS) <= set(EVERY)
    for said in DEPARTS.values():
        assert said.endswith(".") and said.count(".") == 1 and 5 < len(said.split()) <= 22


def test_a_search_gains_what_its_table_says():
    for system in EVERY:
        count, gain = search_gain(system)
        assert count in (0, BUDGET) and gain >= 0.0
    assert search_gain("S4AQA") == (BUDGET, 0.0) and search_gain("C3D-AVG-MTL")[1] > 0.01
    assert search_gain("Ridge on the mean feature") == (0, 0.0)


def test_a_row_has_the_differences_to_each_control_and_what_was_looked_at():
    rows = [
        ("ridge", "COREG", "10%", -0.117, CONTRADICTED),
        ("ridge", "COREG", "40%", 0.2, SUPPORTED),
        ("MLP", "COREG", "10%", -0.063, UNDECIDED),
        ("ridge", "FSPN", "10%", 0.1, SUPPORTED),
        ("ridge", "APT", "10%", 0.01, UNDECIDED),
        ("MLP", "APT", "10%", 0.1, SUPPORTED),
        ("MLP", "USDL", "10%", -0.1, UNDECIDED),
    ]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"])
    table = table.assign(to_decide=[math.nan, math.nan, 12.0, math.nan, math.inf, math.nan, 30.0])
    names = {"ridge": "ridge", "MLP": "the MLP"}
    found = not_above(table, names)
    assert list(found.columns) == ["system", "against ridge", "against the MLP", "what was looked at"]
    first, last, alone = found.to_numpy().tolist()
    signs = {verdict: sign for verdict, (sign, _) in VERDICT_SIGNS.items()}
    assert first[:3] == ["COREG", f"10% -0.117 {signs[CONTRADICTED]}", f"10% -0.063 {signs[UNDECIDED]}"]
    explained = [verdict for verdict, sign in signs.items() if f"{sign} " in found.attrs["note"]]
    assert explained == [CONTRADICTED, NO_DIFFERENCE, UNDECIDED] and "SAP-Net" not in found.attrs["note"]
    assert first[3].endswith(f". COREG {DEPARTS['COREG']}")
    (other,) = not_above(table.assign(system="I3D+MLP (searched)"), names)["what was looked at"]
    assert in_order(other, BUDGET) and not any(
        words in other for words in (*CAVEATS.values(), *DEPARTS.values(), "None")
    )
    assert last[:3] == ["APT (after its title)", f"10% +0.010 {signs[UNDECIDED]}", "above in every column"]
    assert last[3].endswith(f"APT {CAVEATS['APT']}") and alone[1] == "—"
    assert list(not_above(table[table["verdict"] == SUPPORTED], names).columns) == list(found.columns)


def test_the_end_of_a_training_is_told_from_its_curve():
    early = np.r_[np.linspace(1.0, 0.2, 30), np.full(30, 0.2)]
    begins, ends, late = training_end(pd.DataFrame({"L_all": early}))
    assert (begins, ends) == (1.0, pytest.approx(0.2)) and late == pytest.approx(0.0)
    steady = training_end(pd.DataFrame({"L_all": np.linspace(1.0, 0.0, 60)}))
    assert steady[2] == pytest.approx((1 / 3) / (1 - 0.05), abs=0.02)
    assert training_end(pd.DataFrame({"L_all": early[::-1]})) is None
    assert training_end(pd.DataFrame({"alpha": [1.0]})) is None


def test_a_row_says_how_the_training_ended_where_the_verdict_is_against_it(monkeypatch):
    read = {"a": 0.5, "b": 1.5}  # of a made-up trial: the spread of its predictions
    scores = np.arange(10.0)
    monkeypatch.setattr(
        looked_at, "predictions", lambda trial: pd.DataFrame({"score": scores, "predicted": read[trial] * scores})
    )
    monkeypatch.setattr(looked_at, "curves", lambda trial: pd.DataFrame({"L_all": np.linspace(1.0, 0.0, 60)}))
    rows = [("ridge", "USDL", "10%", -0.2, UNDECIDED), ("ridge", "USDL", "40%", -0.1, CONTRADICTED)]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"]).assign(to_decide=9.0)
    trials = {("USDL", "40%", 0): "a", ("USDL", "40%", 1): "b", ("USDL", "10%", 0): "c"}
    (said,) = not_above(table, {"ridge": "ridge"}, trials)["what was looked at"]
    ended = ("40%", "loss", "1.00", "0.04", 35, "predictions", "1.00")
    assert in_order(said, *ended)
    (undecided,) = not_above(table[:1], {"ridge": "ridge"}, trials)["what was looked at"]
    untold = not_above(table, {"ridge": "ridge"}).iat[0, -1]
    assert undecided == untold and said.startswith(untold) and not any(part in untold for part in ended[:4])


NAMED = dict(zip(CONTROLS, ("ridge", "the searched I3D+MLP"), strict=True))


def tried(**rho: float) -> pd.DataFrame:
    rows = [(SYSTEM, TABLES, 0.7), *((SYSTEM, name, value) for name, value in rho.items()), (CONTROLS[1], TABLES, 0.8)]
    table = pd.DataFrame(rows, columns=["system", "candidate", "rho_mean"]).assign(share=1.0, seeds=3, format=FORMAT)
    gain = table["rho_mean"] - 0.7
    return table.assign(difference=gain, low=gain - 0.02, high=gain + 0.02)


def last(text: str) -> str:
    """The last sentence of a text."""
    return text.rpartition(". ")[2]


def test_the_sentence_on_changes_follows_their_table():
    none = changes_tried(SYSTEM, NAMED, tried(longer=0.74, edges=0.69))
    rows = ("longer", "+0.040", "+0.020", "+0.060", "edges", "-0.010")
    assert in_order(none, SYSTEM, "all labels", "3 seeds", "0.700", *rows)
    gap = ("0.100", "the searched I3D+MLP")
    assert in_order(last(none), *gap, "+0.040", '"longer"') and "edges" not in last(none)
    worse = last(changes_tried(SYSTEM, NAMED, tried(edges=0.69)))
    assert in_order(worse, *gap) and not re.search('"|[+-]0', worse)
    one = last(changes_tried(SYSTEM, NAMED, tried(longer=0.81, edges=0.69)))
    assert in_order(one, '"longer"', *gap) and "edges" not in one and "None" not in one
    both = last(changes_tried(SYSTEM, NAMED, tried(longer=0.81, edges=0.8)))
    assert in_order(both, '"longer"', '"edges"', *gap) and "None" not in both
    no_gap = last(changes_tried(SYSTEM, NAMED, tried(longer=0.81).replace(0.8, 0.65)))
    assert in_order(no_gap, SYSTEM, gap[1], "0.650") and not re.search('"|0.100', no_gap)


def test_changes_are_said_of_the_system_that_has_a_table_alone():
    stored = changes_tried(SYSTEM, NAMED)
    assert stored.count("[") > 5 and "ridge" in stored and "the searched I3D+MLP" in stored
    assert changes_tried("TAP", NAMED) == "" == changes_tried(SYSTEM, NAMED, tried())
    assert changes_tried(SYSTEM, NAMED, tried(longer=0.74).assign(format=FORMAT - 1)) == ""
    rows = [(CONTROLS[0], system, "supervised", -0.1, CONTRADICTED) for system in (SYSTEM, "TAP")]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"]).assign(to_decide=9.0)
    core, tap = not_above(table, NAMED)["what was looked at"]
    assert core.endswith(stored) and tap.endswith(DEPARTS["TAP"])
