"""Command lines and names: what is asked for is used, or refused in one line before any work."""

import sys
from pathlib import Path

import pytest

from sapnet_core import benchmarks, calibrate, claims, detector_training, experiments, notebooks, pretrain, tuning
from sapnet_core.arguments import VARIABLES, count, output_file
from sapnet_core.data.finefs import SPLIT_RULES
from sapnet_core.experiments import KNOWN, class_trials, comparison_trials, declare, declared_trials, figure_trials
from sapnet_core.profiles import PROFILES, SPLITS, finefs_split
from sapnet_core.systems import EVERY, get_system

QUICK = PROFILES["quick"]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))


REFUSED = [
    *((module, ["--jobs", jobs], "whole") for module in (experiments, claims, tuning) for jobs in ("0", "x", "1.5")),
    *((module, ["--profile", "nope"], "quick") for module in (experiments, claims)),
    (experiments, ["--tables", "zz"], "fig07"),
    (experiments, ["--tables"], "--tables"),
    (experiments, ["--device", "cuda:99"], "cuda:99"),
    (experiments, ["--device", "meta"], "cpu or cuda"),
    (experiments, ["--device", "xyz"], "xyz"),
    (experiments, ["--table", "I", "zz"], "zz"),
    (experiments, ["I"], "I"),
    (tuning, ["--only", "zz"], "SAP-Net"),
    (tuning, ["--search", "zz"], "COREG"),
    (calibrate, [], "dataset"),
    (calibrate, ["rg"], "finediving"),
    (calibrate, ["finediving", "zz=1"], "visibility"),
    (calibrate, ["finediving", "visibility"], "field=value"),
    (calibrate, ["finediving", "visibility=x"], "no number"),
    (calibrate, ["finediving", "visibility=nan"], "visibility"),
    (calibrate, ["finediving", "bystanders=1.5"], "whole"),
    (calibrate, ["finediving", "camera=1", "camera=2"], "twice"),
    (calibrate, ["finediving", "camera=-1"], "0.0"),
    (calibrate, ["finediving", "--train", "0"], "--train"),
    (calibrate, ["finediving", "--twin-seed", "-1"], "seed"),
    (pretrain, ["resnet", "out.safetensors"], "i3d"),
    (pretrain, ["i3d"], "out"),
    (pretrain, ["i3d", "."], "folder"),
    (pretrain, ["i3d", "/etc/passwd/w"], "/etc/passwd"),
    (pretrain, ["i3d", "x" * 300 + "/w"], "long"),
    (pretrain, ["i3d", ""], "file"),
    (pretrain, ["i3d", "out", "--jobs", "-1"], "--jobs"),
    (detector_training, ["--out", "."], "folder"),
    (detector_training, ["--epochs", "0"], "--epochs"),
    (detector_training, ["--epochs", "1e3"], "1e3"),
    (benchmarks, ["--rounds", "0"], "--rounds"),
    (benchmarks, ["--threads", "0"], "--threads"),
    (benchmarks, ["--threads", "-2"], "--threads"),
    (notebooks, ["zz"], "00_start_here"),
    (notebooks, [""], "names"),
    (notebooks, ["--zz"], "--zz"),
]


@pytest.mark.parametrize("module, arguments, word", REFUSED)
def test_a_command_says_what_is_wrong_before_any_work(tmp_path, capsys, module, arguments, word):
    try:
        code = module.main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.count("\n") == 1 and word in err, err
    assert not (tmp_path / "runs").exists()


EVERY_COMMAND = (experiments, claims, tuning, calibrate, pretrain, detector_training, benchmarks, notebooks)


@pytest.mark.parametrize("module", EVERY_COMMAND)
def test_a_variable_that_cannot_be_used_stops_every_command(monkeypatch, capsys, module):
    monkeypatch.setenv("SAPNET_CHECKPOINT", "soon")
    needed = {calibrate: ["finediving"], pretrain: ["i3d", "weights"], notebooks: ["00"]}
    assert module.main(needed.get(module, [])) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "SAPNET_CHECKPOINT='soon'" in err


def test_own_videos_and_empty_folders_make_no_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAPNET_DATA", str(tmp_path))
    for module in (experiments, claims):
        assert module.main([]) == 2 and str(tmp_path) in capsys.readouterr().err
    (tmp_path / "records.csv").write_text("id,path,score,split\n")
    for module in (experiments, claims):
        assert module.main([]) == 2 and "own videos" in capsys.readouterr().err


def test_whole_numbers_and_files():
    assert count("12") == 12
    assert output_file("not/there/yet.safetensors") == Path("not/there/yet.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that even root cannot write to is at /proc")
def test_a_file_where_nobody_can_write_is_refused(capsys):
    with pytest.raises(SystemExit):
        pretrain.main(["i3d", "/proc/weights/i3d.safetensors"])
    assert "/proc" in capsys.readouterr().err


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: get_system("SAP-Net"), ("SAP-Net (Ours)", "Action-Net")),
        (lambda: get_system(None), ("None",)),
        (lambda: declare("mtl-aqa", "zz", 0.1, 0, QUICK), ("zz", "I3D+MLP")),
        (lambda: declare("aqa-7", "I3D+MLP", 0.1, 0, QUICK), ("aqa-7", "finediving")),
        (lambda: declare("rg", "I3D+MLP", 0.1, 0, QUICK, group="Rope"), ("Rope", "Ball, Clubs, Hoop, Ribbon")),
        (lambda: declare("mtl-aqa", "I3D+MLP", 0.1, 0, QUICK, group="Ball"), ("Ball",)),
        (lambda: declare("mtl-aqa", "I3D+MLP", 0.1, 0, QUICK, lambda_zz=1), ("lambda_zz", "lr")),
        (lambda: declare("mtl-aqa", "SAP-Net (Ours)", 0.1, 0, QUICK, K=3.5), ("K=3.5", "whole number")),
        (lambda: declare("mtl-aqa", "SAP-Net (Ours)", 0.1, 0, QUICK, M=2), ("K = 3", "M = 2")),
        (lambda: declare("mtl-aqa", "SAP-Net (Ours)", 10, 0, QUICK), ("share=10",)),
        (lambda: declared_trials("zz", QUICK), ("zz", "I, II", "fig07")),
        (lambda: figure_trials("fig99", QUICK), ("fig99", "fig05")),
        (lambda: comparison_trials("I", QUICK), ("'I'", "IV")),
        (lambda: class_trials("VI", QUICK, ("zz",)), ("zz", "I3D+MLP")),
        (lambda: tuning.tuning_trials("zz"), ("zz", "tau = 0")),
        (lambda: tuning.search_candidates("zz"), ("zz", "COREG")),
        (lambda: calibrate.baseline_rho("rg", None), ("rg", "mtl-aqa")),
        (lambda: notebooks.find(["", "00"]), ("00_start_here",)),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(call, words):
    with pytest.raises(ValueError) as refusal:
        call()
    assert "\n" not in str(refusal.value) and all(word in str(refusal.value) for word in words), refusal.value


def test_every_known_name_is_found():
    assert [get_system(name) for name in EVERY] == list(EVERY.values())
    assert all(declared_trials(name, QUICK) for name in KNOWN)


def test_rules_that_split_are_those_of_the_reader(monkeypatch):
    assert SPLITS == tuple(SPLIT_RULES) and finefs_split() == SPLITS[0]
    monkeypatch.setenv("SAPNET_SPLIT", "bar")
    with pytest.raises(ValueError, match="SAPNET_SPLIT='bar' .*interleaved"):
        finefs_split()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cells": 3, "nbformat": 4}', "\ud800"])
def test_a_damaged_notebook_is_named(tmp_path, content):
    file = tmp_path / "00_damaged.ipynb"
    file.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(ValueError) as refusal:
        notebooks.load(file)
    assert str(refusal.value).startswith(str(file)) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", 0),
        ("videos", 1.5),
        ("rate", 0.0),
        ("width", float("nan")),
        ("held_out", 1.1),
        ("batch", "8"),
        ("decay", -1.0),
    ],
)
def test_recipes_refuse_what_cannot_be(field, value):
    for recipe in (pretrain.Recipe, detector_training.Recipe):
        if field in recipe.__dataclass_fields__:
            with pytest.raises(ValueError, match=field):
                recipe(**{field: value})
    with pytest.raises(ValueError, match="sports"):
        detector_training.Recipe(sports=("curling",))
