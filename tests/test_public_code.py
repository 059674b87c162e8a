"""Every compared system has one row on its public code, and a difference that is not rounding has its reason."""

import re

import pandas as pd
import pytest

from sapnet_core.experiments.systems import FOOTNOTES, RIVALS, SYSTEMS, marked
from sapnet_core.reporting.public_code import code_table, public_code

CODE = public_code().set_index("system")


def test_every_system_has_exactly_one_row():
    assert list(CODE.index) == [*SYSTEMS, *RIVALS]
    columns = ["system", "repository", "commit", "compared", "largest_difference", "note", "equal"]
    assert list(public_code().columns) == columns


@pytest.mark.parametrize("system", CODE.index)
def test_a_row_is_whole(system):
    row = CODE.loc[system]
    if row["repository"]:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row["repository"]) and re.fullmatch(r"[0-9a-f]{40}", row["commit"])
        assert row["compared"] and 0 <= row["largest_difference"] < 1
    else:
        assert not row["commit"] and not row["compared"] and pd.isna(row["largest_difference"])
        assert row["note"]
    assert row["note"] == "" or (row["note"][0].isupper() and row["note"].endswith("."))


def test_a_difference_is_rounding_or_has_its_reason():
    known = CODE[CODE["repository"] != ""]
    assert CODE["largest_difference"].dtype == float and len(known) > 15
    assert known["equal"].sum() > len(known) / 2 and not CODE.loc[CODE["repository"] == "", "equal"].any()
    assert (known.loc[known["largest_difference"] > 1e-6, "note"] != "").all()
    assert (known.loc[~known["equal"], "note"] != "").all()


def test_a_notebook_shows_marks_short_commits_and_one_digit():
    shown = code_table(public_code()).set_index("system")
    assert len(shown) == len(CODE) and {marked(system) for system in FOOTNOTES} <= set(shown.index)
    core = CODE.loc["CoRe"]
    assert shown.at["CoRe", "public code"] == f"yuxumin/CoRe at {core['commit'][:10]}"
    assert float(shown.at["CoRe", "largest difference"]) == pytest.approx(core["largest_difference"], rel=0.5)
    assert shown.at["FSPN", "public code"] == shown.at["FSPN", "largest difference"] == "—"
    assert shown.at["C3D-AVG-MTL", "largest difference"] == "0"
