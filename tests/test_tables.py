"""Tables that spreadsheets save in another form are refused in one line that says what was found, and where."""

import csv
import io
import os
import re
import zipfile

import pytest
from wording import in_order

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
    assert in_order(said, "separated", name, "','") and "line" not in said
    said = fault(read, f"sep={separator}\r\n" + written(ROWS, separator))
    assert in_order(said, "line 1", repr(f"sep={separator}".strip()), "line 2", "separated", name)


def test_a_row_parted_otherwise_is_named_by_its_line(read):
    said = fault(read, written(ROWS) + "c;c.npy;7;train\r\n")
    assert in_order(said, "line 4", 1, 4, "separated", "';'")
    assert in_order(fault(read, written(ROWS) + "c,c.npy,7,5,train\r\n"), "line 4", 5, 4, "point")


def test_what_stands_above_the_names_is_shown(read):
    said = fault(read, "Scores of spring\r\n\r\n" + written(ROWS))
    assert in_order(said, "line 1", "'Scores of spring'", "line 3", "remove")
    assert in_order(fault(read, "\r\n" + written(ROWS)), "line 1", "empty", "line 2", "remove")
    said = fault(read, written(ROWS[1:]))
    assert in_order(said, "line 1", "row", *map(repr, ROWS[1]), "add", *NAMES)


@pytest.mark.parametrize(
    "head, parts",
    [
        ("ID,Path,Score,Split", ("line 1", "'ID', 'Path', 'Score', 'Split'", "write id, path, score, split")),
        ("id,path,SCORE,split", ("line 1", "'SCORE'", "write score")),
        ("“id”,path,score,split", ("line 1", "'“id”'", "write id")),
        ("i\u200bd,path,score,split", ("line 1", r"'i\u200bd'", "write id")),
        ("id,path,score,split,Start Frame", ("line 1", "'Start Frame'", "write start_frame")),
        ("name,video,label,set", ("'id'", "line 1", "'name', 'video', 'label', 'set'", *NAMES)),
        ("id,path,score", ("'split'", "line 1", "'id', 'path', 'score'", *NAMES)),
        ("id,path,score,split,rater", ("'rater'", "unknown", *KNOWN, "#")),
        ("id,path,score,split,id", ("'id'", "twice")),
    ],
)
def test_names_of_columns_are_shown_as_they_stand(read, head, parts):
    said = fault(read, f"{head}\na,a.npy,1,train\n")
    assert in_order(said, *parts) and len(re.findall("'[^']*'", said)) == sum(part.count("'") for part in parts) // 2


def test_a_column_without_name_but_with_cells_is_named(read):
    rows = [("", *ROWS[0])] + [(str(i), *row) for i, row in enumerate(ROWS[1:])]  # as pandas writes its index
    assert in_order(fault(read, written(rows)), "column 1", "no name")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_wide_characters_are_named(read, encoding, separator):
    said = fault(read, written(ROWS, separator), encoding)
    assert in_order(said, encoding[:6].upper(), "CSV", "UTF-8")


def test_a_code_page_is_named_with_the_line(read):
    said = fault(read, written([*ROWS, ("c", "Zoë.npy", "1", "train")]), "cp1252")
    assert in_order(said, "UTF-8", "line 4", "0xEB", "1252", "'c,Zoë.npy,1,train'")


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
        assert in_order(said, "UTF-8", kind)


def test_quotes_that_stay_open_are_named_by_line(read):
    assert "line 4 (" in fault(read, written(ROWS) + '"c,c.npy,1,train\r\n')
    assert "line 2 (" in fault(read, written(ROWS[:1]) + '"a"x,a.npy,1,train\r\n')
    assert in_order(fault(read, '"id,path,score,split\r\na,a.npy,1,train\r\n'), "line 1", "one cell", "quotes")
    lines = "".join(f'"{line}"\r\n' for line in written(ROWS).split())  # a CSV file that was read as one column
    assert in_order(fault(read, lines), "line 1", "one cell", "'id,path,score,split'", "quotes")


def test_what_lies_in_the_place_of_the_table_is_named(tmp_path):
    def said(name="records.csv"):
        with pytest.raises(AnnotationError) as error:
            read_table(tmp_path / name, NAMES, KNOWN)
        return str(error.value)

    file = tmp_path / "records.csv"
    assert in_order(said(), "records.csv", "no such file", *NAMES)
    for other, word in (
        ("records.csv.txt", "extension"),
        ("Records.CSV", "capitalized"),
        ("records.xlsx", "extension"),
    ):
        (tmp_path / other).touch()
        if file.exists():  # this file system ignores case
            (tmp_path / other).unlink()
            continue
        assert in_order(said(), "records.csv", "no such file", repr(other), word, *NAMES)
        (tmp_path / other).unlink()
    file.mkdir()
    assert "folder" in said()
    file.rmdir()
    os.mkfifo(file)
    assert "pipe" in said()
    file.unlink()
    file.symlink_to("gone.csv")
    assert in_order(said(), "link", "nowhere")
