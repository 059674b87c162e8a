"""Paired differences and their heatmap: the numbers and verdicts of `statistics`, each shown in its own cell."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from wording import in_order

from sapnet_core.experiments.resampling import Cell, resampled
from sapnet_core.experiments.statistics import (
    RHO_DIFFERENCE,
    SUPPORTED,
    UNDECIDED,
    VERDICTS,
    compare,
    hypothesis_of,
    judge,
)
from sapnet_core.experiments.systems import OURS
from sapnet_core.reporting import paired_differences as module
from sapnet_core.reporting.heatmap import LIMIT, VERDICT_SIGNS, control_heatmap, heatmap
from sapnet_core.reporting.paired_differences import control_differences, paired_differences
from sapnet_core.reporting.style import COLUMN, use_style

NOISE = {"near": 0.2, "far": 3.0, "part": 1.0, OURS: 0.2}
SEEDS = range(4)
TRIALS = {
    (system, column, seed): (system, column, seed)
    for system in NOISE
    for column in ("10%", "all")
    if (system, column) != ("part", "all")
    for seed in SEEDS
}


def cell(trials) -> Cell:
    """Made-up predictions: a system's noise is drawn for its seed and column."""
    true = torch.randn(80, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = []
    for system, column, seed in trials:
        draw = torch.Generator().manual_seed(hash_of(system, column, seed))
        rows.append(true + NOISE[system] * torch.randn(80, generator=draw, dtype=torch.float64))
    return Cell(torch.stack(rows), true, "made up")


def hash_of(system: str, column: str, seed: int) -> int:
    return 1000 * list(NOISE).index(system) + 100 * (column == "all") + seed


@pytest.fixture(autouse=True)
def results(monkeypatch):
    monkeypatch.setattr(module, "read_cell", cell)
    yield
    plt.close("all")


def side(system: str, *columns: str) -> list[torch.Tensor]:
    return [resampled(cell([(system, column, seed) for seed in SEEDS]), resamples=200) for column in columns]


def test_every_cell_is_compared_within_seeds_and_judged_as_one_family():
    table = paired_differences(TRIALS, 200, average="Avg")
    assert table[["system", "column"]].to_numpy().tolist() == [
        [system, column] for system in ("near", "far") for column in ("10%", "all", "Avg")
    ] + [["part", "10%"]]
    found = []
    for system, column in table[["system", "column"]].to_numpy():
        columns = ("10%", "all") if column == "Avg" else (column,)
        found.append(compare(side(OURS, *columns), side(system, *columns), column == "Avg", limit=RHO_DIFFERENCE))
    verdicts = judge([hypothesis_of(evidence) for evidence in found])
    assert table["verdict"].tolist() == [verdict.word for verdict in verdicts]
    for name, values in {
        "difference": [e.value for e in found],
        "low": [e.low for e in found],
        "high": [e.high for e in found],
        "p": [e.p for e in found],
        "p_holm": [v.p_holm for v in verdicts],
        "to_decide": [v.to_decide for v in verdicts],
    }.items():
        assert table[name].tolist() == pytest.approx(values, nan_ok=True)
    assert (table["to_decide"] > len(SEEDS)).tolist() == (table["verdict"] == UNDECIDED).tolist()
    by_system = table.set_index(["system", "column"])["verdict"]
    assert by_system["far", "all"] == SUPPORTED and by_system["near", "all"] != SUPPORTED
    assert (table["seeds"] == len(SEEDS)).all()


def test_one_seed_decides_nothing_and_a_table_without_sap_net_is_refused():
    table = paired_differences({key: trial for key, trial in TRIALS.items() if key[2] == 0}, 50)
    assert set(table["verdict"]) == {UNDECIDED} and table["p"].isna().all() and "Avg" not in set(table["column"])
    with pytest.raises(ValueError, match=r"SAP-Net \(Ours\)"):
        paired_differences({key: trial for key, trial in TRIALS.items() if key[0] != OURS})


def test_every_system_is_compared_with_each_control_as_one_family():
    table = control_differences(TRIALS, ["far", "part"], 200)
    assert table[["control", "system", "column"]].to_numpy().tolist() == [
        ["far", system, column] for system in ("near", OURS) for column in ("10%", "all")
    ] + [["part", system, "10%"] for system in ("near", OURS)]
    found = [compare(side(s, c), side(k, c), limit=RHO_DIFFERENCE) for k, s, c in table.iloc[:, :3].to_numpy()]
    assert table["difference"].tolist() == pytest.approx([evidence.value for evidence in found])
    assert table["verdict"].tolist() == [v.word for v in judge([hypothesis_of(evidence) for evidence in found])]
    swapped = paired_differences(TRIALS, 200).set_index(["system", "column"])["difference"]
    ours = table[(table["control"] == "far") & (table["system"] == OURS)].set_index("column")["difference"]
    assert ours["all"] == pytest.approx(swapped["far", "all"])
    with pytest.raises(ValueError, match="nobody"):
        control_differences(TRIALS, ["far", "nobody"])


def test_a_heatmap_of_controls_has_a_panel_for_each():
    use_style()
    rows = [("ridge", "APT", "10%", 0.01, VERDICTS[2]), ("ridge", "USDL", "all", -0.4, VERDICTS[1])]
    rows += [("MLP", "USDL", "all", 0.12, VERDICTS[0])]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"]).assign(claim="")
    fig = control_heatmap(table, "A table")
    left, right, bar = fig.axes
    assert [left.get_title(), right.get_title()] == ["minus\nridge", "minus\nMLP"] and fig.get_figwidth() == COLUMN
    assert [t.get_text() for t in left.texts if t.get_text()] == ["+0.01 =", "-0.40 ✗"]
    assert [t.get_text() for t in right.texts if t.get_text()] == ["+0.12 ✓"]
    assert [t.get_text() for t in left.get_yticklabels()] == ["APT (after its\ntitle)", "USDL"]
    assert "system above" in fig.get_supxlabel() and bar.get_xlabel() == "system minus control, ρ"


@pytest.mark.parametrize("columns", [3, 4, 6])
def test_numbers_in_a_heatmap_of_controls_do_not_meet(columns):
    use_style()
    rows = [(control, "USDL", f"{c}0%", -0.12, VERDICTS[1]) for control in ("ridge", "MLP") for c in range(columns)]
    table = pd.DataFrame(rows, columns=["control", "system", "column", "difference", "verdict"])
    fig = control_heatmap(table.assign(claim="iv-a"), "A table")  # bold letters are wider
    fig.canvas.draw()
    for ax in fig.axes[:2]:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) == columns and all(a.x1 <= b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_a_heatmap_shows_number_and_mark_in_the_cell_and_leaves_others_empty():
    use_style()
    table = pd.DataFrame(
        [("APT", "10%", -0.004, VERDICTS[2]), ("APT", "all", 0.5, VERDICTS[0]), ("USDL", "all", -0.12, VERDICTS[1])],
        columns=["system", "column", "difference", "verdict"],
    ).assign(claim=["", "iv-a", ""])
    fig = heatmap(table, "A table")
    assert fig is plt.gcf() and fig.get_figwidth() == COLUMN
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.texts if t.get_text()] == ["+0.00 =", "+0.50 ✓", "-0.12 ✗"]
    assert [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"] == ["+0.50 ✓"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["APT (after its title)", "USDL"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10%", "all"] and fig.get_suptitle() == "A table"
    mesh = ax.collections[0]
    assert mesh.get_clim() == (-LIMIT, LIMIT) and mesh.colorbar.extend == "max"
    assert mesh.get_array().mask.ravel().tolist() == [False, False, True, False]
    for mark, words in VERDICT_SIGNS.values():
        assert f"{mark} {words}" in fig.get_supxlabel()
    assert in_order(fig.get_supxlabel(), "bold", "ledger")
    assert "bold" not in heatmap(table.assign(claim=""), "A table").get_supxlabel()
    assert set(VERDICT_SIGNS) == set(VERDICTS[:4])


def test_text_of_a_heatmap_can_be_read_on_every_color():
    use_style()
    values = [-1.0, -0.2, 0.0, 0.2, 1.0]
    table = pd.DataFrame({"system": "USDL", "column": list("abcde"), "difference": values, "verdict": UNDECIDED})
    table["claim"] = ""
    ax = heatmap(table, "")
    ax = ax.axes[0]
    for face, text in zip(ax.collections[0].get_facecolors(), ax.texts, strict=True):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in face[:3]]
        light = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert text.get_color() == "black" and (light + 0.05) / 0.05 > 7 and math.isfinite(light)
