"""Names of the tables and figures that declare trials, available without importing `tables`, which declares them."""

__all__ = ["KNOWN", "STUDY"]

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

# the order in which a study runs them: first what most claims of the paper rest on
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
