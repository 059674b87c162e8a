"""Synthetic annotation sets have the official schema, and statistics close to those of the official sets."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sapnet_core.datasets import finediving, load_records, mtl_aqa
from sapnet_core.datasets.annotation_pickles import read_pickle
from sapnet_core.datasets.dive_numbers import parse_dive, subaction_ids
from sapnet_core.experiments.metrics import spearman
from sapnet_core.simulator.draw_annotations import write_annotations

READERS = {"mtl-aqa": mtl_aqa, "finediving": finediving}
SIZES = {"mtl-aqa": (1059, 353), "finediving": (2251, 749)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Dataset -> the records of three synthetic sets of the official size, drawn from seeds 0, 1 and 2."""
    records = {name: [] for name in SIZES}
    for name, sizes in SIZES.items():
        for seed in range(3):
            root = tmp_path_factory.mktemp("drawn")
            write_annotations(name, root, *sizes, seed)
            records[name].append(load_records(name, root))
    return records


@pytest.mark.parametrize("name", SIZES)
def test_official_names_and_schema(official, tmp_path, name):
    folder = write_annotations(name, tmp_path, 20, 10, seed=0)
    real = official / folder.name
    for path in folder.iterdir():
        mine, theirs = read_pickle(path), read_pickle(real / path.name)
        if isinstance(mine, list):
            mine, theirs = dict.fromkeys(mine), dict.fromkeys(theirs)
        key, other = next(iter(mine)), next(iter(theirs))
        assert type(key) is type(other) and [type(part) for part in key] == [type(part) for part in other]
        mine, theirs = mine[key], theirs[other]
        if isinstance(mine, dict):
            assert mine.keys() == theirs.keys()
            mine, theirs = list(mine.values()), [theirs[field] for field in mine]
        for a, b in zip(mine or [], theirs or [], strict=True):
            assert type(a) is type(b)
            if isinstance(a, np.ndarray):
                assert (a.dtype, a.ndim) == (b.dtype, b.ndim)


@pytest.mark.parametrize("name", SIZES)
def test_same_seed_same_files_other_seed_others(tmp_path, name):
    def files(root, seed):
        folder = write_annotations(name, tmp_path / root, 25, 15, seed)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = files("a", 1)
    assert first == files("b", 1) == files("a", 1) != files("c", 2)  # "a" is written twice
    folder = next(path for path in (tmp_path / "b").iterdir())
    (folder / "film.mp4").write_bytes(b"of somebody")
    assert files("b", 1) == first | {"film.mp4": b"of somebody"}  # the same set again: other files stay
    with pytest.raises(ValueError, match="film.mp4"):
        files("b", 2)
    assert (folder / "film.mp4").is_file()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [READERS[name].FOLDER]
    parts = [record.split for record in load_records(name, tmp_path / "a")]
    assert (parts.count("train"), parts.count("test")) == (25, 15)


def test_writers_at_once_leave_one_whole_set(tmp_path):
    def write_and_read(_):
        root = tmp_path / "set"
        if not root.is_dir():  # as callers do: a root that exists is complete
            write_annotations("mtl-aqa", root, 40, 20, seed=0)
        return len(load_records("mtl-aqa", root))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write_and_read, range(12))) == [60] * 12
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="'aqa-7'.*mtl-aqa, finediving, rg, finefs"):
        write_annotations("aqa-7", tmp_path, 1, 1, 0)
    with pytest.raises(ValueError, match="at least 1"):
        write_annotations("mtl-aqa", tmp_path, 10, 0, 0)


def test_scores_follow_from_judges_by_the_sports_rule(drawn):
    for record in (record for records in drawn.values() for record in records[0]):
        judges = sorted(record.judges)
        assert len(judges) in ((7,) if record.dataset == "mtl-aqa" else (3, 5, 7))
        assert all(0 <= score <= 10 and score * 2 == int(score * 2) for score in judges)
        counted = judges[2:5] if len(judges) == 7 else judges
        assert record.score == pytest.approx(sum(counted) / len(counted) * 3 * record.difficulty, abs=0.006)


def test_transitions_and_subactions_follow_from_the_dive(drawn):
    for record in drawn["finediving"][0]:
        assert record.subactions == subaction_ids(parse_dive(record.action))
        lengths = np.diff((0, *record.transitions, record.frames))
        assert len(lengths) == len(record.subactions) and lengths.min() >= 2
    assert not any(record.transitions for record in drawn["mtl-aqa"][0])
    counts = np.bincount([len(record.transitions) for record in drawn["finediving"][0]]) / 3000
    assert counts[2:] == pytest.approx([0.735, 0.18, 0.085], abs=0.04)


def facts(records):
    """Statistics that decide how hard a set is: marginals of quality, difficulty and length in hundreds of frames, and
    Spearman's correlation of the score with difficulty or quality alone."""
    score, degree, quality, frames = torch.tensor(
        [(record.score, record.difficulty, record.quality, record.frames) for record in records], dtype=torch.float64
    ).T
    return {
        "quality": quality.mean(),
        "spread": quality.std(),
        "low tail": quality.quantile(0.05),
        "degree": degree.mean(),
        "degree spread": degree.std(),
        "difficulty alone": spearman(degree, score),
        "execution alone": spearman(quality, score),
        "frames": frames.median() / 100,
        "most": frames.quantile(0.95) / 100,
    }


CLOSE = dict.fromkeys(("quality", "spread", "degree"), 0.03) | dict.fromkeys(("low tail", "degree spread"), 0.05)
CLOSE |= {"difficulty alone": 0.08, "execution alone": 0.05, "frames": 0.06, "most": 0.15}


@pytest.mark.parametrize("name", SIZES)
def test_drawn_sets_are_like_the_real_ones(official, drawn, name):
    real = facts(load_records(name, official))
    mean = {fact: sum(float(facts(records)[fact]) for records in drawn[name]) / 3 for fact in real}
    assert {fact: value for fact, value in mean.items() if abs(value - float(real[fact])) > CLOSE[fact]} == {}


@pytest.mark.parametrize("name, low, high", [("mtl-aqa", 0.8, 0.9), ("finediving", 0.58, 0.72)])
def test_difficulty_and_execution_alone_go_as_far_as_in_the_real_test_parts(drawn, name, low, high):
    for records in drawn[name]:
        values = facts([record for record in records if record.split == "test"])
        assert 0.48 < values["difficulty alone"] < 0.68  # official test splits: 0.560 (MTL-AQA), 0.565 (FineDiving)
        assert low < values["execution alone"] < high  # official test splits: 0.870, 0.642
        assert 0 <= min(record.score for record in records) and max(record.score for record in records) < 125


def test_the_readmes_floor_holds_on_the_official_test_split(official):
    for name, difficulty_alone, execution_alone in (("mtl-aqa", 0.560, 0.870), ("finediving", 0.565, 0.642)):
        values = facts([record for record in load_records(name, official) if record.split == "test"])
        assert float(values["difficulty alone"]) == pytest.approx(difficulty_alone, abs=5e-4)
        assert float(values["execution alone"]) == pytest.approx(execution_alone, abs=5e-4)
