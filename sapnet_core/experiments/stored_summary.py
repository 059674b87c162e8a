"""What the stored trials reached and cost, read from the table of trials alone."""

import pandas as pd

from sapnet_core.experiments.checked_parquet import opened, row_group
from sapnet_core.experiments.stored import FOLDER
from sapnet_core.experiments.stored_rows import schemas
from sapnet_core.experiments.trial import Trial

__all__ = ["stored_summary"]

COLUMNS = ["trial", "dataset", "method", "seed", "rho", "seconds", "device", "processor", "numbers"]


def stored_summary() -> pd.DataFrame:
    """One row per stored trial: its name (`result_files.result_name`), dataset, method, seed, ρ on the test videos, the
    seconds that it took on the named device and processor, and the number format of its features. Raises Damaged if the
    table cannot be read."""
    path = FOLDER / "trials.parquet"
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    with opened(path, schemas(Trial)["trials"]) as file:
        table = row_group(file, 0).select(COLUMNS).to_pandas()
    return table.astype({name: str for name, kind in table.dtypes.items() if kind == "category"})
