"""What each part of SAP-Net is worth in Spearman's ρ, with few and with many labels.

Every part is the difference of two systems that were trained with the same labels, seed by seed, and scored on the same
test videos; its interval counts the noise of both (`experiments.statistics.compare`). `reporting.ten_sentences` says it
in words.
"""

from typing import NamedTuple

import pandas as pd

from sapnet_core.experiments.profiles import Profile, get_profile
from sapnet_core.experiments.resampling import resampled
from sapnet_core.experiments.results import has_result
from sapnet_core.experiments.statistics import RHO_DIFFERENCE, compare, hypothesis_of, judge
from sapnet_core.experiments.stored import is_stored
from sapnet_core.experiments.stored_seeds import FEWEST, with_stored_seeds
from sapnet_core.experiments.systems import OURS, RIDGE
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting.claims import read_cell
from sapnet_core.runtime import environment

__all__ = ["FEW", "MANY", "PARTS", "Part", "worth"]

FEW, MANY = "10%", "40%"  # label shares of MTL-AQA
BARE = "SAP-Net, L_reg alone"


class Part(NamedTuple):
    """A part of SAP-Net, or a question about the whole.

    Attributes:
        name: the part in a word.
        trials: the table or figure that declares the trials of both systems.
        with_it, without_it: their rows.
    """

    name: str
    trials: str
    with_it: str
    without_it: str


PARTS = (
    Part("baseline", "I", OURS, "I3D+MLP"),
    Part("ridge", "I", OURS, RIDGE),
    Part("unlabeled", "I", OURS, BARE),
    Part("parsing", "I", "I3D+SSP", BARE),
    Part("contrast", "I", "I3D+GCL", BARE),
    Part("consistency", "fig08", OURS, "w/o L_un"),
    Part("actor", "fig10", "actor region", "whole frame"),
)


def worth(profile: Profile) -> pd.DataFrame:
    """The worth of each of `PARTS` on MTL-AQA, from the results that are at hand; nothing is trained.

    A part whose table or figure the profile leaves to the study is taken from there (`with_stored_seeds`). Of the study
    only the stored results count, as in the ledger, whatever was trained on this machine besides.

    Returns:
        One row per part and label share: part, column, effect, low and high (a 95 % interval), seeds (those for which
        both systems have a result), planned (those of the part's profile), and verdict, the ledger's rule
        (`statistics.judge`) applied to "the difference is above 0" with all rows as one family. Effect and interval are
        NaN, seeds 0 and the verdict "" where fewer than `FEWEST` have results.
    """
    rows, cells, evidence = [], {}, {}
    for part in PARTS:
        left = part.trials in profile.left_to_study
        size = get_profile(with_stored_seeds(profile, part.trials).name) if left else profile
        there = is_stored if size.complete and not environment.recompute() else has_result
        declared = declared_trials(part.trials, size)
        for column in (FEW, MANY):
            pairs = [[declared[one, column, seed] for one in (part.with_it, part.without_it)] for seed in size.seeds]
            trained = [pair for pair in pairs if all(map(there, pair))]
            row = {"part": part.name, "column": column, "seeds": 0, "planned": len(pairs), "verdict": ""}
            if len(trained) >= FEWEST:
                sides = list(zip(*trained, strict=True))  # the trials of each system, one per seed
                for side in sides:
                    if side not in cells:
                        cells[side] = resampled(read_cell(list(side)), resamples=size.resamples)
                found = evidence[len(rows)] = compare(*([cells[side]] for side in sides), limit=RHO_DIFFERENCE)
                row |= {"effect": found.value, "low": found.low, "high": found.high, "seeds": len(trained)}
            rows.append(row)
    for place, verdict in zip(evidence, judge([hypothesis_of(found) for found in evidence.values()]), strict=True):
        rows[place]["verdict"] = verdict.word
    return pd.DataFrame(rows, columns=["part", "column", "effect", "low", "high", "verdict", "seeds", "planned"])
