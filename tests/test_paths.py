"""Folders and files in environment variables are found, or refused in one line that says what is there instead."""

import os
import zipfile

import pytest

from sapnet_core.runtime import environment
from sapnet_core.runtime.file_kinds import content_kind, found_at

WEIGHTS = {
    f"SAPNET_{call.__name__.upper()}": call
    for call in (environment.detector, environment.i3d, environment.c3d, environment.swin)
}


def refused(call, *words):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


@pytest.mark.parametrize("written", ["{}", "{}/", "{}/.", "{}/../own", "~/own", "~/own/"])
def test_a_folder_is_found_however_it_is_written(tmp_path, monkeypatch, written):
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAPNET_DATA", written.format(tmp_path / "own"))
    assert environment.data_root() == (tmp_path / "own").resolve()
    monkeypatch.setenv("SAPNET_DATA", "")
    assert environment.data_root() is None


def test_relative_names_count_from_here_and_then_from_the_root(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAPNET_DATA", "own")
    assert environment.data_root() == (tmp_path / "own").resolve()
    monkeypatch.setenv("SAPNET_DATA", "notebooks")
    assert environment.data_root() == environment.root() / "notebooks"


def test_what_is_no_folder_is_named_with_what_it_is(tmp_path, monkeypatch):
    (tmp_path / "records.csv").write_text("id,path,score,split\n")
    zipfile.ZipFile(tmp_path / "mtl-aqa.zip", "w").close()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    cases = {
        "records.csv": "but a file: ",
        "mtl-aqa.zip": "unpack it",
        "pipe": "a pipe",
        "gone": "is not a folder: ",
        "link": "leads nowhere",
        "round": "leads nowhere",
        "records.csv/x": "is not a folder",
        "x" * 300: "is not a folder, but not accessible",
    }
    for name, word in cases.items():
        monkeypatch.setenv("SAPNET_DATA", str(tmp_path / name))
        refused(environment.data_root, "SAPNET_DATA=", name, "is not a folder", word)
    monkeypatch.setenv("SAPNET_DATA", "~nobody-of-this-name/own")
    refused(environment.data_root, "SAPNET_DATA='~nobody-of-this-name/own' is not a folder")


@pytest.mark.parametrize("variable", WEIGHTS)
def test_weights_are_a_file_with_something_in_it(tmp_path, monkeypatch, variable):
    (tmp_path / "empty.pt").touch()
    (tmp_path / "page.pt").write_text("\n<!DOCTYPE html><html>Sign in</html>")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "rgb.pt").write_bytes(b"\x80\x02weights")
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "link.pt").symlink_to("gone.pt")
    cases = {
        "empty.pt": "an empty file",
        "page.pt": "a web page",
        "lfs.pt": "git lfs pull",
        "pipe.pt": "a pipe",
        "folder": "which holds rgb.pt",
        "gone.pt": "is not a file: ",
        "link.pt": "leads nowhere",
    }
    for name, word in cases.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
        refused(WEIGHTS[variable], f"{variable}=", name, word)
    monkeypatch.setenv(variable, str(tmp_path / "folder" / "rgb.pt"))
    assert WEIGHTS[variable]() == (tmp_path / "folder" / "rgb.pt").resolve()
    monkeypatch.delenv(variable)
    assert WEIGHTS[variable]() is None


@pytest.mark.parametrize("variable, call", [("SAPNET_RUNS", environment.runs), ("SAPNET_FIGURES", environment.figures)])
def test_a_folder_to_write_to_may_be_absent_and_is_no_file(tmp_path, monkeypatch, variable, call):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/later")
    assert call() == tmp_path / "later"
    (tmp_path / "later").write_text("mine")
    refused(call, variable, "~/later", "is not a folder, but a file")


def test_kinds_of_files_are_told_by_how_they_begin(tmp_path):
    with zipfile.ZipFile(tmp_path / "book", "w") as book:
        for name in ("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"):
            book.writestr(name, "<x/>")
    with zipfile.ZipFile(tmp_path / "plain", "w") as archive:
        archive.writestr("archive/data.pkl", "x")
    assert found_at(tmp_path / "book") == "an Excel workbook" and found_at(tmp_path / "plain") == "a zip archive"
    for content, kind in (
        (b"", "empty"),
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
        (b"\xef\xbb\xbf <HTML>", "web page"),
        (b"<?xml version", "XML"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"SQLite format 3\x00", "SQLite"),
    ):
        assert kind in content_kind(content)
    for content in (b"id,path,score,split\n", "\ufeffid,path".encode(), b"PKW,path\n", b"\x80\x02}q"):
        assert content_kind(content) == ""
