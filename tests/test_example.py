"""The example folder of own videos is written completely, or one line says why it was not."""

import pytest

from sapnet_core.recipes.example_folder import write_example

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
