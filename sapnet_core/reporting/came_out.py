"""The box at the end of a notebook: what came out of the paper's statements about its tables and figures.

Every line of it comes from the ledger (`reporting.claims`), so that a notebook and the ledger say the same.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import pandas as pd

from sapnet_core.experiments.profiles import Profile, get_profile
from sapnet_core.experiments.statistics import (
    CONTRADICTED,
    NO_DIFFERENCE,
    SUPPORTED,
    UNDECIDED,
    UNTESTABLE,
    VERDICTS,
)
from sapnet_core.reporting.by_verdict import is_preliminary
from sapnet_core.reporting.claims import effect_text, family_verdicts, stated, verdict_text
from sapnet_core.reporting.ledger import FLOORS, asked_of
from sapnet_core.reporting.literal import in_markdown
from sapnet_core.reporting.words import in_list

__all__ = ["came_out", "came_out_text", "noted", "verdict_counts"]

# verdict -> the words that follow the number of statements: for one, and for several
PHRASES = {
    SUPPORTED: ("is supported", "are supported"),
    CONTRADICTED: ("is contradicted", "are contradicted"),
    NO_DIFFERENCE: ("shows no difference", "show no difference"),
    UNDECIDED: ("is undecided", "are undecided"),
    UNTESTABLE: ("is not testable here", "are not testable here"),
}


def came_out(profile: Profile, *families: str, notes: Sequence[str] = ()):
    """The box as an object that a notebook displays; arguments as for `came_out_text`."""
    from IPython.display import Markdown

    return Markdown(came_out_text(profile, *families, notes=notes))


def noted(size: str, *notes: str):
    """The box of a notebook about which the paper states nothing: sentences in Markdown, with numbers of the notebook.

    Args:
        size: the size and the seeds of the results, in words.
        notes: one list item each.
    """
    from IPython.display import Markdown

    return Markdown(_box(size, [f"- {note}" for note in notes]))


def came_out_text(profile: Profile, *families: str, notes: Sequence[str] = ()) -> str:
    """The box as a quotation in Markdown: the number of the paper's statements with each verdict, then every statement
    with its effect, its interval and its verdict, then sums of printed numbers, apart and not counted, and our own
    questions.

    Where a statement compares with I3D+MLP, the ledger asks the same of stronger floors, too (`ledger.FLOORS`); the box
    has one line a floor, with the number of statements that hold against it, and with its seeds where they are others.

    Args:
        profile: the size of the results; missing trials are run first. The title of the box says with how many seeds
            the statements that it lists were judged.
        families: the tables and figures whose statements are shown, such as "Table I" or "Fig. 8".
        notes: sentences in Markdown that a notebook adds at the end, with numbers of its own.

    Raises:
        ValueError: no statement is about one of the families.
    """
    table = family_verdicts(profile, *families)
    short = table["claim"].map(lambda claim: asked_of(claim)[1])
    papers, ours = table[~table["control"]], table[table["control"] & (short == "")]
    sums, judged = papers["kind"] == "arithmetic", pd.concat([papers, ours]).query("seeds > 0")
    title, listed = _sized(judged, profile), partial(_listed, early=_early_ones(judged))
    lines = [_counted(papers[~sums], families), "", *listed(papers[~sums])] if not sums.all() else []
    for name, floor in FLOORS.items():
        asked = table[short == name]
        if len(asked):
            held, size = int((asked["verdict"] == SUPPORTED).sum()), _sized(asked, profile)
            seeds = "" if size == title else f" ({size})"
            lines.append(f"- Asked of {floor.words} in place of I3D+MLP: {held} of {len(asked)} supported{seeds}.")
    if sums.any():
        lines += ["", "Sums of numbers that the paper prints, which need no run:", "", *listed(papers[sums])]
    if len(ours):
        lines += ["", "Questions that the paper does not ask:", "", *listed(ours)]
    for note in notes:
        lines += ["", note]
    return _box(title, lines)


def _box(size: str, lines: Sequence[str]) -> str:
    """The lines below the title of the box, as a quotation in Markdown."""
    return "\n".join(f"> {line}".rstrip() for line in (f"**What came out** ({size})", "", *lines))


def _sized(table: pd.DataFrame, profile: Profile) -> str:
    """The sizes and seeds at which rows of the ledger were judged; those of the profile if no row needed a trial."""
    judged = table[table["seeds"] > 0]
    if judged.empty:
        judged = pd.DataFrame({"profile": [profile.name], "seeds": [len(profile.seeds)]})
    return "; ".join(
        f"{name} profile, {_seeds(name, seeds.tolist())}"
        for name, seeds in judged.groupby("profile", sort=False)["seeds"]
    )


def _seeds(profile: str, seeds: Sequence[int]) -> str:
    """The numbers of seeds behind some verdicts, and how many of these are preliminary (`by_verdict.is_preliminary`),
    beside the number that the profile plans."""
    early = [n for n in seeds if is_preliminary(profile, n)]
    whole = [n for n in seeds if not is_preliminary(profile, n)]
    known = "one seed" if set(whole) == {1} else f"{_range(whole)} seeds" if whole else ""
    if not early:
        return known
    so_far = f"{_range(early)} of {len(get_profile(profile).seeds)} seeds so far"
    if not whole:
        return f"{so_far}: the verdicts are preliminary"
    are = "is" if len(early) == 1 else "are"
    return f"{known}; {len(early)} of {len(seeds)} verdicts {are} preliminary, with {so_far}"


def _range(numbers: Sequence[int]) -> str:
    """The least and the largest of some numbers: "5", or "5 to 10"."""
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"


def _counted(papers: pd.DataFrame, families: Sequence[str]) -> str:
    """One sentence: how many of the paper's statements have which verdict."""
    said, about = verdict_counts(counts := Counter(papers["verdict"])), in_list(families)
    if len(papers) == 1:
        return f"The paper's one statement about {about} {said.removeprefix('1 ')}."
    if len(counts) == 1:
        many, verdict = said.split(" ", 1)
        return f"{'Both' if many == '2' else f'All {many}'} statements of the paper about {about} {verdict}."
    return f"Of the {len(papers)} statements of the paper about {about}, {said}."


def verdict_counts(counts: Mapping[str, int]) -> str:
    """Numbers of statements by verdict, in words: "2 are supported and 1 is undecided"."""
    return in_list([f"{counts[word]} {PHRASES[word][int(counts[word] > 1)]}" for word in VERDICTS if counts.get(word)])


def _early_ones(judged: pd.DataFrame) -> set[str]:
    """The claims whose verdict is preliminary where that of others is not, so that the title cannot say it of all."""
    early = [is_preliminary(*row) for row in judged[["profile", "seeds"]].itertuples(index=False)]
    return set() if all(early) else set(judged.loc[early, "claim"])


def _listed(rows: pd.DataFrame, early: Collection[str]) -> list[str]:
    """One line for each statement, by verdict, in the ledger's order within a verdict; `early` are those claims of
    which the line says that the verdict is preliminary."""
    ordered = rows.assign(order=rows["verdict"].map(VERDICTS.index)).sort_values("order", kind="stable")
    return [
        f"- **{row['verdict']}**{', preliminary' * (row['claim'] in early)}{_detail(row)}: "
        f"{in_markdown(stated(row))}{_noted(row)}"
        for _, row in ordered.iterrows()
    ]


def _noted(row: pd.Series) -> str:
    """What the ledger says of a tested comparison beside its verdict, in parentheses; empty if it says nothing."""
    tested = str(row.get("test", "")).startswith("seeds and videos") and row["verdict"] != UNTESTABLE
    return f" ({in_markdown(row['reason'])})" if tested and row["reason"] else ""


def _detail(row: pd.Series) -> str:
    """The effect and what the verdict's words say beyond the verdict, after a comma; empty if there is neither."""
    beyond = verdict_text(row).removeprefix(row["verdict"]).strip(" :()")
    parts = [part for part in (effect_text(row), beyond) if part not in ("", "—")]
    return f", {in_markdown('; '.join(parts))}" if parts else ""
