"""What is said of a system that does not beat a control comes from its file and from the search's table."""

import pandas as pd
import pytest

from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED, UNDECIDED
from sapnet_core.experiments.systems import EVERY, RIVALS
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.recipes.look_at_core import CONTROLS, SYSTEM, TABLES
from sapnet_core.recipes.tuning_space import BUDGET
from sapnet_core.reporting.caveats import CAVEATS, DEPARTS
from sapnet_core.reporting.looked_at import changes_tried, file_lines, not_above, search_gain


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
    names = {"ridge": "ridge", "MLP": "the MLP"}
    found = not_above(table, names)
    assert list(found.columns) == ["system", "against ridge", "against the MLP", "what was looked at"]
    first, last, alone = found.to_numpy().tolist()
    assert first[:3] == ["COREG", "-0.117 (10%, contradicted)", "-0.063 (10%, undecided)"]
    assert first[3].endswith(f". COREG {DEPARTS['COREG']}")
    (other,) = not_above(table.assign(system="I3D+MLP (searched)"), names)["what was looked at"]
    assert other.endswith(". Its file names no deviation of its own.")
    assert last[:3] == ["APT (after its title)", "+0.010 (10%, undecided)", "above in every column"]
    assert last[3].endswith(f"APT {CAVEATS['APT']}") and alone[1] == "—"
    assert list(not_above(table[table["verdict"] == SUPPORTED], names).columns) == list(found.columns)


NAMED = dict(zip(CONTROLS, ("ridge", "the searched I3D+MLP"), strict=True))


def tried(**rho: float) -> pd.DataFrame:
    rows = [(SYSTEM, TABLES, 0.7), *((SYSTEM, name, value) for name, value in rho.items()), (CONTROLS[1], TABLES, 0.8)]
    table = pd.DataFrame(rows, columns=["system", "candidate", "rho_mean"]).assign(share=1.0, seeds=3, format=FORMAT)
    gain = table["rho_mean"] - 0.7
    return table.assign(difference=gain, low=gain - 0.02, high=gain + 0.02)


def test_the_sentence_on_changes_follows_their_table():
    none = changes_tried(SYSTEM, NAMED, tried(longer=0.74, edges=0.69))
    assert "all labels and 3 seeds" in none and "longer +0.040 [+0.020, +0.060]; edges -0.010" in none
    assert none.endswith('None closes the gap of 0.100 to the searched I3D+MLP: the most is +0.040, by "longer".')
    worse = changes_tried(SYSTEM, NAMED, tried(edges=0.69))
    assert worse.endswith("None closes the gap of 0.100 to the searched I3D+MLP: none gains anything.")
    one = changes_tried(SYSTEM, NAMED, tried(longer=0.81, edges=0.69))
    assert one.endswith('On average over these seeds "longer" closes the gap of 0.100 to the searched I3D+MLP.')
    both = changes_tried(SYSTEM, NAMED, tried(longer=0.81, edges=0.8))
    assert both.endswith('"longer" and "edges" each close the gap of 0.100 to the searched I3D+MLP.')
    no_gap = changes_tried(SYSTEM, NAMED, tried(longer=0.81).replace(0.8, 0.65))
    assert no_gap.endswith(f"{SYSTEM} is not below the searched I3D+MLP there, which has 0.650.")


def test_changes_are_said_of_the_system_that_has_a_table_alone():
    stored = changes_tried(SYSTEM, NAMED)
    assert stored.count("[") > 5 and "ridge" in stored and "the searched I3D+MLP" in stored
    assert changes_tried("TAP", NAMED) == "" == changes_tried(SYSTEM, NAMED, tried())
    assert changes_tried(SYSTEM, NAMED, tried(longer=0.74).assign(format=FORMAT - 1)) == ""
    rows = [(CONTROLS[0], system, "supervised", -0.1, CONTRADICTED) for system in (SYSTEM, "TAP")]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"])
    core, tap = not_above(table, NAMED)["what was looked at"]
    assert core.endswith(stored) and tap.endswith(DEPARTS["TAP"])
