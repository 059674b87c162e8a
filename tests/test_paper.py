"""The paper's printed cells, and which of its stated arithmetic holds."""

import pytest
from wording import in_order

from sapnet_core.experiments.paper import NOTES, TABLES, later_numbers, paper_arithmetic, paper_numbers, paper_table
from sapnet_core.experiments.systems import FOOTNOTES

CELLS = {"I": 20, "II": 20, "III": 20, "IV": 28, "V": 17, "VI": 40, "VII": 20}


def test_all_165_cells_are_there_once():
    numbers = paper_numbers()
    assert list(numbers.columns) == ["table", "block", "system", "year", "column", "rho"]
    assert numbers.groupby("table").size().to_dict() == CELLS and len(numbers) == 165
    assert not numbers.duplicated(["table", "system", "column"]).any()
    assert numbers["rho"].between(0.1, 1).all()


def test_tables_have_the_printed_shape():
    assert paper_table(1).loc["I3D+MLP"].tolist() == [0.618, 0.643, 0.681, 0.703, 0.8921]
    assert list(paper_table("II").columns) == ["5%", "10%", "15%", "20%", "supervised"]
    assert paper_table(4).notna().sum().to_dict() == {"supervised": 12, "10%": 8, "40%": 8}
    assert paper_table(7).index.tolist() == ["I3D+MLP", "VST+MLP", "Action-Net", "GDLT", "SAP-Net (Ours)"]
    for unknown in (0, 8, "VIII"):
        with pytest.raises(ValueError, match="I, II, III"):
            paper_table(unknown)
    assert TABLES == tuple(CELLS)


def test_blocks_and_years_are_those_printed():
    numbers = paper_numbers()
    assert set(numbers.loc[numbers["block"] != "", "table"]) == {"IV", "V"}
    blocked = numbers[numbers["block"] != ""]
    assert ((blocked["block"] == "Supervised") == (blocked["column"] == "supervised")).all()
    assert (blocked.groupby(["table", "block"])["system"].last() == "SAP-Net (Ours)").all()
    assert numbers.groupby(["table", "block", "system"])["year"].nunique().max() == 1
    years = {key: part.drop_duplicates("system")["year"] for key, part in numbers.groupby(["table", "block"])}
    assert not any(years[number, ""].notna().any() for number in ("I", "II", "III"))
    assert years["IV", "Supervised"].dropna().tolist() == [2020, 2020, 2021, 2021, 2022, 2022, *[2023] * 5]
    assert years["IV", "Semi-supervised"].dropna().tolist() == [2020, 2018, 2019, 2017, 2017, 2019, 2022]
    assert years["V", "Supervised"].dropna().tolist() == [2020, 2020, 2021, 2022, 2023, 2023]
    assert years["V", "Semi-supervised"].dropna().tolist() == [2022, 2020, 2020, 2022]
    assert years["VI", ""].dropna().tolist() == [2005, 2014, 2020, 2017, 2019, 2019, 2022]
    assert years["VII", ""].dropna().tolist() == [2022, 2022]


def test_later_numbers_are_of_systems_that_the_paper_lacks_and_stand_in_the_note_too():
    later = later_numbers("IV")
    assert set(later["column"]) <= set(paper_table("IV").columns) and not later.duplicated(["system", "column"]).any()
    assert set(later["system"]) == {"TRS"} <= {name for name, mark in FOOTNOTES.items() if mark == "after the paper"}
    assert not set(later["system"]) & set(paper_numbers()["system"]) and len(later_numbers("V")) == 0
    for system, year, rho in later[["system", "year", "rho"]].itertuples(index=False):
        assert system in NOTES["IV"] and str(year) in NOTES["IV"] and f"{rho:.3f}" in NOTES["IV"]


def test_a_change_to_a_returned_frame_stays_there():
    mine = paper_numbers()
    mine["rho"] = 0.0
    assert paper_numbers()["rho"].min() > 0


def test_rows_printed_in_two_tables_agree():
    one, two, three, four, five = (paper_table(number) for number in range(1, 6))
    shares = ["10%", "20%", "30%", "40%"]
    assert (three.loc["I3D+MLP"] == one.loc["I3D+MLP", shares]).all()
    assert (three.loc["Pseudo-label w/o"] == one.loc["I3D+SSP", shares]).all()  # erratum E13: the same row, renamed
    for system in ("I3D+MLP", "SAP-Net (Ours)"):
        assert (four.loc[system, ["10%", "40%"]] == one.loc[system, ["10%", "40%"]]).all()
        assert (five.loc[system, ["10%", "20%"]] == two.loc[system, ["10%", "20%"]]).all()
    assert (five.loc["MUSDL", ["10%", "20%"]] == five.loc["TSA", ["10%", "20%"]]).all()  # erratum E13


def test_stated_arithmetic_holds_as_recomputed():
    table = paper_arithmetic().set_index("statement")
    holds = table["holds"]
    assert len(table) == 8 + 2 + 4
    # Table VI averages by Fisher's z: all eight averages hold, where plain means miss six (erratum E14).
    gymnastics = holds[holds.index.str.startswith("Table VI:")]
    assert gymnastics.str.contains("fisher").all() and gymnastics.str.contains("arithmetic").sum() == 2
    # Table VII averages by plain means: Fisher's z would give 0.772 for free skating, not the printed 0.768.
    skating = {s.rpartition(", ")[2]: read for s, read in holds.items() if in_order(s, "Table VII", "SAP-Net (Ours)")}
    assert skating == {"SP": "arithmetic, fisher", "FS": "arithmetic"}
    # Every "improvement of x %" is a difference of x / 100 in rho; none is relative.
    gains = table[table.index.str.startswith("improvement")]
    assert gains["printed"].tolist() == [0.053, 0.055, 0.051, 0.035]
    assert gains["holds"].str.contains("arithmetic").all() and not gains["holds"].str.contains("relative").any()
