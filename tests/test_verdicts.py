"""Notebooks and ledger agree: the verdicts in stored outputs are those of the tables in `figures/`."""

import csv
import re
from functools import cache

import nbformat
import pytest

from sapnet_core.experiments.statistics import MARGIN, NO_DIFFERENCE, UNDECIDED, UNTESTABLE, VERDICTS, in_words
from sapnet_core.reporting.claims import evaluate, stated, verdict_text
from sapnet_core.reporting.ledger import FLOORS, asked_of
from sapnet_core.reporting.literal import from_cell, in_markdown
from sapnet_core.reporting.notebooks import find, load, own_profile
from sapnet_core.runtime import environment

FAMILIES = {
    "05": ("Table I", "Table II", "Table III"),
    "06": ("Table IV", "Table V", "Table VI", "Table VII"),
    "10": ("Fig. 5",),
    "11": ("Fig. 6",),
    "12": ("Fig. 7",),
    "13": ("Fig. 8",),
    "14": ("Fig. 9",),
    "15": ("Fig. 10",),
    "17": ("Fig. 12",),
    "18": ("Fig. 13",),
    "19": ("Fig. 14",),
}
RETIRED = re.compile(
    r"undecided here|not decided|cannot be told|suspiciously better|not told (?:apart )?from"
    r"|interval (?:above|below) (?:none|[A-Z])"
)
TESTS = re.compile(r"\b(?:wilcoxon|ttest_\w+|mannwhitneyu|permutation_test)\b")  # p-values beside those of `judge`


@cache
def rows(name):
    with open(environment.root() / "figures" / f"{name}.csv", encoding="utf-8", newline="") as file:
        return [{key: from_cell(text) for key, text in row.items()} for row in csv.DictReader(file)]


def printed(row):
    """The verdict of a row as notebooks print it."""
    if row["verdict"] == UNTESTABLE:
        return f"{UNTESTABLE}: {row['reason']}"
    seeds = row["to_decide"]  # a number in the ledger, words in the table of decisions
    if row["verdict"] != UNDECIDED or not seeds:
        return row["verdict"]
    return f"{row['verdict']} ({seeds})" if "seeds" in seeds else in_words(row["verdict"], float(seeds))


def trials_of(table):
    """How many trials are behind a table in `figures/`, with their digest, as its provenance gives it."""
    text = (environment.root() / "figures" / f"{table}.md").read_text(encoding="utf-8")
    return re.search(r'"trials": "([^"]+)"', text)[1]


def outputs_of(path):
    """Markdown and text of a notebook's outputs."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [output.get("text") or output.get("data", {}).get("text/markdown", "") for output in outputs]


@cache
def texts(prefix, table="claims"):
    """Outputs of the notebook that belongs to a table in `figures/`.

    That is the stored notebook, or, if a run on this machine has written the table anew, the copy that it executed.
    """
    writer = {"claims": "20", "decisions": "09"}[table]
    stored, line = find([prefix])[0], f"| trials | {trials_of(table)} |"
    if any(line in text for text in outputs_of(find([writer])[0])):
        return outputs_of(stored)
    executed = environment.runs() / "notebooks" / stored.name
    if not executed.is_file():
        pytest.skip(f"figures/{table}.md was made by a run of which {executed} is not left")
    return outputs_of(executed)


def table_rows(outputs, key, columns):
    """Rows of the Markdown tables with these columns among outputs: cell of the column `key` -> cell of the last of
    `columns`, the verdict."""
    found = {}
    for text in outputs:
        head, *lines = [
            re.split(r"(?<!\\) ?\| ?", line.strip())[1:-1] for line in text.splitlines() if line[:1] == "|"
        ] or [[]]
        if set(columns) <= set(head):
            found |= {line[head.index(key)].strip("`"): line[head.index(columns[-1])] for line in lines[1:]}
    return found


CLAIMS = "claim", ("claim", "what is said", "verdict")  # key and columns of a table of claims


@pytest.mark.parametrize("prefix", sorted(FAMILIES))
def test_notebook_says_what_its_stored_trials_say(prefix):
    outputs = outputs_of(find([prefix])[0])
    ledger = [row for _, row in evaluate(own_profile(find([prefix])[0]), FAMILIES[prefix]).iterrows()]
    expected = {row["claim"]: in_markdown(verdict_text(row)) for row in ledger}
    cells = load(find([prefix])[0]).cells
    shows = any("show(family_table(" in cell.source for cell in cells)
    assert table_rows(outputs, *CLAIMS) == (expected if shows else {})
    # the box lists every statement of the paper, and our own questions but those asked of a floor
    lines = [line for text in outputs for line in text.splitlines()]
    found = [re.match(r"> - \*\*([^*]+)\*\*(?:, .*?)?: (.*)$", line) for line in lines]
    boxed = {(one[2], one[1]) for one in found if one}
    said = {(in_markdown(stated(row)), row["verdict"]) for row in ledger}
    papers = [row for row in ledger if not row["control"]]
    noted = {in_markdown(stated(row)): row["reason"] for row in ledger if row["reason"]}
    boxed = {(next((name for name in noted if text.startswith(f"{name} (")), text), said) for text, said in boxed}
    assert {(in_markdown(stated(row)), row["verdict"]) for row in papers} <= boxed <= said


def test_a_cell_of_figure_6_has_the_verdict_that_it_has_in_table_iv():
    table = {(row["system"], row["column"]): row for row in rows("table04_differences")}
    shared = [row for row in rows("fig06_differences") if (row["system"], row["column"]) in table]
    assert len({row["column"] for row in shared}) == 2 and len(shared) > 20
    for row in shared:
        other = table[row["system"], row["column"]]
        if row["seeds"] == other["seeds"]:  # the study may have reached more of one than of the other
            assert (row["verdict"], row["difference"]) == (other["verdict"], other["difference"]), row


def test_ledger_s_own_notebook_prints_it_whole():
    said, beside = {}, {}
    for text in texts("20"):  # a title precedes each of its tables
        lines = [re.split(r"(?<!\\) ?\| ?", line.strip())[1:-1] for line in text.splitlines() if line[:1] == "|"]
        if lines and lines[0][1:2] == ["claim"]:
            for line in lines[2:]:
                row = dict(zip(lines[0], line, strict=True))
                name = row["claim"].strip("`")
                said[name] = row["verdict"]
                for control in row["beside"].split("; "):  # what the same claim says of a floor, in one cell
                    beside |= {f"{name} ({short})": control for short in FLOORS if control.startswith(f"{short} ")}
    ledger = {row["claim"]: row for row in rows("claims")}
    floors = {name for name in ledger if asked_of(name)[0]}
    assert said == {name: in_markdown(printed(row)) for name, row in ledger.items() if name not in floors}
    assert floors and beside.keys() == floors
    assert all(text.endswith(f" {ledger[name]['verdict']}") for name, text in beside.items())


def test_decisions_are_those_of_their_table():
    shown = table_rows(texts("09", "decisions"), "alternative", ("alternative", "difference", "the decision is better"))
    stored = {f"{in_markdown(row['alternative'])} ({row['erratum']})": row for row in rows("decisions")}
    assert shown == {name: printed(row) for name, row in stored.items() if abs(float(row["difference"])) > MARGIN}


def test_ledger_s_sentence_on_attention_is_quoted():
    (row,) = (row for row in rows("claims") if row["claim"] == "fig11-same-place")
    assert any(printed(row) in text for text in texts("16"))


def test_stored_tables_have_the_one_vocabulary():
    for name in ("claims", "claims_forest", "decisions"):
        assert {row["verdict"] for row in rows(name)} <= set(VERDICTS)
    for row in rows("claims"):
        # what must hold in every seed cannot be decided by more seeds, once two of them disagree
        seeds_help = row["verdict"] == UNDECIDED and row["kind"] not in ("count", "worst")
        assert bool(row["to_decide"]) == seeds_help, row["claim"]
    assert NO_DIFFERENCE in VERDICTS


@pytest.mark.parametrize("path", find(), ids=lambda path: path.stem)
def test_no_notebook_keeps_a_word_or_a_test_of_its_own(path):
    cells = load(path).cells
    texts = [*(cell.source for cell in cells), *filter(None, outputs_of(path))]
    assert not [found for text in texts for found in RETIRED.findall(text)]
    assert not [found for cell in cells if cell.cell_type == "code" for found in TESTS.findall(cell.source)]
