"""Trials: results on disk are complete, reproducible and not computed twice; no score leaks into training."""

import platform
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sapnet_core.datasets.label_split import label_split
from sapnet_core.experiments import fit as fitting
from sapnet_core.experiments import run as running
from sapnet_core.experiments import trial_data as trials
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.fit import fit_trial, train_set
from sapnet_core.experiments.floors import floors
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.results import results, run_facts, trial_folder
from sapnet_core.experiments.run import run_trial, run_trials
from sapnet_core.experiments.systems import CONTROLS, SYSTEMS
from sapnet_core.experiments.tables import class_trials, comparison_trials, table_trials, with_average
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.features.source import source_records
from sapnet_core.methods import METHODS, VideoBatch, get_method
from sapnet_core.runtime import environment, processor
from sapnet_core.runtime.files import read_json, read_tensors
from sapnet_core.runtime.processor import processor_kind
from sapnet_core.simulator import simulate
from sapnet_core.simulator.factors import twin_factors

pytestmark = pytest.mark.usefixtures("own_runs")

SMALL = Trial(
    "finediving",
    "drawn",
    "sap-net",
    0.25,
    0,
    "score",
    24,
    12,
    steps=6,
    size=64,
    overrides=(("warmup", 0.0), ("tau", 0.1)),
)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another, empty runs folder; nothing is cached in this process."""
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path))
    trials._data.cache_clear()
    trials._read_records.cache_clear()
    yield tmp_path
    trials._data.cache_clear()
    trials._read_records.cache_clear()


def test_a_result_is_whole_and_read_again():
    folder = run_trial(SMALL)
    assert {f.name for f in folder.iterdir()} == {
        "config.json",
        "metrics.json",
        "run.json",
        "predictions.csv",
        "curves.csv",
        "digest",
    }
    before = (folder / "run.json").stat().st_mtime_ns
    assert run_trials([SMALL]) == [folder]
    assert (folder / "run.json").stat().st_mtime_ns == before
    table = results([SMALL])
    assert len(table) == 1 and -1 <= table.rho[0] <= 1 and table.labeled[0] == 6
    predicted = pd.read_csv(folder / "predictions.csv")
    spearman = predicted.score.corr(predicted.predicted, method="spearman")
    assert table.rho[0] == pytest.approx(spearman, abs=2e-3)  # the file has six decimals


@pytest.mark.slow
def test_empty_caches_give_the_same_files(elsewhere, tmp_path_factory, monkeypatch):
    first = run_trial(SMALL)
    again = tmp_path_factory.mktemp("again")
    monkeypatch.setenv("SAPNET_RUNS", str(again))
    trials._data.cache_clear()
    trials._read_records.cache_clear()
    second = run_trial(SMALL)
    assert second != first and second.name == first.name
    for name in ("config.json", "metrics.json", "predictions.csv", "curves.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_time_in_which_the_processor_did_other_things_is_not_told(monkeypatch, elsewhere):
    fit, away = running.fit_selections, 30.0

    def suspended(*given):
        clock = time.perf_counter
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + away)
        yield from fit(*given)

    monkeypatch.setattr(running, "fit_selections", suspended)
    run_trial(SMALL)
    assert 0 < run_facts(SMALL)["seconds"] < away


def test_a_result_names_what_computed_it(monkeypatch):
    run_trial(SMALL)
    facts = run_facts(SMALL)
    assert facts["seconds"] > 0 and facts["device"] == "cpu" and facts["threads"] == 1
    assert facts["processor"] == processor_kind() and facts["numbers"] in ("bfloat16", "float32")
    assert (facts["torch"], facts["numpy"]) == (torch.__version__, np.__version__)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert processor_kind() != facts["processor"] and processor_kind().endswith(", DEFAULT")
    monkeypatch.setattr(processor, "CPUINFO", processor.CPUINFO / "nowhere")  # not every system has this file
    processor._cpu.cache_clear()
    assert processor_kind() == f"{platform.machine()}, DEFAULT"
    processor._cpu.cache_clear()


def test_the_hash_tells_trials_apart():
    others = [
        replace(SMALL, seed=1),
        replace(SMALL, share=0.5),
        replace(SMALL, overrides=(("K", 2),)),
        replace(SMALL, twin_seed=1),
        replace(SMALL, part="validation"),
    ]
    assert len({trial_folder(t) for t in [SMALL, *others]}) == len(others) + 1
    assert trial_folder(replace(SMALL, overrides=SMALL.overrides[::-1])) == trial_folder(SMALL)
    whole = replace(SMALL, share=1, epochs=300)
    assert trial_folder(whole) == trial_folder(replace(SMALL, share=1.0, epochs=300.0))


@pytest.mark.parametrize("backbone, method", [("c3d", "avg-mtl"), ("swin", "mlp")])
@pytest.mark.slow
def test_trials_on_other_backbones_take_whole_frames_alone(elsewhere, backbone, method):
    trial = replace(SMALL, method=method, backbone=backbone, teacher="frame", overrides=())
    data = trial_data(trial)
    new = set((elsewhere / "features").rglob("*.safetensors"))
    assert new and all("actor" not in read_tensors(file)[0] for file in new)
    assert data.features.views["frame"] is data.features.views["actor"]
    assert read_json(run_trial(trial) / "config.json")["backbone"] == backbone
    run_trial(SMALL)
    table = results([trial, SMALL])
    assert table["backbone"].tolist() == [backbone, "i3d"] and table["rho"].between(-1, 1).all()
    with_crops = trial_data(replace(trial, teacher="actor")).features
    assert torch.equal(with_crops.views["frame"], data.features.views["frame"])
    assert not torch.equal(with_crops.views["actor"], data.features.views["frame"])


def test_rows_say_which_backbone_they_stand_on():
    quick = PROFILES["quick"]
    for table, system, backbone in (("IV", "C3D-AVG-MTL", "c3d"), ("VII", "VST+MLP", "swin"), ("IV", "VAT", "i3d")):
        row = [t for key, t in comparison_trials(table, quick).items() if key[0] == system]
        assert {t.backbone for t in row} == {backbone}
        assert {t.teacher for t in row} == {"actor" if backbone == "i3d" else "frame"}
    assert declare("mtl-aqa", "I3D+MLP", 0.1, 0, quick, backbone="swin").backbone == "swin"


@pytest.mark.parametrize(
    "name, value", [("source", "real"), ("share", 0.0), ("part", "train"), ("boxes", "none"), ("backbone", "resnet")]
)
def test_a_wrong_field_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        replace(SMALL, **{name: value})


def test_a_wrong_method_or_setting_is_named():
    with pytest.raises(ValueError, match="nonesuch"):
        get_method("nonesuch")
    with pytest.raises(ValueError, match="lambda_zz"):
        fit_trial(replace(SMALL, overrides=(("lambda_zz", 1.0),)), trial_data(SMALL))


@pytest.mark.parametrize(
    "method, backbone",
    [("mlp", "i3d"), ("mlp-ordered", "i3d"), ("sap-net", "i3d"), ("mlp", "swin"), ("avg-mtl", "c3d")],
)
def test_hidden_scores_change_nothing_bit_for_bit(method, backbone):
    trial = replace(
        SMALL,
        method=method,
        overrides=SMALL.overrides if method == "sap-net" else (),
        backbone=backbone,
        teacher="actor" if backbone == "i3d" else "frame",
    )
    data, learn = trial_data(trial), torch.nonzero(trial_data(trial).train).flatten()
    labeled = label_split(data.score[learn], trial.share, trial.seed)
    hidden = learn[~labeled]
    scrambled = list(data.records)
    for i, j in zip(hidden.tolist(), hidden.flip(0).tolist(), strict=True):
        scrambled[i] = replace(data.records[i], score=data.records[j].score)
    other = replace(data, records=tuple(scrambled), score=torch.tensor([r.score for r in scrambled]))
    assert not torch.equal(other.score, data.score)

    def predict(given):
        settings = {"steps": 6, **dict(trial.overrides)}
        fit = get_method(method)(train_set(trial, given, learn, labeled), settings, torch.Generator().manual_seed(0))
        return fit.predict(VideoBatch(given.features.views["frame"]))

    assert torch.equal(predict(data), predict(other))
    one = next(i for i in learn.tolist() if i not in hidden.tolist())
    scrambled[one] = replace(scrambled[one], score=scrambled[one].score / 2 + 1)  # a labeled score does change them
    assert not torch.equal(predict(data), predict(replace(other, records=tuple(scrambled))))


def test_optimizer_steps_are_not_places_in_a_subaction():
    network = fit_trial(SMALL, trial_data(SMALL))[0].network
    assert network.settings.steps == 5 != SMALL.steps


def test_test_scores_change_no_prediction():
    data = trial_data(SMALL)
    test = torch.nonzero(~data.train).flatten()
    score = data.score.clone()
    score[test] = score[test].flip(0)
    assert torch.equal(fit_trial(SMALL, data)[3], fit_trial(SMALL, replace(data, score=score))[3])


def test_validation_keeps_a_part_of_the_training_videos_out():
    trial = replace(SMALL, part="validation")
    data = trial_data(trial)
    learn, scored = fitting._split(trial, data)
    assert data.train[scored].all() and not set(learn.tolist()) & set(scored.tolist())
    assert len(learn) + len(scored) == int(data.train.sum())


@pytest.mark.parametrize("system", [*SYSTEMS, *CONTROLS])
def test_every_declared_system_runs(system):
    method, overrides = {**SYSTEMS, **CONTROLS}[system]
    run_trial(replace(SMALL, method=method, overrides=tuple(overrides.items()), steps=2))
    assert method in METHODS


def test_tables_declare_every_cell():
    declared = table_trials("I", PROFILES["quick"])
    assert len(declared) == (len(SYSTEMS) + len(CONTROLS)) * 5 * len(PROFILES["quick"].seeds)
    with pytest.raises(ValueError, match="IX"):
        table_trials("IX", PROFILES["quick"])


def test_floors_and_ceiling():
    rho = floors(SMALL).set_index("system").rho
    assert rho["mean"] == 0 and rho["ceiling: true quality"] > rho["difficulty alone"]


def test_scores_and_factors_of_twins_need_no_video(elsewhere, tmp_path):
    trial = replace(SMALL, seed=77, twin_seed=77)
    data = trial_data(trial)
    assert data.score.shape == data.train.shape == (36,) and len(floors(trial)) == 3
    drawn = data.factors
    assert not (tmp_path / "features").exists()
    assert torch.equal(drawn, data.features.factors) and (tmp_path / "features").is_dir()


@pytest.mark.parametrize("dataset", ["finediving", "rg", "finefs"])
def test_factors_are_those_that_the_twins_show(dataset):
    records = source_records(dataset, 3, 1, 5, None, environment.runs() / "annotations")
    shown = torch.stack([simulate(record, seed=5, size=32, offsets=torch.arange(2)).factors for record in records])
    assert torch.equal(twin_factors(records, seed=5), shown.float())


@pytest.mark.slow
def test_classes_are_learned_apart_and_averaged_by_fisher():
    ball = Trial("rg", "drawn", "mlp", 0.5, 0, "score", 12, 12, steps=4, size=48, group="Ball")
    data = trial_data(ball)
    assert {r.group for r in data.records} == {"Ball"} and len(data.records) == 6
    assert data.features.views["frame"].shape[:2] == (6, 26) and data.features.period == 1
    assert data.score.tolist() == pytest.approx([r.score for r in data.records])
    difficulty = trial_data(replace(ball, target="difficulty"))
    assert difficulty.score.tolist() == pytest.approx([r.sub_score("difficulty") for r in data.records])
    for wrong, named in (({"group": "Rope"}, "Ball, Clubs, Hoop, Ribbon"), ({"target": "tes"}, "no mark 'tes'")):
        with pytest.raises(ValueError, match=named):
            trial_data(replace(ball, **wrong))
    runs = pd.DataFrame([{"system": "a", "seed": 0, "column": c, "rho": r} for c, r in (("x", 0.2), ("y", 0.9))])
    assert with_average(runs).set_index("column").rho["Avg"] == pytest.approx(0.684, abs=1e-3)


def test_classes_train_for_the_printed_epochs():
    declared = class_trials("VI", PROFILES["quick"], ("I3D+MLP",))
    assert len(declared) == 4 * len(PROFILES["quick"].seeds)
    assert {t.group: t.epochs for t in declared.values()} == {"Ball": 300, "Clubs": 400, "Hoop": 500, "Ribbon": 300}
    assert {t.epochs for t in table_trials("I", PROFILES["quick"]).values()} == {PROFILES["quick"].epochs}
    assert {t.epochs for t in class_trials("VI", PROFILES["smoke"]).values()} == {0}
    marks = {(t.group, t.target) for t in class_trials("VII", PROFILES["quick"], ("I3D+MLP",)).values()}
    assert marks == {(g, m) for g in ("SP", "FS") for m in ("tes", "pcs")}
    with pytest.raises(ValueError, match="VI, VII"):
        class_trials("I", PROFILES["quick"], ("I3D+MLP",))
