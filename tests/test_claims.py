"""The ledger of claims is complete and agrees with the paper's numbers; known differences get the right verdicts."""

import math
import re
from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
import torch
from wording import in_order

from sapnet_core.__main__ import main
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.names import KNOWN, title
from sapnet_core.experiments.paper import paper_arithmetic, paper_numbers
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.resampling import METRICS, Cell
from sapnet_core.experiments.statistics import VERDICTS
from sapnet_core.experiments.tables import CLASS_TABLES, FIGURES, TABLES, declared_trials
from sapnet_core.reporting import claims
from sapnet_core.reporting.claims import effect_text, evaluate, family_table, needed_trials, verdict_of
from sapnet_core.reporting.ledger import FLOORS, Claim, ledger, printed_effect
from sapnet_core.reporting.verdicts import decide, examine, part_differences, size_beside_print
from sapnet_core.runtime import environment

QUICK = get_profile("quick")
CLAIMS = {claim.id: claim for claim in ledger()}
OWN = [claim for claim in ledger() if not claim.control]
PLACES = {
    "Abstract",
    "Introduction",
    "Conclusion",
    *(f"Table {n}" for n in ("I", "II", "III", "IV", "V", "VI", "VII")),
    *(f"Fig. {n}" for n in range(5, 15)),
    *(f"Section IV-B.{n}" for n in range(1, 8)),
    *(f"Section IV-C.{n}" for n in range(1, 5)),
    *(f"Section IV-D.{n}" for n in range(1, 4)),
}
KINDS = {"greater", "comparable", "count", "worst", "arithmetic", "untested"}


def test_every_result_of_the_paper_has_its_place():
    assert len(CLAIMS) == len(ledger()) and len(OWN) >= 30
    assert {claim.place for claim in OWN} == PLACES  # every table, figure and section has a claim
    assert {claim.kind for claim in ledger()} <= KINDS and {claim.metric for claim in ledger()} <= set(METRICS)


@cache
def declared_rows(name):
    here = declared_trials(name, QUICK) if name in (*TABLES, *CLASS_TABLES, *FIGURES) else ()
    return {(str(key[0]), str(key[1])) for key in here}


@pytest.mark.parametrize("claim", ledger(), ids=lambda claim: claim.id)
def test_claim_is_well_formed(claim):
    assert claim.statement and re.fullmatch(rf"[a-z0-9-]+( \(({'|'.join(FLOORS)})\))?", claim.id)
    assert bool(claim.pairs) == (claim.kind not in ("arithmetic", "untested"))
    assert bool(claim.reason) == (claim.kind == "untested")
    assert (claim.margin > 0) == (claim.kind == "comparable")
    assert set(claim.numbers) <= set(paper_arithmetic()["statement"])
    printed = set(paper_numbers()[["table", "system", "column"]].itertuples(index=False, name=None))
    for name, row, column in claim.names:
        # without a declared trial, it must be a printed cell; lines of Figure 6 are the systems of Table IV
        cell = ("IV", row, "10%") if name == "fig06" else (name, row, column)
        assert (row, column) in declared_rows(name) or cell in printed


@pytest.mark.parametrize("claim", ledger(), ids=lambda claim: claim.id)
def test_stated_effect_is_that_of_the_papers_cells(claim):
    assert claim.paper == pytest.approx(printed_effect(claim), abs=6e-5, nan_ok=True)


def test_rows_of_the_comparison_are_all_there():
    """Every printed cell of another system in Tables IV to VII (averages apart) is compared in a claim."""
    named = {name for claim in OWN for name in claim.names}
    rows = paper_numbers().query("table in ('IV', 'V', 'VI', 'VII') and system != 'SAP-Net (Ours)' and column != 'Avg'")
    same = {("IV", "I3D+MLP"): "I", ("V", "I3D+MLP"): "II"}  # the claims name the same run by an earlier table
    for table, system, column in rows[["table", "system", "column"]].itertuples(index=False, name=None):
        assert (same.get((table, system), table), system, column) in named, (table, system, column)


def test_no_statement_is_a_sentence_of_the_paper():
    text = environment.root().parent / "shared" / "paper" / "sap-net.txt"
    if not text.is_file():
        pytest.skip("the paper's text is not here")
    words = re.sub(r"\W+", " ", text.read_text(encoding="utf-8")).lower()
    for claim in ledger():
        mine = re.sub(r"\W+", " ", claim.statement).lower().split()
        assert not any(" ".join(mine[i : i + 8]) in words for i in range(len(mine) - 7)), claim.id


def test_comparisons_with_the_mlp_have_controls_as_far_as_a_table_has_their_rows():
    rivals = {c.id: {row for _, low in c.pairs for _, row, _ in low} for c in OWN}
    beaten = [c for c in OWN if c.kind == "greater" and rivals[c.id] == {"I3D+MLP"}]
    assert len(beaten) > 10
    for claim in beaten:
        for short, floor in FLOORS.items():
            control = CLAIMS.get(f"{claim.id} ({short})")
            assert control or floor.tables is not None
            if control:
                assert control.control and math.isnan(control.paper)
                assert {r for _, low in control.pairs for _, r, _ in low} == {floor.row}
    have = {short: {c.id for c in beaten if f"{c.id} ({short})" in CLAIMS} for short in FLOORS}
    assert {"ssp-mtl", "whole-fd", "iv-mlp", "attention-off-still-ahead"} <= have["L_reg alone"]
    assert {"iv-mlp", "v-mlp", "vii-mlp", "gcl-mtl-supervised", "whole-fd-20"} <= have["searched"]
    assert not {"whole-mtl", "works-everywhere"} & have["searched"]  # Table IV has no 20 % and no 30 %


def test_every_control_names_cells_that_are_declared():
    study = get_profile("study")
    cells = {table: {key[:2] for key in declared_trials(table, study)} for table in ("I", "II", "IV", "V", "VI", "VII")}
    for claim in CLAIMS.values():
        for table, row, column in claim.names if claim.id.endswith(tuple(f"({short})" for short in FLOORS)) else ():
            assert table not in cells or (row, column) in cells[table], claim.id


def test_needed_trials_are_those_of_testable_claims():
    trials = set(needed_trials(QUICK))
    assert {t for key, t in declared_trials("I", QUICK).items() if key[0] == "I3D+SSP"} <= trials
    assert len(trials) == len(needed_trials(QUICK))
    quick = {trial for trial in trials if trial.steps == QUICK.steps}  # the others are stored trials of the study
    trained = (set(declared_trials(name, QUICK).values()) for name in set(KNOWN) - {*QUICK.left_to_study})
    assert quick < trials and quick <= set().union(*trained) and len(quick) < 250


# ---- verdicts on predictions whose difference is known ---------------------------------------------------------------
TWO = Claim("two", "Table I", "a beats b", pairs=(((("I", "a", "10%"),), (("I", "b", "10%"),)),), paper=0.3)


def lookup(**noise):
    """A lookup of cells: predictions by three seeds of 900 scores, row -> standard deviation of the added noise."""

    def cell(name):
        row = name[1]
        if row not in noise:
            return None
        true = torch.randn(900, generator=torch.Generator().manual_seed(0)).double()
        draw = torch.Generator().manual_seed(1 + sorted(noise).index(row))
        return Cell(true + noise[row] * torch.randn(3, 900, generator=draw).double(), true, "synthetic")

    return cell


def verdict(claim, claims=1, **noise):
    """Verdict on a claim in a family of `claims` claims, the others of which have p = 1."""
    row = {"kind": claim.kind, "paper": claim.paper, **examine(claim, lookup(**noise), 300)}
    open_ = {"test": "seeds and videos", "said": True, "p": 1.0, "evidence": row.get("evidence"), "margin": math.nan}
    return decide([row, *[open_] * (claims - 1)])[0]["verdict"]


def test_verdict_follows_the_known_difference():
    assert verdict(TWO, claims=20, a=0.5, b=2.0) == "supported"
    assert verdict(TWO, claims=20, a=2.0, b=0.5) == "contradicted"
    assert verdict(TWO, claims=20, a=1.0, b=1.0) == "undecided"


def test_a_multiple_of_the_printed_effect_is_suspicious():
    row = {
        "test": "seeds and videos",
        "kind": "greater",
        "verdict": "supported",
        "low": 0.01,
        "high": 1,
        "paper": 0.001,
    }
    assert size_beside_print(row) == "larger"  # many times a tiny printed effect is not suspicious
    assert size_beside_print({**row, "low": 0.03}) == "suspiciously larger"
    assert size_beside_print({**row, "low": 0.03, "verdict": "undecided"}) == "larger"


def test_size_is_held_against_print_whatever_the_sign():
    row = {"test": "seeds and videos", "kind": "greater", "verdict": "undecided", "paper": 0.05}
    said = [size_beside_print({**row, "low": low, "high": high}) for low, high in ((-0.1, 0.04), (0, 0.1), (0.06, 0.1))]
    assert said == ["smaller", "as printed", "larger"]
    assert size_beside_print({**row, "low": 0, "high": 1, "paper": math.nan}) == ""
    assert size_beside_print({"test": "arithmetic", "paper": 0.05}) == ""


def test_a_system_that_is_not_here_is_named():
    found = examine(TWO, lookup(a=1.0))
    assert in_order(found["reason"], "b") and "a, b" not in found["reason"]
    assert decide([found])[0]["verdict"] == "not testable here"
    later = examine(TWO, lookup(a=1.0, b=2.0))
    assert later["test"] == "seeds and videos"


def test_a_counterexample_contradicts_all_though_some_are_not_here():
    best = Claim("best", "Table V", "a is best", pairs=(TWO.pairs[0], (TWO.pairs[0][0], (("V", "CoRe", "20%"),))))
    assert verdict(best, a=2.0, b=0.5) == "contradicted"
    for a, b in ((0.5, 2.0), (1.0, 1.0)):
        assert verdict(best, claims=20, a=a, b=b) == "not testable here"
    reason = examine(best, lookup(a=0.5, b=2.0))["reason"]
    assert in_order(reason, "Table V") and "CoRe" not in reason  # nothing of the table is here


def test_all_of_several_is_as_sure_as_the_weakest():
    best = Claim("best", "Fig. 9", "a is best", pairs=(TWO.pairs[0], (TWO.pairs[0][0], (("I", "c", "10%"),))))
    assert verdict(best, a=0.5, b=2.0, c=2.0) == "supported"
    assert verdict(best, a=0.3, b=2.0, c=0.3) == "no difference"
    assert verdict(best, a=2.0, b=3.0, c=0.2) == "contradicted"


def test_the_effect_of_a_claim_is_that_of_its_weakest_part():
    best = Claim("best", "Fig. 9", "a is best", pairs=(TWO.pairs[0], (TWO.pairs[0][0], (("I", "c", "10%"),))))
    there = lookup(a=0.5, b=2.0, c=0.6)
    parts = part_differences(best, {name: there(name) for name in best.names}, 300)
    assert [len(part.by_seed) for part in parts] == [3, 3] and parts[0].value > parts[1].value
    found = examine(best, there, 300)
    assert (found["effect"], found["low"], found["high"]) == parts[1][:3]
    with pytest.raises(KeyError):
        part_differences(best, {}, 300)


def test_comparable_is_shown_not_assumed():
    alike = Claim("like", "Section IV-B.2", "a like b", kind="comparable", margin=0.1, pairs=TWO.pairs)
    assert verdict(alike, a=0.3, b=0.3) == "supported"
    assert verdict(alike, a=0.3, b=3.0) == "contradicted"
    narrow = Claim("like", "Section IV-B.2", "a like b", kind="comparable", margin=0.01, pairs=TWO.pairs)
    assert verdict(narrow, a=2.0, b=2.0) == "undecided"  # no difference found, but one of 0.01 is not excluded


def test_claims_on_single_errors():
    side = ((("fig13", "a", "10%"),), ())
    count = Claim("n", "Fig. 13", "one is far off", kind="count", limit=40.0, count=1, pairs=(side,))
    worst = Claim("w", "Fig. 14", "the worst is judged 0", kind="worst", pairs=(side,))
    true = torch.tensor([0.0, 50, 60, 70])
    off = torch.tensor([[45.0, 1, 1, 1], [50, 1, 2, 3], [44, 2, 2, 2]])

    def ask(claim, off, true=true):
        found = examine(claim, lambda name: Cell(true + off, true, "v"))
        return decide([found])[0]["verdict"]

    assert ask(count, off) == "supported" and ask(worst, off) == "supported"
    assert ask(count, off + torch.tensor([0, 60, 0, 0])) == "contradicted"
    assert ask(count, off + torch.tensor([[0.0, 60, 0, 0], [0.0] * 4, [0.0] * 4])) == "undecided"
    assert ask(worst, off + torch.tensor([0, 60, 0, 0])) == "contradicted"
    assert ask(worst, off, true + 1) == "not testable here"
    control = replace(worst, control=True)  # asks it of the lowest score
    assert ask(control, off, true + 1) == "supported" == ask(control, off)
    assert ask(control, off + torch.tensor([0, 60, 0, 0]), true + 1) == "contradicted"
    found = examine(control, lambda name: Cell(true + 1 + off, true + 1, "v"))
    assert found["effect"] == found["low"] == found["high"] == 1.0 and in_order(found["reason"], "1.0")
    row = {"kind": "worst", "verdict": "supported", **found, "effect": 2.0, "low": 1.5, "high": 3.0}
    assert in_order(effect_text(pd.Series(row)), "2.0", "1.5", "3.0", found["reason"])


def test_a_part_of_a_claim_s_pairs_is_no_effect_of_a_claim_that_cannot_be_tested():
    row = pd.Series({"kind": "greater", "metric": "rho", "effect": -0.07, "low": -0.2, "high": 0.1, "reason": ""})
    assert effect_text(pd.concat([row, pd.Series({"verdict": "undecided"})])) == "-0.070 [-0.200, +0.100]"
    assert effect_text(pd.concat([row, pd.Series({"verdict": "not testable here"})])) == "—"


def test_names_of_tables_and_figures_are_those_of_the_paper():
    assert [title(name) for name in ("VII", "fig07", "boxes")] == ["Table VII", "Figure 7", "Boxes"]
    assert len({title(name) for name in KNOWN}) == len(KNOWN)


def test_arithmetic_says_by_which_reading():
    found = {claim.id: examine(claim, lookup()) for claim in OWN if claim.kind == "arithmetic"}
    assert {row["verdict"] for row in decide(found.values())} == {"supported"} and len(found) == 7
    for claim, reading, other in (("vi-averages", "fisher", "arithmetic"), ("vii-average-fs", "arithmetic", "fisher")):
        assert in_order(found[claim]["reason"], reading) and other not in found[claim]["reason"]
    assert in_order(found["iv-gain-10"]["reason"], "relative", "7.8%")
    assert found["iv-gain-10"]["effect"] == pytest.approx(0.053)


@pytest.fixture
def small(monkeypatch):
    """Replace the ledger by five claims on systems with synthetic predictions; returns the claims by id."""
    entries = (
        replace(TWO, family="Table I"),
        replace(TWO, id="same", family="Table I"),
        replace(TWO, id="alone", family="Fig. 7"),
        Claim("c", "Table I", "a beats b", family="Table I", pairs=TWO.pairs, control=True),
        Claim("no", "Fig. 11", "a picture", family="Fig. 11", kind="untested", reason="none"),
    )
    system, cell = {"a": "I3D+SSP", "b": "I3D+MLP"}, lookup(a=0.5, b=1.0)
    trials = {name: [declare("mtl-aqa", system[name[1]], 0.1, 0, QUICK)] for name in TWO.names}
    row = {of[0].method: name for name, of in trials.items()}
    monkeypatch.setattr(claims, "ledger", lambda: entries)
    judged = {claim.id: {name: trials[name] for name in claim.names} for claim in entries}
    monkeypatch.setattr(claims, "_judged", lambda asked, size: {claim.id: (size, judged[claim.id]) for claim in asked})
    monkeypatch.setattr(claims, "read_cell", lambda trials, read: cell(row[trials[0].method]))
    monkeypatch.setattr(claims, "run_trials", lambda trials, jobs, **_: None)
    return {claim.id: claim for claim in entries}


def test_claims_of_a_family_are_corrected_together_and_controls_apart(small, monkeypatch, capsys):
    table = evaluate("quick").set_index("claim")
    p = table["p"]
    family = table.loc[["two", "same", "alone", "c"], "p_holm"].tolist()
    assert family == pytest.approx([2 * p["two"], 2 * p["same"], p["alone"], p["c"]])
    assert table.loc["no", ["verdict", "source", "reason"]].tolist() == ["not testable here", "the paper", "none"]
    assert set(table["verdict"]) <= set(VERDICTS)
    monkeypatch.setattr(claims, "needed_trials", lambda profile: [])
    main(["claims"])
    out = capsys.readouterr().out
    assert out.startswith("4 claims: ") and "1 not testable here" in out and "\n1 controls: " in out


def test_a_part_of_the_ledger_says_what_the_whole_says(small):
    whole = evaluate("quick").set_index("claim")
    shown = family_table(QUICK, "Table I").set_index("claim")
    assert list(shown.index) == ["two", "same", "c"]
    for claim, row in shown.iterrows():
        assert row["verdict"] == verdict_of(claim, QUICK)
        assert row["verdict"].startswith(whole.at[claim, "verdict"])
        assert row["p, corrected"] == f"{whole.at[claim, 'p_holm']:.2g}"
    assert shown.at["c", "what is said"] == "control: a beats b"
    assert verdict_of("no", QUICK) == "not testable here: none"
    with pytest.raises(ValueError, match="nothing"):
        verdict_of("nothing", QUICK)
    with pytest.raises(ValueError, match="Fig. 99"):
        family_table(QUICK, "Fig. 99")


def test_undecided_says_how_many_seeds_would_decide():
    found = examine(TWO, lookup(a=1.0, b=1.02), 300)
    decided = decide([{"kind": "greater", **found}])[0]
    assert decided["verdict"] == "undecided" and decided["to_decide"] > 3
    row = pd.Series({**found, **decided, "kind": "greater"})
    assert claims.verdict_text(row).startswith("undecided (")


def test_every_family_is_a_table_a_figure_or_a_part_without_one():
    families = {claim.family for claim in ledger()}
    assert families == {place for place in PLACES if not place.startswith("Section")}


def test_all_systems_that_a_claim_names_must_fail_on_a_failed_dive():
    sides = tuple((((("IV", row, "supervised"),), ())) for row in ("a", "b"))
    worst = Claim("w", "Fig. 14", "others fail too", kind="worst", pairs=sides)
    true = torch.tensor([0.0, 50, 60, 70])
    off = {"a": torch.tensor([[45.0, 1, 1, 1]] * 2), "b": torch.tensor([[9.0, 1, 2, 3]] * 2)}

    def ask():
        found = examine(worst, lambda name: Cell(true + off[name[1]], true, "v"))
        return found["effect"], decide([found])[0]["verdict"]

    assert ask() == (0, "supported")
    off["b"] = torch.tensor([[9.0, 1, 2, 30]] * 2)
    assert ask() == (70, "contradicted")
    off["b"] = torch.tensor([[9.0, 1, 2, 30], [90, 1, 2, 30]])
    assert ask() == (35, "undecided")
