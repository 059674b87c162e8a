"""What is said of a system that does not beat a control comes from its file and from the search's table."""

import pandas as pd
import pytest

from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED, UNDECIDED
from sapnet_core.experiments.systems import EVERY, RIVALS
from sapnet_core.recipes.tuning_space import BUDGET
from sapnet_core.reporting.caveats import CAVEATS
from sapnet_core.reporting.looked_at import LONG, file_lines, first_deviation, not_above, search_gain


@pytest.mark.parametrize("system", RIVALS)
def test_every_system_has_a_file_and_what_departs_is_said(system):
    assert 20 < file_lines(system) < 300
    said = first_deviation(system)
    assert (said or system in CAVEATS or system == "VST+MLP") and "  " not in said and "frozen" not in said
    assert len(said.split()) <= LONG + 12


def test_a_deviation_is_the_first_that_is_not_everybody_s():
    assert first_deviation("COREG") == "h' is not refitted for each video u of the pool"
    assert first_deviation("CoRe").startswith("the exemplars of a prediction") and first_deviation("I3D+MLP") == ""


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
    assert first.endswith("first deviation of its file: h' is not refitted for each video u of the pool.")
    assert last.startswith("**APT (after its title)**: ") and last.endswith(f"APT {CAVEATS['APT']}")
