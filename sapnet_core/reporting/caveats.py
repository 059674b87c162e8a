"""What cannot be compared fairly: one sentence for each system that does not stand on equal terms with the others.

A notebook shows the sentences below the table whose rows they are about. What each system's file lists as its
deviations is more; these are the ones that may move a row of a table.
"""

from collections.abc import Iterable
from functools import cache

import pandas as pd

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.results import results
from sapnet_core.experiments.stored import is_stored
from sapnet_core.experiments.systems import OURS, PAIRS, RIVALS, TARGET_OF
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.recipes.tune_methods import TUNING

__all__ = ["BOXES_IN_TESTS", "CAVEATS", "DEPARTS", "caveats", "untried", "worth_of_execution"]

# Systems that see in predictions, too, where the athlete is; all others see the whole frame of a test video alone.
BOXES_IN_TESTS = ("TSA-Net", "FSPN")

CAVEATS: dict[str, str] = {
    "C3D-AVG-MTL": "has a backbone of its own, C3D, and learns from dive numbers as well.",
    "VST+MLP": "has a backbone of its own, Video Swin.",
    "MUSDL": "learns from the marks of all judges, where others get one score.",
    "TSA": "learns from annotated transitions as well.",
    "TSA-Net": "attends among cells of the last maps, where its source does so in the middle, on finer ones.",
    "Action-Net": "sees whole frames in both streams, where its source has crops in one.",
    "DAE-CoRe": "joins its two parts by a reading, since no public text or code tells how.",
    "SGN": "has the parts of the dive number as its text, where its source has commentary.",
    "APT": "follows its title, since no text and no code of it could be had.",
    "S4AQA": "has an encoder of our choice, which its source leaves open.",
    "TRS": "came after the paper; its losses are readings, since its public code lacks them.",
    "BASL": "came after the paper; its source takes the best step on test videos, here the last counts.",
    OURS: "has a teacher who sees crops of training videos, and each reading of its paper was decided on its own.",
}

# The main difference between a system and its source, for systems without a sentence in `CAVEATS`: from the list of
# deviations in its file, without those that all systems share, such as the frozen backbone.
DEPARTS: dict[str, str] = {
    "COREG": "gives the same results as its source; only h' is computed in a shorter way.",
    "Pseudo-labels": "has the layers of I3D+MLP, where its source has one linear map.",
    "VAT": "compares numbers by their squared difference, where its source compares distributions of classes.",
    "S4L": "reads scores and rotations from the layers of I3D+MLP, where its source classifies images.",
    "USDL": "predicts the mean of its distribution, where its source takes the largest bin.",
    "SVR": "reads features of I3D, where its source has poses, transformed to frequencies.",
    "GDLT": "trains with Adam, where its source has SGD with a cosine schedule.",
    "CoRe": "has as many passes over the labels as every system here, which are fewer than its source has.",
    "TAP": "compares a video with the nearest exemplars, where its source draws them at random.",
    "PCLN": "reads the 18 or 20 feature steps of a video, where its source has features of 160 frames.",
    "FSPN": "weighs each subaction by the activation at its cuts, since no gradient passes the argmax of its source.",
    "HGCN": "predicts the sum of the means, where its public code also draws noise.",
}


def untried() -> tuple[str, ...]:
    """The compared systems that the search of settings (`methods/tuning.csv`) has not tried: their settings are the
    published ones."""
    tried = set(pd.read_csv(TUNING)["setting"].str.partition(": ")[0])
    return tuple(system for system in RIVALS if system not in tried)


@cache
def worth_of_execution() -> tuple[float, int] | None:
    """How much ρ SAP-Net gains on FineDiving if it regresses execution, which is multiplied by the true difficulty, in
    place of the score: the mean over the stored seeds of the study, and their number; None if none is stored."""
    trials = declared_trials("decisions", get_profile("study"))
    sides = [
        {key[2]: trial for key, trial in trials.items() if key[1] == name and is_stored(trial)}
        for name in ("FineDiving: execution, times difficulty", "as decided, FineDiving")
    ]
    if not (seeds := sorted(sides[0].keys() & sides[1].keys())):
        return None
    execution, score = (results([side[seed] for seed in seeds])["rho"].mean() for side in sides)
    return float(execution - score), len(seeds)


def _execution(systems: list[str]) -> str:
    """The sentence about systems that regress execution where the others regress the score."""
    worth = ""
    if found := worth_of_execution():
        gain, n = found
        mean = f"the mean of {n} seeds" if n > 1 else "with one seed"
        worth = f"; to SAP-Net this switch is worth {gain:+.3f} in ρ there, {mean} (`09_decisions`)"
    return (
        f"{', '.join(systems)}: execution times the true difficulty on FineDiving (Table V), where others regress the "
        f"score{worth}."
    )


def caveats(systems: Iterable[str], said: Iterable[str] = ()) -> str:
    """The sentences about some systems as a list in Markdown, under a heading in bold; "" if there are none.

    Sentences about several systems at once come first: those that are told the difficulty or the dive number of a test
    video, or see the athlete's box in it, those that regress execution on FineDiving, and those whose settings were not
    searched. Systems in `said`,
    whose own sentences a reader knows from another table, are named in one line at the end.
    """
    said = set(said)
    systems = list(dict.fromkeys(systems))
    told, published = [s for s in systems if s in (*PAIRS, "TSA")], [s for s in systems if s in untried()]
    lines = []
    if told:
        lines.append(f"{', '.join(told)}: told the difficulty or the dive number of every video.")
    if boxed := [s for s in systems if s in BOXES_IN_TESTS]:
        lines.append(
            f"{', '.join(boxed)}: shown the athlete's box in test videos, too: the true one on twins, where the "
            "simulator knows it, and a detected one in real videos."
        )
    if by_execution := [s for s in systems if TARGET_OF.get(s) == "execution"]:
        lines.append(_execution(by_execution))
    if published:
        lines.append(f"{', '.join(published)}: published settings, not searched.")
    own = [system for system in systems if system in CAVEATS]
    lines += [f"{system} {CAVEATS[system]}" for system in own if system not in said]
    if again := [system for system in own if system in said]:
        lines.append(f"{', '.join(again)}: as said above.")
    return "\n".join(["**Not on equal terms**", "", *(f"- {line}" for line in lines)]) if lines else ""
