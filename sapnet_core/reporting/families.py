"""The compared systems by family: what the systems of a family share, and what each of them adds."""

import pandas as pd

from sapnet_core.experiments.systems import OURS, RIDGE, marked

__all__ = ["FAMILIES", "systems_of"]

# family -> system -> what it does that the others of its family do not; `methods` has a file for each
FAMILIES: dict[str, dict[str, str]] = {
    "regression": {
        RIDGE: "a linear map of the mean feature, with a penalty chosen by leave-one-out",
        "SVR": "a linear map of the mean feature; small errors cost nothing",
        "I3D+MLP": "two hidden layers on the mean feature",
        "I3D+MLP (clips in order)": "the same layers on all clips side by side",
        "VST+MLP": "the same layers on features of Video Swin",
        "C3D-AVG-MTL": "features of C3D, which have to tell the kind of dive too",
        "TSA-Net": "the steps of the actor attend to each other before the mean",
    },
    "distribution": {
        "USDL": "a normal density around the score",
        "MUSDL": "a density for each judge; the middle judges make the score",
        "GDLT": "a learned query for each grade; the answers weigh the grades",
    },
    "pairs": {
        "CoRe": "a tree finds the interval of the difference, and the place in it",
        "DAE-CoRe": "a normal distribution of the difference replaces the tree",
        "PCLN": "learns the differences in a batch, and predicts without exemplars",
        "SGN": "learns to read a video as a teacher does who knows words for the dive",
    },
    "parsing": {
        "TSA": "learns annotated transitions, and compares stages with those of exemplars",
        "TAP": "ordered queries find parts, and compare them with those of exemplars",
        "FSPN": "finds parts without labels; the actor reads from the whole frame; pairs",
        "APT": "queries find steps, and each step adds to the score",
    },
    "graphs": {
        "Action-Net": "clips hear more from near ones; attention sums them up",
        "HGCN": "clips are gathered into shots, and shots into scenes",
    },
    "semi-supervised": {
        "COREG": "two nearest-neighbor regressors label videos for each other",
        "Pseudo-labels": "a video learns the mean score of its labeled neighbors",
        "VAT": "the score stays under the worst small change of the features",
        "S4L": "tells by which angle the frames were turned",
        "S4AQA": "recovers the feature of a masked clip",
        "TRS": "learns the surest score that a teacher or a reference network found",
        "BASL": "trusts the videos at both ends of the scores first",
        OURS: "learns subactions and grades from a teacher who sees the actor crop",
    },
}


def systems_of(family: str) -> pd.DataFrame:
    """The systems of a family, for `tables.show_text`: columns system (with its mark) and "what it adds".

    Raises:
        ValueError: there is no such family; the message lists the known ones.
    """
    if family not in FAMILIES:
        raise ValueError(f"family {family!r} is unknown: choose one of {', '.join(FAMILIES)}")
    return pd.DataFrame([(marked(s), what) for s, what in FAMILIES[family].items()], columns=["system", "what it adds"])
