"""Sequences written as text: each line is one step and each cell one feature, or the line in the way is named."""

import numpy as np
import pandas as pd
import pytest
from refusal import refused

from sapnet_core.data.sequence_files import read_sequence, sequence_shape

X = np.random.default_rng(0).random((30, 6)).round(4)
ROWS = "".join(",".join(map(str, row)) + "\n" for row in X)


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes, name: str = "a.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    "content",
    [ROWS, "x,y,z,a,b,c\n" + ROWS, "# x,y,z,a,b,c\n" + ROWS, '"x","y, z","z","a","b","c"\n' + ROWS, "\ufeff" + ROWS,
     ROWS + "\n\n", ROWS.replace("\n", "\r\n"), ROWS.replace("\n", "\r"), ROWS.replace(",", " , "), ROWS.rstrip(),
     "\n".join(",".join(f'"{v}"' for v in row) for row in X), "frame,x,y,z,a,b\n" + ROWS],
)  # fmt: skip
def test_every_line_is_a_step(table, content):
    assert np.allclose(read_sequence(table(content)), X.astype(np.float32))
    assert sequence_shape(table(content)) == (30, 6)


@pytest.mark.parametrize(
    "first, word",
    [(",,,,,", "''"), (",0.2,0.3,0.4,0.5,0.6", "''"), ("NA,NA,0.3,0.4,0.5,0.6", "NA"), ("nan,1,1,1,1,1", "nan"),
     ("1,1,1,1,1,inf", "inf"), ("NA,NA,NA,NA,NA,NA", "NA"), ("-,-,-,-,-,-", "-"), ("1,2,x,4,5,6", "x")],
)  # fmt: skip
def test_a_first_step_is_never_taken_for_names(table, first, word):
    refused(read_sequence, table(first + "\n" + ROWS), "line 1", word)
    refused(read_sequence, table("x,y,z,a,b,c\n" + first + "\n" + ROWS), "line 2", word)
    refused(read_sequence, table(ROWS + first + "\n"), "line 31", word)


def test_what_pandas_adds_is_no_step_and_no_feature(table):
    frame, names = pd.DataFrame(X), pd.DataFrame(X, columns=list("xyzabc"))
    refused(read_sequence, table(frame.to_csv()), "line 1")
    refused(read_sequence, table(frame.to_csv(index=False)), "line 1", "index=False")
    refused(read_sequence, table(frame.to_csv(header=False)), "column 1", "index=False")
    refused(read_sequence, table(names.to_csv()), "line 1", "column 1", "index=False")
    refused(read_sequence, table(names.rename_axis("Unnamed: 0").to_csv()), "line 1", "Unnamed: 0")
    refused(read_sequence, table(names.rename_axis("index").to_csv()), "line 1", "index")
    assert np.allclose(read_sequence(table(names.to_csv(index=False))), X.astype(np.float32))
    assert np.allclose(read_sequence(table(frame.to_csv(index=False, header=False))), X.astype(np.float32))


@pytest.mark.parametrize(
    "content, words",
    [(ROWS.replace(",", ";"), ("line 1", "';'")), (ROWS.replace(",", "\t"), ("line 1", "tabs")),
     (ROWS.replace(",", " "), ("line 1", "spaces")), (ROWS.replace(",", "|"), ("line 1", "'|'")),
     ("sep=;\n" + ROWS, ("line 1", "';'")), (ROWS.replace(",", ";").replace(".", ","), ("line 1", "';'")),
     (ROWS.encode("utf-16"), ("UTF-8",)), (b"\xff" + ROWS.encode(), ("UTF-8",)), ("a\0b\n", ("UTF-8",)),
     (ROWS + "\n" + ROWS, ("line 31", "empty")), ("\n" + ROWS, ("line 1", "empty")),
     (ROWS.replace("\n", ",\n"), ("line 1",)),
     (ROWS + "1,2,3\n", ("line 31", "3 cells")), (ROWS + "1,2,3,4,5,6,7\n", ("line 31", "7 cells")),
     (ROWS + "1_000,2,3,4,5,6\n", ("line 31", "column 1")), (ROWS + "1,2,3,4,5,0x1F\n", ("line 31", "column 6")),
     (ROWS + "1,٣,3,4,5,6\n", ("line 31", "column 2")), (ROWS + "1,2,1e39,4,5,6\n", ("line 31", "float32")),
     (ROWS + "# end\n", ("line 31",)), (ROWS + '1,2,3,4,5,"6\n', ("line",)), ("", ("",)), ("x,y\n", ("no numbers",)),
     ("<!DOCTYPE html><p>1,2\n", ("web page",)), (b"PK\x03\x04" + ROWS.encode(), ("",))],
)  # fmt: skip
def test_what_was_found_is_said(table, content, words):
    refused(read_sequence, table(content), *words)
