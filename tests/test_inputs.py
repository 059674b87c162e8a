"""Recorded inputs: an output is out of date if one of its inputs has changed, or if it is damaged or replaced."""

import json
import os

import pytest
from notebook_kit import build

from sapnet_core.reporting import run_notebooks
from sapnet_core.reporting.inputs import data_digest, inputs_digest
from sapnet_core.runtime.arguments import VARIABLES
from sapnet_core.runtime.fingerprint import file_digest


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SAPNET_DATA", str(folder))
    monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path / "figures"))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "records.csv",
        "MTL-AQA/train_split_0.pkl",
        "FineFS/data/annotation/0.json",
        "films/2024/summer/anna/one.MP4",
        "a/b/c/d/e/labels.TXT",
    ],
)
def test_a_change_is_seen_however_deep_it_lies(data, name):
    digests, file = [data_digest()], data / name
    file.parent.mkdir(parents=True, exist_ok=True)
    for content in (b"1", b"22"):
        file.write_bytes(content)
        digests.append(data_digest())
    file.unlink()
    assert len(set(digests)) == 3 and data_digest() in digests[:1]


def test_an_annotation_is_known_by_its_content_and_a_video_by_its_time(data):
    (data / "records.csv").write_text("id\n")
    (data / "film.mp4").write_bytes(b"film")
    first = data_digest()
    os.utime(data / "records.csv", (1, 1))
    assert data_digest() == first
    os.utime(data / "film.mp4", (1, 1))
    assert data_digest() != first


def test_links_pipes_and_odd_names_end(data, tmp_path):
    """The folder holds a link to itself, a pipe that nobody writes to, a dangling link and a name that is not UTF-8."""
    (tmp_path / "elsewhere").mkdir()
    (data / "set").symlink_to(tmp_path / "elsewhere")
    (data / "round").symlink_to(data)
    (data / "gone.mp4").symlink_to(data / "no.mp4")
    os.mkfifo(data / "pipe.csv")
    try:
        (data / os.fsdecode(b"Zo\xeb.csv")).write_text("id\n")
    except OSError:  # this file system accepts UTF-8 alone
        pass
    first = data_digest()
    (tmp_path / "elsewhere" / "one.npy").write_bytes(b"1")
    assert data_digest() != first


def test_processes_do_not_matter_and_choices_do(data, monkeypatch):
    notebook = build(data.parent / "00_draw.ipynb", "print(1)")
    first = inputs_digest(notebook, {})
    assert inputs_digest(notebook, {}, data_digest()) == first != inputs_digest(notebook, {}, "other")
    for name, value in (("SAPNET_JOBS", "7"), ("SAPNET_DASK", "tcp://host:1"), ("MPLBACKEND", "Agg"), ("COLUMNS", "9")):
        monkeypatch.setenv(name, value)
        assert inputs_digest(notebook, {}) == first
    monkeypatch.setenv("SAPNET_SPLIT", "ordered")
    assert inputs_digest(notebook, {}) != first


DAMAGES = {
    "torn record": lambda record, output: record.write_text(record.read_text()[:20]),
    "empty record": lambda record, output: record.write_bytes(b""),
    "record of another kind": lambda record, output: record.write_text("[1]"),
    "record of a number": lambda record, output: record.write_text("NaN"),
    "record that is no text": lambda record, output: record.write_bytes(b"\xff\xfe\x00"),
    "record without a key": lambda record, output: change(record, made=None),
    "files that are none": lambda record, output: change(record, made=["fig"]),
    "hashes that are none": lambda record, output: change(record, made={"fig99.csv": 7}),
    "another output": lambda record, output: change(record, output="0" * 64),
    "other inputs": lambda record, output: change(record, inputs=float("nan")),
    "no record": lambda record, output: record.unlink(),
    "record that is a folder": lambda record, output: (record.unlink(), record.mkdir()),
    "no output": lambda record, output: output.unlink(),
    "torn output": lambda record, output: output.write_bytes(output.read_bytes()[:-5]),
    "empty output": lambda record, output: output.write_bytes(b""),
    "output that is a pipe": lambda record, output: (output.unlink(), os.mkfifo(output)),
}


def change(record, **values):
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_or_output_is_not_up_to_date(data, damage):
    figure, record, output = data.parent / "figures" / "fig99.csv", data.parent / "00.json", data.parent / "00.ipynb"
    figure.parent.mkdir()
    figure.write_text("3\n")
    output.write_text("{}")
    content = {"inputs": "digest", "output": file_digest(output), "made": {"fig99.csv": file_digest(figure)}}
    record.write_text(json.dumps(content))
    assert run_notebooks._made_before(record, output, "digest") == ("fig99.csv",)
    assert run_notebooks._made_before(record, output, "other") is None
    DAMAGES[damage](record, output)
    assert run_notebooks._made_before(record, output, "digest") is None
