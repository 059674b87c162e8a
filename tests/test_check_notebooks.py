"""Each notebook is checked as strictly as the results on disk allow, and a broken notebook never passes."""

from importlib import import_module
from types import SimpleNamespace

import pandas as pd
import pytest
from notebook_kit import build
from wording import in_order

from sapnet_core import reporting
from sapnet_core.experiments.declare import EPOCHS
from sapnet_core.reporting import check_notebooks as checks
from sapnet_core.reporting.notebook_trials import notebook_trials
from sapnet_core.reporting.notebooks import find, load
from sapnet_core.reporting.run_notebooks import Outcome

TRAINS = "def run_trials(trials):\n    print(trials)\n\n\nrun_trials([profile])"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two notebooks, one of which trains. Instead of starting pytest, its calls are recorded in `asked`."""
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("SAPNET_FIGURES", raising=False)
    notebooks = [
        build(tmp_path / "notebooks" / "00_plain.ipynb", "print(profile)"),
        build(tmp_path / "notebooks" / "10_fig05_trains.ipynb", TRAINS),
    ]
    project = SimpleNamespace(folder=tmp_path, notebooks=notebooks, asked=[], code=0, trials=[])

    def pytest_alone(command, **_):
        project.asked.append([word for word in command if word.endswith(".ipynb")])
        return SimpleNamespace(returncode=project.code)

    monkeypatch.setattr(checks, "find", lambda: notebooks)
    monkeypatch.setattr(checks.subprocess, "run", pytest_alone)
    monkeypatch.setattr(checks, "notebook_trials", lambda notebooks, profile="quick": [profile])
    monkeypatch.setattr(checks, "run_trials", lambda trials, *_, **__: project.trials.extend(trials))
    monkeypatch.setattr(checks, "has_result", lambda trial: (tmp_path / "runs" / "trials" / trial).is_dir())
    monkeypatch.setattr(checks, "trial_folder", lambda trial: tmp_path / "runs" / "features" / trial)
    monkeypatch.setattr(checks, "missing_figures", lambda outcomes: [])
    return project


def test_without_results_what_trains_is_run_at_the_smoke_profile(project, capsys):
    assert checks.check_notebooks()
    assert project.asked == [[str(project.notebooks[0])]] and project.trials == ["smoke"]
    said = capsys.readouterr().out
    assert in_order(said, "1 of 2", project.notebooks[0].stem, 1, "smoke", project.notebooks[1].stem)
    assert "10_fig05_trains ran" in said
    made = load(project.folder / "runs" / "smoke" / "notebooks" / "10_fig05_trains.ipynb")
    assert "smoke" in "".join(cell.outputs[0].text for cell in made.cells if cell.cell_type == "code" and cell.outputs)


def test_with_results_every_notebook_is_compared(project):
    (project.folder / "runs" / "trials" / "quick").mkdir(parents=True)
    assert checks.check_notebooks()
    assert project.asked == [[*map(str, project.notebooks)]] and project.trials == []


def test_stored_results_suffice_where_no_features_are_read(project, monkeypatch):
    (project.folder / "runs" / "trials" / "quick").mkdir(parents=True)  # as if they were stored
    build(project.notebooks[1], TRAINS + "\nfit_trial(profile)")
    smoked = []
    monkeypatch.setattr(checks, "_smoke", lambda notebooks, jobs: smoked.extend(notebooks) or True)
    assert checks.check_notebooks()
    assert project.asked == [[str(project.notebooks[0])]] and smoked == project.notebooks[1:]
    (project.folder / "runs" / "features" / "quick").mkdir(parents=True)
    assert checks.check_notebooks()
    assert project.asked[1:] == [[*map(str, project.notebooks)]]


def test_stored_results_on_real_people_are_compared_where_the_data_are_absent(project, monkeypatch, tmp_path):
    build(project.notebooks[1], TRAINS + "\nif False:\n    stored_people(size)")
    assert checks.check_notebooks()
    assert project.asked == [[*map(str, project.notebooks)]] and project.trials == []
    monkeypatch.setattr(checks, "_smoke", lambda notebooks, jobs: True)
    monkeypatch.setenv("SAPNET_DATA", str(tmp_path))
    assert checks.check_notebooks() and project.asked[1:] == [[str(project.notebooks[0])]]


def test_results_are_made_where_all_is_asked_for(project, monkeypatch):
    made = project.folder / "runs" / "trials" / "quick"
    monkeypatch.setattr(checks, "run_trials", lambda trials, *_, **__: made.mkdir(parents=True))
    assert checks.check_notebooks(every=True)
    assert project.asked == [[*map(str, project.notebooks)]]


def test_a_notebook_that_raises_fails(project, capsys):
    build(project.notebooks[1], TRAINS + "\n1 / 0")
    assert not checks.check_notebooks()
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_notebook_that_prints_something_else_fails(project):
    project.code = 1
    (project.folder / "runs" / "trials" / "quick").mkdir(parents=True)
    assert not checks.check_notebooks()


def test_a_figure_that_no_notebook_wrote_fails(project, monkeypatch, capsys):
    monkeypatch.setattr(checks, "run_all", lambda notebooks, *_: [Outcome(notebooks[0].stem, "ran", 1.0)])
    monkeypatch.setattr(checks, "missing_figures", lambda outcomes: ["fig05.png"])
    assert not checks.check_notebooks()
    assert "fig05.png" in capsys.readouterr().out


def test_missing_figures_are_named(tmp_path, monkeypatch):
    module = import_module("sapnet_core.reporting.provenance")  # its name in the package is that of a function
    monkeypatch.setattr(module, "own_profile", lambda notebook: "quick")
    for name in ("fig05.png", "fig05.csv", "fig06.svg", "index.html"):
        (tmp_path / name).write_text("")
    made = [Outcome("10_fig05_score_scatter", "ran", 1.0, ("smoke/fig05.png", "smoke/fig05.csv"))]
    assert checks.missing_figures(made, tmp_path) == ["fig06.svg"]
    for name, notebook in (("table01", "05_ablations"), ("table03", "10_fig05_score_scatter")):
        record = reporting.provenance("quick", "twins", notebook=notebook)
        monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path))
        reporting.save_table(name, pd.DataFrame({"n": [1]}), record)
    assert checks.missing_figures(made, tmp_path) == ["fig06.svg", "table03.csv", "table03.md"]  # 05 was not among them


def test_every_notebook_that_saves_a_figure_is_one_that_trains():
    """Otherwise the check would expect its figures from the other notebooks."""
    for path in find():
        saves = any("save_figure(" in cell.source or "save_table(" in cell.source for cell in load(path).cells)
        assert checks.needs_trials(path) or not saves, path.name


def test_every_trial_of_the_smoke_profile_has_the_labels_that_it_needs():
    for trial in notebook_trials(find(), checks.SMOKE):
        videos = trial.train / len(EPOCHS[trial.dataset]) if trial.group else trial.train
        assert round(trial.share * videos) >= (4 if trial.select == "validation" else 2), trial
