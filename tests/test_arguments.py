"""Command lines and names: wrong ones are refused in one line, before any work begins."""

import resource
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import sapnet_core.__main__ as command_line
from sapnet_core.datasets import READERS
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.datasets.finefs import SPLIT_RULES
from sapnet_core.experiments import names, tables
from sapnet_core.experiments.profiles import DATASETS, PROFILES
from sapnet_core.experiments.systems import EVERY, get_system
from sapnet_core.experiments.tables import (
    class_trials,
    comparison_trials,
    declare,
    declared_trials,
    figure_trials,
)
from sapnet_core.recipes import (
    calibrate_simulator,
    command_lines,
    look_at_core,
    pretrain_backbones,
    tune_methods,
    tuning_space,
)
from sapnet_core.recipes import (
    train_detector as detector_training,
)
from sapnet_core.reporting import notebooks
from sapnet_core.runtime.arguments import VARIABLES, count, output_file
from sapnet_core.runtime.environment import SPLITS, finefs_split, root
from sapnet_core.simulator.settings import SimSettings

QUICK, ROOT = PROFILES["quick"], root()


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))


REFUSED = [
    *(
        (command, ["--jobs", jobs], "whole")
        for command in ("trials", "study", "verify", "claims", "recipe tune_methods", "recipe measure_rounding")
        for jobs in ("0", "x", "1.5")
    ),
    *((command, ["--profile", "nope"], "quick") for command in ("trials", "study", "claims")),
    ("study", ["--tables", "zz"], "fig07"),
    ("study", ["--seeds", "-1"], "--seeds"),
    ("study", ["--seeds", "1.5"], "whole"),
    ("study", ["--seeds", "99"], "0, 1, 2, 3, 4"),
    *(("verify", [many], "whole") for many in ("0", "x", "1.5")),
    ("verify", ["--seed", "-1"], "--seed"),
    ("verify", ["--seed", "x"], "whole"),
    ("verify", ["5", "6"], "6"),
    ("recipe measure_rounding", ["--datasets", "zz"], "finediving"),
    ("recipe measure_rounding", ["--trials", "0"], "--trials"),
    ("trials", ["--tables", "zz"], "fig07"),
    ("trials", ["--tables"], "--tables"),
    ("trials", ["--device", "cuda:99"], "cuda:99"),
    ("trials", ["--device", "meta"], "cpu or cuda"),
    ("trials", ["--device", "xyz"], "xyz"),
    ("trials", ["--table", "I", "zz"], "zz"),
    ("trials", ["I"], "I"),
    ("recipe tune_methods", ["--only", "zz"], "SAP-Net"),
    ("recipe tune_methods", ["--search", "zz"], "COREG"),
    ("recipe look_at_core", ["--only", "zz"], "exemplars = 5"),
    ("recipe calibrate_simulator", [], "dataset"),
    ("recipe calibrate_simulator", ["zz"], "finediving"),
    ("recipe calibrate_simulator", ["finediving", "zz=1"], "visibility"),
    ("recipe calibrate_simulator", ["finediving", "visibility"], "field=value"),
    ("recipe calibrate_simulator", ["finediving", "visibility=x"], "not a number"),
    ("recipe calibrate_simulator", ["finediving", "visibility=nan"], "visibility"),
    ("recipe calibrate_simulator", ["finediving", "bystanders=1.5"], "whole"),
    ("recipe calibrate_simulator", ["finediving", "camera=1", "camera=2"], "twice"),
    ("recipe calibrate_simulator", ["finediving", "camera=-1"], "0.0"),
    ("recipe calibrate_simulator", ["finediving", "--train", "0"], "--train"),
    ("recipe calibrate_simulator", ["finediving", "--twin-seed", "-1"], "seed"),
    ("recipe pretrain_backbones", ["resnet", "out.safetensors"], "i3d"),
    ("recipe pretrain_backbones", ["i3d"], "out"),
    ("recipe pretrain_backbones", ["i3d", "."], "folder"),
    ("recipe pretrain_backbones", ["i3d", "/etc/passwd/w"], "/etc/passwd"),
    ("recipe pretrain_backbones", ["i3d", "x" * 300 + "/w"], "long"),
    ("recipe pretrain_backbones", ["i3d", ""], "file"),
    ("recipe pretrain_backbones", ["i3d", "out", "--jobs", "-1"], "--jobs"),
    ("recipe train_detector", ["--out", "."], "folder"),
    ("recipe train_detector", ["--epochs", "0"], "--epochs"),
    ("recipe train_detector", ["--epochs", "1e3"], "1e3"),
    ("export", ["--model", "x" * 300 + "/w"], "long"),
    ("benchmark", ["--rounds", "0"], "--rounds"),
    ("benchmark", ["--threads", "0"], "--threads"),
    ("benchmark", ["--threads", "-2"], "--threads"),
    ("notebooks", ["zz"], "00_start_here"),
    ("notebooks", [""], "names"),
    ("notebooks", ["--zz"], "--zz"),
]


@pytest.mark.parametrize("command, arguments, word", REFUSED)
def test_a_command_says_what_is_wrong_before_any_work(tmp_path, capsys, command, arguments, word):
    try:
        code = command_line.main([*command.split(), *arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.count("\n") == 1 and word in err, err
    assert not (tmp_path / "runs").exists()


EVERY_COMMAND = (
    "trials",
    "verify",
    "claims",
    "recipe tune_methods",
    "recipe measure_rounding",
    "recipe calibrate_simulator",
    "recipe pretrain_backbones",
    "recipe train_detector",
    "benchmark",
    "notebooks",
)


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_a_variable_that_cannot_be_used_stops_every_command(monkeypatch, capsys, command):
    monkeypatch.setenv("SAPNET_CHECKPOINT", "soon")
    needed = {
        "recipe calibrate_simulator": ["finediving"],
        "recipe pretrain_backbones": ["i3d", "weights"],
        "notebooks": ["00"],
    }
    assert command_line.main([*command.split(), *needed.get(command, [])]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "SAPNET_CHECKPOINT='soon'" in err


def test_own_videos_and_empty_folders_make_no_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAPNET_DATA", str(tmp_path))
    for command in ("trials", "claims"):
        assert command_line.main([command]) == 2 and str(tmp_path) in capsys.readouterr().err
    (tmp_path / "records.csv").write_text("id,path,score,split\n")
    for command in ("trials", "claims"):
        assert command_line.main([command]) == 2 and "own videos" in capsys.readouterr().err


def test_whole_numbers_and_files():
    assert count("12") == 12
    assert output_file("not/there/yet.safetensors") == Path("not/there/yet.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that even root cannot write to is at /proc")
def test_a_file_where_nobody_can_write_is_refused(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["recipe", "pretrain_backbones", "i3d", "/proc/weights/i3d.safetensors"])
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
        (lambda: tune_methods.tuning_trials("zz"), ("zz", "COREG: defaults")),
        (lambda: tuning_space.search_candidates("zz"), ("zz", "COREG")),
        (lambda: calibrate_simulator.baseline_rho("zz", None), ("zz", "mtl-aqa")),
        (lambda: notebooks.find(["", "00"]), ("00_start_here",)),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(call, words):
    with pytest.raises(ValueError) as refusal:
        call()
    assert "\n" not in str(refusal.value) and all(word in str(refusal.value) for word in words), refusal.value


def test_every_known_name_is_found():
    assert [get_system(name) for name in EVERY] == list(EVERY.values())
    without = [name for name in names.KNOWN if not declared_trials(name, QUICK)]
    assert without == ["trained"] and declared_trials("trained", PROFILES["study"])


def test_names_that_a_parser_knows_are_those_of_the_modules_behind_it():
    assert names.KNOWN == (*tables.TABLES, *tables.CLASS_TABLES, *tables.FIGURES)
    assert command_line.CHECKED == tuple(READERS)
    assert command_lines.BACKBONES == tuple(pretrain_backbones.RECIPES)
    assert command_lines.LOOKS == (*look_at_core.CANDIDATES, *look_at_core.CONTROLS)
    assert command_lines.SETTINGS == {field.name: field.type for field in fields(SimSettings)}
    assert tuple(calibrate_simulator.AIM) == DATASETS and set(DATASETS) == set(FOLDERS)


def test_the_ledger_is_counted_for_the_study_as_in_the_notebooks():
    assert command_line.parse(["claims"]).profile == command_line.parse(["study"]).profile == "study"


HEAVY = ("torch", "numpy", "pandas", "matplotlib", "nbclient", "papermill", "tqdm")
WRONG = [
    ("trials", "--profle", "quick"),
    ("trails",),
    ("run", "--only", "9z"),
    ("run", "--profile", "quik"),
    ("test", "--only", "03"),
    ("check", "no-such-folder"),
    ("check", ".", "mtl-aqua"),
    ("verify", "0"),
    ("claims", "--jobs", "0"),
    ("provenance",),
    ("benchmark", "--device", "gpu"),
    ("notebooks", "9z"),
    ("gallery", "--profile", "quik"),
    ("recipe", "tune_methods", "--search", "COREGG"),
]


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_what_is_misspelled_is_answered_before_anything_heavy_is_loaded(command):
    code = (
        "import sys\nfrom sapnet_core.__main__ import main\n"
        f"try:\n    code = main({list(command)})\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"assert not {set(HEAVY)} & set(sys.modules), sorted(sys.modules)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1, done.stderr


def test_an_unknown_recipe_is_answered_with_all_recipes_and_the_help_says_what_they_make(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(["recipe", "nothing_like_it"])
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "") and err.count("\n") == 1 and err.startswith("sapnet recipe: ")
    assert all(name in err for name in command_lines.RECIPES)
    with pytest.raises(SystemExit) as stop:
        command_line.main(["recipe", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and all(text in shown for text, _ in command_lines.RECIPES.values())


def test_every_recipe_is_a_module_that_says_how_it_is_started():
    for name in command_lines.RECIPES:
        module = import_module(f"sapnet_core.recipes.{name}")
        assert callable(module.main) and f"python -m sapnet_core recipe {name}" in module.__doc__


COMMANDS = [["trials"], ["run"], ["gallery"], ["notebooks"], *(["recipe", name] for name in command_lines.RECIPES)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_misspelled_option_is_answered_within_a_second(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "sapnet_core", *command, "--profle", "quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize(
    "arguments, meant",
    [
        (["trials", "--profle", "quick"], "--profile"),
        (["trials", "--profile", "quik"], "quick"),
        (["trials", "--tables", "fig7"], "fig07"),
        (["run", "--onyl=03"], "--only"),
        (["provenence", "figures/fig07.png"], "provenance"),
        (["recipe", "tune-methods"], "tune_methods"),
        (["recipe", "train_detector", "--epochs=1", "--outt", "x"], "--out"),
        (["check", ".", "finediveing"], "finediving"),
    ],
)
def test_the_nearest_word_is_suggested(capsys, arguments, meant):
    with pytest.raises(SystemExit):
        command_line.main(arguments)
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, meant",
    [
        (["run", "--onl", "03"], "--only"),
        (["trials", "--profil", "quick"], "--profile"),
        (["gallery", "--page"], "--pages"),
        (["verify", "--see", "1"], "--seed"),
        (["score", "film.mp4", "--mode", "judge.safetensors"], "--model"),
        (["recipe", "tune_methods", "--job=1"], "--jobs"),
    ],
)
def test_a_truncated_option_is_refused(capsys, arguments, meant):
    with pytest.raises(SystemExit) as stop:
        command_line.main(arguments)
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "") and err.count("\n") == 1 and meant in err


def test_rules_that_split_are_those_of_the_reader(monkeypatch):
    assert SPLITS == tuple(SPLIT_RULES) and finefs_split() == SPLITS[0]
    monkeypatch.setenv("SAPNET_SPLIT", "bar")
    with pytest.raises(ValueError, match="SAPNET_SPLIT='bar'.*interleaved"):
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
    for recipe in (pretrain_backbones.Recipe, detector_training.Recipe):
        if field in recipe.__dataclass_fields__:
            with pytest.raises(ValueError, match=field):
                recipe(**{field: value})
    with pytest.raises(ValueError, match="sports"):
        detector_training.Recipe(sports=("curling",))
