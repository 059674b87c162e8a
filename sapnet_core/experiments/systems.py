"""The systems of the tables: each row's name, with its method and the settings that differ from the defaults."""

__all__ = [
    "OURS",
    "TUNED",
    "SYSTEMS",
    "CONTROLS",
    "RIDGE",
    "REFINED",
    "REMOVED",
    "RIVALS",
    "SEARCHED",
    "TRAINED",
    "EVERY",
    "FOOTNOTES",
    "BACKBONE_OF",
    "TARGET_OF",
    "PAIRS",
    "get_system",
    "marked",
]

OURS = "SAP-Net (Ours)"

# SAP-Net's settings, found by the search in `methods/tuning.csv` as those of the compared systems: L_un starts after a
# tenth of the steps (E17). Rows without L_un are the same with any warm-up.
TUNED = {"warmup": 0.1}

# Rows of Tables I and II: the paper's name -> (method, overrides).
SYSTEMS: dict[str, tuple[str, dict]] = {
    "I3D+MLP": ("mlp", {}),
    "I3D+SSP": ("sap-net", {"lambda_un": 0.0, "lambda_gc": 0.0}),
    "I3D+GCL": ("sap-net", {"lambda_un": 0.0, "lambda_ubc": 0.0}),
    OURS: ("sap-net", TUNED),
}
# Rows missing from the paper: a floor, and rows that measure the contribution of each part of SAP-Net (E17, E18).
RIDGE = "Ridge on the mean feature"
CONTROLS: dict[str, tuple[str, dict]] = {
    RIDGE: ("ridge", {}),
    "I3D+MLP (clips in order)": ("mlp-ordered", {}),
    "SAP-Net, L_reg alone": ("sap-net", {"lambda_un": 0.0, "lambda_ubc": 0.0, "lambda_gc": 0.0}),
}

# Rows of Table III: SAP-Net without attention refinement in one or both of its uses (E4). In "subaction parsing w/o" no
# loss has a gradient with respect to the attention: features are multiplied by random weights before the clustering.
REFINED: dict[str, tuple[str, dict]] = {
    "Pseudo-label w/o": ("sap-net", {**TUNED, "attention_in_pseudo_labels": False}),
    "subaction parsing w/o": ("sap-net", {**TUNED, "attention_in_parsing": False}),
    "SAP-Net w/o": ("sap-net", {**TUNED, "attention_in_pseudo_labels": False, "attention_in_parsing": False}),
}
# Lines of Fig. 8: SAP-Net without one loss term.
REMOVED: dict[str, tuple[str, dict]] = {
    "w/o L_gc": ("sap-net", {**TUNED, "lambda_gc": 0.0}),
    "w/o L_un": ("sap-net", {"lambda_un": 0.0}),
    "w/o L_ubc": ("sap-net", {**TUNED, "lambda_ubc": 0.0}),
}

# Systems that the paper compares with, and two that came after: name -> (method, settings found by the search in
# `methods/tuning.csv`; none where the published ones, which are the defaults, were best).
RIVALS: dict[str, tuple[str, dict]] = {
    "C3D-AVG-MTL": ("avg-mtl", {"weight": 0.3, "dropout": 0.3, "lr": 0.003}),
    "COREG": ("coreg", {"k": 9, "pool": 100, "iterations": 30, "orders": (1.0, 2.0)}),
    "Pseudo-labels": ("pseudo-labels", {"sigma": 2.0, "neighbors": 10, "read": "mean", "lr": 0.003}),
    "VAT": ("vat", {"eps": 1.0, "weight": 3.0, "ordered": True, "lr": 0.001}),
    "S4L": ("s4l", {"weight": 0.1, "lr": 0.003}),
    "S4AQA": ("s4aqa", {}),
    "USDL": ("usdl", {}),
    "MUSDL": ("musdl", {"sigma": 2.0, "read": "mean", "lr": 0.003}),
    "TSA": ("tsa", {"width": 64, "exemplars": 5, "lr": 0.001}),
    "SVR": ("svr", {"kernel": "linear", "C": 1.0, "epsilon": 0.1}),
    "Action-Net": ("action-net", {}),
    "GDLT": ("gdlt", {"alpha": 0.1, "dropout": 0.3, "width": 128, "lr": 0.0003}),
    "VST+MLP": ("mlp", {"batch": 0, "lr": 0.0003}),
    "CoRe": ("core", {}),
    "TSA-Net": ("tsa-net", {}),
    "TAP": ("tap", {"queries": 5, "ranking": 0.1, "dropout": 0.1, "lr": 0.001}),
    "PCLN": ("pcln", {"weight": 0.3, "dropout": 0.0, "lr": 0.0003}),
    "DAE-CoRe": ("dae-core", {"likelihood": True, "exemplars": 20, "lr": 0.0003}),
    "HGCN": ("hgcn", {"scenes": 4, "groups": 4, "lr": 0.003}),
    "FSPN": ("fspn", {"width": 32, "contrast": 0.1, "exemplars": 10, "lr": 0.001}),
    "SGN": ("sgn", {"width": 64, "weight": 0.1, "dropout": 0.1, "lr": 0.0003}),
    "APT": ("apt", {"queries": 5, "width": 128, "dropout": 0.1, "lr": 0.001}),
    "TRS": ("trs", {"weight": 3.0, "depth": 2, "noise": 0.1, "lr": 0.0003}),
    "BASL": ("basl", {"weight": 1.0, "boundary": 0.2, "noise": 0.05, "dropout": 0.1, "lr": 0.001}),
}
# The baselines with the same search of settings as the rivals; their rows in Table I keep the default settings.
SEARCHED: dict[str, tuple[str, dict]] = {
    "I3D+MLP (searched)": ("mlp", {"batch": 32, "lr": 0.001}),
    "I3D+MLP (clips in order) (searched)": ("mlp-ordered", {"batch": 32, "lr": 0.001}),
}
# Rows of Table I in which the last blocks of I3D learn too, at a tenth of the learning rate, as the paper trains E_θ.
TRAINED: dict[str, tuple[str, dict]] = {
    f"{name}, backbone trained": {**SYSTEMS, **CONTROLS}[name] for name in ("I3D+MLP", "SAP-Net, L_reg alone", OURS)
}

EVERY = {**SYSTEMS, **CONTROLS, **REFINED, **REMOVED, **RIVALS, **SEARCHED, **TRAINED}
# The target of a system on dives, where its source names one: the score, or execution, which the judges award.
TARGET_OF = {"C3D-AVG-MTL": "score", "MUSDL": "execution"}
# The backbone of a system that does not use I3D.
BACKBONE_OF = {"C3D-AVG-MTL": "c3d", "VST+MLP": "swin"}
# Systems that compare a video with exemplars of the same difficulty, or of the same dive number on FineDiving.
PAIRS = ("CoRe", "TAP", "DAE-CoRe", "FSPN", "SGN")
# What a table says of a system behind its name: APT has no public description, and two systems are no part of the
# paper's tables.
FOOTNOTES = {"APT": "after its title", "TRS": "after the paper", "BASL": "after the paper"}


def get_system(name: str) -> tuple[str, dict]:
    """Method and settings of a row: one of `EVERY`, or a method of the reader's own (`methods.own_method`).

    Raises:
        ValueError: there is no such row, and the message lists the known ones; or an own method has the name of one.
    """
    from sapnet_core.methods import own_methods  # imports PyTorch, which command lines that list rows do without

    own = own_methods()
    if not isinstance(name, str) or name not in {**EVERY, **own}:
        raise ValueError(f"system {name!r} is unknown: choose one of {', '.join([*EVERY, *own])}")
    if name in EVERY and name in own:
        raise ValueError(f"{own[name]} has the name of a row of the tables: register it under another one")
    return (name, own[name].settings) if name in own else EVERY[name]


def marked(name: str) -> str:
    """A row's name as it is shown: with its footnote in parentheses if it has one, and with commas in place of more
    than one pair of parentheses."""
    if name.count("(") > 1:
        name = name.replace(" (", ", ").replace(")", "")
    return f"{name} ({FOOTNOTES[name]})" if name in FOOTNOTES else name
