"""Features of a single video are those that it has among all videos of a trial."""

from dataclasses import replace

import pytest
import torch

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.record_features import record_features, without_key
from sapnet_core.experiments.tables import figure_trials
from sapnet_core.experiments.trial_data import TrialData, trial_records, trial_video_source
from sapnet_core.features.store import Features, video_features


@pytest.fixture(scope="module")
def trial():
    return next(iter(figure_trials("fig14", get_profile("smoke")).values()))


def test_a_video_alone_has_the_features_that_it_has_among_others(trial, tmp_path, monkeypatch):
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "alone"))
    records = trial_records(trial)[:3]
    together = video_features(records, trial_video_source(trial), folder=tmp_path / "together", jobs=1)
    alone = record_features(trial, records[1:2])
    assert alone.keys == (records[1].key,) and set(alone.views) == {"frame", "actor"}
    for name, view in alone.views.items():
        torch.testing.assert_close(view, together.views[name][1:2], rtol=0.02, atol=0.02)
    assert torch.equal(alone.subactions, together.subactions[1:2]) and torch.equal(alone.positions, together.positions)


def test_what_cannot_be_read_is_said(trial, monkeypatch):
    monkeypatch.delenv("SAPNET_DATA", raising=False)
    records = trial_records(trial)[:1]
    with pytest.raises(ValueError, match="records"):
        record_features(trial, [])
    with pytest.raises(FileNotFoundError, match="set SAPNET_DATA"):
        record_features(replace(trial, source="features"), records)


def test_a_record_is_left_out_with_all_that_belongs_to_it(trial):
    records = trial_records(trial)[:4]
    number = torch.arange(4.0)
    asked = []

    def read():
        asked.append(1)
        views = {"frame": number[:, None, None], "actor": -number[:, None, None]}
        return Features(tuple(r.key for r in records), views, torch.zeros(1), number[:, None], number[:, None])

    data = TrialData(trial, records, read, number, number + 10, number > 1)
    less = without_key(data, records[1].key)
    assert less.records == (records[0], *records[2:]) and not asked
    assert less.score.tolist() == [0, 2, 3] and less.difficulty.tolist() == [10, 12, 13]
    assert less.train.tolist() == [False, True, True]
    assert less.features.keys == tuple(r.key for r in less.records)
    assert less.features.views["actor"].flatten().tolist() == [0, -2, -3]
    assert less.features.subactions.flatten().tolist() == less.features.factors.flatten().tolist() == [0, 2, 3]
    assert without_key(data, "no such key").records == records
