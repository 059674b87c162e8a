"""The example folder of own videos is written completely, or one line says why it was not."""

import os

import pytest

from sapnet_core.experiments.example_folder import own_folder, write_example
from sapnet_core.experiments.profiles import Profile

pytest.importorskip("av")


def refused(root, word):
    with pytest.raises(OSError) as error:
        write_example(root, count=9, width=64)
    text = str(error.value)
    assert "\n" not in text and str(root) in text and word in text and "SAPNET_RUNS" in text


def test_what_keeps_it_from_being_written_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", "Not a directory")
    refused(tmp_path / "file" / "own", "Not a directory")
    refused(tmp_path / ("x" * 300), "too long")
    assert [place.name for place in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_an_example_that_lost_a_file_is_made_again(tmp_path):
    root = write_example(tmp_path / "own", count=9, width=64)
    video = root / "videos" / "dive_004.mp4"
    content = video.read_bytes()
    video.unlink()
    assert write_example(root, count=9, width=64) == root and video.read_bytes() == content


def test_the_users_folder_is_taken_and_an_example_only_without_one(tmp_path, monkeypatch):
    size, mine = Profile("tiny", seeds=(0,), steps=4, size=32, example=9), tmp_path / "mine"
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SAPNET_DATA", str(mine))
    mine.mkdir()
    (mine / "records.csv").write_text("id,path,score,split\n")
    assert own_folder(size) == (mine, True)
    (mine / "records.csv").unlink()  # a folder of something else, such as the official annotations
    example, yours = own_folder(size)
    assert not yours and example == tmp_path / "runs" / "own-example" and (example / "records.csv").is_file()
    assert os.environ["SAPNET_DATA"] == str(example)
