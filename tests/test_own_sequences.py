"""Own sequences: what the network sees, a view for the teacher, gaps, folds, people, raters and further scores."""

import math
import re

import numpy as np
import pytest
import test_own_data
import torch
from test_folder import refused
from test_own_data import TINY, forget, read_rows, write_rows
from wording import in_order

from sapnet_core.__main__ import main
from sapnet_core.datasets import load_records
from sapnet_core.datasets.channels import ChannelError, chosen_channels
from sapnet_core.datasets.folds import fold_names, folds_in_use
from sapnet_core.datasets.gaps import filled
from sapnet_core.datasets.raters import rater_spread
from sapnet_core.datasets.sequence_files import read_sequence
from sapnet_core.experiments.acting_terms import idle_terms
from sapnet_core.experiments.cross_validation import cross_validated, fold_trials, out_of_fold
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.floors import floors
from sapnet_core.experiments.fold_trial import FoldTrial, fold_trial
from sapnet_core.experiments.metrics import fisher_mean, spearman
from sapnet_core.experiments.results import curves, results
from sapnet_core.experiments.rows_on_own_data import why_not, why_not_row
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.systems import EVERY, TRAINED
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features.sequences import sequence_features, sequence_views, two_views
from sapnet_core.features.windows import STEPS, moments, window_statistics

sequences = test_own_data.sequences  # the fixture


def one(system="SAP-Net (Ours)", share=1.0, seed=0, **rest):
    return declare("folder", system, share, seed, TINY, **{"group": "", **rest})


def plain(folder):
    """The rows of the folder without groups, rewritten, so that all are learned together."""
    rows = [{k: v for k, v in row.items() if k != "group"} for row in read_rows(folder)]
    write_rows(folder, rows)
    forget()
    return rows


# ---- what the network sees


@pytest.mark.parametrize("frames", [1, 2, 23, 24, 25, 100, 5635])
def test_windows_hold_every_row(frames):
    x = torch.randn(frames, 3, generator=torch.Generator().manual_seed(0)) + 1e4
    found = window_statistics(x)
    assert found.shape == (STEPS, 6)
    seen = torch.zeros(frames, dtype=torch.bool)
    for s in range(STEPS):
        first, last = s * frames // STEPS, math.ceil((s + 1) * frames / STEPS)
        seen[first:last] = True
        rows = x[first:last].double()
        assert torch.allclose(found[s, :3].double(), rows.mean(0), atol=2e-3)
        assert torch.allclose(found[s, 3:].double(), rows.std(0, correction=0), atol=1e-4)
    assert seen.all()


def test_moments_are_values_of_the_sequence():
    ramp = torch.arange(480.0).unsqueeze(1)
    assert torch.allclose(moments(ramp)[:, 0], (torch.arange(STEPS) + 0.5) * 20 - 0.5)


def test_units_do_not_matter_and_the_length_is_a_channel(sequences, tmp_path):
    rows = plain(sequences)
    before = trial_data(one()).features.views["frame"]
    assert before.shape == (24, STEPS, 32)  # 5 means, 5 deviations, the length, padded with zeros
    records = load_records("folder", sequences)
    length = torch.tensor([float(r.frames) for r in records]).log()
    assert torch.allclose(
        before[:, :, 10], ((length - length.mean()) / length.std(correction=0))[:, None].expand(-1, 24)
    )
    assert not before[:, :, 11:].any()
    for row in rows:
        x = np.load(sequences / row["path"]).astype(np.float64)
        np.save(sequences / row["path"], x * [1e6, 1e-7, 1, 1, 1])
    forget()
    assert torch.allclose(trial_data(one()).features.views["frame"], before, atol=1e-3)
    other = trial_data(one(clip_sampling="moments")).features.views["frame"]
    assert other.shape == (24, STEPS, 32) and not other[:, :, 6:].any() and other[:, :, 5].any()
    assert trial_hash(one(clip_sampling="windows")) == trial_hash(one()) != trial_hash(one(clip_sampling="moments"))
    with pytest.raises(ValueError, match="'10x16'.*windows.*moments"):
        trial_data(one(clip_sampling="10x16"))
    with pytest.raises(ValueError, match="photometric"):
        trial_data(one(teacher="photometric"))


# ---- a view for the teacher


def test_columns_are_named_by_number_or_name():
    assert chosen_channels("3-5 0", 8) == (0, 3, 4, 5)
    assert chosen_channels("left*; 1", 4, ("left_x", "left_y", "right_x", "right_y")) == (0, 1)
    for text, fault in (
        ("4-9", "'4-9'"),
        ("5-3", "'5-3'"),
        ("tool*", r"'tool\*'"),
        ("0-7", "all columns"),
    ):
        with pytest.raises(ChannelError, match=fault):
            chosen_channels(text, 8)


def test_without_a_second_view_the_result_says_that_l_un_cannot_act(sequences):
    rows = plain(sequences)
    trial = one(warmup=0.0)
    run_trials([trial])
    assert not curves(trial)["L_un"].any() and "one view" in idle_terms(trial)["L_un"]
    before = trial_hash(trial)
    write_rows(sequences, [row | {"channels_teacher": "4"} for row in rows])
    forget()
    other = one(warmup=0.0)
    run_trials([other])
    assert trial_hash(other) != before and "L_un" not in idle_terms(other)
    assert curves(other)["L_un"].iloc[1:].gt(0).all()
    data = trial_data(other)
    frame, actor = (data.features.views[name] for name in ("frame", "actor"))
    assert two_views(data.records) and not torch.equal(frame, actor)
    shown = [4, 9, 10]  # mean and deviation of the named column, and the length
    assert torch.equal(actor[:, :, shown], frame[:, :, shown])
    assert not actor[:, :, [i for i in range(32) if i not in shown]].any()
    single = one(warmup=0.0, teacher="frame")
    run_trials([single])
    assert "L_un" in idle_terms(single) and idle_terms(one("I3D+MLP")) == {}


def test_the_teacher_may_have_a_file_of_its_own(sequences):
    rows = plain(sequences)
    for row in rows:
        x = np.load(sequences / row["path"])
        np.save(sequences / f"t{row['path']}", np.repeat(x, 2, 0) + 1)  # another rate of recording
        row["path_teacher"] = f"t{row['path']}"
    write_rows(sequences, rows)
    forget()
    data = trial_data(one())
    record = data.records[0]
    student, teacher = sequence_views(record, sequences)
    assert torch.allclose(teacher, student.repeat_interleave(2, 0) + 1)
    before = trial_hash(one())
    np.save(sequences / rows[3]["path_teacher"], np.zeros((9, 5)))
    forget()
    assert trial_hash(one()) != before  # the teacher's files belong to what a trial is
    np.save(sequences / rows[3]["path_teacher"], np.zeros((9, 4)))
    forget()
    with pytest.raises(ValueError, match="t3.npy.* 4 .*0.npy.* 5"):
        trial_data(one())


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"path_teacher": "1.npy", "channels_teacher": "2"}, "line 2: path_teacher and channels_teacher are both"),
        ({"path_teacher": "records.npy"}, "line 2: path 'records.npy' is not there"),
        ({"channels_teacher": "7"}, "line 2: channels_teacher '7': '7' names no column"),
        ({"channels_teacher": "0-4"}, "line 2: channels_teacher '0-4': it names all columns"),
        ({"channels_teacher": "2"}, "row 's01' has no view for the teacher"),
        ({"missing": "mean"}, "line 2: missing 'mean' is unknown: write fill"),
        ({"fold": "a\u200bb"}, "line 2: fold .* is not printable"),
    ],
)
def test_a_faulty_view_is_named_before_any_work(sequences, capsys, change, fault):
    rows = plain(sequences)
    write_rows(sequences, [dict.fromkeys(change, "") | row | (change if i == 0 else {}) for i, row in enumerate(rows)])
    assert main(["run", "--data", str(sequences)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(fault, line), line


# ---- gaps


def test_gaps_are_filled_over_time():
    x = np.array([[np.nan, 0.0], [1.0, np.nan], [np.nan, np.nan], [3.0, 6.0], [np.inf, 7.0]])
    assert filled(x).tolist() == [[1, 0], [1, 2], [2, 4], [3, 6], [3, 7]]
    with pytest.raises(ValueError, match="column 1 "):
        filled(np.array([[1.0, np.nan]]))


def test_a_gap_is_refused_at_once_or_filled_on_request(sequences, capsys):
    rows = plain(sequences)
    x = np.load(sequences / "3.npy")
    x[4, 2] = np.nan
    np.save(sequences / "3.npy", x)
    forget()
    assert main(["run", "--data", str(sequences)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert in_order(line, "3.npy", "value 2", "step 4", "missing", "records.csv")
    write_rows(sequences, [row | {"missing": "fill" if row["path"] == "3.npy" else ""} for row in rows])
    forget()
    data = trial_data(one())
    assert all(view.isfinite().all() for view in data.features.views.values())
    record = next(r for r in data.records if r.path == "3.npy")
    assert sequence_views(record, sequences)[0][4, 2] == pytest.approx((x[3, 2] + x[5, 2]) / 2)
    text = sequences / "a.csv"
    text.write_text("x,y\n1,2\n,4\n3,NA\n")
    assert read_sequence(text, fill=True).tolist() == [[1, 2], [2, 4], [3, 4]]
    text.write_text("x,y\n1,\n2,\n")
    with pytest.raises(ValueError, match="a.csv: .*column 1 "):
        read_sequence(text, fill=True)


def test_text_between_spaces_is_a_sequence(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 76))
    np.savetxt(tmp_path / "a.txt", x, fmt="%9.6f")  # as in the kinematics of JIGSAWS
    np.savetxt(tmp_path / "b.txt", x, fmt="%.6f", delimiter=",")  # as in UI-PRMD
    for name in "ab":
        assert np.allclose(read_sequence(tmp_path / f"{name}.txt"), x, atol=1e-6)
    (tmp_path / "a.txt").write_text("0.5 1.5\n2.5\n")
    refused(lambda: read_sequence(tmp_path / "a.txt"), "a.txt: line 2: has 1 cells")
    (tmp_path / "a.txt").write_text("0.5 1.5\n2.5 x\n")
    refused(lambda: read_sequence(tmp_path / "a.txt"), "a.txt: line 2: column 2 is 'x'")


# ---- floors and rival rows


def test_the_length_is_a_floor(sequences):
    rows = plain(sequences)
    for row in rows:  # the longer, the worse
        score = float(row["score"] or 7)
        np.save(sequences / row["path"], np.random.default_rng(1).normal(size=(round(1000 - 90 * score), 5)))
    forget()
    found = floors(one()).set_index("system")["rho"]
    assert found["length alone"] > 0.99 and found["mean"] == 0


def test_every_row_of_the_tables_runs_or_says_why(sequences):
    plain(sequences)
    said = {}
    for system in EVERY:
        reason = why_not_row(system, sequences=True)
        if not reason:
            trial = one(system)
            reason = why_not(trial, trial_data(trial))
            if not reason:
                run_trials([trial])
                assert math.isfinite(results([trial])["rho"].iloc[0])
        if reason:
            said[system] = reason
    assert set(said) == {*TRAINED, "S4L", "MUSDL", "TSA"}
    assert "turned frames" in said["S4L"] and "panels" in said["MUSDL"] and "transitions" in said["TSA"]


# ---- folds, people, raters, further scores


def test_people_are_left_out_together_in_natural_order(sequences):
    rows = plain(sequences)
    write_rows(
        sequences,
        [{k: v for k, v in r.items() if k != "split"} | {"subject": f"p{i % 12}"} for i, r in enumerate(rows)],
    )
    forget()
    records = load_records("folder", sequences)
    folds = fold_names(records)
    assert [fold.name for fold in folds] == ["p0+p1", "p2+p3", "p4+p5+p6", "p7+p8", "p9+p10+p11"]
    assert sorted(key for fold in folds for key in fold.records) == [r.key for r in records]
    assert len(fold_names(records, "subject", 0)) == 12 and folds_in_use(records) == folds
    assert {r.key for r in records if r.split == "test"} == {k for k in folds[0].records if k not in ("s00", "s12")}
    trials = fold_trials({("mlp", 0): one("I3D+MLP"), ("mlp", 1): one("I3D+MLP", seed=1)}, folds)
    assert len(trials) == 10 and len({trial_hash(t) for t in trials.values()}) == 10
    trial = trials["mlp", 0, "p0+p1"]
    data = trial_data(trial)
    assert {r.subject for r, learn in zip(data.records, data.train, strict=True) if not learn} == {
        "p1"
    }  # p0 has no score
    assert not {r.subject for r, learn in zip(data.records, data.train, strict=True) if learn} & {"p0", "p1"}
    assert not {"s00", "s12"} & set(data.features.keys)  # p0 has no score: neither learned from nor tested
    run_trials(trials.values())
    found = out_of_fold(trials)
    table = cross_validated(found).set_index("cell")
    assert table["n"].tolist() == [20, 20] and table["folds"].tolist() == [5, 5]
    first = found[found["cell"] == ("mlp", 0)]
    rhos = [
        float(spearman(*(torch.tensor(p[c].to_numpy()) for c in ("predicted", "score"))))
        for _, p in first.groupby("fold")
    ]
    assert table["rho_fisher"].iloc[0] == pytest.approx(fisher_mean(rhos))
    pooled = float(spearman(*(torch.tensor(first[c].to_numpy()) for c in ("predicted", "score"))))
    assert table["rho_pooled"].iloc[0] == pytest.approx(pooled)
    with pytest.raises(ValueError, match="folds"):
        cross_validated(found.assign(cell=[("all",)] * len(found)))
    with pytest.raises(ValueError, match="subject.*nobody"):
        trial_data(FoldTrial(**vars(one("I3D+MLP")), by="subject", tested=("nobody",)))


def test_folds_of_the_table(sequences):
    rows = plain(sequences)
    write_rows(sequences, [row | {"fold": str(i % 4 + 8)} for i, row in enumerate(rows)])
    forget()
    records = load_records("folder", sequences)
    folds = fold_names(records)
    assert [f.name for f in folds] == ["8", "9", "10", "11"] and folds_in_use(records) == folds
    trial = fold_trial(one("I3D+MLP", share=0.5), folds[2])
    data = trial_data(trial)
    assert int((~data.train).sum()) == len([r for r in records if r.fold == "10" and not math.isnan(r.score)])
    write_rows(sequences, [row | {"fold": "a"} for row in rows])
    forget()
    with pytest.raises(ValueError, match="records.csv: .*fold 'a'"):
        trial_data(one())


def test_raters_are_averaged_and_further_scores_learned(sequences):
    rows = plain(sequences)
    tables = []
    for i, row in enumerate(rows):
        for rater, shift in (("ann", 0.0), ("bob", 0.5)):
            score = f"{float(row['score']) + shift:.3f}" if row["score"] else ""
            other = f"{i % 7 + shift}" if i % 5 else ""
            tables.append(row | {"rater": rater, "score": score, "score_style": other})
    write_rows(sequences, tables)
    forget()
    records = load_records("folder", sequences)
    first = records[1]
    assert len(records) == 24 and len(first.judges) == 2 and first.score == pytest.approx(sum(first.judges) / 2)
    several, spread = rater_spread(records)
    assert several == 20 and spread == pytest.approx(0.5 / math.sqrt(2))
    trial = one("I3D+MLP", target="style")
    data = trial_data(trial)
    assert data.score[data.train].isnan().any() and data.score[~data.train].isfinite().all()
    run_trials([trial])
    tested = [r for r in records if r.split == "test" and not math.isnan(r.sub_score("style"))]
    assert results([trial])["n"].iloc[0] == len(tested) < 8
    tables[2]["path"] = "7.npy"
    write_rows(sequences, tables)
    with pytest.raises(ValueError, match="id 's01'.*rater"):
        load_records("folder", sequences)
    tables[2] = tables[3]
    write_rows(sequences, tables)
    with pytest.raises(ValueError, match="id 's01'.*rater 'bob'"):
        load_records("folder", sequences)


def test_features_name_the_file_that_does_not_fit(sequences):
    plain(sequences)
    records = load_records("folder", sequences)
    np.save(sequences / "5.npy", np.zeros((12, 3)))
    with pytest.raises(ValueError, match="5.npy: 3 .*0.npy.* 5"):
        sequence_features(records, sequences)
