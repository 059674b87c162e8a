"""The bytes of a trial's result files."""

import numpy as np
import pandas as pd
import pytest

from sapnet_core.experiments import result_files


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"a": []}),
        pd.DataFrame(),
        pd.DataFrame({"key": ["x,y", 'q"u', "", "ä\nb"], "score": [1.5, np.nan, np.inf, -0.0]}),
        pd.DataFrame({"predicted": np.float32([0.1, 2, 3e9, 1e-9])}),
        pd.DataFrame({"step": [1, 2], "L": [1e-20, 123456789.0]}),
    ],
    ids=["no row", "no column", "texts and gaps", "float32", "whole numbers"],
)
def test_tables_are_written_as_pandas_writes_them(table):
    for form in ("%.6f", "%.6g"):
        assert result_files._csv(table, form) == table.to_csv(index=False, float_format=form)
