"""What each part of SAP-Net is worth in Spearman's ρ, with few and with many labels, in sentences that can be quoted.

    python -m sapnet_core.reporting.worth

prints them for the study, as README and the summary of the site show them.

Every part is the difference of two systems that were trained with the same labels, seed by seed, and scored on the same
test videos; its interval counts the noise of both (`experiments.statistics.compare`).
"""

import sys
from typing import NamedTuple

import pandas as pd

from sapnet_core.experiments.profiles import Profile, get_profile
from sapnet_core.experiments.resampling import resampled
from sapnet_core.experiments.results import has_result
from sapnet_core.experiments.statistics import compare
from sapnet_core.experiments.stored_seeds import FEWEST
from sapnet_core.experiments.systems import OURS, RIDGE
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting.claims import read_cell
from sapnet_core.runtime.arguments import Parser, check_environment
from sapnet_core.runtime.command_line import one_line_errors

__all__ = ["PARTS", "Part", "worth", "worth_list", "worth_sentences"]

FEW, MANY = "10%", "40%"  # label shares of MTL-AQA
BARE = "SAP-Net, L_reg alone"


class Part(NamedTuple):
    """A part of SAP-Net, or a question about the whole.

    Attributes:
        name: the part in words, as the subject of a sentence.
        trials: the table or figure that declares the trials of both systems.
        with_it, without_it: their rows.
        compared: what the difference is, in words.
    """

    name: str
    trials: str
    with_it: str
    without_it: str
    compared: str


PARTS = (
    Part("Subaction parsing (L_ubc)", "I", "I3D+SSP", BARE, "added to the network that learns from L_reg alone"),
    Part("Group contrast (L_gc)", "I", "I3D+GCL", BARE, "added to the network that learns from L_reg alone"),
    Part("Consistency (L_un)", "fig08", OURS, "w/o L_un", "taken from the whole network"),
    Part(
        "The actor crop", "fig10", "actor region", "whole frame", "as the teacher's view, in place of the whole frame"
    ),
    Part("Unlabeled videos", "I", OURS, BARE, "all three terms that learn from them together"),
    Part("The whole method over I3D+MLP", "I", OURS, "I3D+MLP", "on the same features"),
    Part("The whole method over ridge regression", "I", OURS, RIDGE, "on the mean feature"),
)


def worth(profile: Profile) -> pd.DataFrame:
    """The worth of each of `PARTS` on MTL-AQA, from the results that are at hand; nothing is trained.

    Returns:
        One row per part and label share: part, compared, column, effect, low and high (a 95 % interval), seeds (those
        for which both systems have a result) and planned (those of the profile). Effect and interval are NaN, and seeds
        0, where fewer than `FEWEST` have results.
    """
    rows, cells = [], {}
    for part in PARTS:
        declared = declared_trials(part.trials, profile)
        for column in (FEW, MANY):
            pairs = [[declared[one, column, seed] for one in (part.with_it, part.without_it)] for seed in profile.seeds]
            there = [pair for pair in pairs if all(map(has_result, pair))]
            row = {"part": part.name, "compared": part.compared, "column": column, "seeds": 0, "planned": len(pairs)}
            if len(there) >= FEWEST:
                sides = list(zip(*there, strict=True))  # the trials of each system, one per seed
                for side in sides:
                    if side not in cells:
                        cells[side] = resampled(read_cell(list(side)), resamples=profile.resamples)
                found = compare(*([cells[side]] for side in sides), limit=2.0)
                row |= {"effect": found.value, "low": found.low, "high": found.high, "seeds": len(there)}
            rows.append(row)
    return pd.DataFrame(rows, columns=["part", "compared", "column", "effect", "low", "high", "seeds", "planned"])


def worth_sentences(table: pd.DataFrame) -> list[str]:
    """One sentence for each part, with its effect and interval at both label shares; a part without results, or
    with those of some of the planned seeds, says so.

    Args:
        table: what `worth` returns.
    """
    return [_sentence(part, rows) for part, rows in table.groupby("part", sort=False)]


def _sentence(part: str, rows: pd.DataFrame) -> str:
    compared = rows["compared"].iloc[0]
    if not rows["seeds"].all():
        return f"{part}, {compared}: not trained yet at this size."
    effects = [
        f"{row['effect']:+z.3f} [{row['low']:+.3f}, {row['high']:+.3f}] at {row['column'].rstrip('%')} % of the labels"
        for _, row in rows.iterrows()
    ]
    few, planned = rows["seeds"].min(), rows["planned"].iloc[0]
    so_far = f" ({few} of {planned} seeds so far)" if few < planned else ""
    return f"{part}, {compared}: {' and '.join(effects)}{so_far}."


def worth_list(profile: Profile) -> str:
    """The sentences as a list in Markdown."""
    return "\n".join(f"- {sentence}" for sentence in worth_sentences(worth(profile)))


@one_line_errors
def main(arguments: list[str] | None = None) -> int:
    """Command line: print the list for the study."""
    Parser("python -m sapnet_core.reporting.worth", description="Print what each part is worth.").parse_args(arguments)
    check_environment()
    print(worth_list(get_profile("study")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
