"""The compared systems by family: what the systems of a family share, and what each of them adds."""

from sapnet_core.experiments.systems import OURS, RIDGE, marked

__all__ = ["FAMILIES", "systems_of"]

# family -> system -> its difference from the other systems of the family; `methods` has a file for each system
FAMILIES: dict[str, dict[str, str]] = {
    "regression": {
        RIDGE: "a linear map with a penalty chosen by leave-one-out",
        "SVR": "small errors cost nothing",
        "I3D+MLP": "two hidden layers",
        "I3D+MLP (clips in order)": "layers on all clips side by side",
        "VST+MLP": "layers on features of Video Swin",
        "C3D-AVG-MTL": "features of C3D, which tell the kind of dive too",
        "TSA-Net": "the actor at one time attends to the actor at all others first",
    },
    "distribution": {
        "USDL": "a normal density around the score",
        "MUSDL": "a density for each judge",
        "GDLT": "a learned query for each grade, and no density",
    },
    "pairs": {
        "CoRe": "a tree finds the interval of the difference",
        "DAE-CoRe": "a normal distribution replaces the tree",
        "PCLN": "differences in a batch, no exemplars in predictions",
        "SGN": "reads as a teacher does who has words for the dive",
    },
    "parsing": {
        "TSA": "annotated transitions, stages compared with exemplars",
        "TAP": "ordered queries, parts compared with exemplars",
        "FSPN": "no labels of parts, compared with exemplars",
        "APT": "queries, and each step adds to the score",
    },
    "graphs": {
        "Action-Net": "clips hear most from near ones",
        "HGCN": "clips gather into shots, shots into scenes",
    },
    "semi-supervised": {
        "COREG": "two neighbor regressors label videos for each other",
        "Pseudo-labels": "the mean score of labeled neighbors",
        "VAT": "the same score under the worst small change",
        "S4L": "the angle by which the frames were turned",
        "S4AQA": "the feature of a masked clip",
        "TRS": "the surest scores of a teacher and of a reference",
        "BASL": "its own scores, from both ends of the scale first",
        OURS: "subactions, and the score of a teacher with the actor crop where both views agree",
    },
}


def systems_of(family: str) -> str:
    """The systems of a family, each with its mark and what it adds, as one sentence in Markdown.

    Raises:
        ValueError: there is no such family; the message lists the known ones.
    """
    if family not in FAMILIES:
        raise ValueError(f"family {family!r} is unknown: choose one of {', '.join(FAMILIES)}")
    return "; ".join(f"**{marked(system)}**: {what}" for system, what in FAMILIES[family].items()) + "."
