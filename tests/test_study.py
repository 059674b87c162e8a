"""The study: trials in order, stored after every piece, and resumed where it was stopped."""

import re
from dataclasses import replace

import pytest
from wording import in_order

from sapnet_core.experiments import expected_time, names, stored, study, tables
from sapnet_core.experiments.expected_time import BACKBONE, expected_seconds
from sapnet_core.experiments.profiles import get_profile, live_profile
from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.study_cost import study_cost
from sapnet_core.experiments.trial import Trial

ONE = Trial("finediving", "drawn", "mlp", 0.5, 0, "score", 40, 12, steps=3, size=64)
SEEDS = (0, 1)  # of the smoke profile


@pytest.fixture
def declared(own_runs, tmp_path, monkeypatch):
    """Small trials of two figures, two of which both declare, and an empty folder of stored tables."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "study")
    monkeypatch.setattr(study, "PIECE", 2)
    monkeypatch.setattr(tables, "_declared_once", tables._declared)  # what an earlier test asked for may be kept
    fig12 = {(share, seed): replace(ONE, share=share, seed=seed) for share in (0.5, 0.75) for seed in SEEDS}
    fig13 = {key: trial for key, trial in fig12.items() if key[0] == 0.5}
    fig13 |= {("best", seed): replace(ONE, select="test-best", seed=seed) for seed in SEEDS}
    for name, trials in (("fig12", fig12), ("fig13", fig13)):
        monkeypatch.setitem(tables.FIGURES, name, lambda profile, trials=trials: trials)
    return {*fig12.values(), *fig13.values()}


def test_every_table_has_its_place_in_the_order():
    assert sorted(names.STUDY) == sorted(names.KNOWN)


def test_trials_come_by_table_and_seed_and_each_once(declared):
    both = study.study_trials("smoke", ["fig12", "fig13"])
    assert [(t.seed, t.share) for t in both["fig12"]] == [(0, 0.5), (0, 0.75), (1, 0.5), (1, 0.75)]
    assert [t.select for t in both["fig13"]] == ["test-best"] * 2
    assert {t.seed for group in study.study_trials("smoke", ["fig12"], [1]).values() for t in group} == {1}
    with pytest.raises(ValueError, match="seed 7.* 0, 1"):
        study.study_trials("smoke", ["fig12"], [0, 7])


def test_a_piece_holds_the_trials_that_share_a_training(declared):
    trials = sum(study.study_trials("smoke", ["fig12", "fig13"]).values(), [])
    pieces = list(study._pieces(trials))
    assert sorted(sum(pieces, []), key=result_name) == sorted(trials, key=result_name)
    assert [[trial.select for trial in piece] for piece in pieces] == [
        ["last", "test-best"],
        ["last", "last", "test-best"],
        ["last"],
    ]


def test_a_stopped_study_goes_on(declared, monkeypatch, capsys):
    run, ran = study.run_trials, []

    def stopped(trials, jobs, **bars):
        run(trials[:1], jobs, **bars)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_trials", stopped)
    with pytest.raises(KeyboardInterrupt):
        study.run_study("smoke", ["fig12", "fig13"], None, 1)
    assert not {*stored.stored_trials()} and in_order(capsys.readouterr().out, "0 of 6", "fig12 4", "fig13 2")
    stood = []

    def watched(trials, jobs, **bars):
        stood.append({*stored.stored_trials()})
        ran.extend(trials)
        return run(trials, jobs, **bars)

    monkeypatch.setattr(study, "run_trials", watched)
    study.run_study("smoke", ["fig12", "fig13"], None, 1)
    assert len(stood[0]) == 1 and len(stood[1]) > 1  # first what was left by the stopped run, then piece by piece
    assert not stood[0] & {*ran} and stood[0] | {*ran} == declared == {*stored.stored_trials()}
    first, *_, last = capsys.readouterr().out.splitlines()
    assert in_order(first, "1 of 6", "fig13 2") and in_order(last, "6 of 6")
    assert "left" in first and not re.search(r"\bleft|\bfig", last)
    ran.clear()
    study.run_study("smoke", ["fig12"], [0], 1)
    assert not ran and in_order(capsys.readouterr().out, "2 of 2")
    cost = study_cost("smoke", ["fig12", "fig13", "fig05"]).set_index("adds trials of")
    assert [*cost["trials"]][:2] == [*cost["stored"]][:2] == [4, 2] and cost.at["fig05", "stored"] == 0
    took = sum(stored.stored_seconds().values()) / 3600
    assert cost.at["all", "core-hours"] == pytest.approx(took) == pytest.approx(cost["core-hours"].iloc[:2].sum())
    assert cost.at["all", "core-hours left"] == cost.at["fig05", "core-hours left"] > 0


def test_the_remaining_time_follows_the_methods(declared, monkeypatch):
    quick, slow = ONE, replace(ONE, method="sap-net")
    took = {replace(quick, seed=5): 1.0, replace(slow, seed=5): 9.0}
    monkeypatch.setattr(expected_time, "stored_trials", lambda: iter(took))
    monkeypatch.setattr(expected_time, "stored_seconds", lambda: {result_name(trial): s for trial, s in took.items()})
    first = [quick, replace(quick, seed=1), slow]
    elsewhere, unknown = replace(slow, dataset="finediving", target="score"), replace(quick, method="vat")
    assert expected_seconds([quick, slow, elsewhere, unknown]) == [1.0, 9.0, 9.0, 5.0]
    longer, trained = replace(slow, steps=6), replace(slow, backbone_training="last blocks")
    assert expected_seconds([longer, trained]) == [18.0, 5.0 * BACKBONE]  # at the rate of all
    assert study._remaining(10.0, first, [slow]) == pytest.approx(10 * 9 / 2)
    line = study._standing({"fig12": first, "fig13": [quick]}, [slow], 45.0)
    assert in_order(line, "3 of 4", "fig12 1", "45 s") and re.search(r"\d\d:\d\d", line) and "fig13" not in line


def test_the_paper_profile_declares_the_whole_study(own_runs):
    every = study.study_trials("study", ["I", "VI", "fig13"], [0, 1])
    assert {t.seed for group in every.values() for t in group} == {0, 1} < {*get_profile("study").seeds}
    assert len(every["I"]) == len({*tables.table_trials("I", get_profile("quick")).values()})  # of two seeds as well
    assert not every["fig13"]  # Table I has declared them


def test_a_notebook_of_the_study_trains_at_quick_size():
    assert live_profile(get_profile("study")) == get_profile("quick")
    assert [live_profile(get_profile(name)).name for name in ("quick", "smoke")] == ["quick", "smoke"]
