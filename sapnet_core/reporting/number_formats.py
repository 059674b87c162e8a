"""Which rows of a table or figure rest on features in which number format.

A processor that multiplies bfloat16 natively computes features in it, any other in float32, and a result says which
(`run.json`). Where rows that are compared differ in this, a reader has to know.
"""

from collections.abc import Mapping, Sequence

from sapnet_core.reporting.words import in_list

__all__ = ["format_sentence"]

SIGNS = {"tau": "τ"}  # row of a sweep -> its sign in the paper
FEW = 6  # rows of one format that are named; if there are more, the largest group is called "all others"


def format_sentence(cells: Mapping[tuple[str, str], Sequence[str]]) -> str:
    """One sentence that names the rows of each number format; "" if all are of the same one.

    Args:
        cells: (row, column) -> the formats of its trials.
    """
    rows: dict[str, set[str]] = {}
    for (row, _), formats in cells.items():
        rows.setdefault(row, set()).update(formats)
    rows = {row: formats for row, formats in rows.items() if formats}
    if len(set().union(*rows.values())) < 2:
        return ""
    single = {(row, column): set(formats) for (row, column), formats in cells.items() if formats}
    mixed = [row for row, formats in rows.items() if len(formats) > 1]
    # In a sweep, rows are settings and columns their values, so compare single cells.
    if len(mixed) == len(rows) and all(len(formats) == 1 for formats in single.values()):
        rows = {f"{SIGNS.get(row, row)} = {column}": formats for (row, column), formats in single.items()}
    groups: dict[tuple[str, ...], list[str]] = {}
    for row, formats in rows.items():
        groups.setdefault(tuple(sorted(formats)), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: len(group[1]))
    said = [f"{in_list(names)} in {' and in '.join(formats)}" for formats, names in ordered]
    if len(ordered) > 1:
        formats, names = ordered[-1]
        if len(names) > FEW:
            said[-1] = f"all others in {' and in '.join(formats)}"
    return (
        f"What is compared here was not all computed from features in the same number format: {'; '.join(said)}. Such "
        "rounding moves a single trial about as far as another seed would."
    )
