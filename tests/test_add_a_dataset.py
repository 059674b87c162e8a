"""A dataset that is added at the places which README lists, and nowhere else, is checked, read and trained on."""

import os
import re
import subprocess
import sys

import pytest
from project_copy import copy_package

from sapnet_core.runtime import environment

NAME = "toy"
READER = '''
"""Reader of a toy dataset: a list of names, scores and splits beside folders of frames."""

from pathlib import Path

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.clips import SAMPLED
from sapnet_core.datasets.records import Record

SAMPLED["toy"] = 96


def read_toy(root):
    places = [Path(root) / "TOY" / "toy.txt", Path(root) / "toy.txt"]
    file = next((file for file in places if file.is_file()), None)
    if file is None:
        raise AnnotationError(f"{places[0]}: no such file: get it from toy.example")
    rows = [line.split() for line in file.read_text().splitlines()]
    return [
        Record("toy", key, "", f"videos/{key}", 0, 20, float(score), 1.0, "", (), (), (), split)
        for key, score, split in rows
    ]
'''
# what is written into each table: in front of its first entry, or for MEASURED of its closing bracket
ENTRIES = {
    "READERS": '"toy": read_toy,',
    "FOLDERS": '"toy": "TOY",',
    "PLACES": '"toy": ("TOY", "."),',
    "MARKS": '"toy": "toy.txt",',
    "PUBLISHERS": '"toy": "toy.example",',
    "MEASURED": '"toy",',
}
TRAIN = """
from sapnet_core.datasets import load_records
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import is_stored, stored_trials

if __name__ == "__main__":
    records = load_records("toy", "data")
    tiny = Profile("tiny", seeds=(0,), steps=4, size=32, epochs=0)
    trial = declare("toy", "I3D+MLP", 1.0, 0, tiny, boxes="whole")
    run_trials([trial])
    stored = list(stored_trials())[::100]
    print(len(records), trial.source, trial.target, len(predictions(trial)), all(map(is_stored, stored)))
"""


def listed_places():
    """(table, file) of every place that README lists."""
    text = (environment.root() / "README.md").read_text(encoding="utf-8")
    part = text.partition("<!-- places of a dataset -->")[2].partition("<!-- end -->")[0]
    return re.findall(r"^- `([A-Z]+)` in `([\w/.]+)`: ", part, re.MULTILINE)


def add_dataset(root):
    """Add the reader of the toy dataset to the package in a folder, as README says."""
    (root / "sapnet_core" / "datasets" / "toy.py").write_text(READER.lstrip(), encoding="utf-8")
    for table, name in listed_places():
        file, entry = root / name, ENTRIES[table]
        text, count = re.subn(rf"^{table} = [{{(]", rf"\g<0>{entry} ", file.read_text(encoding="utf-8"), flags=re.M)
        assert count == 1, (table, name)
        if table == "READERS":
            text = text.replace("\nREADERS = ", "\nfrom sapnet_core.datasets.toy import read_toy\n\nREADERS = ")
        file.write_text(text, encoding="utf-8")


def write_toy(folder):
    image, numpy = pytest.importorskip("PIL.Image"), pytest.importorskip("numpy")
    draw, lines = numpy.random.default_rng(0), []
    for number in range(14):
        key = f"v{number:02d}"
        (folder / "videos" / key).mkdir(parents=True)
        for frame in range(20):
            pixels = draw.integers(0, 255, (32, 32, 3), dtype=numpy.uint8)
            image.fromarray(pixels).save(folder / "videos" / key / f"{frame + 1:04d}.jpg")
        lines.append(f"{key} {number % 7 + 0.5} {'train' if number < 10 else 'test'}")
    (folder / "toy.txt").write_text("\n".join(lines) + "\n")


def test_the_list_in_readme_has_every_place_once():
    assert sorted(table for table, _ in listed_places()) == sorted(ENTRIES)


def test_a_dataset_that_is_added_as_readme_says_is_checked_and_trained_on(tmp_path):
    copy_package(tmp_path)
    add_dataset(tmp_path)
    write_toy(tmp_path / "data" / "TOY")
    (tmp_path / "train.py").write_text(TRAIN)
    own = {"SAPNET_RUNS": str(tmp_path / "runs"), "SAPNET_DATA": str(tmp_path / "data"), "PYTHONPATH": str(tmp_path)}

    def said(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = said("-m", "sapnet_core", "check", "data", NAME)
    assert code == 0 and "toy.txt: there" in out and "10 train, 4 test" in out and "videos opened: 8" in out, out + err
    assert said("-m", "sapnet_core", "check", "data")[1].startswith(f"{NAME}\n")
    code, out, err = said("-m", "sapnet_core", "check", str(tmp_path / "sapnet_core"), NAME)
    assert code == 1 and "toy.example" in out, out + err  # where to get it
    code, out, err = said("train.py")
    assert code == 0 and out.splitlines()[-1] == "14 videos score 4 True", out + err
