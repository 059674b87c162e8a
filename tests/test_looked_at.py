"""What is said of a system that does not beat a control comes from its file and from the search's table."""

import pandas as pd
import pytest

from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED, UNDECIDED
from sapnet_core.experiments.systems import EVERY, RIVALS
from sapnet_core.recipes.tuning_space import BUDGET
from sapnet_core.reporting.caveats import CAVEATS
from sapnet_core.reporting.looked_at import DEPARTS, file_lines, not_above, search_gain


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


def test_a_line_names_the_control_the_difference_and_what_was_looked_at():
    rows = [
        ("ridge", "COREG", "10%", -0.117, CONTRADICTED),
        ("ridge", "COREG", "40%", 0.2, SUPPORTED),
        ("MLP", "COREG", "10%", -0.063, UNDECIDED),
        ("ridge", "FSPN", "10%", 0.1, SUPPORTED),
        ("ridge", "APT", "10%", 0.01, UNDECIDED),
    ]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"])
    first, last = not_above(table, {"ridge": "ridge", "MLP": "the MLP"})
    assert first.startswith(
        "**COREG**: against ridge -0.117 (10%, contradicted); against the MLP -0.063 (10%, undecided). Looked at: "
    )
    assert first.endswith(f". COREG {DEPARTS['COREG']}")
    (other,) = not_above(table.assign(system="I3D+MLP (searched)"), {"ridge": "ridge", "MLP": "the MLP"})
    assert other.endswith(". Its file names no deviation of its own.")
    assert last.startswith("**APT (after its title)**: ") and last.endswith(f"APT {CAVEATS['APT']}")
