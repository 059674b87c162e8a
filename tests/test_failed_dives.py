"""Failed dives of other twins: the rule that judges them, the stored table, and the recipe that writes it."""

import pandas as pd
import pytest
import torch

from sapnet_core.__main__ import main
from sapnet_core.experiments import failed_dives as table_of
from sapnet_core.experiments.failed_dives import COLUMNS, FAILED_DIVES, failed_dive_scores
from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.resampling import Cell
from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.stored import SMALL, stored_files, stored_trials
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.experiments.verify import facts, stored_format
from sapnet_core.recipes import look_at_failed_dives
from sapnet_core.recipes.look_at_failed_dives import (
    CELLS,
    DIVES,
    USED,
    failed_dives,
    failed_rows,
    stored_cells,
    with_failed_dives,
)
from sapnet_core.reporting import claims
from sapnet_core.reporting.ledger import Claim, ledger
from sapnet_core.reporting.verdicts import decide, examine

# ---- the rule, on predictions that are known ------------------------------------------------------------------------
ONE = Claim("w", "Fig. 14", "the worst is judged 0", kind="worst", pairs=(((("fig14", "a", "40%"),), ()),))
TWO = Claim(
    "o", "Fig. 14", "others fail too", kind="worst", pairs=tuple(((("IV", row, "supervised"),), ()) for row in "ab")
)
TRUE = torch.tensor([40.0, 50, 60])
OFF = torch.tensor([[1.0, -2, 30], [1, -20, 3]])  # of two seeds: the largest error is 30 at 60, then 20 at 50


def asked(claim: Claim, failed: dict[str, list | None]) -> tuple[dict, str]:
    """Numbers and verdict of a claim if these scores (seeds, dives) are predicted for failed dives, by system."""
    scores = {row: None if each is None else torch.tensor(each) for row, each in failed.items()}
    found = examine(claim, lambda name: Cell(TRUE + OFF, TRUE, "v"), failed=lambda name: scores[name[1]])
    return found, decide([found])[0]["verdict"]


def test_a_system_fails_where_at_least_half_of_the_failed_dives_are_its_worst():
    found, verdict = asked(ONE, {"a": [[31.0, 40, 1, 2], [21, 25, 26, 27]]})  # half of them, then all
    assert (found["effect"], found["low"], found["high"], verdict) == (0, 0, 0, "supported")
    assert "the median over 4 failed dives of other twins" in found["reason"]
    assert found["reason"].endswith("the error is the largest on 3.0 (2 to 4) of them")
    found, verdict = asked(ONE, {"a": [[31.0, 29, 1, 2], [19, 5, 6, 27]]})
    assert (found["effect"], found["low"], found["high"], verdict) == (55, 50, 60, "contradicted")
    found, verdict = asked(ONE, {"a": [[31.0, 32, 33, 2], [19, 5, 6, 27]]})
    assert (found["effect"], found["low"], found["high"], verdict) == (25, 0, 50, "undecided")
    assert asked(ONE, {"a": [[-31.0, -32], [21, 22]]})[1] == "supported"  # a score below 0 is off as well
    assert asked(ONE, {"a": [[30.0, 30], [20, 20]]})[1] == "contradicted"  # as large as the largest is not larger


def test_all_systems_of_a_claim_must_fail():
    fails, holds = [[31.0, 32], [21, 22]], [[1.0, 2], [3, 4]]
    found, verdict = asked(TWO, {"a": fails, "b": fails})
    assert (found["effect"], verdict) == (0, "supported")
    told = "the error of a is the largest on 2.0 (2 to 2) and the error of b is the largest on 2.0 (2 to 2) of them"
    assert told in found["reason"] and "the one with the highest such score counts" in found["reason"]
    found, verdict = asked(TWO, {"a": fails, "b": holds})
    assert (found["effect"], verdict) == (55, "contradicted")
    assert asked(TWO, {"a": fails, "b": [fails[0], holds[1]]})[1] == "undecided"


def test_a_cell_without_failed_dives_is_not_testable():
    for claim, failed in ((ONE, {"a": None}), (TWO, {"a": [[31.0], [21.0]], "b": None})):
        found, verdict = asked(claim, failed)
        assert (found["reason"], verdict) == ("no test video of this source is judged 0", "not testable here")


def test_failed_dives_count_only_where_the_test_part_has_none_and_never_for_a_control():
    def never(name):
        raise AssertionError(name)

    here = torch.tensor([0.0, 50, 60])
    for control, true in ((False, here), (True, TRUE)):
        claim = Claim("w", "Fig. 14", "the worst", kind="worst", control=control, pairs=ONE.pairs)
        found = examine(claim, lambda name, true=true: Cell(true + OFF, true, "v"), failed=never)
        assert found["test"] == "every seed" and "failed dives" not in found["reason"]


# ---- the table ------------------------------------------------------------------------------------------------------
STUDY = get_profile("study")


def cell(seeds: int, profile=STUDY) -> list:
    """The first seeds of a cell of `CELLS`."""
    return [trial for key, trial in declared_trials("fig14", profile).items() if key[1] == "40%"][:seeds]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that puts a table with two dives, of trials with these scores, in the place of the stored one."""
    file = tmp_path / "failed_dives.csv"
    monkeypatch.setattr(table_of, "FAILED_DIVES", file)

    def write(trials, scores):
        dives = (2, "03-078", 3.2), (3, "03-078", 3.0)  # one key in two sets of twins
        rows = [
            ("x", trial.share, trial.seed, *dive, points, 0.0, result_name(trial))
            for trial, each in zip(trials, scores, strict=True)
            for dive, points in zip(dives, each, strict=True)
        ]
        pd.DataFrame(rows, columns=COLUMNS).to_csv(file, index=False)
        return file

    return write


def test_scores_are_found_by_trial_in_the_order_of_the_seeds(written):
    two = cell(2)
    written(two, [(1.0, 2.0), (3.0, 4.0)])
    assert failed_dive_scores(two[::-1]).to_numpy().tolist() == [[3, 4], [1, 2]]
    assert failed_dive_scores(two).columns.tolist() == [(2, "03-078", 3.2), (3, "03-078", 3.0)]
    assert claims._failed(two).tolist() == [[1, 2], [3, 4]]


def test_missing_rows_give_none_and_a_damaged_table_one_line(written):
    three = cell(3)
    file = written(three[:2], [(1.0, 2.0), (3.0, 4.0)])
    assert failed_dive_scores(three) is None is failed_dive_scores(cell(2, get_profile("quick")))
    table = pd.read_csv(file)
    table[:3].to_csv(file, index=False)  # the second trial lacks a dive
    assert failed_dive_scores(three[:2]) is None and claims._failed(three[:2]) is None
    for damaged in (table.drop(columns="apart"), pd.concat([table, table])):
        damaged.to_csv(file, index=False)
        with pytest.raises(ValueError, match="git checkout") as refusal:
            failed_dive_scores(three[:2])
        assert "\n" not in str(refusal.value)
    file.unlink()
    assert failed_dive_scores(three) is None


def test_the_stored_table_holds_the_failed_dives_of_every_stored_seed(own_runs):
    table = pd.read_csv(FAILED_DIVES, dtype={"key": str})
    dives, trials = failed_dives(), stored_cells()
    assert len(dives) == DIVES and all(record.score == 0 == max(record.judges) for _, record in dives)
    assert not {twin_seed for twin_seed, _ in dives} & USED and USED == {0, 1, 7}
    assert tuple(table.columns) == COLUMNS and set(table["trial"]) == set(trials)
    expected = [(twin_seed, record.key, record.difficulty) for twin_seed, record in dives]
    for name, (system, trial) in trials.items():
        own = table[table["trial"] == name]
        assert list(own[["twin_seed", "key", "difficulty"]].itertuples(index=False, name=None)) == expected
        assert own[["system", "share", "seed"]].drop_duplicates().to_numpy().tolist() == [
            [system, trial.share, trial.seed]
        ]
    assert table["predicted"].between(-20, 130).all() and table["apart"].between(0, look_at_failed_dives.ROUNDED).all()


def test_the_cells_are_those_that_the_two_claims_name():
    known = {claim.id: claim for claim in ledger()}
    named = [name for claim in ("fig14-zero", "fig14-others-too") for name in known[claim].names]
    assert sorted(named) == sorted(CELLS)


# ---- the recipe, on a small trial -----------------------------------------------------------------------------------
@pytest.fixture
def small(own_runs, tmp_path, monkeypatch):
    """A small stored trial of SAP-Net and two failed dives, in place of those of the study; and the table's file."""
    (trial,) = (one for one in stored_trials(SMALL) if one.method == "sap-net")
    dives, file = failed_dives()[:2], tmp_path / "failed_dives.csv"
    monkeypatch.setattr(look_at_failed_dives, "FAILED_DIVES", file)
    monkeypatch.setattr(look_at_failed_dives, "stored_files", lambda one: stored_files(one, SMALL))
    monkeypatch.setattr(look_at_failed_dives, "stored_format", lambda one: stored_format(one, SMALL))
    monkeypatch.setattr(look_at_failed_dives, "stored_cells", lambda: {result_name(trial): ("SAP-Net", trial)})
    monkeypatch.setattr(look_at_failed_dives, "failed_dives", lambda: dives)
    monkeypatch.setenv("SAPNET_NUMBERS", "float32")
    return trial, dives, file


def test_no_training_sees_a_failed_dive(small):
    trial, dives, _ = small
    data = trial_data(trial)
    joined = with_failed_dives(data, dives)
    alone, task = training_task(trial, data), training_task(trial, joined)
    for name in ("frame", "actor", "y", "difficulty", "action"):
        assert torch.equal(getattr(task.train, name).nan_to_num(-1), getattr(alone.train, name).nan_to_num(-1)), name
    n = len(data.records)
    assert task.roles.scored[-2:].tolist() == [n, n + 1] and torch.equal(task.roles.scored[:-2], alone.roles.scored)
    assert joined.features.keys[n:] == tuple(record.key for _, record in dives)
    assert torch.equal(joined.features.views["frame"][:n], data.features.views["frame"])
    assert not torch.equal(*joined.features.views["frame"][n:])
    fitted = task.fit()
    both = task.predict(fitted, torch.tensor([n, n + 1]))
    each = torch.cat([task.predict(fitted, torch.tensor([i])) for i in (n, n + 1)])
    assert torch.allclose(both, each, atol=1e-3)  # a dive's score does not depend on those beside it


def test_rows_that_are_there_are_kept_and_missing_ones_are_made(small, capsys):
    trial, dives, file = small
    assert not main(["recipe", "look_at_failed_dives", "--jobs", "1"])
    first = pd.read_csv(file, dtype={"key": str})
    assert tuple(first.columns) == COLUMNS and first["trial"].tolist() == [result_name(trial)] * 2
    assert first["key"].tolist() == [record.key for _, record in dives]
    assert (first["apart"] < 8).all() and "SAP-Net" in capsys.readouterr().out
    first.assign(predicted=1.5).to_csv(file, index=False)
    assert not main(["recipe", "look_at_failed_dives", "--jobs", "1"])
    assert pd.read_csv(file)["predicted"].tolist() == [1.5, 1.5]
    first.head(1).to_csv(file, index=False)  # a dive is missing: the trial is trained again
    assert not main(["recipe", "look_at_failed_dives", "--jobs", "1"])
    pd.testing.assert_frame_equal(pd.read_csv(file, dtype={"key": str}), first)


def test_a_repeated_training_that_is_not_the_stored_one_is_refused(small, monkeypatch):
    trial, dives, _ = small
    files = stored_files(trial, SMALL)
    for lines, told in ((slice(0, -1), "test part"), (slice(None), "apart from the stored")):
        content = files["predictions.csv"].decode().splitlines()[lines]
        if told != "test part":
            key, score, predicted = content[1].split(",")
            content[1] = f"{key},{score},{float(predicted) + 1:.6f}"
        other = {**files, "predictions.csv": "\n".join([*content, ""]).encode()}
        monkeypatch.setattr(look_at_failed_dives, "stored_files", lambda one, other=other: other)
        monkeypatch.setattr(look_at_failed_dives, "_facts_here", lambda numbers, other=other: facts(other))
        with pytest.raises(ValueError, match=told):
            failed_rows("SAP-Net", trial, dives)
