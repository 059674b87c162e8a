"""Columns of words are aligned to the left, and columns of numbers to the right, whatever stands beside the numbers."""

import pandas as pd
import pytest

from sapnet_core.reporting.column_alignment import holds_words
from sapnet_core.reporting.tables import markdown


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "—",
        "-0.012",
        "2.8e-13",
        "inf",
        "10%",
        "0.645 ± 0.015",
        "0.619 [-0.810, 0.988] (n=2)",
        "0.25 to 0.83",
        "1,024",
    ]
    + ["2 of 14", "✗ -0.012 (+0.084)", "NaN", "5.2 – 12.4", "=", "2020"],
)
def test_numbers_with_their_signs_are_no_words(cell):
    assert not holds_words([cell, "0.1"])


@pytest.mark.parametrize(
    "cell", ["undecided", "-0.02 [-0.13, +0.09] undecided", "38% of the steps", "iv-vat", "one seed"]
)
def test_one_cell_of_words_is_enough(cell):
    assert holds_words(["0.1", cell, "—"])


def test_a_table_aligns_each_column_by_what_it_holds():
    table = pd.DataFrame({"system": ["a"], "rho": [0.5], "interval": ["0.1 to 0.9"], "verdict": ["undecided"]})
    assert markdown(table).splitlines()[1] == "| --- | ---: | ---: | --- |"
    assert markdown(table.assign(system=3)).splitlines()[1].startswith("| --- |")  # the name of a row


@pytest.mark.parametrize(
    "cell", ["1" * 100_000 + "x", "1," * 100_000 + "x", "1e5" * 10_000 + "x", "- " * 100_000 + "x"]
)
def test_a_long_cell_is_read_once(cell):
    """With a pattern that tries every way to split the digits, the first of these would never end."""
    assert holds_words([cell])
