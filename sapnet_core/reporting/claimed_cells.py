"""Cells of a picture that are claims of the ledger by themselves: the same trials stand on both sides.

The ledger corrects p-values over the few claims about a table, a picture over all of its cells. A claim that is a cell,
too, would get two verdicts from the same numbers; there the ledger's holds.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.statistics import VERDICTS
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.claims import claim_cells, family_verdicts
from sapnet_core.reporting.ledger import Claim, ledger

__all__ = ["Comparison", "claimed_cells", "claimed_sentence"]

Key = tuple[str, str]  # row, column
Comparison = tuple[Sequence[Key], Sequence[Key]]  # the cells of the side that is said to be higher, and of the other


def claimed_cells(
    comparisons: Sequence[Comparison], trials: Mapping[Key, Sequence[Trial]], profile: Profile
) -> list[pd.Series | None]:
    """For each comparison the row of the ledger that compares the same trials, None where there is none.

    Args:
        trials: of each cell, one per seed.
        profile: the size at which the ledger is judged; missing trials of a table with such a claim are run first.
    """
    found = [next(_claims_of(one, trials, profile), None) for one in comparisons]
    families = dict.fromkeys(claim.family for claim in found if claim)
    rows = family_verdicts(profile, *families).set_index("claim", drop=False) if families else None
    of = [rows.loc[claim.id] if claim else None for claim in found]
    # A claim that was judged in the second look has more seeds than this cell: its numbers are not those of the cell.
    return [
        row if row is not None and row["seeds"] == len(trials[high[0]]) else None
        for row, (high, _) in zip(of, comparisons, strict=True)
    ]


def _claims_of(one: Comparison, trials: Mapping[Key, Sequence[Trial]], profile: Profile) -> Iterator[Claim]:
    """The claims, and then the controls, of which a single difference of rho is this comparison."""
    named = [claim for claim in ledger() if _named(claim) == tuple(map(tuple, one))]
    for claim in sorted(named, key=lambda claim: claim.control):
        cells = claim_cells(claim.id, profile)
        if all({*cells.get(name, ())} == {*trials[name[1:]]} for name in claim.names):
            yield claim


def _named(claim: Claim) -> tuple[tuple[Key, ...], ...]:
    """Row and column of the cells of both sides; none if the claim is about more than one difference of rho."""
    if claim.kind != "greater" or claim.metric != "rho" or len(claim.pairs) != 1:
        return ()
    return tuple(tuple(name[1:] for name in side) for side in claim.pairs[0])


def claimed_sentence(differences: pd.DataFrame) -> str:
    """Say which cells have the verdict of the ledger, and over what the others are corrected; "" if none has.

    Args:
        differences: from `paired_differences` or `control_differences`.
    """
    cells = differences[differences["claim"] != ""]
    if cells.empty:
        return ""
    of = {word: [_cell(row) for _, row in cells[cells["verdict"] == word].iterrows()] for word in VERDICTS}
    listed = "; ".join(f"{word}: {', '.join(told)}" for word, told in of.items() if told)
    stands, itself, has = ("stands", "itself", "has") if len(cells) == 1 else ("stand", "themselves", "have")
    return (
        f"Of {len(differences)} cells, {len(cells)} {stands} in the ledger by {itself} and {has} its verdict, which is "
        f"corrected over the ledger's claims, or controls, about a table. {listed[0].upper()}{listed[1:]}. The others "
        "are corrected without them."
    )


def _cell(row: pd.Series) -> str:
    return f"{row['system']}{' minus ' + row['control'] if 'control' in row else ''} ({row['column']})"
