"""The ten sentences hold the numbers of the ledger, say what is preliminary, and stand in README as they are made."""

import re
from itertools import product

import pandas as pd
import pytest
from wording import in_order

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNDECIDED, VERDICTS
from sapnet_core.reporting.ledger import ledger
from sapnet_core.reporting.parts import claims
from sapnet_core.reporting.ten_sentences import (
    ABOUT,
    NAMED,
    ledger_rows,
    ten_sentences,
    ten_text,
    verdict_counts,
    write_readme,
)
from sapnet_core.reporting.worth import FEW, MANY, PARTS, worth
from sapnet_core.runtime import environment

ROOT = environment.root()
STORED = claims(ROOT / "figures", controls=True)


def worth_table(seeds: int = 10, verdicts: tuple[str, str] = (SUPPORTED, UNDECIDED)) -> pd.DataFrame:
    """What `worth.worth` returns, with made-up effects; of 0 seeds, none."""
    rows = [
        {"part": part.name, "column": column, "effect": 0.1234, "low": -0.5, "high": 0.75, "verdict": verdict}
        | {"seeds": seeds, "planned": 10}
        for part, (column, verdict) in product(PARTS, zip((FEW, MANY), verdicts, strict=True))
    ]
    return pd.DataFrame(rows)


def test_there_are_ten_and_each_has_a_verdict_and_numbers():
    sentences = ten_sentences(ledger_rows(STORED), worth_table())
    assert len(sentences) == 10
    for text in sentences:
        assert text.endswith(".") and text[0].isupper() and re.search(r"\d", text)
        assert any(word in text for word in VERDICTS[:4])
        assert ". " not in re.sub(r"“.*?”", "", text)  # one sentence


def test_the_order_of_the_ledger_and_that_of_its_file_give_the_same_sentences():
    """The notebook has the rows in the ledger's order, the gallery those of `claims.csv`, by verdict."""
    place = {claim.id: i for i, claim in enumerate(ledger())}
    as_judged = sorted(STORED, key=lambda row: place[row["claim"]])
    assert as_judged != STORED
    first, second = (ten_sentences(ledger_rows(rows), worth_table()) for rows in (as_judged, STORED))
    assert first == second


def test_no_sentence_has_an_id_or_a_symbol_of_the_suite():
    text = " ".join(ten_sentences(ledger_rows(STORED), worth_table()))
    assert not [claim.id for claim in ledger() if "-" in claim.id and f" {claim.id} " in text]
    assert not re.search(r"L_|I3D\+(SSP|GCL)|E\d+\b|_", text)


def test_a_part_has_both_effects_with_interval_and_says_its_seeds():
    full, early = (ten_sentences(ledger_rows(STORED), worth_table(n))[3] for n in (10, 2))
    effect = "+0.123 [-0.500, +0.750]"
    verdicts = ("few", effect, "many", SUPPORTED, "few", UNDECIDED, "many")
    assert in_order(full, effect, *verdicts) and "preliminary" not in full
    assert in_order(early, effect, *verdicts, "two seeds", "preliminary")
    same = ten_sentences(ledger_rows(STORED), worth_table(10, (NO_DIFFERENCE, NO_DIFFERENCE)))[3]
    assert in_order(same, effect, effect, NO_DIFFERENCE, "both") and same.count(NO_DIFFERENCE) == 1
    none = ten_sentences(ledger_rows(STORED), worth_table(0))[3]
    assert in_order(none, "not measured", "open") and not re.search(r"\d|preliminary", none)


def test_counts_and_effects_are_those_of_the_ledger():
    table = ledger_rows(STORED)
    mine = table[~table["control"]]
    first, *_, rivals, failures, undecided = ten_sentences(table, worth_table())
    for verdict in VERDICTS[:4]:
        assert re.search(rf"\b{(mine['verdict'] == verdict).sum()} \w+ {verdict}", first)
    for name in ("iv-coreg", "v-musdl", "iv-supervised"):
        row = mine.set_index("claim").loc[name]
        assert f"({row['effect']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}])" in rivals
    named, more = re.findall("“([^”]+)”", failures), re.search(r"and (\d+) more", failures)
    assert named and {*named} <= {*mine.loc[mine["verdict"] == CONTRADICTED, "statement"]}
    assert len(named) == NAMED if more else len(named) <= NAMED
    assert in_order(undecided, f"{(mine['verdict'] == UNDECIDED).sum()} undecided")


def test_an_empty_ledger_and_one_without_numbers_are_said():
    assert len(ten_sentences(ledger_rows([]), worth_table())) == 10
    rows = [{"claim": "x", "place": "Table I", "verdict": verdict} for verdict in VERDICTS]
    assert in_order(ten_sentences(ledger_rows(rows), worth_table())[0], f"{len(rows)} results", *VERDICTS[:4])


def test_seeds_that_would_decide_are_those_of_results_at_the_paper_s_sizes():
    row = {"claim": "x", "place": "y", "verdict": UNDECIDED, "profile": "study", "seeds": "2"}
    rows = [{**row, "to_decide": text} for text in ("9", "15", "40", "inf")]
    text = ten_sentences(ledger_rows(rows), worth_table())[-1]
    assert in_order(text, "4 undecided", 4, "two", 10, "; if ", "10 seeds", 1, "20 seeds", 1, "more", 2)
    assert in_order(text.rpartition("(")[2], 1, 1000, "test videos", ")")
    small = {**row, "profile": "quick", "to_decide": "9"}
    more = ten_sentences(ledger_rows([*rows, small, {**row, "seeds": "3"}]), worth_table())[-1]
    assert in_order(more, "6 undecided", 5, "two or three", 10, 1, "hundred videos", "; if ")
    assert more.partition("; if")[2] == text.partition("; if")[2]
    assert "; if" not in ten_sentences(ledger_rows([small]), worth_table())[-1]
    single = ten_sentences(ledger_rows([*rows, {**row, "kind": "worst"}]), worth_table())[-1]
    assert in_order(single, "5 undecided", "more", 2, ";", 1, "each seed") and "each seed" not in text


def test_contradicted_leads_over_rivals_alone_leave_nothing_else_to_say():
    row = {"place": "Table V", "verdict": CONTRADICTED, "profile": "study", "seeds": "2", "effect": "-0.1"}
    row |= {"low": "-0.2", "high": "0.0", "metric": "rho", "kind": "greater"}
    rows = [{**row, "claim": name} for name in ("v-musdl", "v-supervised")]
    said = ten_sentences(ledger_rows(rows), worth_table())[-2]
    assert in_order(said, "no result", CONTRADICTED, "none", NO_DIFFERENCE) and not re.search(r"\d|“", said)


def test_a_dataset_is_named_where_it_is_not_the_usual_one_and_the_statement_does_not_say_it():
    row = {
        "family": "Fig. 7",
        "verdict": CONTRADICTED,
        "profile": "study",
        "seeds": "10",
        "effect": "-0.1",
        "low": "-0.2",
    }
    row |= {"high": "0.0", "metric": "rho", "kind": "greater"}
    rows = [{**row, "claim": "tau-best", "statement": "0.7 is best"}]
    rows += [{**row, "claim": "ssp-fd", "statement": "It helps, FineDiving"}]
    rows += [{**row, "claim": "loss-gc", "statement": "It helps"}]
    rows += [{**row, "claim": "fig5-closer", "statement": "It is closer", "metric": "closeness"}]
    rows += [{**row, "claim": "k-best", "family": "Fig. 9", "verdict": NO_DIFFERENCE}]
    said = ten_sentences(ledger_rows(rows), worth_table())[-2]
    behind = dict(part.split("”", 1) for part in said.split("“")[1:])  # statement -> what follows it
    effect = ("(", "-0.100", "-0.200", "+0.000")
    assert in_order(behind["0.7 is best"], "FineDiving", *effect)
    assert all(in_order(behind[f"It helps{of}"].partition("(")[1], "(") for of in ("", ", FineDiving"))
    assert not any("FineDiving" in behind[f"It helps{of}"] for of in ("", ", FineDiving"))
    assert in_order(behind["It is closer"], "FineDiving", *effect, "R-ℓ2", 100, ")")
    assert in_order(said, 1, ABOUT["Fig. 9"] + " on FineDiving", NO_DIFFERENCE)


def test_readme_shows_what_the_stored_results_give():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- ten sentences -->\n")[1].split("\n<!-- end -->")[0]
    expected = ten_text(ledger_rows(STORED), worth(get_profile("study")))
    assert shown == expected, "python -m sapnet_core gallery writes the current sentences"


def test_readme_is_written_between_its_markers(tmp_path):
    table, file = ledger_rows(STORED), tmp_path / "README.md"
    names = ("ten sentences", "figures/claims.csv", "figures/table01.md")
    file.write_text("".join(f"a\n<!-- {name} -->\nold\n<!-- end -->\nb\n" for name in names))
    first = "| system | 10% |\n| --- | ---: |\n| toy | 0.5 |\n\n- commit: 0a1b\n"
    write_readme(file, table, worth_table(), first)
    text = file.read_text(encoding="utf-8")
    contents = (ten_text(table, worth_table()), verdict_counts(table), first.partition("\n\n")[0])
    assert text == "".join(
        f"a\n<!-- {name} -->\n{content}\n<!-- end -->\nb\n" for name, content in zip(names, contents, strict=True)
    )
    file.write_text("no marker")
    with pytest.raises(ValueError, match="<!-- ten sentences -->"):
        write_readme(file, table, worth_table(), first)
