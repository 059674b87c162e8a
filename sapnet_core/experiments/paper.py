"""The numbers the paper prints, the averages and improvements it states about them, and what came after it.

`experiments/paper.csv` holds all 165 cells of Tables I-VII as printed, one per row:
`table,block,system,year,column,rho`. Systems have their printed names without citation numbers and footnote marks (S4L
and S4AQA are printed with a raised 4). Tables IV and V have two blocks: "Supervised", with the column "supervised", and
"Semi-supervised", with the columns "10%" and "40%" or "20%". Tables IV-VII have a column of years, which is empty where
the paper prints a dash.

`experiments/later.csv` holds what the papers of later systems report by the protocol of one of these tables, in the
columns `table,system,year,column,rho,source`. TRS has 10 and 40 % of the labels on MTL-AQA. BASL has no row: its paper
is under review, and the description of its public code, for MTL-AQA, FineDiving, JIGSAWS, Rhythmic Gymnastics and
FineFS, states no result.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from sapnet_core.experiments.metrics import fisher_mean

__all__ = ["TABLES", "NOTES", "later_numbers", "paper_numbers", "paper_table", "paper_arithmetic"]

TABLES = ("I", "II", "III", "IV", "V", "VI", "VII")
OURS = "SAP-Net (Ours)"

# Warnings to readers of the printed tables (errata E13 to E15); the cells themselves stay as the paper prints them.
# TAP (ECCV 2022, Table 1), HGCN (TCSVT 2023, Table I) and SGN (TMM 2023, Table IV) list results on MTL-AQA with and
# without the degree of difficulty apart, which shows the protocol of a number.
NOTES = {
    "IV": "As printed, with its errors (E15). The supervised rows mix two protocols: USDL and MUSDL were measured "
    "without the degree of difficulty, CoRe, TAP, HGCN and SGN with it. The 0.9422 of TSA-Net is the result of NL-Net, "
    "without difficulty; TSA-Net's own paper reports 0.9393 for TSA-Net. The reference given for DAE-CoRe, [42], is "
    "another method, UD-AQA. Table VI has other years for COREG and VAT: 2005 and 2019. TRS (ECCV 2024), which came "
    "after, reports 0.825 with 10 % and 0.901 with 40 % of the labels, beside the same numbers for the older systems.",
    "V": "As printed: MUSDL and TSA have the same two semi-supervised values (E13). Table IV has another year for "
    "I3D+MLP: 2020.",
    "VI": "As printed: Table IV has other years for COREG and VAT, 2019 and 2017, and Table VII for Action-Net, 2022 "
    "(E15). The averages are Fisher-z means (E14).",
    "VII": "As printed: the paper cites ViViT for VST, which is the Video Swin Transformer; Table VI has another year "
    "for Action-Net, 2020 (E15).",
}


@cache
def _numbers() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name("paper.csv"), dtype={"year": "Int64"}).fillna({"block": ""})


def paper_numbers() -> pd.DataFrame:
    """All printed cells in printed order, 165 rows.

    Columns: table ("I" ... "VII"); block ("Supervised" or "Semi-supervised" in Tables IV and V, else ""); system; year
    (integer, missing where none is printed); column; rho.
    """
    return _numbers().copy()


def later_numbers(table: str) -> pd.DataFrame:
    """What later papers report of their own systems by the protocol of one table ("I" ... "VII"): table, system, year,
    column, rho and source, one row per cell."""
    cells = pd.read_csv(Path(__file__).with_name("later.csv"))
    return cells[cells["table"] == table].reset_index(drop=True)


def paper_table(number: int | str) -> pd.DataFrame:
    """One table, systems as rows and columns as printed; NaN where the paper has no such cell.

    Args:
        number: 1-7 or "I"-"VII".

    Raises:
        ValueError: no such table.
    """
    name = TABLES[number - 1] if isinstance(number, int) and 1 <= number <= len(TABLES) else number
    if name not in TABLES:
        raise ValueError(f"table {number!r} is unknown: choose one of {', '.join(TABLES)} or 1-7")
    cells = _numbers().query("table == @name")
    table = cells.pivot(index="system", columns="column", values="rho")
    return table.reindex(index=cells["system"].unique(), columns=cells["column"].unique()).rename_axis(columns=None)


def paper_arithmetic() -> pd.DataFrame:
    """Every average and every "improvement of" in the paper, recomputed from the printed cells (erratum E14).

    Returns: columns statement, printed, arithmetic, fisher, relative, holds. For an average, these are the arithmetic
    and the Fisher-z mean; for an improvement, the difference in rho under either mean, and the relative gain under the
    arithmetic mean. `holds` lists the readings that reproduce the printed value at its precision, "" if none does.
    """
    rows = []
    classes = paper_table("VI")
    for system, cells in classes.iterrows():
        *parts, printed = cells
        rows.append((f"Table VI: average of {system}", printed, np.mean(parts), fisher_mean(parts), np.nan))
    skating = paper_table("VII")
    for program, printed in (("SP", 0.650), ("FS", 0.768)):
        parts = skating.loc[OURS, [f"{program} PCS", f"{program} TES"]].tolist()
        rows.append((f"Table VII: average of {OURS}, {program}", printed, np.mean(parts), fisher_mean(parts), np.nan))
    for cells, other, columns, printed in (
        (paper_table("IV"), "S4AQA", ["10%"], 0.053),
        (paper_table("IV"), "S4AQA", ["40%"], 0.055),
        (classes, "S4AQA", ["Avg"], 0.051),
        (skating, "GDLT", ["FS PCS", "FS TES"], 0.035),
    ):
        ours, theirs = cells.loc[OURS, columns].tolist(), cells.loc[other, columns].tolist()
        plain = np.mean(ours) - np.mean(theirs)
        statement = f"improvement over {other}, {' and '.join(columns)}"
        rows.append((statement, printed, plain, fisher_mean(ours) - fisher_mean(theirs), plain / np.mean(theirs)))
    readings = ["arithmetic", "fisher", "relative"]
    table = pd.DataFrame(rows, columns=["statement", "printed", *readings])
    # half a unit of the last printed digit, plus a tolerance because a tie may be rounded either way
    near = table[readings].sub(table["printed"], axis=0).abs() <= 0.0005 + 2e-5
    table["holds"] = [", ".join(name for name in readings if row[name]) for _, row in near.iterrows()]
    return table
