"""The dataset checker reports what is there, what is missing, what differs from published files, and known traps."""

import json
import os
import pickle
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from wording import in_order

from sapnet_core.__main__ import main
from sapnet_core.datasets import finediving, load_records, mtl_aqa
from sapnet_core.datasets.annotation_pickles import read_pickle
from sapnet_core.datasets.known_problems import shared_dives
from sapnet_core.datasets.records import OFFICIAL_SIZES, Record
from sapnet_core.datasets.repeats import leaks
from sapnet_core.datasets.validate import COLUMNS, SOURCES_TABLE, check_dataset
from sapnet_core.features.source import source_records
from sapnet_core.reporting import run_notebooks
from sapnet_core.runtime import environment
from sapnet_core.simulator.draw_annotations import write_annotations

RECORD = Record("folder", "a", "", "a.npy", 0, 9, 1.0, 1.0, "", (), (), (), "train")


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


def found(table, item, *rest):
    """The one row with that item, or else the one whose item starts with it and has the `rest` behind it, in order."""
    rows = list(table.itertuples())
    (row,) = [row for row in rows if row.item == item] or [
        row for row in rows if row.item.startswith(item) and in_order(row.item.removeprefix(item), *rest)
    ]
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
        assert found(tables[name], "MTL-AQA test", "FineDiving", "train").found == "268"
        assert found(tables[name], "FineDiving test", "MTL-AQA", "train").found == "249"
    for name, window in (("mtl-aqa", 103), ("finediving", 96)):
        row = found(tables[name], f"clips shorter than the {window}")
        short = sum(record.frames < window for record in load_records(name, official))
        assert row.state == "warning" and row.found.startswith(f"{short} of ") and short > 400
    assert found(tables["finediving"], "edition").found == "the corrected edition"
    assert found(tables["finediving"], "transitions other").found == "10 of 3000"
    ball = found(tables["rg"], "numbers of Ball")
    assert ball.state == "warning" and in_order(ball.found, 250, 251, 134)
    assert found(tables["rg"], "numbers of Hoop").state == "ok"


def test_shared_dives_are_the_same_performances(official):
    pairs = shared_dives(*(load_records(name, official) for name in ("mtl-aqa", "finediving")))
    assert len(pairs) == len({a.key for a, _ in pairs}) == len({b.key for _, b in pairs}) == 1369
    assert all(a.score == b.score and a.event == b.event for a, b in pairs)
    assert sum(a.judges == b.judges for a, b in pairs) == 1368  # not compared by the rule, so this confirms it
    assert sum(a.end == b.end for a, b in pairs) > 1200


def test_drawn_sets_are_told_from_published_ones(drawn):
    for name in OFFICIAL_SIZES:
        table = check_dataset(name, drawn)
        row = table[table.item == "records"].iloc[0]
        assert row.state == "differs" and row.found == "12 train, 4 test" and row.remedy
        assert (table.state == "missing").sum() == 1 and found(table, "videos").state == "missing"  # only the videos
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
    with pytest.raises(ValueError, match="'aqa-7'.*mtl-aqa"):
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
        for frame in range(record.frames - (i == 2)):  # the third lacks its last frame
            Image.new("L", (4, 4)).save(folder / f"{record.start + frame + 1:05d}.jpg")
    table = check_dataset("finediving", tmp_path)
    videos = found(table, "videos")
    assert videos.state == "missing" and videos.found == "3 of 16" and records[3].path in videos.remedy
    assert "and 10 more" in videos.remedy
    row = found(table, "videos opened")
    assert row.state == "differs" and row.found.startswith("2 ") and f"record {records[2].key} needs" in row.remedy
    assert "whole" not in row.found  # only the first frame of each video was opened
    first = next((tmp_path / "FineDiving" / records[0].path).iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:-20])
    row = found(check_dataset("finediving", tmp_path, probes=None), "videos decoded")
    assert row.state == "differs" and row.found == "1 whole" and first.name in row.remedy
    first.write_bytes(whole)
    assert found(check_dataset("finediving", tmp_path, probes=None), "videos decoded").found == "2 whole"


@pytest.fixture
def own(tmp_path):
    """A function that writes `rows` to records.csv, beside four sequences a.npy to d.npy of (120, 4), and checks it."""
    for i, name in enumerate("abcd"):
        np.save(tmp_path / f"{name}.npy", np.full((120, 4), i, np.float32))

    def check(rows, columns="id,path,score,split", **rest):
        (tmp_path / "records.csv").write_text("\n".join([columns, *rows, ""]))
        return check_dataset("folder", tmp_path, **rest)

    check.root = tmp_path
    return check


GOOD = ["a,a.npy,1,train", "b,b.npy,,train", "e,d.npy,2,train", "c,c.npy,2,test", "d,d.npy,3,test"]
SPANS = "id,path,score,split,start_frame,end_frame"


def test_a_folder_of_ones_own(own):
    table = own([*GOOD[:2], "e,b.npy,2,train", *GOOD[3:]])
    assert set(table.state) == {"ok"} and found(table, "training records").found == "2 of 3"
    assert found(table, "sequences read").found == "4 whole"
    np.save(own.root / "b.npy", np.full((120, 4), np.nan, np.float32))
    row = found(own(GOOD, probes=1), "sequences read")  # sequences are all read, whatever `probes` says, as in a run
    assert row.state == "differs" and in_order(row.remedy, "b.npy", "value 0", "step 0", "missing")


@pytest.mark.parametrize(
    "rows, fault",
    [
        ([GOOD[0], *GOOD[3:]], "two different train scores"),
        (GOOD[:4], "two different test scores"),
        ([*GOOD, "x,wide.npy,3,train"], "wide.npy has 5 columns"),
        ([*GOOD, "x,frames,3,train"], "some paths are videos and others sequences"),
    ],
)
def test_what_would_stop_a_run_is_said(own, rows, fault):
    np.save(own.root / "wide.npy", np.ones((120, 5), np.float32))
    (own.root / "frames").mkdir()
    Image.new("L", (4, 4)).save(own.root / "frames" / "1.png")
    table = own(rows)
    row = found(table, "kinds, groups and scores")
    assert row.state == "differs" and fault in row.found and row.remedy
    with pytest.raises(ValueError, match=fault):
        source_records("folder", None, None, 0, own.root, own.root)


def test_every_fault_of_a_table_is_told_or_counted(own):
    bad = [f"x{i},x{i}.npy,1,train" for i in range(9)]
    table = own([*GOOD, *bad])
    faults = [row for row in table.itertuples() if row.item == "annotations"]
    assert {row.state for row in faults} == {"differs"} and len(faults) == 6
    assert "line 7: path 'x0.npy'" in faults[0].found and faults[-1].found == "4 more faults"


def test_frames_of_the_other_part_are_named(own):
    item = "rows with frames"
    pair = ("d", "test", 3, "d.npy", "[0, 120)", "e", "train", 2, "d.npy", "[0, 120)")
    assert in_order(found(own(GOOD), item).remedy, *pair)
    apart = ["a,a.npy,1,train,0,60", "b,a.npy,2,train,50,80", "c,a.npy,3,test,80,120", "d,b.npy,4,test,,"]
    assert found(own(apart, SPANS), item).state == "ok"
    apart[2] = "c,a.npy,3,test,79,120"
    row = found(own(apart, SPANS), item)
    assert row.state == "warning" and row.found == "1" and "b (train" in row.remedy and "c (test" in row.remedy


@pytest.mark.parametrize("make", ["copy", "link", "hardlink"])
def test_one_file_of_two_names_is_one(own, make):
    first, second = own.root / "a.npy", own.root / "again.npy"
    {"copy": shutil.copy, "link": os.symlink, "hardlink": os.link}[make](first, second)
    row = found(own([*GOOD[:2], "e,again.npy,2,test", *GOOD[3:]]), "rows with frames")
    assert row.found == "1" and "a.npy" in row.remedy and "again.npy" in row.remedy


def test_folders_of_equal_frames_are_one(own):
    for name, gray in (("one", 0), ("two", 0), ("three", 9)):
        (own.root / name).mkdir()
        for i in range(3):
            Image.new("L", (4, 4), gray + i).save(own.root / name / f"{i}.bmp")
    rows = ["a,one,1,train", "b,three,2,train", "c,two,1,test", "d,a.npy,2,test"]
    row = found(own(rows), "rows with frames")
    assert row.found == "1" and "one [0, 3)" in row.remedy and "two [0, 3)" in row.remedy


def test_frames_that_several_raters_scored_are_named(own):
    rows = ["a,a.npy,1,train", "a2,a.npy,1.5,train", "b,b.npy,1,train", "b2,b.npy,1,train", "b3,b.npy,,train"]
    rows += ["c,c.npy,1,test", "d,d.npy,3,test", "d2,d.npy,3.5,test"]
    table = own(rows)
    row = found(table, "rows with the same frames")
    assert row.state == "warning" and row.found == "2" and found(table, "rows with frames").state == "ok"
    assert "a (train, 1," in row.remedy and "a2 (train, 1.5," in row.remedy and "d2 (test" in row.remedy


def test_sequences_are_spoken_of_as_sequences(own, capsys):
    """Kinematics in text files, as in JIGSAWS, are no videos, whatever their length, and all are read."""
    rows = []
    for i in range(12):
        np.savetxt(own.root / f"Suturing_B{i:03d}.txt", np.random.default_rng(i).normal(size=(40, 76)))
        rows.append(f"t{i},Suturing_B{i:03d}.txt,{i},,{'ABCD'[i % 4]}")
    table = own(rows, "id,path,score,note,subject", probes=2)
    assert set(table.state) == {"ok"} and found(table, "sequences read").found == "12 whole"
    assert found(table, "people").found == "0 of 4"
    assert not any("clips" in item or "video" in item for item in table["item"])
    assert main(["check", str(own.root)]) == 0
    assert "video" not in capsys.readouterr().out
    rows = [f"{row},{i % 3}" for i, row in enumerate(rows)]
    row = found(own(rows, "id,path,score,note,subject,fold"), "people")
    assert row.state == "warning" and row.found == "4 of 4" and "A, B, C" in row.remedy


def test_overlaps_are_those_that_pairs_have():
    draw = random.Random(0)
    for _ in range(200):
        spans = [(start := draw.randrange(12), start + draw.randrange(1, 6)) for _ in range(draw.randrange(9))]
        rows = [
            replace(RECORD, key=f"{i}", start=s, end=e, split=draw.choice(("train", "test")))
            for i, (s, e) in enumerate(spans)
        ]
        pairs = [(a, b) for a in rows for b in rows if a.split != b.split and a.start < b.end and b.start < a.end]
        found_pairs = leaks(Path("nowhere"), rows)
        assert all((a, b) in pairs for a, b in found_pairs)
        later = {max(pair, key=lambda r: (r.start, r.key)).key for pair in pairs}
        assert {b.key for _, b in found_pairs} == later


def test_a_run_on_own_data_takes_two_notebooks(own, monkeypatch):
    own(GOOD)
    taken = []
    monkeypatch.setenv("SAPNET_DATA", str(own.root))
    monkeypatch.setattr(run_notebooks, "run_all", lambda notebooks, *rest: taken.extend(notebooks) or [])
    monkeypatch.setattr(run_notebooks, "write_gallery", lambda profile: environment.figures() / "index.html")
    assert run_notebooks.run_suite("quick", environment.find_notebooks()) == 0
    assert [notebook.stem for notebook in taken] == ["07_own_training", "08_own_results"]


def test_a_run_takes_own_videos_alone(own, drawn):
    assert "datasets beside it" not in set(own(GOOD).item)
    shutil.copytree(drawn / "RG", own.root / "RG")
    row = found(own(GOOD), "datasets beside it")
    assert row.state == "warning" and row.found == "RG"


def test_the_command_prints_and_says_by_its_status(drawn, own, capsys):
    assert main(["check", str(drawn)]) == 1
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line and line[0] != " "] == ["mtl-aqa", "finediving", "rg", "finefs"]
    assert "missing videos: 0 of" in text and "no list is published" in text
    own(GOOD)
    assert main(["check", str(own.root)]) == 0 and capsys.readouterr().out.startswith(
        "folder\n  ok      records.csv: there\n"
    )
    own(GOOD[:1])
    assert main(["check", str(own.root), "--all"]) == 1
    (own.root / "plain").touch()
    (own.root / "films").mkdir()
    for arguments, word in (
        (["absent"], "is not a folder"),
        (["plain"], "is not a folder, but an empty file"),
        (["", "aqa-7"], "is unknown"),
        (["films"], f"give {own.root}"),
    ):
        try:
            code = main(["check", str(own.root / arguments[0]), *arguments[1:]])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr().err
        assert code == 2 and word in said and said.count("\n") == 1


def test_what_a_run_would_not_use_is_said(drawn, tmp_path, capsys):
    shutil.copytree(drawn / "RG", tmp_path / "RG")
    shutil.copytree(drawn / "FineDiving", tmp_path / "fine_diving")
    assert main(["check", str(tmp_path)]) == 1
    assert in_order(capsys.readouterr().out, "fine_diving", "rename", "FineDiving")
    shutil.copytree(drawn / "MTL-AQA", tmp_path / "MTL-AQA" / "info")
    assert main(["check", str(tmp_path / "MTL-AQA" / "info")]) == 1
    fault = capsys.readouterr().out.splitlines()[0]
    assert in_order(fault, tmp_path / "MTL-AQA" / "info", "mtl-aqa") and fault.endswith(f" {tmp_path}")


@pytest.mark.parametrize("damage", ["pipe", "link", "folder", "absent", "links", "text", "long"])
def test_nothing_ends_the_checker_but_its_findings(own, damage, capsys):
    own(GOOD if damage != "long" else [*GOOD, f"x,{'x' * 300}.npy,1,train"])
    file = own.root / "a.npy"
    if damage in ("pipe", "link", "folder", "absent", "links"):
        file.unlink()
    {
        "pipe": lambda: os.mkfifo(file),
        "link": lambda: file.symlink_to("gone"),
        "folder": file.mkdir,
        "links": lambda: file.symlink_to(file),
        "text": lambda: file.write_text("text"),
    }.get(damage, str)()
    assert main(["check", str(own.root), "--all"]) == 1
    assert "differs annotations: " in capsys.readouterr().out


def test_a_table_that_is_none_is_a_finding(own, capsys):
    (own.root / "records.csv").mkdir()
    for name in ("folder", ""):
        assert main(["check", str(own.root), *([name] if name else [])]) == (1 if name else 2)
        said = capsys.readouterr()
        assert "a folder" in said.out + said.err


def test_the_table_of_sources_is_whole():
    table = pd.read_csv(SOURCES_TABLE)
    assert list(table.columns) == ["dataset", "what", "source", "terms", "size", "layout"]
    assert set(table.dataset) == set(OFFICIAL_SIZES) and not table.isna().any().any()
    assert table.source.str.contains("github.com").all()
    assert json.loads(table.to_json(orient="records"))[0]["dataset"] == "mtl-aqa"
