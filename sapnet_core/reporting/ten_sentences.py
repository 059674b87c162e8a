"""What came out of the study, in ten plain sentences with their numbers, intervals and verdicts.

Every number comes from the ledger (`claims.evaluate`, stored as `figures/claims.csv`) or from `worth`. README, the
first page of the gallery and the notebook of the ledger show the same sentences; `reporting.gallery` writes README's.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.statistics import (
    CONTRADICTED,
    LEVEL,
    LOOKS,
    MARGIN,
    MOST_SEEDS,
    NO_DIFFERENCE,
    SUPPORTED,
    UNDECIDED,
    UNTESTABLE,
    VERDICTS,
)
from sapnet_core.experiments.systems import OURS
from sapnet_core.reporting.by_verdict import FEWER, SMALL, basis, is_preliminary
from sapnet_core.reporting.claim_forest import datasets_of
from sapnet_core.reporting.claims import effect_text
from sapnet_core.reporting.ledger import SINGLE_ERRORS, Claim, ledger
from sapnet_core.reporting.literal import in_markdown
from sapnet_core.reporting.pictures import DATASET_TITLES
from sapnet_core.reporting.words import in_list
from sapnet_core.reporting.worth import FEW, MANY
from sapnet_core.runtime.files import write_text

__all__ = [
    "lead",
    "ledger_rows",
    "ten_cell",
    "ten_sentences",
    "ten_text",
    "verdict_counts",
    "write_readme",
]

STUDY = PROFILES["study"]
PLANNED = len(STUDY.seeds)
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# column of `worth` -> the label share in words
SHARES = {FEW: "with few labels", MANY: "with many"}
# claims about a single rival with few labels, and about all rivals that have all labels, by their ids' beginnings
RIVALS = re.compile(r"(iv|v)-(?!supervised|gain|mlp|like|coreg-worst)")
ALL_LABELS = {"iv-supervised": "MTL-AQA", "v-supervised": "FineDiving"}
NAMED = 4  # results of one kind that are named one by one
# table or figure -> the subject of the claims about it, in words
ABOUT = {
    "Table I": "joining the parts",
    "Table II": "joining the parts",
    "Table III": "refining the attention",
    "Fig. 7": "the confidence threshold",
    "Fig. 8": "the single loss terms",
    "Fig. 9": "the number of parts",
    "Fig. 10": "the athlete's view",
}
NUMBERS = ("effect", "low", "high", "paper", "p_holm", "to_decide")


def ledger_rows(rows: Iterable[dict[str, str]]) -> pd.DataFrame:
    """The ledger as a data frame with numbers, from the rows of `figures/claims.csv` (`parts.claims`, with controls).

    Columns that a file lacks are empty.
    """
    table = pd.DataFrame(list(rows), dtype=object)
    wanted = ("claim", "statement", "family", "kind", "metric", "verdict", "profile", "reason")
    for name in (*wanted, *NUMBERS, "seeds"):
        table[name] = table.get(name, "")
    table["control"] = [value == "True" for value in table.get("control", [""] * len(table))]
    for name in (*NUMBERS, "seeds"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    return table


def lead() -> str:
    """What a reader has to know before the sentences."""
    few, many = (share.replace("%", " %") for share in (FEW, MANY))
    return (
        "Differences are in Spearman's ρ, the rank correlation between predicted and true scores (1 is a perfect "
        f"order), on simulated dives that stand for the dataset {DATASET_TITLES['mtl-aqa']} unless a sentence names "
        f"another; few labels are {few} of the training videos, many are {many}. Brackets hold the 95 % interval over "
        "random seeds and test videos. A statement is supported or contradicted only where its p-value, corrected for "
        f"the number of statements that are tested together, lies below {LEVEL:g}; the verdict “no difference” says "
        f"that a difference was shown to stay within {MARGIN:g}; all others that can be tested are undecided."
    )


def ten_sentences(table: pd.DataFrame, worth: pd.DataFrame) -> list[str]:
    """The ten sentences as plain text: the count of verdicts, the whole method, its parts, its rivals, what fails and
    what is undecided.

    Args:
        table: rows of the ledger, from `claims.evaluate` or `ledger_rows`; whether they stand in the ledger's order or
            by verdict does not matter.
        worth: from `worth.worth`.
    """
    mine = table[~table["control"].astype(bool)]
    mine = mine.sort_values("verdict", key=lambda words: words.map(VERDICTS.index), kind="stable")
    return [
        _scoreboard(mine),
        _whole(worth),
        f"Learning from unscored videos, too, with all three of the method's terms for them, moves ρ by "
        f"{_effects(worth, 'unlabeled')}, compared with the same network that learns from scored videos alone; "
        f"{_that('it helps', worth, 'unlabeled')}.",
        f"Parsing, which cuts a movement into its parts without being told where they lie, moves ρ by "
        f"{_effects(worth, 'parsing')} when it is added to that network; {_that('it helps', worth, 'parsing')}.",
        f"Contrast, which asks groups of like parts to look alike in two views of the videos and unlike all other "
        f"groups, moves ρ by {_effects(worth, 'contrast')} when it is added to that network; "
        f"{_that('it helps', worth, 'contrast')}.",
        f"Consistency, which asks the branch that sees whole pictures for the same score as the branch that sees the "
        f"athlete alone, moves ρ by {_effects(worth, 'consistency')}, measured by taking it from the whole method; "
        f"{_that('it helps', worth, 'consistency')}.",
        f"Cutting the athlete out of the picture for that second branch moves ρ by {_effects(worth, 'actor')}, "
        f"compared with showing it whole pictures; {_that('it helps', worth, 'actor')}.",
        _rivals(mine),
        _failures(mine),
        _undecided(mine),
    ]


def _scoreboard(mine: pd.DataFrame) -> str:
    counts = Counter(mine["verdict"])
    sums = int(((mine["verdict"] == SUPPORTED) & (mine["kind"] == "arithmetic")).sum())
    early = mine[_preliminary(mine) & mine["verdict"].isin(VERDICTS[:3])]
    said = f"Of the {len(mine)} results that the paper states, {counts[SUPPORTED]} are supported here"
    said += f" ({_number(sums)} of them {'is a sum' if sums == 1 else 'are sums'} of printed numbers)" if sums else ""
    said += (
        f", {counts[CONTRADICTED]} are contradicted, {counts[NO_DIFFERENCE]} show no difference, "
        f"{counts[UNDECIDED]} are undecided and {counts[UNTESTABLE]} cannot be tested"
    )
    if len(early):
        said += f"; {len(early)} of the decided ones rest on {_seeds(early)} seeds so far and are preliminary"
    return f"{said}."


def _whole(worth: pd.DataFrame) -> str:
    return (
        f"The whole method, SAP-Net, differs from the paper's baseline, a small network on the same features "
        f"(I3D+MLP), by {_effects(worth, 'baseline')}, and {_that('it is ahead', worth, 'baseline')}; from ridge "
        f"regression, a linear rule that the paper does not try, it differs by {_effects(worth, 'ridge')}, and "
        f"{_that('it is ahead', worth, 'ridge')}."
    )


def _effects(worth: pd.DataFrame, part: str) -> str:
    """Effect and interval at both label shares."""
    rows = worth[worth["part"] == part].set_index("column")
    if not len(rows) or not rows["seeds"].all():
        return "an amount that is not measured yet at this size"
    return " and by ".join(
        f"{row['effect']:+z.3f} [{row['low']:+z.3f}, {row['high']:+z.3f}] {SHARES[column]}"
        for column, row in rows.iterrows()
    )


def _that(what: str, worth: pd.DataFrame, part: str) -> str:
    """ "that it helps is supported with few labels and undecided with many (two seeds, preliminary)"."""
    rows = worth[worth["part"] == part].set_index("column")
    if not len(rows) or not rows["seeds"].all():
        return f"whether {what} is open"
    few, many = (rows.loc[column, "verdict"] for column in SHARES)
    short = rows[rows["seeds"] < rows["planned"]]
    early = f" ({_seeds(short)} seeds, preliminary)" if len(short) else ""
    verdicts = f"{few} at both shares" if few == many else f"{few} {SHARES[FEW]} and {many} {SHARES[MANY]}"
    about = "the verdict" if NO_DIFFERENCE in (few, many) else f"that {what}"
    return f"{about} is {verdicts}{early}"


def _rivals(mine: pd.DataFrame) -> str:
    entries = {claim.id: claim for claim in ledger()}
    about = mine[mine["claim"].str.match(RIVALS) & mine["claim"].isin(entries) & mine["effect"].notna()]
    if not len(about):
        return "Against rivals that learn from as many scored videos, nothing is measured yet."
    said = []
    for verdict, words in (
        (SUPPORTED, "is supported against"),
        (CONTRADICTED, "is contradicted against"),
        (NO_DIFFERENCE, "comes to no difference against"),
        (UNDECIDED, "is undecided against"),
    ):
        rows = about[about["verdict"] == verdict]
        if len(rows):
            named = [f"{_rival(entries[row['claim']])} ({effect_text(row)})" for _, row in rows.iterrows()]
            said.append(f"{words} {in_list(named)}")
    text = "On dives, a lead of the whole method over rivals that learn from as many scored videos "
    text += "; it ".join(said)
    rows = mine[mine["claim"].isin(ALL_LABELS) & mine["effect"].notna()]
    if len(rows):
        places = {word: [] for word in rows["verdict"]}
        for _, row in rows.iterrows():
            places[row["verdict"]].append(f"{ALL_LABELS[row['claim']]} ({effect_text(row)})")
        told = in_list([f"{word} on {in_list(where)}" for word, where in places.items()])
        text += f"; with all labels, a lead over every rival is {told}, by its weakest difference"
    return f"{text}{_early(pd.concat([about, rows]))}."


def _rival(claim: Claim) -> str:
    """The rival of a claim, with its dataset or its label share where a reader needs it."""
    (high, low), *_ = claim.pairs
    _, row, column = low[0]
    share = f" at {column.replace('%', ' %')}" if len(low) == 1 else ""
    return f"{row.replace(OURS, 'SAP-Net')}{share}{_on([claim.id])}"


def _on(claims: Iterable[str], said: str = "") -> str:
    """The datasets of some claims, given by their ids, as " on FineDiving"; "" for the dataset that `lead` names, and
    where `said`, the words beside it, names them already."""
    wanted = set(claims)
    where = datasets_of(claim for claim in ledger() if claim.id in wanted)
    told = where in said or ("datasets" in where and "datasets" in said)
    return "" if told or where in ("", DATASET_TITLES["mtl-aqa"]) else f" on {where}"


def _failures(mine: pd.DataFrame) -> str:
    """What is contradicted, and what is shown to make no difference."""
    bad, same = (mine[mine["verdict"] == verdict] for verdict in (CONTRADICTED, NO_DIFFERENCE))
    bad = bad[~bad["claim"].isin(ALL_LABELS) & ~bad["claim"].str.match(RIVALS)]
    if not len(bad) and not len(same):
        return (
            "Besides leads over rivals, no result of the paper is contradicted so far, and none is shown to make no "
            "difference."
        )
    parts = []
    if len(bad):
        listed = [
            f"“{row['statement']}”{_on([row['claim']], row['statement'])} ({effect_text(row)})"
            for _, row in bad[:NAMED].iterrows()
        ]
        more = f"{len(bad) - NAMED} more" if len(bad) > NAMED else ""
        said = in_list([*listed, *[more] * bool(more)])
        parts.append(f"besides leads over rivals, these statements of the paper are contradicted: {said}{_early(bad)}")
    if len(same):
        about = same.groupby("family", sort=False)["claim"]
        places = in_list([f"{ABOUT.get(family, family)}{_on(claims)}" for family, claims in about])
        parts.append(
            f"{len(same)} gains that the paper states, of {places}, show no difference, with effects from "
            f"{same['effect'].min():+z.3f} to {same['effect'].max():+z.3f} and intervals within "
            f"[{same['low'].min():+z.3f}, {same['high'].max():+z.3f}]{_early(same)}"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _undecided(mine: pd.DataFrame) -> str:
    rows = mine[mine["verdict"] == UNDECIDED]
    if not len(rows):
        return "No result that can be tested is undecided."
    rests = pd.Series(map(basis, rows["profile"], rows["seeds"]), index=rows.index, dtype=object)
    early, small, full = rows[rests == FEWER], rows[rests == SMALL], rows[~rests.isin([FEWER, SMALL])]
    why = []
    if len(early):
        why.append(f"{len(early)} have {_seeds(early)} of the {PLANNED} planned seeds so far")
    if len(small):
        why.append(f"{len(small)} are judged on a few hundred videos so far")
    if len(full):
        why.append(f"{len(full)} stay so with {_seeds(full)} seeds")
    text = f"Undecided does not mean equal: of the {len(rows)} undecided results {in_list(why)}"
    split = rows["kind"].isin(SINGLE_ERRORS).sum()
    needed = pd.concat([early, full])["to_decide"].dropna()
    if len(needed):
        soon, later = (needed <= PLANNED).sum(), needed.between(PLANNED, LOOKS * PLANNED, inclusive="right").sum()
        text += (
            f"; if effects and their spread stay as they are, {PLANNED} seeds would decide {soon} of those at the "
            f"paper's sizes and {LOOKS * PLANNED} seeds {later} more"
        )
        if much := (needed > LOOKS * PLANNED).sum():
            text += f", while {much} would stay undecided"
        if never := (needed > MOST_SEEDS).sum():
            text += (
                f" ({never} of them even with {MOST_SEEDS}: there the noise of the limited set of test videos, which "
                "seeds do not reduce, is too large)"
            )
    if split:
        text += f"; {split} {'is' if split == 1 else 'are'} asked of each seed by itself, and the seeds disagree"
    return f"{text}."


def _early(rows: pd.DataFrame) -> str:
    """A remark on rows of the ledger that were judged with fewer seeds than are planned; "" if there are none."""
    early = rows[_preliminary(rows)]
    if not len(early):
        return ""
    whose = "this" if len(early) == len(rows) else "some of this"
    return f"; {whose} rests on {_seeds(early)} seeds and is preliminary"


def _preliminary(rows: pd.DataFrame) -> pd.Series:
    found = [is_preliminary(profile, seeds) for profile, seeds in zip(rows["profile"], rows["seeds"], strict=True)]
    return pd.Series(found, index=rows.index, dtype=bool)


def _seeds(rows: pd.DataFrame) -> str:
    """The numbers of seeds that some rows rest on, in words: "two", or "two or three"."""
    return in_list([_number(n) for n in sorted(set(rows["seeds"]))], "or")


def _number(n: int) -> str:
    return WORDS[n] if n < len(WORDS) else str(n)


def ten_text(table: pd.DataFrame, worth: pd.DataFrame) -> str:
    """The lead and the ten sentences as a numbered list, in Markdown; arguments as for `ten_sentences`."""
    listed = [f"{i}. {in_markdown(text)}" for i, text in enumerate(ten_sentences(table, worth), 1)]
    return "\n".join([in_markdown(lead()), "", *listed])


def ten_cell(table: pd.DataFrame, worth: pd.DataFrame):
    """`ten_text` as an object that a notebook displays."""
    from IPython.display import Markdown

    return Markdown(ten_text(table, worth))


def verdict_counts(table: pd.DataFrame) -> str:
    """The number of the paper's results with each verdict, as a table in Markdown."""
    counts = Counter(table.loc[~table["control"].astype(bool), "verdict"])
    lines = ["| verdict | results of the paper |", "| --- | ---: |"]
    return "\n".join([*lines, *(f"| {verdict} | {counts[verdict]} |" for verdict in VERDICTS)])


def write_readme(file: Path, table: pd.DataFrame, worth: pd.DataFrame, first_table: str) -> None:
    """Write the ten sentences, the count of verdicts and Table I between their markers in README.

    Args:
        first_table: the content of `figures/table01.md`, whose provenance README leaves out.

    Raises:
        ValueError: README lacks a marker.
    """
    text = file.read_text(encoding="utf-8")
    contents = {
        "ten sentences": ten_text(table, worth),
        "figures/claims.csv": verdict_counts(table),
        "figures/table01.md": "\n".join(line for line in first_table.splitlines() if line.startswith("|")),
    }
    for name, content in contents.items():
        before, marker, after = text.partition(f"<!-- {name} -->\n")
        _, end, after = after.partition("\n<!-- end -->")
        if not marker or not end:
            raise ValueError(f"{file.name} lacks the marker <!-- {name} --> or its <!-- end -->")
        text = f"{before}{marker}{content}{end}{after}"
    write_text(file, text)
