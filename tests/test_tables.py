"""Tables that spreadsheets save in another form are refused in one line that says what was found, and where."""

import csv
import io
import os
import zipfile

import pytest

from sapnet_core.datasets import AnnotationError
from sapnet_core.datasets.tables import read_table

NAMES = ("id", "path", "score", "split")
KNOWN = (*NAMES, "start_frame", "note")
ROWS = [NAMES, ("a", "a.npy", "7.5", "train"), ("b", "b.npy", "6.5", "test")]


def written(rows, separator=",", **rest):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\r\n", **rest).writerows(rows)
    return text.getvalue()


@pytest.fixture
def read(tmp_path):
    """A function that writes records.csv with this content, and reads its rows."""

    def read(content, encoding="utf-8"):
        (tmp_path / "records.csv").write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return [tuple(row.values()) for _, row in read_table(tmp_path / "records.csv", NAMES, KNOWN)]

    return read


def fault(read, content, encoding="utf-8"):
    with pytest.raises(AnnotationError) as error:
        read(content, encoding)
    text = str(error.value)
    assert "\n" not in text and "records.csv: " in text and len(text) < 600
    return text.partition("records.csv: ")[2]


@pytest.mark.parametrize(
    "content",
    [
        written(ROWS),
        "\ufeff" + written(ROWS),
        written(ROWS).replace("\r\n", "\r"),
        written(ROWS, quoting=csv.QUOTE_ALL),
        written(ROWS).replace(",", " , "),
        written([(*row, "", "") for row in ROWS]),
        written(ROWS) + ",,,\r\n\r\n",
    ],
)
def test_one_dialect_is_read(read, content):
    assert read(content) == ROWS[1:]


@pytest.mark.parametrize(
    "separator, name", [*((sign, f"'{sign}'") for sign in ";|，"), ("\t", "tabs"), (" ", "spaces")]
)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_other_separators_are_named(read, separator, name, quoting):
    said = fault(read, written(ROWS, separator, quoting=quoting))
    assert said.startswith(f"cells are separated by {name}, not by ','") and "spreadsheet" in said
    said = fault(read, f"sep={separator}\r\n" + written(ROWS, separator))
    assert said.startswith(f"line 1 is {f'sep={separator}'.strip()!r}") and f"separated by {name}" in said


def test_a_row_parted_otherwise_is_named_by_its_line(read):
    said = fault(read, written(ROWS) + "c;c.npy;7;train\r\n")
    assert said.startswith("line 4: 1 cells, but the first line has 4, since its cells are separated by ';'")
    assert "write numbers with a point" in fault(read, written(ROWS) + "c,c.npy,7,5,train\r\n")


def test_what_stands_above_the_names_is_shown(read):
    said = fault(read, "Scores of spring\r\n\r\n" + written(ROWS))
    assert said.startswith("line 1 is 'Scores of spring', but the column names are in line 3: remove")
    assert fault(read, "\r\n" + written(ROWS)).startswith("line 1 is empty, but the column names are in line 2")
    said = fault(read, written(ROWS[1:]))
    assert "line 1 is a row ('a', 'a.npy', '7.5', 'train'): add a line of column names, id, path, score" in said


@pytest.mark.parametrize(
    "head, said",
    [
        ("ID,Path,Score,Split", "line 1 has 'ID', 'Path', 'Score', 'Split': write id, path, score, split"),
        ("id,path,SCORE,split", "line 1 has 'SCORE': write score"),
        ("“id”,path,score,split", "line 1 has '“id”': write id"),
        ("i\u200bd,path,score,split", r"line 1 has 'i\u200bd': write id"),
        ("id,path,score,split,Start Frame", "line 1 has 'Start Frame': write start_frame"),
        (
            "name,video,label,set",
            "no column 'id', line 1 has 'name', 'video', 'label', 'set': name the columns id, path, score",
        ),
        ("id,path,score", "no column 'split', line 1 has 'id', 'path', 'score': name"),
        ("id,path,score,split,rater", "column 'rater' is unknown: use id, path, "),
        ("id,path,score,split,id", "column 'id' appears twice"),
    ],
)
def test_names_of_columns_are_shown_as_they_stand(read, head, said):
    assert fault(read, f"{head}\na,a.npy,1,train\n").startswith(said)


def test_a_column_without_name_but_with_cells_is_named(read):
    rows = [("", *ROWS[0])] + [(str(i), *row) for i, row in enumerate(ROWS[1:])]  # as pandas writes its index
    assert fault(read, written(rows)).startswith("column 1 has no name")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_wide_characters_are_named(read, encoding, separator):
    said = fault(read, written(ROWS, separator), encoding)
    assert encoding[:6].upper() in said and "save it as CSV in UTF-8" in said


def test_a_code_page_is_named_with_the_line(read):
    said = fault(read, written([*ROWS, ("c", "Zoë.npy", "1", "train")]), "cp1252")
    assert said.startswith("not a table of UTF-8 text in line 4 (byte 0xEB") and "'c,Zoë.npy,1,train'" in said


def test_files_of_another_kind_are_named(read, tmp_path):
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/workbook.xml", "<x/>")
    cases = {
        book.getvalue(): "an Excel workbook",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel",
        b"<!doctype html><html>": "a web page",
        b"%PDF-1.7": "a PDF",
        b"\x1f\x8b\x08": "a gzip archive",
        b"": "empty",
        b"\r\n ,,\r\n": "empty",
        bytes(512): "empty",
    }
    for content, kind in cases.items():
        said = fault(read, content)
        assert said.startswith("not a table of UTF-8 text") and kind in said


def test_quotes_that_stay_open_are_named_by_line(read):
    assert "line 4 (" in fault(read, written(ROWS) + '"c,c.npy,1,train\r\n')
    assert "line 2 (" in fault(read, written(ROWS[:1]) + '"a"x,a.npy,1,train\r\n')
    assert "line 1 is one cell" in fault(read, '"id,path,score,split\r\na,a.npy,1,train\r\n')
    lines = "".join(f'"{line}"\r\n' for line in written(ROWS).split())  # a CSV file that was read as one column
    assert "line 1 is one cell, 'id,path,score,split': remove the quotes" in fault(read, lines)


def test_what_lies_in_the_place_of_the_table_is_named(tmp_path):
    def said(name="records.csv"):
        with pytest.raises(AnnotationError) as error:
            read_table(tmp_path / name, NAMES, KNOWN)
        return str(error.value)

    file = tmp_path / "records.csv"
    assert "no such file: write a table with the columns id, path" in said()
    for other, word in (
        ("records.csv.txt", "with another extension"),
        ("Records.CSV", "capitalized differently"),
        ("records.xlsx", "with another extension"),
    ):
        (tmp_path / other).touch()
        if file.exists():  # this file system ignores case
            (tmp_path / other).unlink()
            continue
        assert f"no such file, but {other!r} ({word}) is there: write a table" in said()
        (tmp_path / other).unlink()
    file.mkdir()
    assert "is a folder" in said()
    file.rmdir()
    os.mkfifo(file)
    assert "is a pipe" in said()
    file.unlink()
    file.symlink_to("gone.csv")
    assert "is a link that leads nowhere" in said()
