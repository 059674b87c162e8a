"""The picture of the ledger names its lines in words, tells verdicts apart without color, and leaves nothing out."""

from collections import Counter

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from sapnet_core.experiments.statistics import SUPPORTED, UNDECIDED, UNTESTABLE
from sapnet_core.reporting.claim_forest import MARKER_SIZE, TEXT, VERDICT_MARKERS, claim_forest
from sapnet_core.reporting.ledger import ledger
from sapnet_core.reporting.style import COLUMN, PAGE
from sapnet_core.runtime import environment

LONGEST = 41  # letters of a name that leave half of the picture to the differences
PRINTED = 5.3  # points of the smallest text in a column of a page, where the picture has half its width


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


@pytest.fixture
def stored():
    return pd.read_csv(environment.root() / "figures" / "claims_forest.csv", comment="#")


def own(table):
    return table[~table["control"] & table["verdict"].isin(VERDICT_MARKERS)]


def marks(fig):
    "Markers of the verdicts, with the number of lines that have each."
    kinds = [line.get_marker() for ax in fig.axes for line in ax.lines if line.get_markersize() == MARKER_SIZE]
    return Counter(kinds)


def test_every_claim_that_may_be_drawn_has_a_short_name_of_its_own():
    drawn = [c for c in ledger() if c.metric == "rho" and c.kind in ("greater", "comparable") and not c.control]
    for claim in drawn:
        assert claim.short and len(claim.short) <= LONGEST and claim.short != claim.statement, claim.id
    # two lines of one family never read the same
    assert len({(claim.family, claim.short) for claim in drawn}) == len(drawn)


def test_each_stored_claim_has_a_line_below_the_name_of_its_table(stored):
    fig = claim_forest(stored, "A title")
    names = [label for ax in fig.axes for label in ax.get_yticklabels()]
    claims = {claim.id: claim for claim in ledger()}
    lines = [label.get_text() for label in names if label.get_fontweight() != "bold"]
    headings = [label.get_text() for label in names if label.get_fontweight() == "bold"]
    assert Counter(lines) == Counter(claims[name].short for name in own(stored)["claim"])
    families = {claims[name].family for name in own(stored)["claim"]}
    assert len(headings) == len(families) and {text.partition(" · ")[0] for text in headings} == families
    assert {("Table II", "FineDiving"), ("Table VI", "Rhythmic Gymnastics")} <= {(*h.split(" · "),) for h in headings}
    assert len(fig.axes) == 1 and fig.get_suptitle() == "A title" and fig.get_figwidth() == PAGE
    (top,) = fig.axes[0].child_axes  # the same axis above the first line
    assert top.get_xlabel() == fig.axes[0].get_xlabel() != ""
    texts = [*names, fig._suptitle, *fig.legends[0].get_texts(), *fig.axes[0].get_xticklabels()]
    assert all(text.get_fontsize() * COLUMN / PAGE >= PRINTED for text in texts) and TEXT * COLUMN / PAGE >= PRINTED


def test_a_verdict_has_a_color_and_a_marker(stored):
    assert (
        len({look[0] for look in VERDICT_MARKERS.values()})
        == len({look[1] for look in VERDICT_MARKERS.values()})
        == len(VERDICT_MARKERS)
    )
    found = marks(claim_forest(stored, "A title"))
    for verdict, count in own(stored)["verdict"].value_counts().items():
        assert found[VERDICT_MARKERS[verdict][1]] == count


def test_a_legend_explains_every_mark(stored):
    (legend,) = claim_forest(stored, "A title").legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[: len(VERDICT_MARKERS)] == list(VERDICT_MARKERS) and "size the paper prints" in said


def table(**changed):
    row = {"claim": "ssp-mtl", "control": False, "verdict": SUPPORTED, "effect": 0.1, "low": 0.05, "high": 0.15}
    return pd.DataFrame([{**row, "paper": float("nan"), **changed}])


def test_a_heading_names_one_or_two_datasets_and_counts_more():
    rows = [table(), table(claim="ssp-fd"), table(claim="ahead-everywhere")]
    names = [label.get_text() for ax in claim_forest(pd.concat(rows), "").axes for label in ax.get_yticklabels()]
    assert {"Table I · MTL-AQA", "Table II · FineDiving", "Abstract · 4 datasets"} < set(names)


def test_an_interval_beyond_the_panel_ends_in_an_arrow():
    (ax,) = claim_forest(table(low=-3.0, high=3.0, verdict=UNDECIDED), "").axes
    assert {"<", ">"} <= {line.get_marker() for line in ax.lines}
    (ax,) = claim_forest(table(), "").axes
    assert not {"<", ">", "D"} & {line.get_marker() for line in ax.lines}  # and the paper prints no size


@pytest.mark.parametrize(
    "rows", [table(verdict=UNTESTABLE), table(effect=float("nan")), table(claim="fig5-closer"), table(control=True)]
)
def test_a_ledger_without_differences_of_rho_is_refused(rows):
    with pytest.raises(ValueError, match="draw"):
        claim_forest(rows, "")
