"""Names of the tables and figures that declare trials, and the notebooks that show them.

They are available without importing `tables`, which declares them.
"""

__all__ = ["KNOWN", "OF_FRAMES", "SHOWN_IN", "STUDY", "title"]

# the keys of `tables.TABLES`, `tables.CLASS_TABLES` and `tables.FIGURES`, in this order
KNOWN = (
    "I",
    "II",
    "VI",
    "VII",
    "III",
    "fig05",
    "fig07",
    "fig08",
    "fig09",
    "fig10",
    "fig12",
    "fig13",
    "fig14",
    "decisions",
    "selection",
    "boxes",
    "trained",
    "IV",
    "V",
    "fig06",
)

# the order in which a study runs them: tables and figures with the most claims of the paper come first
STUDY = (
    "I",
    "II",
    "III",
    "fig08",
    "IV",
    "V",
    "VI",
    "VII",
    "fig10",
    "fig07",
    "fig09",
    "fig05",
    "fig06",
    "decisions",
    "selection",
    "boxes",
    "fig12",
    "fig13",
    "fig14",
    "trained",
)

# Notebook -> the tables and figures whose trials it reads. The notebook of the ledger is not among them: it reads the
# trials that the claims compare (`reporting.claims.needed_trials`).
SHOWN_IN: dict[str, tuple[str, ...]] = {
    "02_detection": ("boxes",),
    "05_ablations": ("I", "II", "III", "fig08"),
    "06_comparison": ("IV", "V", "VI", "VII"),
    "09_decisions": ("decisions", "fig08", "selection", "I", "II"),
    "10_fig05_score_scatter": ("fig05",),
    "11_fig06_label_shares": ("fig06", "IV"),
    "12_fig07_threshold": ("fig07", "II"),
    "13_fig08_loss_terms": ("fig08", "I"),
    "14_fig09_subactions": ("fig09", "II"),
    "15_fig10_teacher_input": ("fig10", "I"),
    "16_fig11_attention": ("VI",),
    "17_fig12_label_shares": ("fig12", "II"),
    "18_fig13_errors": ("fig13",),
    "19_fig14_failure_case": ("fig13", "fig14"),
    "a3_own_method": ("IV",),
}

# notebooks about the frames of videos -> the dataset of the videos; they have nothing to show of features alone
OF_FRAMES = {"15_fig10_teacher_input": "mtl-aqa", "16_fig11_attention": "rg"}


def title(name: str) -> str:
    """A name of `KNOWN` as a reader knows it: "VII" is "Table VII", "fig07" is "Figure 7", "boxes" is "Boxes"."""
    if name.startswith("fig"):
        return f"Figure {int(name[3:])}"
    return f"Table {name}" if name.isupper() else name.capitalize()
