"""A folder of own videos or sequences gives trained networks and predictions, or is refused with the reason."""

import csv
import math
import os
import shutil
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np
import pytest
import torch

from sapnet_core.__main__ import main
from sapnet_core.datasets import AnnotationError, load_records
from sapnet_core.datasets.video import VideoError, probe
from sapnet_core.experiments import fit as fitting
from sapnet_core.experiments import results, run
from sapnet_core.experiments import trial_data as trials
from sapnet_core.experiments import trial_hash as hashes
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.example_folder import write_example
from sapnet_core.experiments.floors import floors
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.tables import with_average
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features import video_source
from sapnet_core.features.source import source_kind
from sapnet_core.features.store import video_features

TINY = Profile("tiny", seeds=(0,), steps=4, size=32)
av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example") / "own", count=9, width=64)


def use(folder, monkeypatch, tmp_path):
    """Set a folder as the user's data, and clear the caches, as in a new process."""
    monkeypatch.setenv("SAPNET_DATA", str(folder))
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("SAPNET_SKIP_BAD", raising=False)
    forget()


def forget():
    for cached in (trials._read_records, trials._data, video_source._stamp):
        cached.cache_clear()


def write_rows(folder, rows):
    with (folder / "records.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def read_rows(folder):
    with (folder / "records.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def videos(example, monkeypatch, tmp_path):
    """A copy of the example folder of own videos, set as the user's data."""
    folder = tmp_path / "own"
    shutil.copytree(example, folder)
    use(folder, monkeypatch, tmp_path)
    return folder


@pytest.fixture
def sequences(monkeypatch, tmp_path):
    """24 sequences of 5 channels in two groups, four of them without a score; the last channel follows the score."""
    folder, draw, rows = tmp_path / "own", np.random.default_rng(0), []
    folder.mkdir()
    for i in range(24):
        score = draw.uniform(5, 10)
        x = draw.normal(size=(draw.integers(9, 40), 5))
        x[:, 4] += score
        np.save(folder / f"{i}.npy", x)
        test = i % 3 == 2
        row = {"id": f"s{i:02d}", "path": f"{i}.npy", "score": f"{score:.3f}", "split": "test" if test else "train"}
        rows.append(row | {"group": "beam" if i < 12 else "floor"})
    for i in (0, 3, 12, 15):
        rows[i]["score"] = ""
    write_rows(folder, rows)
    use(folder, monkeypatch, tmp_path)
    return folder


def one(system="SAP-Net (Ours)", **rest):
    """A trial of one system on the user's data, with whole frames as the actor's boxes unless `rest` says otherwise."""
    rest = {"boxes": "whole", **rest}
    return declare("folder", system, 1.0, 0, TINY, **rest)


def test_the_example_is_a_folder_of_own_videos(example):
    records = load_records("folder", example)
    train = [r for r in records if r.split == "train"]
    assert (len(records), len(train), sum(not math.isnan(r.score) for r in train)) == (9, 6, 2)
    info = probe(example / records[0].path)
    assert (info.width, info.height, info.frames) == (64, 48, records[0].frames)
    assert all(r.difficulty > 1 for r in records) and source_kind("folder", example) == "videos"


def test_the_example_is_the_same_for_any_number_of_threads(example, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        other = write_example(tmp_path / "own", count=9, width=64)
        assert torch.get_num_threads() == (2 if before == 1 else 1)
    finally:
        torch.set_num_threads(before)
    for file in sorted((example / "videos").iterdir()):
        assert (other / "videos" / file.name).read_bytes() == file.read_bytes()


def test_the_example_is_whole_or_absent(example, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in example.rglob("*")}
    assert write_example(example, count=9, width=64) == example  # an equal example is kept
    assert {p: p.stat().st_mtime_ns for p in example.rglob("*")} == before
    with ThreadPoolExecutor(2) as pool:  # the second writer keeps the first one's files, which may be in use
        first, second = (pool.submit(write_example, tmp_path / "both", count=9, width=64) for _ in range(2))
        ended = wait((first, second), return_when=FIRST_COMPLETED).done.pop().result()
        written = {p: p.stat().st_mtime_ns for p in ended.rglob("*")}
    assert first.result() == second.result() and {p: p.stat().st_mtime_ns for p in ended.rglob("*")} == written
    shutil.rmtree(ended)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious.txt").write_text("keep me")
    with pytest.raises(ValueError, match="mine: .*example"):
        write_example(mine, count=9, width=64)
    assert [p.name for p in mine.iterdir()] == ["precious.txt"]

    def stop(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_example(tmp_path / "cut", count=9, width=64, progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_from_videos_to_predictions(videos):
    trial = one(target="execution")
    assert (trial.source, trial.train) == ("videos", None)
    (folder,) = run.run_trials([trial])
    found = results.results([trial]).iloc[0]
    assert (found["n"], found["labeled"]) == (3, 2) and math.isfinite(found["rho"])
    assert folder == results.trial_folder(trial)
    data = trials.trial_data(trial)
    guess, stored = fitting.predict_all(trial, data), results.predictions(trial)
    assert guess.isfinite().all() and len(guess) == 9  # also for records without a score
    place = {r.key: i for i, r in enumerate(data.records)}
    again = guess[[place[key] for key in stored["key"]]].numpy()
    np.testing.assert_allclose(again, stored["predicted"], rtol=0, atol=1e-6)  # the stored digits
    assert list(floors(trial)["system"]) == ["mean", "difficulty alone"]  # own videos have no true quality

    # A changed file gets features and results of its own.
    before = data.features.views["frame"]
    first, second = (videos / data.records[i].path for i in (0, 1))
    shutil.copy(first, second)
    os.utime(second, ns=(1, 1))
    forget()
    assert results.trial_folder(trial) != folder
    after = trials.trial_data(trial).features.views["frame"]
    assert torch.equal(after[0], before[0]) and not torch.equal(after[1], before[1])


def test_missing_scores_are_never_read(sequences, monkeypatch):
    trial = one(group="beam")
    data = trials.trial_data(trial)
    want = fitting.predict_all(trial, data)
    missing = data.score.isnan() & data.train
    assert missing.sum() == 2
    for value in (1e9, -3.0, math.inf):  # whatever the hidden value is
        records = tuple(replace(r, score=value) if m else r for r, m in zip(data.records, missing, strict=True))
        learn = torch.nonzero(data.train).flatten()
        labeled = ~data.score[learn].isnan()
        own = fitting.train_set(trial, replace(data, records=records), learn, labeled)
        assert own.y.isnan().tolist() == missing[learn].tolist()
        assert torch.equal(own.y.nan_to_num(0), fitting.train_set(trial, data, learn, labeled).y.nan_to_num(0))
    test = torch.where(data.train, data.score, data.score + 100.0)  # nor are test scores read
    assert torch.equal(fitting.predict_all(trial, replace(data, score=test)), want)
    shown = torch.where(data.train & ~missing, data.score.flip(0), data.score)
    records = tuple(replace(r, score=float(s)) for r, s in zip(data.records, shown, strict=True))
    assert not torch.equal(fitting.predict_all(trial, replace(data, score=shown, records=records)), want)


def test_sequences_skip_the_backbone_and_groups_are_averaged(sequences, monkeypatch):
    for module, name in ((trials, "video_features"), (hashes, "features_digest")):
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("the backbone was asked"))
    runs = [one(system, group=group) for system in ("I3D+MLP", "SAP-Net (Ours)") for group in ("beam", "floor")]
    run.run_trials(runs)
    found = results.results(runs)
    assert found["n"].tolist() == [4] * 4 and found["labeled"].tolist() == [6] * 4
    data = trials.trial_data(runs[0])
    assert data.features.views["frame"].shape == (12, 24, 32)  # statistics of 5 channels, zero-padded
    assert not data.features.views["frame"][..., 11:].any()
    columns = found.assign(system=found["method"], column=found["group"])
    mean = with_average(columns).query("column == 'Avg'").set_index("system")["rho"]
    want = np.tanh(np.arctanh(found["rho"].clip(-1 + 1e-12, 1 - 1e-12)[:2]).mean())
    assert mean["mlp"] == pytest.approx(want)
    with pytest.raises(ValueError, match="group 'vault'.*beam, floor"):
        trials.trial_data(one(group="vault"))


def test_sequences_are_told_from_each_other_by_content(sequences):
    before = trial_hash(one(group="beam"))
    x = np.load(sequences / "7.npy")
    np.save(sequences / "7.npy", x)  # rewritten with equal content
    forget()
    assert trial_hash(one(group="beam")) == before
    np.save(sequences / "7.npy", x + 1)
    forget()
    assert trial_hash(one(group="beam")) != before


@pytest.mark.parametrize("span", [False, True])
def test_a_broken_video_stops_or_is_left_out_on_request(videos, monkeypatch, span):
    rows = read_rows(videos)
    bad = next(row for row in rows if row["split"] == "train" and not row["score"])
    if span:  # with an end frame, the table is read without opening the video
        bad["end_frame"] = "40"
        write_rows(videos, rows)
    file = videos / bad["path"]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    forget()
    with pytest.raises(VideoError) as error:
        trials.trial_data(one())
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setenv("SAPNET_SKIP_BAD", "1")
    data = trials.trial_data(one())
    assert list(data.features.skipped) == [bad["id"]] and str(file) in data.features.skipped[bad["id"]]
    assert len(data.records) == len(data.score) == len(data.features.views["frame"]) == 8
    assert bad["id"] not in {r.key for r in data.records}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: rows[0].update(group="floor") or [r.update(group="") for r in rows[1:]], "has no group"),
        (
            lambda rows: [r.update(score="7") for r in rows if r["split"] == "test"],
            "two different test scores of group",
        ),
        (
            lambda rows: [r.update(score="") for r in rows if r["split"] == "train" and r["group"] == "beam"],
            "two different train scores of group 'beam'",
        ),
    ],
)
def test_a_folder_that_cannot_be_learned_is_refused(sequences, change, fault, capsys):
    rows = read_rows(sequences)
    change(rows)
    write_rows(sequences, rows)
    with pytest.raises(AnnotationError, match=fault) as error:
        trials.trial_data(one())
    assert "\n" not in str(error.value) and "records.csv" in str(error.value)
    assert main(["run", "--data", str(sequences)]) == 2  # the command refuses it before it starts anything
    assert fault in capsys.readouterr().err.splitlines()[-1]


def test_videos_and_sequences_do_not_mix(sequences):
    rows = read_rows(sequences)
    (sequences / "a.mp4").write_bytes(b"a video")
    rows[0].update(path="a.mp4")
    rows[0]["end_frame"] = "9"
    for row in rows[1:]:
        row["end_frame"] = ""
    write_rows(sequences, rows)
    with pytest.raises(ValueError, match="records.csv.*videos.*sequences"):
        trial_hash(one())


def test_frames_of_any_shape_become_features(videos, tmp_path):
    records = load_records("folder", videos)[:1]
    found = video_features(records, video_source.DiskSource(videos, 32, "whole"), folder=tmp_path / "features", jobs=1)
    clip = video_source.DiskSource(videos, 32, "whole").load(records[0])
    assert tuple(clip.video.shape) == (96, 3, 48, 64)
    assert tuple(video_source.seen_by_student(clip, 32).shape) == (96, 3, 32, 43)
    assert found.views["frame"].shape == found.views["actor"].shape and found.factors.shape == (1, 0)
