"""Verification: a stored trial that is trained again has the same bits, and a number that was edited is found."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from wording import in_order

from sapnet_core.__main__ import main
from sapnet_core.experiments import stored, verify
from sapnet_core.experiments.intervals import bootstrap_interval
from sapnet_core.experiments.metrics import relative_l2, spearman
from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.experiments.result_files import parse_predictions, result_name
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import SMALL
from sapnet_core.experiments.stored_rows import rows_of_files, schemas
from sapnet_core.experiments.trial import Trial
from sapnet_core.recipes import measure_rounding
from sapnet_core.recipes.store_small import small_trials
from sapnet_core.runtime import environment

ONE = Trial("finediving", "drawn", "mlp", 0.5, 0, "score", 16, 8, steps=3, size=48)
OTHER = replace(ONE, method="ridge")


@pytest.fixture(scope="module")
def trained(own_runs):
    run_trials([ONE, OTHER])
    return own_runs


@pytest.fixture
def study(trained, tmp_path, monkeypatch):
    """The stored results of both trials, and an empty folder of runs."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "study")
    monkeypatch.delenv("SAPNET_RECOMPUTE", raising=False)
    stored.store([ONE, OTHER])
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    return tmp_path / "study"


def edited(files, metrics=None, run=None, predicted=None):
    """The files of a result with other values in them, all its metrics or those given."""
    table = parse_predictions(files["predictions.csv"])
    if predicted is not None:
        table["predicted"] = predicted(table["predicted"])
    texts = {name: json.dumps(json.loads(files[name]) | (new or {}), indent=1) + "\n" for name, new in
             (("metrics.json", metrics), ("run.json", run))}  # fmt: skip
    texts["predictions.csv"] = table.to_csv(index=False, float_format="%.6f")
    return files | {name: text.encode() for name, text in texts.items()}


def forge(folder, trial, files):
    """Replace a stored result, with its SHA-256, as somebody who knows the tables would."""
    for name, rows in rows_of_files(trial, files).items():
        path = folder / f"{name}.parquet"
        others = pq.read_table(path).filter(pc.field("trial") != result_name(trial))
        table = pa.concat_tables([others, rows.cast(schemas(type(trial))[name])]).sort_by("trial")
        pq.write_table(table.combine_chunks(), path, store_schema=False)


def metrics_of(files):
    """The metrics that follow from the predictions of a result."""
    table = parse_predictions(files["predictions.csv"])
    predicted, true = (torch.tensor(table[name].to_numpy()) for name in ("predicted", "score"))
    low, high = bootstrap_interval(predicted, true)
    rho, r_l2 = float(spearman(predicted, true)), 100 * float(relative_l2(predicted, true))
    return {"rho": round(rho, 6), "rho_low": round(low, 6), "rho_high": round(high, 6), "r_l2": round(r_l2, 6)}


def test_a_draw_is_spread_over_datasets_and_methods():
    methods = {"finediving": ("mlp", "ridge", "usdl"), "mtl-aqa": ("mlp", "svr"), "rg": ("mlp",)}
    kinds = [(dataset, method) for dataset in methods for method in methods[dataset]]
    trials = [replace(ONE, dataset=one, method=other, seed=seed) for one, other in kinds for seed in range(4)]
    for seed in range(20):
        drawn = verify.draw(trials, 8, seed)
        assert drawn == verify.draw(reversed(trials), 8, seed) and len({*drawn}) == 8
        assert len({(t.dataset, t.method) for t in drawn[:6]}) == 6 and len({t.dataset for t in drawn[:3]}) == 3
        assert max(Counter((t.dataset, t.method) for t in drawn).values()) == 2
    assert verify.draw(trials, 5, 1) != verify.draw(trials, 5, 2)
    assert sorted(verify.draw(trials, 99, 0), key=repr) == sorted(trials, key=repr)


def test_trials_trained_from_nothing_have_the_stored_bits(study, monkeypatch, capsys):
    seen = []

    def watched(trials, jobs, **bars):
        before = [*environment.runs().iterdir()]
        folders = run_trials(trials, jobs, **bars)
        seen.append((environment.runs(), before, {path.name for path in environment.runs().iterdir()}))
        return folders

    monkeypatch.setattr(verify, "run_trials", watched)
    variables = dict(os.environ)
    assert main(["verify", "9", "--seed", "3", "--jobs", "1"]) == 0
    ((folder, before, after),) = seen
    assert folder.parent == study.parent / "runs" and not before and {"features", "trials"} <= after
    assert not [*folder.parent.iterdir()] and dict(os.environ) == variables
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first.startswith("2 of 2 ") and len(lines) == 2
    assert {line.partition(":")[0] for line in lines} == {result_name(ONE), result_name(OTHER)}
    assert all(in_order(line, "up to 0 points", "same processor", verify.EQUAL) for line in lines)
    assert in_order(last, "2 trials", "seed 3", f"2 {verify.EQUAL}") and last.endswith(verify.EQUAL)


def test_trials_of_the_datasets_that_are_asked_for_are_drawn_alone(study, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(verify, "draw", lambda trials, count, seed: seen.append({*trials}) or [])
    for datasets in DATASETS:
        assert main(["verify", "--datasets", datasets]) == 2
        assert in_order(capsys.readouterr().err, "no trials", datasets)
    assert main(["verify"]) == 2
    assert seen == [*({one for one in (ONE, OTHER) if one.dataset == name} for name in DATASETS), {ONE, OTHER}]
    assert any(seen[:-1]) and not all(seen)


def test_numbers_that_were_edited_with_their_checksum_are_found(study, capsys):
    """One rho is edited alone; of the other trial, two predictions change places, and all metrics follow them."""
    forge(study, ONE, edited(stored.stored_files(ONE), {"rho": 0.987}))
    swapped = edited(stored.stored_files(OTHER), predicted=lambda p: p.rename({0: 1, 1: 0}).sort_index())
    forge(study, OTHER, edited(swapped, metrics_of(swapped)))
    assert main(["verify", "--jobs", "1"]) == 1
    first, second, *lines, last = capsys.readouterr().out.splitlines()
    assert in_order(first, f"{result_name(ONE)}: rho ", "0.987") and second.startswith("1 of 2 ")
    assert len(lines) == 2 and all(in_order(line, verify.DIFFERS, "same processor") for line in lines)
    assert in_order(next(line for line in lines if line.startswith(result_name(ONE))), "rho 0.9870")
    assert last.endswith(f": 2 {verify.DIFFERS}")


@pytest.mark.parametrize("name", ["rho", "rho_low", "rho_high", "r_l2", "n"])
def test_every_metric_that_follows_from_predictions_is_compared(study, name):
    files = stored.stored_files(ONE)
    assert not verify.inconsistency(files, intervals=True)
    value = json.loads(files["metrics.json"])[name]
    fault = verify.inconsistency(edited(files, {name: value + (1 if name == "n" else 0.001)}), intervals=True)
    assert fault.startswith(f"{name} ")


def test_predictions_that_rounding_made_equal_are_no_fault(study):
    files = stored.stored_files(ONE)
    apart = edited(files, predicted=lambda p: p.mask(p.index == 1, p[0] + 2e-6))
    equal = edited(files, metrics_of(apart), predicted=lambda p: p.mask(p.index == 1, p[0]))
    assert not verify.inconsistency(equal, intervals=True)
    assert verify.inconsistency(edited(equal, {"rho": json.loads(equal["metrics.json"])["rho"] + 0.3}))


def test_another_processor_is_judged_by_the_measured_noise(study):
    old = stored.stored_files(ONE)
    other = {"bfloat16": "float32"}.get(verify.facts(old)["numbers"], "bfloat16")
    new = edited(old, run={"processor": "another"}, predicted=lambda p: p + 0.5)
    moved = verify.difference(old, new)
    scores = parse_predictions(old["predictions.csv"])["score"]
    assert moved == (0, pytest.approx(0.5, abs=2e-6), pytest.approx(0.5 / scores.std(), abs=1e-5))
    assert verify.agreement(old, old | {"run.json": new["run.json"]}, None).word == verify.EQUAL
    assert verify.agreement(old, edited(new, run=json.loads(old["run.json"])), None).word == verify.DIFFERS
    agrees = verify.agreement(old, new, None)
    assert agrees.word == verify.OPEN and "no measured noise" in agrees.reason
    for relative, word in ((0.51, verify.WITHIN), (0.49, verify.DIFFERS)):  # twice the noise is allowed
        noise = verify.Noise(0.0, relative * moved.relative)
        assert verify.agreement(old, new, noise).word == word
        assert verify.agreement(old, edited(new, run={"numbers": other}), noise).word == verify.OPEN
        assert verify.agreement(old, edited(new, {"labeled": 1}), noise).word == verify.DIFFERS
    rho = json.loads(old["metrics.json"])["rho"]
    assert "rho by 0.2" in verify.agreement(old, edited(new, {"rho": rho - 0.2}), verify.Noise(0.09, 9.0)).reason


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_is_trained_again_in_its_own_number_format(study, monkeypatch, tmp_path, capsys, jobs):
    """Results in float32 are stored; on a processor that computes in bfloat16 these are results of another format."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("SAPNET_RUNS", str(here))
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "float32")
    monkeypatch.setenv("SAPNET_NUMBERS", "float32")
    run_trials([ONE, OTHER])
    monkeypatch.delenv("SAPNET_NUMBERS")
    stored.store([ONE, OTHER])
    assert {verify.facts(stored.stored_files(trial))["numbers"] for trial in (ONE, OTHER)} == {"float32"}
    assert main(["verify", "--jobs", str(jobs)]) == 0
    assert capsys.readouterr().out.endswith(f": 2 {verify.EQUAL}\n")


def test_a_number_format_that_this_processor_lacks_is_not_decided(study, monkeypatch, capsys):
    for numbers, own, found in (
        ("float32", torch.float32, "float32"),
        ("float32", torch.bfloat16, "float32"),
        ("bfloat16", torch.bfloat16, "bfloat16"),
        ("bfloat16", torch.float32, ""),
        ("float8", torch.bfloat16, ""),
    ):
        forge(study, OTHER, edited(stored.stored_files(OTHER), run={"numbers": numbers, "processor": "another"}))
        monkeypatch.setattr(verify, "fast_dtype", lambda device, own=own: own)
        assert verify.stored_format(OTHER) == found
    old = stored.stored_files(OTHER)
    new = edited(old, run={"numbers": "float32"}, predicted=lambda p: p + 0.5)
    agrees = verify.agreement(old, new, verify.Noise(9, 9))
    assert agrees.word == verify.OPEN and in_order(agrees.reason, "float8", "float32")


@pytest.fixture
def small(study):
    """The folder of the small stored trials; none of the study is stored."""
    (study / SMALL).mkdir()
    for table in stored.TABLES:
        file = stored.folder() / f"{table}.parquet"
        file.rename(study / SMALL / file.name)
    return study / SMALL


def test_the_small_trials_are_verified_and_never_read_in_place_of_a_training(small, capsys):
    assert main(["verify", "--small", "--jobs", "1"]) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first.startswith("2 of 2 ") and len(lines) == 2
    assert in_order(last, "2 small", f"2 {verify.EQUAL}") and last.endswith(verify.EQUAL)
    assert {*stored.stored_trials(SMALL)} == {ONE, OTHER}
    assert not stored.is_stored(ONE) and not stored.stored_names()


def test_on_another_processor_a_small_trial_may_be_rounded_but_not_edited(small, monkeypatch, capsys):
    """Of one trial, all predictions are rounded otherwise; of the other, one prediction was edited, and all metrics
    follow it."""
    anew = {trial: stored.stored_files(trial, SMALL) for trial in (ONE, OTHER)}
    monkeypatch.setattr(verify, "train_again", lambda trials, jobs, runs, shelf: anew)
    monkeypatch.setitem(verify.SMALL_NOISE, "ridge", verify.SMALL_NOISE["mlp"])
    scores = parse_predictions(anew[ONE]["predictions.csv"])["score"]
    for trial, moved in ((ONE, lambda p: p + 0.002 * scores.std()), (OTHER, lambda p: p.where(p.index != 3, p + 9))):
        single = lambda p, moved=moved: moved(p).astype("float32").astype(float)  # noqa: E731 (as predictions are)
        files = edited(anew[trial], run={"processor": "another"}, predicted=single)
        forge(small, trial, edited(files, metrics_of(files)))
    assert main(["verify", "--small", "--jobs", "1"]) == 1
    first, *lines, last = capsys.readouterr().out.splitlines()
    told = {line.partition(":")[0]: line for line in lines}
    assert first.startswith("2 of 2 ") and last.endswith(f": 1 {verify.WITHIN}, 1 {verify.DIFFERS}")
    assert in_order(told[result_name(ONE)], "other processor", verify.WITHIN)
    assert in_order(told[result_name(OTHER)], verify.DIFFERS, "rounding")


def test_small_trials_of_other_code_are_one_line(small, monkeypatch, capsys):
    monkeypatch.setattr(verify, "current_trials", lambda shelf: [ONE])
    assert main(["verify", "--small"]) == 2
    assert in_order(capsys.readouterr().err, stored.folder(SMALL), 1, 2, "git checkout", "recipe store_small")


def test_the_small_trials_that_are_stored_are_those_of_this_code(monkeypatch):
    monkeypatch.delenv("SAPNET_RECOMPUTE", raising=False)
    assert {*verify.current_trials(SMALL)} == {*stored.stored_trials(SMALL)} == {*small_trials()}
    for trial in small_trials():
        assert trial.method in verify.SMALL_NOISE
        files = stored.stored_files(trial, SMALL)
        assert verify.facts(files)["numbers"] == "float32" and not verify.inconsistency(files, intervals=True)


def test_what_cannot_be_verified_is_one_line(study, monkeypatch, capsys):
    def refused(word):
        assert main(["verify", "--jobs", "1"]) == 2
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1 and str(study) in err and word in err, err

    verify.rounding_file().write_text("dataset,method,processor,trials,rho,relative\nrg,mlp,A CPU,20,0.1,-1\n")
    refused("rounding.csv")
    verify.rounding_file().write_text("dataset,method\nrg,mlp\n")
    refused("rounding.csv")
    verify.rounding_file().unlink()
    with monkeypatch.context() as patch:
        patch.setattr(verify, "result_name", lambda trial: "finediving-mlp-of-other-code")
        refused("none of the 2 trials")
    path = study / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    refused("predictions.parquet")
    for file in study.iterdir():
        file.unlink()
    refused("no trials are stored")
    assert not [*(study.parent / "runs").iterdir()]


def test_ctrl_c_leaves_nothing_behind(study, monkeypatch, capsys):
    def stopped(trials, jobs, **bars):
        (environment.runs() / "features").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "run_trials", stopped)
    variables = dict(os.environ)
    assert main(["verify", "1"]) == 130 and "stopped" in capsys.readouterr().err
    assert not [*(study.parent / "runs").iterdir()] and dict(os.environ) == variables


def test_without_other_kernels_no_noise_is_measured(study):
    with pytest.raises(ValueError, match="processor with AVX2"):
        measure_rounding.noise_row([OTHER], 1)


def row_of(trials, jobs=1, rho=0.25):
    values = (trials[0].dataset, trials[0].method, "Another CPU", len(trials), rho, 0.01)
    return dict(zip(verify.COLUMNS, values, strict=True))


def as_of_another_processor(study, monkeypatch):
    """Both stored trials become those of another kind of processor; the recipe trains nothing and gives `row_of`."""
    monkeypatch.setattr(measure_rounding, "noise_row", row_of)
    for trial in (ONE, OTHER):
        forge(study, trial, edited(stored.stored_files(trial), run={"processor": "another"}))


def test_trials_of_this_kind_of_processor_are_left_out(study, monkeypatch, capsys):
    as_of_another_processor(study, monkeypatch)
    here = measure_rounding.processor_kind()
    forge(study, OTHER, edited(stored.stored_files(OTHER), run={"processor": here}))
    assert not main(["recipe", "measure_rounding"])
    assert verify.rounding_noise() == {("finediving", "mlp"): (0.25, 0.01)}
    assert in_order(capsys.readouterr().err, "1 of 2 ", "left out", "this kind of processor")
    forge(study, ONE, edited(stored.stored_files(ONE), run={"processor": here}))
    assert main(["recipe", "measure_rounding"]) == 2
    assert in_order(capsys.readouterr().err, "2 of 2 ", "left out", "--older")


def test_trials_in_a_number_format_that_is_missing_here_are_left_out(study, monkeypatch, capsys):
    as_of_another_processor(study, monkeypatch)
    forge(study, OTHER, edited(stored.stored_files(OTHER), run={"numbers": "float8"}))
    assert not main(["recipe", "measure_rounding"])
    assert verify.rounding_noise() == {("finediving", "mlp"): (0.25, 0.01)}
    assert in_order(capsys.readouterr().err, "1 of 2 ", "left out", "number format")


def test_trials_in_the_number_format_of_this_processor_come_first(monkeypatch):
    second = replace(ONE, seed=1)
    monkeypatch.setattr(measure_rounding, "stored_format", {ONE: "float32", second: "bfloat16"}.get)
    monkeypatch.setattr(measure_rounding, "stored_files", lambda trial: {})
    monkeypatch.setattr(measure_rounding, "facts", lambda files: {"processor": "another"})
    for own in ("float32", "bfloat16"):
        monkeypatch.setattr(measure_rounding, "format_name", lambda own=own: own)
        expected = [ONE] if own == "float32" else [second]
        assert measure_rounding._measurable([ONE, second]) == {("finediving", "mlp"): expected}
    assert measure_rounding._measurable([ONE]) == {("finediving", "mlp"): [ONE]}


def test_what_is_measured_is_not_measured_again_unless_more_trials_are_asked_for(study, monkeypatch, capsys):
    as_of_another_processor(study, monkeypatch)
    for method, trials in (("mlp", 0), ("ridge", 1)):
        measure_rounding.store_row(row_of([replace(ONE, method=method)], rho=0.5) | {"trials": trials})
    assert not main(["recipe", "measure_rounding", "--trials", "9"])
    assert verify.rounding_noise() == {("finediving", "mlp"): (0.25, 0.01), ("finediving", "ridge"): (0.5, 0.01)}
    kept, anew = capsys.readouterr().out.splitlines()
    assert anew == "finediving mlp Another CPU 1 0.25 0.01" and in_order(kept, "finediving ridge", "before")


@pytest.mark.parametrize("slow", ["mlp", "ridge"])
def test_the_quickest_system_comes_first(study, monkeypatch, capsys, slow):
    as_of_another_processor(study, monkeypatch)
    monkeypatch.setattr(measure_rounding, "expected_seconds", lambda trials: [float(t.method == slow) for t in trials])
    assert not main(["recipe", "measure_rounding"])
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == slow


def test_a_row_of_noise_replaces_the_earlier_one(study):
    for method, rho in (("mlp", 0.5), ("ridge", 0.25), ("mlp", 0.125)):
        measure_rounding.store_row(row_of([replace(ONE, dataset="rg", method=method)], rho=rho))
    assert verify.rounding_noise() == {("rg", "mlp"): (0.125, 0.01), ("rg", "ridge"): (0.25, 0.01)}


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="this processor has no other kernels")
def test_the_recipe_trains_with_other_kernels(study):
    code = (
        "import sys\nfrom pathlib import Path\nfrom sapnet_core.__main__ import main\n"
        f"from sapnet_core.experiments import stored\nstored.FOLDER = Path({str(study)!r})\n"
        "sys.exit(main(['recipe', 'measure_rounding', '--older', '--datasets', 'finediving', '--jobs', '1']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=environment.root(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(Path(study) / "rounding.csv")
    assert table.method.to_list() == ["mlp", "ridge"] and table.trials.to_list() == [1, 1]
    assert (table.relative < 0.1).all() and table.relative.max() > 0
