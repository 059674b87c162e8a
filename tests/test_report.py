"""Tables, figures, checks and interactive figures."""

import json
import math
import re
from importlib import import_module

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats
from wording import in_order

from sapnet_core import reporting
from sapnet_core.experiments.paper import NOTES, paper_numbers
from sapnet_core.experiments.systems import FOOTNOTES
from sapnet_core.reporting import widgets
from sapnet_core.reporting.stored_tables import read_stored_table
from sapnet_core.reporting.tables import as_printed, comparison_table, flat, show, shown_cells
from sapnet_core.reporting.widgets import is_live

PAPER = pd.DataFrame(
    {
        "system": ["I3D+MLP", "SAP-Net (Ours)"] * 2,
        "column": ["10%", "10%", "supervised", "supervised"],
        "rho": [0.618, 0.798, 0.892, 0.951],
    }
)
FLOORS = pd.DataFrame({"system": ["mean", "difficulty alone", "ceiling: true quality"], "rho": [math.nan, 0.56, 0.99]})


def trials(**rho: list[float]) -> pd.DataFrame:
    names = {"mlp": "I3D+MLP", "ours": "SAP-Net (Ours)", "extra": "control"}
    rows = [(names[k], "10%", seed, x) for k, values in rho.items() for seed, x in enumerate(values)]
    return pd.DataFrame(rows, columns=["system", "column", "seed", "rho"])


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


def record(profile="quick"):
    command = "./runall.sh" + f" --profile {profile}" * (profile != "quick")
    return {"source": "twins", "profile": profile, "versions": {"python": "3.11"}, "command": command}


def test_interval_is_students_within_the_range_of_a_correlation():
    x = [0.61, 0.64, 0.60]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(x), scale=stats.sem(x))
    table = reporting.comparison_table(trials(mlp=x, ours=[0.99, 0.2, 0.7]), PAPER)
    assert table.loc["I3D+MLP", ("10%", "low")] == pytest.approx(low)
    assert table.loc["I3D+MLP", ("10%", "high")] == pytest.approx(high)
    wide = table.loc["SAP-Net (Ours)", "10%"]
    assert -1 < wide["low"] < wide["mean"] < wide["high"] < 1
    assert f"0.630 [{wide['low']:.3f}, {wide['high']:.3f}]" in reporting.markdown(table)


def test_paper_stands_beside_run_and_floors_below():
    runs = trials(mlp=[0.6, 0.62, 0.61], ours=[0.7, 0.74, 0.75], extra=[0.5] * 3)
    table = reporting.comparison_table(runs, PAPER, FLOORS)
    assert list(table.index) == ["I3D+MLP", "SAP-Net (Ours)", "control", *FLOORS["system"]]
    assert table.loc["I3D+MLP", ("10%", "paper")] == 0.618
    assert table.loc["I3D+MLP", ("10%", "mean")] == pytest.approx(0.61)
    assert table.loc["I3D+MLP", ("10%", "seeds")] == 3
    assert table.loc["difficulty alone", ("supervised", "mean")] == 0.56
    text = reporting.markdown(table)
    assert "| I3D+MLP | 0.618 | 0.610 ± 0.025 | 0.892 | — |" in text
    assert "| mean | — | — | — | — |" in text
    assert "10% this run (n=3)" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("runs", "bold"),
    [
        (dict(mlp=[0.60, 0.70, 0.65], ours=[0.65, 0.75, 0.70]), True),
        (dict(mlp=[0.60, 0.70, 0.65], ours=[0.70, 0.65, 0.75]), True),  # a mean may be the highest by chance
        (dict(mlp=[0.60], ours=[0.90]), True),
        (dict(mlp=[0.40, 0.41, 0.42], ours=[0.50, 0.51, 0.52]), False),  # below the floor 0.56
        (dict(mlp=[0.40, 0.41, 0.42], ours=[0.56, 0.56, 0.56]), False),  # no higher than the floor
    ],
)
def test_bold_is_the_highest_mean_above_the_floors_and_the_table_says_so(runs, bold):
    table = reporting.comparison_table(trials(**runs), PAPER, FLOORS)
    assert bool(table.loc["SAP-Net (Ours)", ("10%", "best")]) is bold
    assert ("**" in reporting.markdown(table)) is bold
    for shown in (reporting.markdown(table), reporting.show(table)._repr_html_()):
        assert ("Bold is no verdict" in shown) is bold
    assert not table.xs("best", axis=1, level=1).drop(index="SAP-Net (Ours)").to_numpy().any()


def test_table_refuses_what_it_cannot_place():
    runs = trials(mlp=[0.6, 0.6])
    with pytest.raises(ValueError, match="system, column and seed"):
        reporting.comparison_table(pd.concat([runs, runs]), PAPER)
    with pytest.raises(ValueError, match="15%"):
        reporting.comparison_table(runs.assign(column="15%"), PAPER)


def test_saved_table_has_numbers_and_provenance(figures):
    table = reporting.comparison_table(trials(mlp=[0.6, 0.62], ours=[0.7, 0.74]), PAPER, FLOORS)
    reporting.save_table("table01", table, record(), title="Table I")
    read = pd.read_csv(figures / "table01.csv")
    assert read.loc[0, "10% mean"] == pytest.approx(0.61)
    assert list(read.columns) == list(flat(table).columns)
    text = (figures / "table01.md").read_text(encoding="utf-8")
    assert text.startswith("**Table I**\n\n| system |") and "- command: ./runall.sh\n" in text
    reporting.save_table("table01", table, record("study"))
    assert (figures / "study" / "table01.csv").read_bytes() == (figures / "table01.csv").read_bytes()


def comparison_of(number: str, *systems: str) -> pd.DataFrame:
    """A comparison with all columns of a table of the paper, two seeds of each system, and the floors."""
    paper = paper_numbers().query("table == @number")
    columns = dict.fromkeys(paper["column"])
    rows = [(s, c, seed, 0.5 + 0.1 * seed) for s in systems for c in columns for seed in (0, 1)]
    runs = pd.DataFrame(rows, columns=["system", "column", "seed", "rho"])
    return reporting.comparison_table(runs, paper, FLOORS)


@pytest.mark.parametrize(("number", "supervised"), [("IV", 12), ("V", 7)])
def test_two_blocks_with_years_each_end_in_sap_net(number, supervised):
    table = as_printed(comparison_of(number, "I3D+MLP", "control", "SAP-Net (Ours)"), number)
    keys = {block: part.index.droplevel("block") for block, part in table.groupby(level="block", sort=False)}
    assert list(keys) == ["Supervised", "Semi-supervised", "Floors and ceiling"]
    assert keys["Supervised"][supervised - 1 :].tolist() == [
        ("I3D+MLP", ""),
        ("control", ""),
        ("SAP-Net (Ours)", ""),
    ]
    assert keys["Supervised"][0] == ("USDL", "2020")
    assert keys["Semi-supervised"][0] == ("I3D+MLP", "2020" if number == "IV" else "2022")
    assert keys["Semi-supervised"][-2:].tolist() == [("control", ""), ("SAP-Net (Ours)", "")]
    assert keys["Floors and ceiling"].tolist() == [(name, "") for name in FLOORS["system"]]
    # each cell of the paper stands in its own block and nowhere else
    paper = paper_numbers().query("table == @number").set_index(["block", "system", "column"])["rho"]
    printed = table.xs("paper", axis=1, level=1).droplevel("year").stack().dropna()
    assert printed.to_dict() == paper.to_dict()
    seeds = table.xs("seeds", axis=1, level=1)
    assert seeds.loc[["Supervised"]].sum().to_dict() == {"supervised": 6, "10%": 0, list(seeds)[-1]: 0}


def test_a_row_that_needs_a_word_has_it_where_it_is_shown():
    runs = trials(mlp=[0.6, 0.62, 0.61], extra=[0.5] * 3).replace("control", "TRS")
    table = reporting.comparison_table(runs, PAPER, FLOORS)
    assert f"| TRS ({FOOTNOTES['TRS']}) | — | 0.500" in reporting.markdown(table)
    assert "TRS" in table.index and f">TRS ({FOOTNOTES['TRS']})</th>" in show(table).html


def test_blocks_years_and_note_are_shown(figures):
    table = as_printed(comparison_of("IV", "I3D+MLP", "SAP-Net (Ours)"), "IV")
    table = table.rename(index={"TSA-Net": "TSA-Net (not here)"}, level="system")
    text = reporting.markdown(table)
    header = text.splitlines()[0]
    assert in_order(header, "| system | Year |", "supervised paper", "|", "supervised", "n=2", "|", "10% paper", "|")
    assert "| **Supervised** |  |  |  |  |  |  |  |\n| USDL | 2020 | 0.9066 | — |  |  |  |  |" in text
    assert "| TSA-Net (not here) | 2021 | 0.9422 | — |  |  |  |  |" in text
    assert text.rpartition("|")[2].strip() == NOTES["IV"] and in_order(NOTES["IV"], "E15", "NL-Net")
    reporting.save_table("table04", table, record(), title="Table IV")
    assert "NL-Net" in (figures / "table04.md").read_text(encoding="utf-8")
    assert pd.read_csv(figures / "table04.csv").columns[:4].tolist() == ["block", "system", "year", "supervised paper"]
    assert shown_cells(read_stored_table(figures / "table04.csv")) == shown_cells(table)


def test_skating_has_a_header_of_two_levels():
    table = as_printed(comparison_of("VII", "I3D+MLP", "SAP-Net (Ours)"), "VII")
    assert table.index.names == ["system", "year"] and table.index[-4] == ("SAP-Net (Ours)", "")
    page = reporting.show(table)._repr_html_()
    header = [
        re.findall(r'<th colspan="(\d)" rowspan="(\d)"[^>]*>([^<]*)</th>', row)
        for row in re.search("<thead>(.*)</thead>", page)[1].split("</tr>")[:-1]
    ]
    assert header[0] == [("1", "3", "system"), ("1", "3", "Year"), ("4", "1", "SP"), ("4", "1", "FS")]
    assert header[1] == [("2", "1", name) for name in ("PCS", "TES", "PCS", "TES")]
    assert header[2] == [("1", "1", name) for name in ("paper", "this run (n=2)")] * 4
    flat_header = reporting.show(table)._repr_markdown_().splitlines()[0]
    assert in_order(flat_header, "| SP PCS paper |", "SP PCS", "n=2", "| SP TES paper |")


def test_html_of_a_comparison_shows_names_literally():
    runs = trials(mlp=[0.6, 0.61]).replace("I3D+MLP", "<b>a|b</b> $x$")
    page = reporting.show(reporting.comparison_table(runs, PAPER))._repr_html_()
    assert "&lt;b&gt;a|b&lt;/b&gt; <span>&#36;</span>x" in page and "<b>" not in page


def test_printed_form_refuses_another_table():
    with pytest.raises(ValueError, match="IV, V, VI, VII"):
        as_printed(comparison_of("I", "I3D+MLP"), "I")
    with pytest.raises(ValueError, match="column.*Table V"):
        as_printed(comparison_of("V").drop(columns="20%", level=0), "V")


def test_plain_frame_is_a_table_too():
    text = reporting.markdown(pd.DataFrame({"a|b": ["x|y"], "n": [0.12345]}))
    assert text == "| a\\|b | n |\n| --- | ---: |\n| x\\|y | 0.123 |"


def test_equal_numbers_give_equal_bytes(figures):
    contents = []
    for _ in range(2):
        reporting.use_style()
        fig, ax = plt.subplots()
        ax.plot([0, 1, 2], [0.1, 0.4, 0.3], label="run")
        ax.legend()
        names = reporting.save_figure(fig, "fig05", pd.DataFrame({"x": [0.1, 1 / 3]}), record())
        plt.close(fig)
        contents.append({name: (figures / name).read_bytes() for name in names})
    assert set(contents[0]) == {"fig05.png", "fig05.svg", "fig05.csv"}
    assert contents[0] == contents[1]
    assert json.loads(Image.open(figures / "fig05.png").text["Description"]) == record()
    svg = contents[0]["fig05.svg"].decode()
    assert "<dc:date>" not in svg and "./runall.sh" in svg
    assert contents[0]["fig05.csv"] == b"x\n0.1\n0.333333\n"


def test_provenance_names_code_and_command_but_no_place(tmp_path, monkeypatch):
    module = import_module("sapnet_core.reporting.provenance")  # its name in the package is that of a function
    monkeypatch.setattr(module, "own_profile", lambda notebook: "quick")
    made = reporting.provenance("study", "twins", [0, 1], ["b", "a"], notebook="10_fig05_score_scatter")
    assert made["command"] == "./runall.sh --profile study --only 10"
    assert made["seeds"] == "0, 1" and made["trials"].startswith("2 (")
    assert made["trials"] == reporting.provenance("quick", "twins", trials=["a", "b"])["trials"]
    assert "/" not in json.dumps(made).replace("./runall.sh", "")
    assert reporting.provenance_table(made).data.count("\n") == len(made)  # with the header's rule, without the hashes
    (tmp_path / "mine.pt").write_bytes(b"weights")
    monkeypatch.setenv("SAPNET_I3D", str(tmp_path / "mine.pt"))
    known = reporting.provenance("study", "twins")["weights"]
    assert list(known) == ["I3D"] and len(known["I3D"]) == 12


def test_check_prints_its_verdict_or_raises(capsys):
    reporting.check("Eq. 12", 0.79999999, 0.8, 1e-6)
    reporting.check("videos", 480, 480)
    reporting.check("softmax", torch.tensor([0.5, 0.5]), [0.5, 0.5000001], 1e-6)
    reporting.check("name", "sap", "sap")
    lines = capsys.readouterr().out.splitlines()
    facts = [("Eq. 12", "0.8000", "0.8000"), ("videos", 480, 480), ("softmax", 2, "1e-06"), ("name", "sap", "sap")]
    assert [in_order(line, "✓", *parts) for line, parts in zip(lines, facts, strict=True)] == [True] * 4
    bad = [(0.8, 0.9, 0.01), ([1.0, 2.0], [1.0, 2.5], 0.1), ([1.0], [1.0, 1.0], 1), (math.nan, 1.0, 9), ("a", "b", 0)]
    for measured, expected, tolerance in bad:
        with pytest.raises(AssertionError, match="✗ bad"):
            reporting.check("bad", measured, expected, tolerance)
    assert capsys.readouterr().out == ""


def test_digest_tells_changed_data(capsys):
    reporting.digest_line("scores", torch.tensor([1.0, 2.0, 6.0]), 1)
    reporting.digest_line("scores", [1.0, 2.0, 5.0, math.nan], 1)
    reporting.digest_line("scores", [-0.001, 0.001], 1)
    reporting.digest_line("scores", [])
    lines = capsys.readouterr().out.splitlines()
    values = ("mean 3.0", "sd 2.2", "min 1.0", "max 6.0", "first 1.0", "last 6.0")
    assert in_order(lines[0], "scores", "n=3", *values) and "missing" not in lines[0]
    assert in_order(lines[1], "scores", "n=4", "1 missing", "mean 2.7")
    assert "-" not in lines[2].partition(":")[2] and in_order(lines[3], "scores", "n=0") and "mean" not in lines[3]


def test_explore_draws_static_panels_and_sliders_only_when_live(monkeypatch):
    seen, shown = [], []
    monkeypatch.setattr("IPython.display.display", lambda what, metadata=None: shown.append((what, metadata)))
    static = [{"tau": 0.5}, {"tau": 0.9}]
    plt.close("all")
    reporting.explore(lambda ax, tau: seen.append(tau), static, alt="Bars", tau=(0.0, 1.0))
    (row, told), *rest = shown
    assert seen == [0.5, 0.9] and not rest and not is_live()
    assert [ax.get_title() for ax in row.axes] == ["tau = 0.5", "tau = 0.9"]
    assert [*told] == ["alt"] and in_order(told["alt"], "Bars", "tau = 0.5", "tau = 0.9") and not plt.get_fignums()
    reporting.explore(lambda ax, tau: None, static, live=True, tau=(0.0, 1.0))
    assert len(shown) == 3 and shown[2][0].children[0].description == "tau"
    with pytest.raises(ValueError, match="iota"):
        reporting.explore(lambda ax, tau: None, static, iota=(0.0, 1.0))
    plt.close("all")


def test_explore_draws_several_axes_at_each_setting_and_one_color_bar_for_all(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda figure, metadata: shown.append(figure))

    def draw(axes, step):
        axes[1].plot([0, step])
        return axes[0].imshow([[0, 1], [1, 0]])

    reporting.explore(draw, [{"step": 1}, {"step": 2}, {"step": 9}], alt="Steps", bar="share", rows=2)
    *panels, bar = shown[0].axes
    assert [ax.get_title() for ax in panels] == ["step = 1", "step = 2", "step = 9", "", "", ""]
    assert bar.get_ylabel() == "share" and len({ax.get_ylim() for ax in panels[3:]}) == 1


def test_titles_that_would_meet_are_broken(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda figure, metadata: shown.append([ax.get_title() for ax in figure.axes])
    )
    for count in (2, 4):
        with plt.rc_context({"axes.titlesize": 12}):
            reporting.explore(
                lambda ax, dive, step: None, [{"dive": "5253B", "step": k} for k in range(count)], alt="Dives"
            )
    assert shown[0][0] == "dive = 5253B, step = 0" and shown[1][3] == "dive = 5253B,\nstep = 3"


def test_a_picture_is_shown_with_its_text_and_closed(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda figure, metadata: shown.append((figure, metadata)))
    plt.close("all")
    with pytest.raises(ValueError, match="no figure"):
        reporting.picture("A line")
    figure, _ = plt.subplots()
    with pytest.raises(ValueError, match="sentence"):
        reporting.picture(" ")
    reporting.picture("A line\n  that rises.")
    assert shown == [(figure, {"alt": "A line that rises."})] and not plt.get_fignums()


def test_bars_are_for_a_reader_alone_and_know_their_total(monkeypatch, capsys):
    assert widgets.live_bar("features") is None and set(widgets.live_bars().values()) == {None}
    monkeypatch.setattr(widgets, "is_live", lambda: True)
    for report in widgets.live_bars().values():
        report(1, 4)
        report(4, 4)
    said = capsys.readouterr().err
    assert "4/4" in said and "0/?" not in said


def test_cells_below_a_floor_or_below_ridge_are_gray():
    rho = {"I3D+MLP": 0.5, "Ridge on the mean feature": 0.7, "SAP-Net (Ours)": 0.8, "VAT": 0.66}
    runs = [{"system": s, "column": "10%", "seed": k, "rho": v + 0.01 * k} for s, v in rho.items() for k in range(3)]
    printed = pd.DataFrame({"system": ["I3D+MLP"], "column": ["10%"], "rho": [0.618]})
    floor = pd.DataFrame({"system": ["difficulty alone", "ceiling: true quality"], "rho": [0.64, 0.99]})
    table = comparison_table(pd.DataFrame(runs), printed, floor)
    gray = {row[0].text for row in shown_cells(table)[1] if row[2].gray}
    assert gray == {"I3D+MLP", "VAT"}
    page = show(table)._repr_html_()
    assert page.count("<span style") == 2 and "Gray: below a floor" in page
    alone = comparison_table(pd.DataFrame(runs).query("system != 'Ridge on the mean feature'"), printed, floor)
    assert {row[0].text for row in shown_cells(alone)[1] if row[2].gray} == {"I3D+MLP"}
