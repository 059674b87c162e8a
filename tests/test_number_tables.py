"""Sequences as text: each line is one step and each cell one feature; a line that does not fit is named."""

import numpy as np
import pandas as pd
import pytest
from refusal import refused

from sapnet_core.datasets.sequence_files import read_sequence, sequence_shape

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
    [
        ROWS,
        "x,y,z,a,b,c\n" + ROWS,
        "# x,y,z,a,b,c\n" + ROWS,
        '"x","y, z","z","a","b","c"\n' + ROWS,
        "\ufeff" + ROWS,
        ROWS + "\n\n",
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS.replace(",", " , "),
        ROWS.rstrip(),
        "\n".join(",".join(f'"{v}"' for v in row) for row in X),
        "frame,x,y,z,a,b\n" + ROWS,
        "0_x,0_y,1_x,1_y,2_x,2_y\n" + ROWS,
        "|v|,Δt,°C,naïve,inf_norm,nanometers\n" + ROWS,
    ],
)
def test_every_line_is_a_step(table, content):
    assert np.allclose(read_sequence(table(content)), X.astype(np.float32))
    assert sequence_shape(table(content)) == (30, 6)


@pytest.mark.parametrize(
    "first, word",
    [
        (",,,,,", "''"),
        (",0.2,0.3,0.4,0.5,0.6", "''"),
        ("NA,NA,0.3,0.4,0.5,0.6", "NA"),
        ("nan,1,1,1,1,1", "nan"),
        ("1,1,1,1,1,inf", "inf"),
        ("NA,NA,NA,NA,NA,NA", "NA"),
        ("-,-,-,-,-,-", "-"),
        ("1,2,x,4,5,6", "x"),
        *[
            (",".join([cell] * 6), cell)
            for cell in (
                "inf",
                "-inf",
                "Infinity",
                "nan(ind)",
                "1.#IND",
                "-1.#INF",
                "1_000",
                "0x1F",
                "0b101",
                "0x1.8p3",
                "1e",
                "1E+",
                "−0.5",
                "٠",
                "０．５",
                "½",
                "$5",
                "5%",
                "1.5m",
                "1.2.3",
                "(1.5)",
                "#DIV/0!",
                "#NUM!",
                "#VALUE!",
                "?",
                ".",
                "n.a.",
                "NaT",
                "\\N",
                "True",
                "lost",
                "1d3",
                "Err:502",
            )
        ],
        ('"0,1","0,2","0,3","0,4","0,5","0,6"', "0,1"),
        ("inf,nan,NA,inf,nan,NA", "inf"),
    ],
)
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
    refused(read_sequence, table(names.rename_axis("Unnamed: 0.1").to_csv()), "line 1", "Unnamed: 0.1")
    refused(read_sequence, table(names.reset_index().reset_index().to_csv(index=False)), "line 1", "level_0")
    refused(read_sequence, table(frame[::3].to_csv(header=False)), "column 1", "index=False")
    refused(read_sequence, table(frame[12:].to_csv(header=False)), "column 1", "index=False")
    refused(read_sequence, table(frame[[1, 3, 5]].to_csv(index=False)), "line 1", "header=False")
    refused(read_sequence, table(frame.rename(columns=lambda n: n + 1).to_csv(index=False)), "line 1", "header=False")
    refused(read_sequence, table(frame[[0]].to_csv(index=False)), "line 1", "header=False")
    both = pd.concat({"a": names, "b": names}, axis=1)
    refused(read_sequence, table(both.to_csv(index=False)), "line 2")
    assert np.allclose(read_sequence(table(names.to_csv(index=False))), X.astype(np.float32))
    assert np.allclose(read_sequence(table(frame.to_csv(index=False, header=False))), X.astype(np.float32))


@pytest.mark.parametrize(
    "content, words",
    [
        (ROWS.replace(",", ";"), ("line 1", "';'")),
        (ROWS.replace(",", "\t"), ("line 1", "tabs")),
        (ROWS.replace(",", " "), ("line 1", "spaces")),
        (ROWS.replace(",", "|"), ("line 1", "'|'")),
        ("sep=;\n" + ROWS, ("line 1", "';'")),
        (ROWS.replace(",", ";").replace(".", ","), ("line 1", "';'")),
        (ROWS.encode("utf-16"), ("UTF-8",)),
        (b"\xff" + ROWS.encode(), ("UTF-8",)),
        ("a\0b\n", ("UTF-8",)),
        (ROWS + "\n" + ROWS, ("line 31", "empty")),
        ("\n" + ROWS, ("line 1", "empty")),
        (ROWS.replace("\n", ",\n"), ("line 1",)),
        (ROWS + "1,2,3\n", ("line 31", "3 cells")),
        (ROWS + "1,2,3,4,5,6,7\n", ("line 31", "7 cells")),
        (ROWS + "1_000,2,3,4,5,6\n", ("line 31", "column 1")),
        (ROWS + "1,2,3,4,5,0x1F\n", ("line 31", "column 6")),
        (ROWS + "1,٣,3,4,5,6\n", ("line 31", "column 2")),
        (ROWS + "1,2,1e39,4,5,6\n", ("line 31", "float32")),
        ("x y z a b c\n" + ROWS.replace(",", " "), ("line 2", "spaces")),
        ("x,y,z,a,b,c\n" + ROWS.replace(",", ";"), ("line 2", "';'")),
        ("x;y;z;a;b;c\n" + ROWS.replace(",", ";"), ("line 1", "';'")),
        ("inf,x,y,z,a,b\n" + ROWS, ("line 1", "'inf'")),
        ("# made by hand\n" + ROWS, ("line 2", "6 cells")),
        ('x\n0.5\n""\n', ("line 3", "missing value")),
        ('"x\ny",z\n1,2\n', ("line 1", "quotation mark")),
        ("0.5,1.5\n \n0.5,1.5\n", ("line 2", "empty")),
        (ROWS + "# end\n", ("line 31",)),
        (ROWS + '1,2,3,4,5,"6\n', ("line",)),
        ("", ("",)),
        ("x,y\n", ("no numbers",)),
        ("<!DOCTYPE html><p>1,2\n", ("web page",)),
        (b"PK\x03\x04" + ROWS.encode(), ("",)),
    ],
)
def test_what_was_found_is_said(table, content, words):
    refused(read_sequence, table(content), *words)


@pytest.mark.parametrize(
    "content",
    [
        "frame,x\n0,0.5\n1,0.25\n2,0.125\n",
        "0,5,2\n7,1,3\n",
        "3,4,5\n1.5,2,3\n",
        "0.0,1.0\n0.5,0.5\n",
        "1,2\n",
        "1,0.5\n0.75,0.25\n",
        "3\n0.5\n0.25\n",
        "10,20\n12,21\n14,25\n",
        "0\n1\n2\n3\n",
    ],
)
def test_whole_numbers_that_may_have_been_measured_are_read(table, content):
    rows = [line.split(",") for line in content.splitlines() if line[0].isdigit()]
    assert read_sequence(table(content)).tolist() == [[float(cell) for cell in row] for row in rows]
