"""What cannot be compared fairly: one sentence for each system that does not stand on equal terms with the others.

A notebook shows the sentences below the table whose rows they are about. What each system's file lists as its
deviations is more; these are the ones that may move a row of a table.
"""

from collections.abc import Iterable

import pandas as pd

from sapnet_core.experiments.systems import OURS, PAIRS, RIVALS
from sapnet_core.recipes.tune_methods import TUNING

__all__ = ["CAVEATS", "caveats", "untried"]

CAVEATS: dict[str, str] = {
    "C3D-AVG-MTL": "has a backbone of its own, C3D, and learns from dive numbers as well.",
    "VST+MLP": "has a backbone of its own, Video Swin.",
    "MUSDL": "learns from the marks of all judges, where others get one score.",
    "TSA": "learns from annotated transitions as well.",
    "TSA-Net": "attends behind the backbone, where its source does so in the middle, on feature maps.",
    "Action-Net": "sees whole frames in both streams, where its source has crops in one.",
    "DAE-CoRe": "joins its two parts by a reading, since no public text or code tells how.",
    "FSPN": "looks at crops of the actor in predictions, too.",
    "SGN": "has the parts of the dive number as its text, where its source has commentary.",
    "APT": "follows its title, since no text and no code of it could be had.",
    "S4AQA": "has an encoder of our choice, which its source leaves open.",
    "TRS": "came after the paper; its losses are readings, since its public code lacks them.",
    "BASL": "came after the paper; its source takes the best step on test videos, here the last counts.",
    OURS: "has a teacher who sees crops, and each reading of its paper was decided on its own.",
}


def untried() -> tuple[str, ...]:
    """The compared systems that the search of settings (`methods/tuning.csv`) has not tried: their settings are the
    published ones."""
    tried = set(pd.read_csv(TUNING)["setting"].str.partition(": ")[0])
    return tuple(system for system in RIVALS if system not in tried)


def caveats(systems: Iterable[str], said: Iterable[str] = ()) -> str:
    """The sentences about some systems as a list in Markdown, under a heading in bold; "" if there are none.

    Sentences about several systems at once come first: those that are told the difficulty or the dive number of a test
    video, and those whose settings were not searched. Systems in `said`, whose own sentences a reader knows from
    another table, are named in one line at the end.
    """
    said = set(said)
    systems = list(dict.fromkeys(systems))
    told, published = [s for s in systems if s in PAIRS], [s for s in systems if s in untried()]
    lines = []
    if told:
        lines.append(f"{', '.join(told)}: told the difficulty or the dive number of every video.")
    if published:
        lines.append(f"{', '.join(published)}: published settings, not searched.")
    own = [system for system in systems if system in CAVEATS]
    lines += [f"{system} {CAVEATS[system]}" for system in own if system not in said]
    if again := [system for system in own if system in said]:
        lines.append(f"{', '.join(again)}: as said above.")
    return "\n".join(["**Not on equal terms**", "", *(f"- {line}" for line in lines)]) if lines else ""
