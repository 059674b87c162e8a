"""How far the numbers of a system here lie from those of its public code, on the same random tensors.

`methods/against_public_code.csv` has one row for each compared system, in these columns:

    repository, commit    the public code on GitHub; empty where none was found
    compared              which numbers: a loss, a term of it, a network's outputs
    largest_difference    the largest absolute difference between both
    note                  why it is more than rounding, or what the public code lacks

Both sides had the same random weights and inputs, and the same random choices, such as pairs or noise. They computed on
a processor in double precision and without dropout, whatever precision or device the public code asks for. No line of
the public code is part of this project.
"""

from pathlib import Path

import pandas as pd

from sapnet_core import methods
from sapnet_core.experiments.systems import marked

__all__ = ["code_table", "public_code"]

ROUNDING = 1e-12  # the largest difference of double precision that is put down to rounding
TEXTS = ("repository", "commit", "compared", "note")


def public_code() -> pd.DataFrame:
    """The rows of `methods/against_public_code.csv`, and `equal`: whether they differ by rounding alone.

    A text that is not there is "", a difference NaN.
    """
    file = Path(methods.__file__).with_name("against_public_code.csv")
    rows = pd.read_csv(file, dtype=dict.fromkeys(TEXTS, str)).fillna(dict.fromkeys(TEXTS, ""))
    return rows.assign(equal=rows["largest_difference"] <= ROUNDING)


def code_table(code: pd.DataFrame) -> pd.DataFrame:
    """Rows of `public_code` as a notebook shows them: a commit by its first digits, a difference by one digit, and a
    dash where there is nothing to compare."""
    places = [f"{row.repository} at {row.commit[:10]}" if row.repository else "—" for row in code.itertuples()]
    differences = ["—" if pd.isna(x) else f"{x:.0e}" if x else "0" for x in code["largest_difference"]]
    return pd.DataFrame(
        {
            "system": code["system"].map(marked),
            "public code": places,
            "what was compared": code["compared"].replace("", "—"),
            "largest difference": differences,
            "note": code["note"],
        }
    )
