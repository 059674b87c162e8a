"""A given data folder is used, or refused before any work in one line that says what it contains instead."""

import shutil

import numpy as np
import pytest

from sapnet_core.datasets import AnnotationError
from sapnet_core.features.source import known_datasets
from sapnet_core.simulator.draw_annotations import write_annotations

FOLDERS = {"mtl-aqa": "MTL-AQA", "finediving": "FineDiving", "rg": "RG", "finefs": "FineFS"}
TABLE = "id,path,score,split\na,a.npy,1,train\nb,b.npy,2,train\nc,a.npy,1,test\nd,b.npy,2,test\n"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    for name, folder in FOLDERS.items():
        write_annotations(name, root / name, 8, 4, seed=0)
        (root / name / folder).rename(root / folder)
        (root / name).rmdir()
    return root


@pytest.fixture
def place(drawn, tmp_path):
    """A function that copies a dataset's folder, under any name, into the empty folder `place.data`."""
    data = tmp_path / "data"
    data.mkdir()

    def put(name, called, below=data):
        shutil.copytree(drawn / FOLDERS[name], below / called)

    put.data = data
    return put


def refused(data, *words, kind=ValueError):
    with pytest.raises(kind) as error:
        known_datasets(data)
    text = str(error.value)
    assert "\n" not in text and str(data) in text and all(word in text for word in words), text


def test_what_lies_there_is_known(drawn, place):
    assert known_datasets(drawn) == list(FOLDERS)
    for name, folder in FOLDERS.items():
        assert known_datasets(drawn / folder) == [name]  # the dataset's own folder
    (place.data / "records.csv").write_text(TABLE)
    assert known_datasets(place.data) == ["folder"]
    (place.data / "train.txt").write_text("a list of somebody's own, which is not Rhythmic Gymnastics")
    assert "folder" in known_datasets(place.data)


@pytest.mark.parametrize(
    "name, remedy",
    [
        ("records.csv.txt", "rename records.csv.txt to records.csv"),
        ("Records.CSV", "rename Records.CSV to records.csv"),
        ("records (1).csv", "rename records (1).csv to records.csv"),
        ("record.csv", "rename record.csv to records.csv"),
        ("records.xlsx", "save records.xlsx as records.csv"),
        ("records.tsv", "save records.tsv as records.csv"),
        ("FineDiving.zip", "unpack FineDiving.zip"),
        ("mtl.tar.gz", "unpack mtl.tar.gz"),
        ("labels.csv", "give the folder that holds one of the known"),
    ],
)
def test_a_file_that_looks_near_is_named(place, name, remedy):
    (place.data / name).write_text(TABLE)
    if (place.data / "records.csv").exists():
        pytest.skip("capitals mean nothing to this file system")
    refused(
        place.data, "(MTL-AQA, FineDiving, RG, FineFS, UI-PRMD, JIGSAWS, records.csv)", f"; it holds {name}: ", remedy
    )


@pytest.mark.parametrize(
    "name, called",
    [
        ("finediving", "finediving"),
        ("finediving", "Fine-Diving"),
        ("mtl-aqa", "mtl_aqa"),
        ("rg", "rg"),
        ("finefs", "FINEFS"),
    ],
)
def test_a_folder_of_another_spelling_is_named(place, name, called):
    place(name, called)
    if (place.data / FOLDERS[name]).exists():
        pytest.skip("capitals mean nothing to this file system")
    refused(place.data, f"; it holds {called}: rename {called} to {FOLDERS[name]}")
    place("rg" if name != "rg" else "finefs", FOLDERS["rg" if name != "rg" else "finefs"])
    refused(place.data, f"{called} is not used: rename it to {FOLDERS[name]}")


def test_a_folder_too_high_or_too_deep_is_named(place, drawn):
    place("finediving", "FineDiving", place.data / "sets")
    refused(place.data, f"; it holds sets: give {place.data / 'sets'}")
    assert known_datasets(place.data / "sets") == ["finediving"]
    (place.data / "films").mkdir()
    refused(place.data / "films", "holds no known dataset")
    (place.data / "records.csv").write_text(TABLE)
    refused(place.data / "films", f"a folder above it does: give {place.data}")
    (place.data / "sets" / "FineDiving" / "FINADiving_MTL_256s").mkdir()
    refused(place.data / "sets" / "FineDiving" / "FINADiving_MTL_256s", f"give {place.data / 'sets'}")
    whole = place.data / "sets" / "MTL-AQA"
    shutil.copytree(drawn / "MTL-AQA", whole / "info")
    assert known_datasets(whole.parent) == ["mtl-aqa", "finediving"]
    refused(whole / "info", f"only a part of dataset mtl-aqa: give {whole.parent}")


def test_a_dataset_twice_in_itself_is_named(place):
    place("finediving", "FineDiving", place.data / "FineDiving")  # nested, as some archives unpack
    refused(place.data, "; it holds FineDiving: ", f"give {place.data / 'FineDiving'}")
    place("rg", "RG")
    refused(
        place.data, "FineDiving is not used, since it has no fine-grained_annotation_aqa.pkl (it holds FineDiving): "
    )


def test_part_of_a_dataset_is_no_dataset(place):
    place("mtl-aqa", "MTL-AQA")
    assert known_datasets(place.data) == ["mtl-aqa"]
    for folder in ("FineDiving", "RG"):
        (place.data / folder).mkdir()
        refused(
            place.data, f"{folder} is not used, since it has no ", "(it holds nothing): put the annotation files into"
        )
        (place.data / folder).rmdir()
    (place.data / "records.csv.txt").write_text(TABLE)
    refused(place.data, "records.csv.txt is not used: rename it to records.csv")
    (place.data / "records.csv.txt").unlink()
    (place.data / "MTL-AQA" / "test_split_0.pkl").unlink()
    refused(place.data, "test_split_0.pkl: no such file: download it", kind=AnnotationError)


def test_a_dataset_that_cannot_be_read_stops_the_run_beside_a_good_one(place):
    place("mtl-aqa", "MTL-AQA")
    place("rg", "RG")
    (place.data / "RG" / "train.txt").write_text("Video_Name\n")
    refused(place.data, "RG/train.txt: line 1 names no column", kind=AnnotationError)


def test_nothing_and_what_is_no_table_are_named(place):
    refused(place.data, "it is empty")
    (place.data / ".hidden").touch()
    refused(place.data, "it is empty")
    (place.data / "records.csv").symlink_to("gone.csv")
    refused(place.data, "records.csv is a link that leads nowhere")
    (place.data / "records.csv").unlink()
    (place.data / "records.csv").mkdir()
    refused(place.data, "records.csv is a folder")
    for name in "xyz":
        np.save(place.data / f"{name}.npy", np.zeros(3))
    refused(place.data, "records.csv is a folder")
