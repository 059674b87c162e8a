"""The checker says what of a dataset is there, what is missing or other than published, and the known traps."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sapnet_core.data import finediving, load_records, mtl_aqa
from sapnet_core.data.check import COLUMNS, SOURCES, check_dataset, main, shared_dives
from sapnet_core.data.records import OFFICIAL_SIZES
from sapnet_core.data.unpickle import read_pickle
from sapnet_core.sim.annotations import write_annotations


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    for name in ("finediving", "rg", "finefs", "mtl-aqa"):
        write_annotations(name, root / name, 12, 4, seed=0)
    for name in ("finediving", "rg", "finefs", "mtl-aqa"):
        (folder,) = (root / name).iterdir()
        folder.rename(root / folder.name)
        (root / name).rmdir()
    return root


def found(table, item):
    """The one row of that item, or the one whose item starts so."""
    rows = list(table.itertuples())
    (row,) = [row for row in rows if row.item == item] or [row for row in rows if row.item.startswith(item)]
    return row


@pytest.fixture(scope="module")
def tables(official):
    return {name: check_dataset(name, official) for name in ("mtl-aqa", "finediving", "rg")}


def test_the_official_files_are_known(tables):
    for name, table in tables.items():
        assert list(table.columns) == list(COLUMNS) and set(table.state) <= {"ok", "missing", "warning"}
        assert found(table, "records").state == "ok" if name != "rg" else True
        sums = [row for row in table.itertuples() if row.found.startswith("SHA-256")]
        assert {row.state for row in sums} == {"ok"} and len(sums) == {"mtl-aqa": 3, "finediving": 6, "rg": 2}[name]
        videos = found(table, "videos")
        assert videos.state == "missing" and videos.found.startswith("0 of ")
    assert found(tables["rg"], "records by class").state == "ok"


def test_the_known_traps_are_reported(tables, official):
    for name in ("mtl-aqa", "finediving"):
        assert found(tables[name], "dives in both").found == "1369"
        assert found(tables[name], "MTL-AQA test dives in FineDiving's train part").found == "268"
        assert found(tables[name], "FineDiving test dives in MTL-AQA's train part").found == "249"
    for name, window in (("mtl-aqa", 103), ("finediving", 96)):
        row = found(tables[name], f"clips shorter than the {window}")
        short = sum(record.frames < window for record in load_records(name, official))
        assert row.state == "warning" and row.found.startswith(f"{short} of ") and short > 400
    assert found(tables["finediving"], "edition").found == "the corrected edition"
    assert found(tables["finediving"], "transitions other").found == "10 of 3000"
    ball = found(tables["rg"], "numbers of Ball")
    assert ball.state == "warning" and ball.found == "250 up to 251, no 134"
    assert found(tables["rg"], "numbers of Hoop").state == "ok"


def test_shared_dives_are_the_same_performances(official):
    pairs = shared_dives(*(load_records(name, official) for name in ("mtl-aqa", "finediving")))
    assert len(pairs) == len({a.key for a, _ in pairs}) == len({b.key for _, b in pairs}) == 1369
    assert all(a.score == b.score and a.event == b.event for a, b in pairs)
    assert sum(a.judges == b.judges for a, b in pairs) == 1368  # not asked of them, so this speaks for the rule
    assert sum(a.end == b.end for a, b in pairs) > 1200


def test_drawn_sets_are_told_from_published_ones(drawn):
    for name in OFFICIAL_SIZES:
        table = check_dataset(name, drawn)
        row = table[table.item == "records"].iloc[0]
        assert row.state == "differs" and row.found == "12 train, 4 test" and row.remedy
        assert (table.state == "missing").sum() == 1 and found(table, "videos").state == "missing"  # the videos alone
    assert found(check_dataset("mtl-aqa", drawn), "dives in both").found == "0"
    assert found(check_dataset("finediving", drawn), "edition").state == "differs"
    finefs = check_dataset("finefs", drawn)
    assert found(finefs, "split").state == "warning" and found(finefs, "totals other").state == "ok"
    assert found(finefs, "TES other").state == "ok" and found(finefs, "programs without").state == "ok"


def test_what_is_missing_is_named_with_its_source(tmp_path):
    for name in OFFICIAL_SIZES:
        table = check_dataset(name, tmp_path)
        assert set(table.state) <= {"missing", "warning"} and "missing" in set(table.state)
        missing = table[table.state == "missing"]
        assert missing.remedy.str.contains("github.com").all()
    assert found(check_dataset("folder", tmp_path), "records.csv").state == "missing"
    with pytest.raises(ValueError, match="'aqa-7' is unknown: choose one of mtl-aqa"):
        check_dataset("aqa-7", tmp_path)


def test_unreadable_annotations_are_a_finding_not_an_error(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    (tmp_path / "RG" / "train.txt").write_text("Video_Name\n")
    (tmp_path / "MTL-AQA" / mtl_aqa.ANNOTATIONS).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    file = next((tmp_path / "FineFS" / "annotation").glob("*.json"))
    file.write_text("{")
    faults = {"rg": "names no column", "mtl-aqa": "refused", "finefs": f"{file.name}: no readable JSON"}
    for name, fault in faults.items():
        row = found(check_dataset(name, tmp_path), "annotations")
        assert row.state == "differs" and fault in row.found and "github.com" in row.remedy


def test_editions_are_compared_where_both_are_there(drawn, tmp_path):
    shutil.copytree(drawn / "FineDiving", tmp_path / "FineDiving")
    fine = read_pickle(tmp_path / "FineDiving" / finediving.ANNOTATIONS)
    fields = ("action_type", "dive_score", "difficulty", "steps_transit_frames", "frames_labels")
    other = {key: dict(zip(fields, entry, strict=True)) for key, entry in fine.items()}
    target = tmp_path / "FineDiving" / "FineDiving_fine-grained_annotation.pkl"
    target.write_bytes(pickle.dumps(other))
    assert found(check_dataset("finediving", tmp_path), f"{target.name} beside it").found == "no difference"
    for key in list(other)[:3]:
        other[key]["frames_labels"] = other[key]["frames_labels"][:-4]
    target.write_bytes(pickle.dumps(other))
    row = found(check_dataset("finediving", tmp_path), f"{target.name} beside it")
    assert row.state == "differs" and row.found == "frames_labels of 3"


def test_frames_that_are_there_are_counted_and_opened(drawn, tmp_path):
    shutil.copytree(drawn / "FineDiving", tmp_path / "FineDiving")
    records = load_records("finediving", tmp_path)
    for i, record in enumerate(records[:3]):
        folder = tmp_path / "FineDiving" / record.path
        folder.mkdir(parents=True)
        for frame in range(record.frames - (i == 2)):  # one frame of the third is missing
            Image.new("L", (4, 4)).save(folder / f"{record.start + frame + 1:05d}.jpg")
    table = check_dataset("finediving", tmp_path)
    videos = found(table, "videos")
    assert videos.state == "missing" and videos.found == "3 of 16" and records[3].path in videos.remedy
    assert "and 10 more" in videos.remedy
    row = found(table, "videos opened")
    assert row.state == "differs" and row.found == "2 whole" and f"record {records[2].key} needs" in row.remedy


def test_a_folder_of_ones_own(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros((120, 4), np.float32))
    (tmp_path / "records.csv").write_text("id,path,score,split\na,a.npy,1,train\nb,b.npy,,train\nc,c.npy,2,test\n")
    table = check_dataset("folder", tmp_path)
    assert set(table.state) == {"ok"} and found(table, "training records with a score").found == "1 of 2"
    assert found(table, "sequences opened").found == "3 whole"
    np.save(tmp_path / "b.npy", np.full((120, 4), np.nan, np.float32))
    row = found(check_dataset("folder", tmp_path), "sequences opened")
    assert row.state == "differs" and "b.npy: value 0 of step 0 is not finite" in row.remedy


def test_the_command_prints_and_says_by_its_status(drawn, tmp_path, capsys):
    assert main([str(drawn)]) == 1
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line and line[0] != " "] == ["mtl-aqa", "finediving", "rg", "finefs"]
    assert "missing videos: 0 of" in text and "no list is published" in text
    np.save(tmp_path / "a.npy", np.zeros((120, 4), np.float32))
    (tmp_path / "records.csv").write_text("id,path,score,split\na,a.npy,1,train\nb,a.npy,2,test\n")
    assert main([str(tmp_path)]) == 0 and capsys.readouterr().out.startswith("folder\n  ok      records.csv: there\n")
    for arguments in ([str(tmp_path / "absent")], [str(tmp_path), "aqa-7"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_the_table_of_sources_is_whole():
    table = pd.read_csv(SOURCES)
    assert list(table.columns) == ["dataset", "what", "source", "terms", "size", "layout"]
    assert set(table.dataset) == set(OFFICIAL_SIZES) and not table.isna().any().any()
    assert table.source.str.contains("github.com").all()
    assert json.loads(table.to_json(orient="records"))[0]["dataset"] == "mtl-aqa"
