"""Published layouts of measured movements are read as published: UI-PRMD, JIGSAWS, and pose tracks of FineDiving."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from measured import pose_text, write_jigsaws, write_ui_prmd
from test_folder import refused
from test_own_data import forget

from sapnet_core.__main__ import main
from sapnet_core.datasets import jigsaws, load_records, ui_prmd
from sapnet_core.datasets.folds import fold_names
from sapnet_core.datasets.pose_tracks import pose_records, pose_views, read_pose_track
from sapnet_core.datasets.validate import check_dataset
from sapnet_core.experiments import measured_data, stored, ui_prmd_trials
from sapnet_core.experiments.acting_terms import idle_terms
from sapnet_core.experiments.cross_validation import cross_validated, fold_trials, out_of_fold
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.jigsaws_trials import PUBLISHED, surgeon_table, surgeon_trials
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.results import predictions, results, run_facts
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import store
from sapnet_core.experiments.systems import RIDGE
from sapnet_core.experiments.tables import comparison_trials, table_trials
from sapnet_core.experiments.trial_data import digested_records, trial_data
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.experiments.ui_prmd_trials import people_table, people_trials, stored_people
from sapnet_core.features import source
from sapnet_core.features.sequences import sequence_digest, sequence_views, two_views
from sapnet_core.runtime.sealed import Damaged
from sapnet_core.simulator.draw_annotations import write_annotations

TINY = Profile("tiny", seeds=(0,), steps=4, size=32, epochs=0)
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
REAL, OFFICIAL = SHARED / "real" / "uiprmd_kinect_angles.npz", SHARED / "datasets"


def use(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("SAPNET_DATA", str(folder))
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    source._has_videos.cache_clear(), source._has_tracks.cache_clear()
    forget()


def row_of(table, item):
    """The one row with that item, or else the one whose item starts with it."""
    rows = list(table.itertuples())
    (row,) = [row for row in rows if row.item == item] or [row for row in rows if row.item.startswith(item)]
    return row


# ---- UI-PRMD


def test_ui_prmd_as_published(tmp_path, monkeypatch):
    use(write_ui_prmd(tmp_path / "data"), monkeypatch, tmp_path)
    records = load_records("ui-prmd", tmp_path / "data")
    assert len(records) == 2 * 5 * 2 * 2 and {r.group for r in records} == {"m01", "m07"}
    first, second = records[:2]
    assert (first.key, first.score, second.key, second.score) == ("m01_s01_e01", 1, "m01_s01_e01_inc", 0)
    assert {r.subject for r in records if r.split == "test"} == {"s01"}
    assert load_records("ui-prmd", tmp_path / "data" / "UI-PRMD")[0].key == first.key  # or the folder itself
    student, teacher = sequence_views(first, tmp_path / "data")
    assert student.shape == (first.end, 66) and torch.equal(student[:, 42:], teacher[:, 42:])  # a squat is made by legs
    assert not teacher[:, :42].any() and student[:, :42].any()


def test_ui_prmd_with_people_left_out(tmp_path, monkeypatch):
    use(write_ui_prmd(tmp_path / "data", movements=("m07",)), monkeypatch, tmp_path)
    folds = fold_names(load_records("ui-prmd", tmp_path / "data"), "subject")
    whole = {(s,): declare("ui-prmd", s, 0.5, 0, TINY, group="m07", warmup=0.0) for s in ("SAP-Net (Ours)",)}
    whole["ridge",] = declare("ui-prmd", "Ridge on the mean feature", 0.5, 0, TINY, group="m07")
    trials = fold_trials(whole, folds)
    run_trials(trials.values())
    table = cross_validated(out_of_fold(trials)).set_index("cell")
    assert table["n"].tolist() == [20, 20] and table.loc[[("ridge",)], "rho_pooled"].iloc[0] > 0.5
    sap = [trial for key, trial in trials.items() if key[0] != "ridge"]
    assert not any("L_un" in idle_terms(trial) for trial in sap)  # two views: L_un acts
    assert results(sap)["labeled"].tolist() == [8] * 5


def test_the_table_of_real_people(tmp_path, monkeypatch):
    use(write_ui_prmd(tmp_path / "data"), monkeypatch, tmp_path)
    trials = people_trials(TINY, (80,), ("m01", "m07"), (RIDGE, "SAP-Net, one view", "SAP-Net, two views"))
    assert len(trials) == 3 * 2 * 5 and len(set(map(trial_hash, trials.values()))) == len(trials)
    run_trials(trials.values())
    table = people_table(trials)
    assert len(table) == 3 * 2 and table.query("row == @RIDGE")["rho"].gt(0.4).all()
    assert all("L_un" in idle_terms(t) for k, t in trials.items() if k[0] == "SAP-Net, one view")
    with pytest.raises(ValueError, match="labels=200: .* 160"):
        people_trials(TINY, (8, 200))


def test_ui_prmd_files_that_do_not_belong_are_refused(tmp_path):
    root = write_ui_prmd(tmp_path / "data", people=2, repetitions=1)
    right, wrong = (root / "UI-PRMD" / part for part in ui_prmd.PARTS)
    file = right / "m01_s01_e01_angles.txt"
    content = file.read_text()
    file.write_text("1.5,2.5\n")
    refused(lambda: load_records("ui-prmd", root), "m01_s01_e01_angles.txt: has 2 columns")
    file.write_text(content)
    os.rename(file, right / "m11_s01_e01_angles.txt")
    refused(lambda: load_records("ui-prmd", root), "m11_s01_e01_angles.txt: is not a file of this folder")
    os.rename(right / "m11_s01_e01_angles.txt", file)
    table = check_dataset("ui-prmd", root)
    row = row_of(table, "repetitions")
    assert row.state == "missing" and row.found == "8 of 2000" and "m01_s01_e02" in row.remedy
    assert row_of(table, "sequences read").found == "8 whole" and main(["check", str(root)]) == 1
    for name in os.listdir(wrong):
        os.remove(wrong / name)
    refused(lambda: load_records("ui-prmd", root), "Incorrect .*: no file such as m01_s01_e01_angles_inc.txt")


@pytest.mark.skipif(not REAL.is_file(), reason="UI-PRMD's recordings are not on this machine")
def test_real_ui_prmd_is_learned(tmp_path, monkeypatch):
    """Ridge on the statistics of real squats tells correct from incorrect ones of people whom it has not seen."""
    with np.load(REAL) as arrays:
        for key in arrays:
            movement, person, repetition, kind = key.split("-")
            if movement == "m01":
                part, end = list(ui_prmd.PARTS.items())[kind == "bad"]
                (folder := tmp_path / "UI-PRMD" / part).mkdir(parents=True, exist_ok=True)
                name = f"{movement}_{person}_{repetition}_angles{end}.txt"
                np.savetxt(folder / name, arrays[key].astype(float), fmt="%.4f", delimiter=",")
    use(tmp_path, monkeypatch, tmp_path)
    folds = fold_names(load_records("ui-prmd", tmp_path), "subject")
    assert [fold.name for fold in folds][0] == "s01+s02" and len(folds) == 5
    trial = declare("ui-prmd", "Ridge on the mean feature", 1.0, 0, TINY, group="m01")
    trials = fold_trials({("ridge",): trial}, folds)
    run_trials(trials.values())
    assert cross_validated(out_of_fold(trials))["rho_mean"].iloc[0] > 0.5


# ---- JIGSAWS


def test_jigsaws_as_published(tmp_path, monkeypatch):
    root = write_jigsaws(tmp_path / "data")
    use(root, monkeypatch, tmp_path)
    records = load_records("jigsaws", root)
    assert len(records) == 24 and {r.group for r in records} == {"Suturing", "Knot_Tying"}
    first = next(r for r in records if r.key == "Suturing_C002")
    assert (first.subject, first.fold, first.split) == ("C", "2", "train")
    assert first.score == sum(value for _, value in first.sub_scores) and len(first.sub_scores) == 6
    assert [f.name for f in fold_names(records)] == ["1", "2", "3"]
    assert [f.name for f in fold_names(records, "subject", 0)] == ["B", "C", "D", "E"]
    student, teacher = sequence_views(first, root)
    assert not teacher[:, :38].any() and torch.equal(student[:, 38:], teacher[:, 38:])
    trial = declare("jigsaws", "SAP-Net (Ours)", 1.0, 0, TINY, group="Suturing", warmup=0.0)
    run_trials([trial])
    assert results([trial])["n"].iloc[0] == 4 and "L_un" not in idle_terms(trial)
    table = check_dataset("jigsaws", root)
    assert row_of(table, "sequences read").found == "24 whole"
    assert row_of(table, "trials of Suturing").state == "warning"
    assert not any("video" in item for item in table["item"])


@pytest.mark.parametrize(
    "line, fault",
    [
        ("Suturing_B001 N 12 2 2 2 2 2", "line 1: is .*, not Suturing_B001, skill, score and 6 items"),
        ("Suturing_B001 N 13 2 2 2 2 2 2", "line 1: score 13 is not the sum of its items, 12"),
        ("../etc/pass_B001 N 12 2 2 2 2 2 2", "line 1: is "),
        ("Suturing_B001 N x 2 2 2 2 2 2", "line 1: a score is not a whole number"),
        (
            "Suturing_B001 N 12 2 2 2 2 2 2\nSuturing_B001 N 12 2 2 2 2 2 2",
            "line 2: trial .* is listed twice",
        ),
        ("Suturing_Z009 N 12 2 2 2 2 2 2", "AllGestures: holds no trial of meta_file_Suturing.txt"),
    ],
)
def test_jigsaws_lists_that_are_wrong_are_refused(tmp_path, line, fault):
    root = write_jigsaws(tmp_path)
    (root / jigsaws.FOLDER / "Suturing" / "meta_file_Suturing.txt").write_text(line + "\n")
    refused(lambda: load_records("jigsaws", root), fault)


def test_measured_datasets_cannot_be_drawn(monkeypatch):
    monkeypatch.delenv("SAPNET_DATA", raising=False)
    for name in ("ui-prmd", "jigsaws"):
        with pytest.raises(ValueError, match="measured"):
            declare(name, "I3D+MLP", 1.0, 0, TINY)


def test_jigsaws_leaves_supertrials_or_surgeons_out(tmp_path, monkeypatch):
    use(write_jigsaws(tmp_path / "data", people="BCD"), monkeypatch, tmp_path)
    for by, folds in (("fold", ["1", "2", "3"]), ("subject", ["B", "C", "D"])):
        trials = surgeon_trials(TINY, by, (RIDGE, "SAP-Net, two views"))
        assert sorted({key[-1] for key in trials}) == folds and len(trials) == 2 * 2 * 3
        run_trials(trials.values())
        table = surgeon_table(trials)
        assert set(table["task"]) == {"Suturing", "Knot_Tying"} and table["rho_pooled"].notna().all()
    assert all(0 < high <= 1 and (low is None or low < high) for _, _, low, high in PUBLISHED)


# ---- stored results


@pytest.fixture
def people(tmp_path, monkeypatch):
    """Trials of UI-PRMD that were run and stored in an empty folder of the study."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "study")
    monkeypatch.setattr(measured_data, "FILE", tmp_path / "study" / "measured" / "data.json")
    root = write_ui_prmd(tmp_path / "data", movements=("m01",))
    use(root, monkeypatch, tmp_path)
    rows = (RIDGE, "SAP-Net, one view", "SAP-Net, two views")
    trials = people_trials(TINY, (80,), ("m01",), rows)
    run_trials(trials.values())
    assert store(trials.values()) == len(trials) == 15 and store(trials.values()) == 0
    records, digest = digested_records("ui-prmd", "videos", None, None, 0)
    measured_data.store_digests("ui-prmd", digest, sequence_digest(records, root))
    return trials


def test_stored_results_of_people_are_found_where_the_data_are_absent(people, tmp_path, monkeypatch):
    tables = people_table(people), [predictions(trial) for trial in people.values()]
    hashes, idle = [trial_hash(trial) for trial in people.values()], [idle_terms(trial) for trial in people.values()]
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "other"))
    monkeypatch.delenv("SAPNET_DATA")
    found = stored_people(TINY, (80,))
    assert found == people and [trial_hash(trial) for trial in found.values()] == hashes
    pd.testing.assert_frame_equal(people_table(found), tables[0])
    for trial, table, acted in zip(found.values(), tables[1], idle, strict=True):
        pd.testing.assert_frame_equal(predictions(trial), table)
        assert idle_terms(trial) == acted
    assert {run_facts(trial)["numbers"] for trial in found.values()} == {"float32"}
    assert not stored_people(replace(TINY, steps=9), (80,)) and not stored_people(TINY, (32,))
    assert not {*stored.stored_trials()} and len({*stored.stored_trials("measured")}) == 15


def test_rows_are_compared_on_equal_cells_at_each_number_of_labels(people, monkeypatch):
    more = {(row, 160, *rest): replace(trial, share=1.0) for (row, _, *rest), trial in people.items()}
    kept = {key: trial for key, trial in more.items() if key[0] != "SAP-Net, two views"}  # a row that is not there yet
    lacking = next(key for key in people if key[0] == RIDGE)  # a fold that is not there yet
    for there, expected in ((people | kept, people | kept), (people | more, people | more)):
        monkeypatch.setattr(ui_prmd_trials, "stored_trials", lambda _, of=there: iter(of.values()))
        monkeypatch.setattr(ui_prmd_trials, "is_stored", lambda trial: True)
        assert stored_people(TINY, (80, 160)) == expected
    part = {key: trial for key, trial in (people | more).items() if key != lacking}
    monkeypatch.setattr(ui_prmd_trials, "stored_trials", lambda _: iter(part.values()))
    found = stored_people(TINY, (80, 160))
    assert {key: found[key] for key in found if key[1] == 160} == more
    assert {key[0] for key in found if key[1] == 80} == {"SAP-Net, one view", "SAP-Net, two views"}


def test_stored_results_of_people_age_with_the_code(people, tmp_path, monkeypatch):
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "other"))
    monkeypatch.delenv("SAPNET_DATA")
    monkeypatch.setattr(measured_data, "sequence_code", lambda: "another")
    assert not stored_people(TINY, (80,))
    monkeypatch.undo()
    monkeypatch.setattr(measured_data, "FILE", tmp_path / "none.json")
    monkeypatch.delenv("SAPNET_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="ui-prmd"):
        trial_hash(next(iter(people.values())))


def test_a_damaged_table_of_people_is_named(people):
    path = stored.FOLDER / "measured" / "trials.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns("tested"), path)
    with pytest.raises(Damaged, match="measured/trials.parquet: "):
        stored_people(TINY, (80,))


# ---- pose tracks of FineDiving


def joints(frames, seed=0):
    x = np.random.default_rng(seed).uniform(0.2, 0.8, (frames, 33, 3))
    return x.round(6)


def test_a_pose_track_is_read_as_published(tmp_path):
    x, file = joints(5), tmp_path / "1.txt"
    x[2] = np.nan
    for count, claimed in ((None, 5), (5, 5), (9, 9)):
        file.write_text(pose_text(x, count))
        track = read_pose_track(file)
        np.testing.assert_array_equal(track.joints, x)
        assert (track.claimed, track.empty, track.dropped) == (claimed, 1, claimed - 5)
    file.write_text(pose_text(x) + "1\n33\n")  # cut short within a frame
    assert len(read_pose_track(file).joints) == 5
    file.write_text(pose_text(np.concatenate([x[2:3], x])))  # begins with a frame without a person
    assert read_pose_track(file).empty == 2
    student, teacher = pose_views(track)
    assert np.isfinite(student).all() and np.isfinite(teacher).all() and student.shape == teacher.shape == (5, 99)
    moved = track._replace(joints=track.joints * [2, 2, 1] + [0.5, -0.1, 0])  # nearer to the camera, and elsewhere
    np.testing.assert_allclose(pose_views(moved)[1], teacher, atol=1e-9)
    assert np.abs(pose_views(moved)[0] - student).max() > 0.1


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda text: text.replace("33", "17", 1), "17"),
        (lambda text: text.replace("0.", "x.", 1), "line 4: is not x, y and visibility"),
        (lambda text: text.replace("1\n33", "5\n33", 1), ""),
        (lambda text: "0\n0\n", "no frame has a person"),
        (lambda text: "", "no frame has a person"),
        (lambda text: text + "nan\n", "is not one number"),
        (lambda text: "\u00e9" + text, "is no text"),
    ],
)
def test_a_faulty_pose_track_is_refused(tmp_path, change, fault):
    file = tmp_path / "1.txt"
    file.write_text(change(pose_text(joints(3))), encoding="utf-8")
    refused(lambda: read_pose_track(file), f"1.txt: .*{fault}" if fault != "17" else "1.txt: ")


@pytest.fixture
def dives(tmp_path, monkeypatch):
    """Drawn annotations of FineDiving in the official layout, with pose tracks of all dives but two."""
    root = tmp_path / "data"
    write_annotations("finediving", root, 16, 10, 0)
    records = load_records("finediving", root)
    for i, record in enumerate(records[:-2]):
        file = root / "FineDiving" / "skeletons" / Path(record.path).parts[-2] / f"{Path(record.path).parts[-1]}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        x = joints(record.frames - (i == 0), i)
        x[3] = np.nan
        file.write_text(pose_text(x, record.frames))
    use(root, monkeypatch, tmp_path)
    return root


def test_finediving_runs_on_pose_tracks_alone(dives):
    official = load_records("finediving", dives)
    found, absent = pose_records(dives, official)
    assert set(absent) == {r.key for r in official[-2:]} and two_views(found)
    profile = TINY.resized("finediving", None, None)
    trials = [declare("finediving", s, 0.5, 0, profile) for s in ("I3D+MLP", "SAP-Net (Ours)", "USDL", "TSA")]
    assert {trial.source for trial in trials} == {"joints"}
    run_trials(trials)
    assert results(trials)["n"].tolist() == [sum(r.split == "test" for r in found)] * 4
    data = trial_data(trials[1])
    frame, actor = (data.features.views[name] for name in ("frame", "actor"))
    assert len(data.records) == len(official) - 2 and not torch.equal(frame, actor) and frame.isfinite().all()
    assert sorted(data.features.skipped) == sorted(absent)
    assert data.factors.shape == (len(data.records), 0)  # nobody knows the quality of a real dive
    every = [*table_trials("II", profile).values(), *comparison_trials("V", profile).values()]
    assert {trial.source for trial in every} == {"joints"} and "s4l" not in {trial.method for trial in every}


def test_the_checker_names_missing_dives_and_frames(dives):
    official = load_records("finediving", dives)
    table = check_dataset("finediving", dives)
    row = row_of(table, "dives with a pose track")
    assert row.state == "warning" and row.found == "24 of 26" and official[-1].key in row.remedy
    assert row_of(table, "pose tracks read").found == "24"
    assert row_of(table, "pose tracks that lack").remedy == f"{official[0].key} lacks 1"
    assert row_of(table, "pose tracks with frames").found == "24"


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official annotations are not on this machine")
def test_pose_tracks_are_found_by_the_official_keys(tmp_path):
    official = load_records("finediving", OFFICIAL)
    for record in official[::500]:
        event, dive = Path(record.path).parts[-2:]
        (folder := tmp_path / "FineDiving" / "skeletons" / "FineDiving_Skeleton" / event).mkdir(parents=True)
        (folder / f"{dive}.txt").write_text(pose_text(joints(4)))
    found, absent = pose_records(tmp_path, official)
    assert [r.key for r in found] == [r.key for r in official[::500]] and len(absent) == 3000 - len(found)
