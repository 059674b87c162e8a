"""Synthetic routines have the official schema, the sport's arithmetic, and distributions close to the official sets."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from sapnet_core.datasets import finefs, load_records, rhythmic_gymnastics
from sapnet_core.experiments.metrics import spearman
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.skating.elements import BASE, parse_element


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    roots = {}
    for name, sizes in (("rg", (800, 200)), ("finefs", (187, 47))):
        roots[name] = tmp_path_factory.mktemp(name)
        write_annotations(name, roots[name], *sizes, seed=0)
    return roots


@pytest.fixture(scope="module")
def skated(roots):
    """(FineFS records, {key: content of the record's JSON file})."""
    files = (roots["finefs"] / "FineFS" / "annotation").glob("*.json")
    entries = {f"{int(file.stem):04d}": json.loads(file.read_text()) for file in files}
    return load_records("finefs", roots["finefs"]), entries


def values(records, *marks):
    return torch.tensor([[record.sub_score(mark) for mark in marks] for record in records], dtype=torch.float64).T


# ---- both datasets


@pytest.mark.parametrize("name", ("rg", "finefs"))
@pytest.mark.parametrize("sizes", [(1, 1), (13, 6)])
def test_sizes_and_seeds(tmp_path, name, sizes):
    def files(root, seed):
        folder = write_annotations(name, tmp_path / root, *sizes, seed)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = files("a", 1)
    assert first == files("b", 1) == files("a", 1) != files("c", 2)  # "a" is written twice
    parts = Counter(record.split for record in load_records(name, tmp_path / "a"))
    assert (parts["train"], parts["test"]) == sizes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_finefs_has_as_many_numbers_as_the_real_set(tmp_path):
    with pytest.raises(ValueError, match="finefs: 934 train.* 933"):
        write_annotations("finefs", tmp_path, 934, 1, 0)


# ---- Rhythmic Gymnastics


def test_official_header_and_columns(official, roots):
    for file in rhythmic_gymnastics.SPLITS.values():
        mine, theirs = ((root / "RG" / file).read_text().splitlines() for root in (roots["rg"], official))
        assert mine[0].split() == theirs[0].split() and len(mine) == len(theirs)
        for row, other in zip(mine[1:3], theirs[1:3], strict=True):
            assert [len(cell.partition(".")[2]) for cell in row.split()] == [
                len(cell.partition(".")[2]) for cell in other.split()
            ]


def test_apparatus_are_spread_evenly(roots, tmp_path):
    counts = Counter((record.group, record.split) for record in load_records("rg", roots["rg"]))
    assert counts == {
        (name, part): n for name in rhythmic_gymnastics.APPARATUS for part, n in (("train", 200), ("test", 50))
    }
    write_annotations("rg", tmp_path, 30, 9, 0)
    counts = Counter(record.group for record in load_records("rg", tmp_path))
    assert max(counts.values()) - min(counts.values()) <= 2 and len(counts) == 4


@pytest.mark.parametrize("apparatus", rhythmic_gymnastics.APPARATUS)
def test_points_are_distributed_as_in_the_real_set(official, tmp_path, apparatus):
    def facts(root):
        records = [record for record in load_records("rg", root) if record.group == apparatus]
        difficulty, execution, penalty, score = values(records, "difficulty", "execution", "penalty", "score")
        frames = torch.tensor([record.frames for record in records], dtype=torch.float64) / 250
        return {
            "difficulty": difficulty.mean(),
            "its spread": difficulty.std(),
            "execution": execution.mean(),
            "its tail": execution.quantile(0.05),
            "score": score.mean(),
            "score's spread": score.std(),
            "correlation": 3 * spearman(difficulty, execution),
            "penalized": 3 * (penalty > 0).double().mean(),
            "seconds": frames.mean(),
        }

    real, mine = facts(official), []
    for seed in range(3):
        write_annotations("rg", tmp_path / str(seed), 800, 200, seed)
        mine.append(facts(tmp_path / str(seed)))
    off = {name: sum(float(facts[name]) for facts in mine) / 3 - float(value) for name, value in real.items()}
    assert {name: round(value, 2) for name, value in off.items() if abs(value) > 0.33} == {}


def test_no_real_routine_is_among_them(official, roots):
    def rows(root):
        return {(record.key, record.frames, record.sub_scores) for record in load_records("rg", root)}

    assert not rows(official) & rows(roots["rg"])


# ---- FineFS


def test_programs_and_sexes_in_proportion(skated):
    records, _ = skated
    counts = Counter(record.action for record in records)
    groups = Counter((record.group, record.split) for record in records)
    assert {
        key: abs(count - want) <= 1
        for key, count, want in (
            (key, groups[key], want / 5)
            for key, want in {
                ("SP", "train"): 583,
                ("SP", "test"): 146,
                ("FS", "train"): 350,
                ("FS", "test"): 88,
            }.items()
        )
    } == dict.fromkeys(groups, True)
    assert 0.4 < (counts["men SP"] + counts["men FS"]) / len(records) < 0.6


def test_scores_follow_from_judges_by_the_sports_rules(skated):
    records, entries = skated
    for record in records:
        entry = entries[record.key]
        scores = [element["score_of_pannel"] for element in entry["executed_element"].values()]
        assert entry["element_score"] == scores
        assert record.sub_score("tes") == pytest.approx(sum(scores), abs=0.006)
        plain = sum(record.sub_score(name) for name in finefs.COMPONENTS)
        assert entry["total_program_component_score_not_factored"] == pytest.approx(plain, abs=0.006)
        assert record.sub_score("pcs") == pytest.approx(plain * record.sub_score("factor"), abs=0.006)
        total = record.sub_score("tes") + record.sub_score("pcs") + record.sub_score("deductions")
        assert record.score == pytest.approx(total, abs=0.006) and record.sub_score("deductions") <= 0
        for element in entry["executed_element"].values():
            judges = sorted(element["judge_score"])
            assert len(judges) == 9 and -5 <= judges[0] and judges[-1] <= 5
            assert element["score_of_pannel"] == pytest.approx(element["bv"] + element["goe"], abs=0.006)
            share = element["goe"] / element["bv"] if element["bv"] else 0
            assert share == 0 or np.sign(share) == np.sign(sum(judges[1:-1]))
        for component in entry["program_component"].values():
            judges = sorted(component["judge_score"])
            assert all(0.25 <= mark <= 10 and mark * 4 == int(mark * 4) for mark in judges)
            assert component["score_of_pannel"] == pytest.approx(sum(judges[1:-1]) / 7, abs=0.006)


def test_elements_are_those_of_the_rules(skated):
    records, _ = skated
    for record in records:
        read = [parse_element(element.name) for element in record.elements]
        assert [r.kind for r in read] == [element.kind for element in record.elements]
        kinds = Counter(r.kind for r in read)
        short = record.group == "SP"
        assert kinds == {"jump": 3 if short else 7, "spin": 3, "sequence": 1 if short else 2}
        assert sum(r.choreographic for r in read) == (not short)
        jumps = [(jump.kind, jump.turns) for r in read for jump in r.jumps]
        assert max(Counter(jump for jump in jumps if jump[1] >= 3).values(), default=0) <= 2, record.elements
        assert "A" in {kind for kind, _ in jumps}  # every program requires an Axel
        assert sum(len(r.jumps) > 1 for r in read) == (1 if short else 3)
        for element, r in zip(record.elements, read, strict=True):
            if r.kind == "jump" and not any(jump.missing or jump.edge for jump in r.jumps):
                base = sum(BASE[jump.kind][int(jump.turns) - 1] for jump in r.jumps)
                assert element.base in (pytest.approx(base, abs=0.01), pytest.approx(1.1 * base, abs=0.01))


def test_times_lie_within_the_program(skated):
    records, _ = skated
    for record in records:
        low, high = (145, 175) if record.group == "SP" else (225, 255)
        assert low * 25 <= record.frames <= high * 25
        ends = [0, *(element.end for element in record.elements)]
        assert all(element.start >= end + 25 for element, end in zip(record.elements, ends, strict=False))
        last = {"jump": (3, 6), "spin": (9, 13), "sequence": (9, 34)}
        for element in record.elements:
            seconds = (element.end - element.start) / 25
            assert last[element.kind][0] <= seconds <= last[element.kind][1]


@pytest.mark.parametrize("action", ("men SP", "women SP", "men FS", "women FS"))
def test_tes_and_pcs_go_together_but_are_not_the_same(skated, action):
    tes, pcs = values([record for record in skated[0] if record.action == action], "tes", "pcs")
    assert 0.35 < spearman(tes, pcs) < 0.85


@pytest.mark.parametrize(
    "mark, group, least, most",
    [
        # the ranges by which public code normalizes; every official routine lies within them
        ("tes", "SP", 16.68, 65.98),
        ("tes", "FS", 30.37, 129.14),
        ("pcs", "SP", 18.74, 48.47),
        ("pcs", "FS", 38.75, 95.84),
    ],
)
def test_points_have_the_range_of_real_ones(skated, mark, group, least, most):
    points = values([record for record in skated[0] if record.group == group], mark)[0]
    assert points.min() > 0.8 * least and points.max() < 1.1 * most
    assert points.quantile(0.95) - points.quantile(0.05) > 0.35 * (most - least)


def test_falls_cost_points_and_happen_as_seldom_as_they_do(skated):
    records, entries = skated
    lost = -values(records, "deductions")[0]
    assert 0.2 < lost.mean() < 0.8
    for record in records:
        if record.sub_score("deductions") < -1.5:  # a single point may be a time deduction
            grades = [np.mean(e["judge_score"]) for e in entries[record.key]["executed_element"].values()]
            assert min(grades) < -4
