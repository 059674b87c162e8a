"""Names of the tables and figures that declare trials, known before the module that declares them is loaded."""

__all__ = ["KNOWN"]

# in the order of `tables.TABLES`, `tables.CLASS_TABLES` and `tables.FIGURES`, whose keys these are
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
    "IV",
    "V",
    "fig06",
)
