"""The notebook runner: outputs are complete or unchanged, misspelled arguments are refused, and nothing runs twice."""

import os
import sys

import nbformat
import numpy as np
import pytest
from notebook_kit import build, change

from sapnet_core.__main__ import main
from sapnet_core.reporting import run_notebooks
from sapnet_core.reporting.inputs import inputs_digest
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import VARIABLES, check_environment

DRAW = """import os
from pathlib import Path
from sapnet_core.runtime.environment import figures
figures().mkdir(exist_ok=True)
print((figures() / f"fig99_{profile}.csv").write_text(f"{count}\\n"))"""


def enter(folder, patch):
    """Make an empty folder the root of a project with figures/; the environment variables point into it."""
    patch.setenv("SAPNET_FIGURES", str(folder / "figures"))
    patch.setenv("SAPNET_RUNS", str(folder / "runs"))
    patch.setenv("PYTHONPATH", str(environment.root()))
    for name in set(VARIABLES) - {"SAPNET_FIGURES", "SAPNET_RUNS"}:
        patch.setenv(name, "")
    (folder / "figures").mkdir()
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Root of an empty project."""
    return enter(tmp_path, monkeypatch)


def test_misspelt_or_mistyped_parameter_is_refused_before_anything_runs(project):
    good = build(project / "notebooks" / "00_good.ipynb", DRAW)
    refused = ({"profil": "quick"}, "profil.*profile, count"), ({"count": "3"}, "count='3' .*int")
    for parameters, message in refused:
        with pytest.raises(ValueError, match=message):
            run_notebooks.run_all([good], parameters, project / "out", say=lambda text: None)
    assert not (project / "out").exists() and not list((project / "figures").iterdir())


def test_failure_keeps_the_earlier_output_and_the_next_notebook_runs(project):
    first, second = (build(project / "notebooks" / name, DRAW) for name in ("00_first.ipynb", "01_second.ipynb"))
    said = []
    outcomes = run_notebooks.run_all([first], {"profile": "quick"}, project / "out", said.append)
    assert [(o.state, o.made) for o in outcomes] == [("ran", ("fig99_quick.csv",))]
    assert said[0].startswith("[1/1] 00_first ran, ")
    earlier = (project / "out" / "00_first.ipynb").read_bytes()
    stored = nbformat.reads(earlier, as_version=4)
    assert not any(o.output_type == "error" for c in stored.cells if c.cell_type == "code" for o in c.outputs)

    build(first, DRAW, 'raise RuntimeError("no such dive")')
    outcomes = run_notebooks.run_all([first, second], {"profile": "quick"}, project / "out", said.append)
    assert [o.state for o in outcomes] == ["failed", "ran"]
    assert "RuntimeError: no such dive" in outcomes[0].error and "\x1b" not in outcomes[0].error
    assert (project / "out" / "00_first.ipynb").read_bytes() == earlier
    assert (project / "out" / "00_first.failed.ipynb").is_file()
    assert not list((project / "out").glob(".*"))
    assert "1 failed" in run_notebooks.summary(outcomes)


def test_a_figure_that_cannot_be_written_fails_its_notebook_in_one_line(project):
    notebook = build(project / "notebooks" / "00_draw.ipynb", DRAW)
    (project / "figures" / "fig99_quick.csv").mkdir()
    outcome = run_notebooks.run_notebook(notebook, {"profile": "quick"}, project / "out")
    assert outcome.state == "failed" and "fig99_quick.csv" in outcome.error and "\n" not in outcome.error
    assert [file.name for file in (project / "out").iterdir()] == ["00_draw.failed.ipynb"]


# A notebook that writes when it began and ended. Where it has a partner, it ends only after the partner has begun, so
# both must run at the same time; otherwise it gives up after a minute.
TIMED = """import time
from pathlib import Path
began = time.time()
Path(f"../{name}.began").touch()
while partner and not Path(f"../{partner}.began").exists() and time.time() < began + 60:
    time.sleep(0.02)
time.sleep(0.2)
Path(f"../{name}").write_text(f"{began} {time.time()}")"""


def timed(project, *names, partners=None):
    """Notebooks of these names from `TIMED`; `partners` maps a name to its partner."""
    heads = {name: f"name, partner = {name!r}, {(partners or {}).get(name, '')!r}" for name in names}
    return [build(project / "notebooks" / f"{name}.ipynb", f"{head}\n{TIMED}") for name, head in heads.items()]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """(root of a project, its eight notebooks, their outcomes, what was said) after two workers have run them."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        project = enter(tmp_path_factory.mktemp("together"), patch)
        pair = {"07_own_first": "a1_long", "a1_long": "07_own_first"}
        timed(project, "00_free", "07_own_first", "08_own_second", "a1_long", partners=pair)
        for name in ("01_first", "02_second", "03_bad", "a2_speed"):
            draw = DRAW.replace("fig99", f"fig_{name}")
            build(project / "notebooks" / f"{name}.ipynb", draw, *["1 / 0"] * ("bad" in name))
        books = environment.find_notebooks(folder=project / "notebooks")
        out = project / "runs" / "notebooks"
        outcomes = run_notebooks.run_all(books, {}, out, said.append, jobs=2, pages=frozenset())
    return project, books, outcomes, said


def test_notebooks_side_by_side_know_what_each_made_and_a_failed_one_draws_nothing(together):
    project, books, outcomes, said = together
    made = {name: (f"fig_{name}_quick.csv",) for name in ("01_first", "02_second", "a2_speed")}
    assert [(o.state, o.made) for o in outcomes] == [
        ("failed" if book.stem == "03_bad" else "ran", made.get(book.stem, ())) for book in books
    ]
    assert {file.name for file in (project / "figures").iterdir() if file.is_file()} == {
        name for (name,) in made.values()
    }
    assert said[-1].startswith("[8/8] a2_speed ran")  # it runs alone, after the others
    assert not list((project / "runs" / "notebooks").glob(".*"))


def test_long_notebooks_begin_and_each_run_leaves_its_page(together):
    project, books, *_ = together
    free, first, second, long = (
        tuple(map(float, (project / name).read_text().split()))
        for name in ("00_free", "07_own_first", "08_own_second", "a1_long")
    )
    assert max(first[0], long[0]) < min(first[1], long[1]) < min(second[0], free[0])
    pages = {file.stem for file in (project / "figures" / "notebooks").glob("*.html")}
    assert pages == {book.stem for book in books} - {"03_bad", "a2_speed"}  # a failed one, and one outside the workers


def test_notebooks_of_the_paper_begin_and_the_run_says_when_they_are_done(project):
    pair = {"13_fig08_loss_terms": "20_claims", "20_claims": "13_fig08_loss_terms"}
    books = timed(project, "01_data", "13_fig08_loss_terms", "20_claims", "a1_backbone", partners=pair)
    said = []
    run_notebooks.run_all(books, {}, project / "out", said.append, jobs=2)
    began = {book.stem: float((project / book.stem).read_text().split()[0]) for book in books}
    assert max(began["13_fig08_loss_terms"], began["20_claims"]) < min(began["a1_backbone"], began["01_data"])
    line = next(i for i, text in enumerate(said) if text.startswith("the notebooks of the paper's"))
    assert all(any(name in text for text in said[:line]) for name in pair)


@pytest.mark.slow
def test_notebooks_on_own_videos_wait_for_one_another(project):
    names = ("00_free", "07_own_first", "08_own_second", "09_own_third")
    books = timed(project, *names)
    said = []
    outcomes = run_notebooks.run_all(books, {"profile": "quick"}, project / "out", said.append, jobs=3)
    assert [o.state for o in outcomes] == ["ran"] * 4 and len(said) == 4
    times = [tuple(map(float, (project / name).read_text().split())) for name in names[1:]]
    assert all(ended < began for (_, ended), (began, _) in zip(times[:-1], times[1:], strict=True))


def test_what_a_killed_run_left_is_removed(project):
    notebook = build(project / "notebooks" / "00_draw.ipynb", DRAW)
    left, alive = project / "out" / ".00_draw.999999999.figures", project / "out" / f".00_draw.{os.getppid()}.ipynb"
    left.mkdir(parents=True)
    alive.touch()
    assert run_notebooks.run_notebook(notebook, {"profile": "quick"}, project / "out").state == "ran"
    assert alive.exists() and (not left.exists() or sys.platform == "darwin")


def test_only_what_is_missing_runs_again(project, monkeypatch):
    notebook = build(project / "notebooks" / "00_draw.ipynb", DRAW)
    figure = project / "figures" / "fig99_quick.csv"

    def state(**parameters):
        return run_notebooks.run_notebook(notebook, {"profile": "quick", **parameters}, project / "out").state

    assert state() == "ran"
    assert state() == "up to date"
    change(notebook, lambda nb: nb.cells[2].outputs.append(nbformat.v4.new_output("stream", text="3\n")))
    assert state() == "up to date"  # stored outputs are not inputs
    figure.unlink()
    assert state() == "ran"
    figure.write_text("another run wrote this")
    assert state() == "ran" and figure.read_text() == "3\n"
    assert state(count=4) == "ran" and figure.read_text() == "4\n"
    digest = inputs_digest(notebook, {})
    data = project / "data" / "MTL-AQA"
    data.mkdir(parents=True)
    (data / "train_split_0.pkl").write_bytes(b"1")
    monkeypatch.setenv("SAPNET_DATA", str(project / "data"))
    with_data = inputs_digest(notebook, {})
    (data / "train_split_0.pkl").write_bytes(b"2")
    change(notebook, lambda nb: None)
    assert len({digest, with_data, inputs_digest(notebook, {})}) == 3


WEIGHTS = ["SAPNET_I3D", "SAPNET_C3D", "SAPNET_SWIN", "SAPNET_DETECTOR"]


@pytest.mark.parametrize("variable", [*WEIGHTS, "SAPNET_SPLIT", "SAPNET_SKIP_BAD"])
def test_other_weights_or_choices_ask_for_a_new_run(project, monkeypatch, variable):
    notebook = build(project / "notebooks" / "00_draw.ipynb", DRAW)
    digests = [inputs_digest(notebook, {})]
    weights = project / "weights.pt"
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        monkeypatch.setenv(variable, {"SAPNET_SPLIT": "ordered", "SAPNET_SKIP_BAD": "1"}.get(variable, str(weights)))
        digests.append(inputs_digest(notebook, {}))
    assert len(set(digests)) == (3 if variable in WEIGHTS else 2)


def refused(capsys, *arguments) -> str:
    """The error message of `run` with these arguments; asserts that it is one line, with exit code 2."""
    capsys.readouterr()
    try:
        code = main(["run", *arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--only", "no-such"], ["starts with 'no-such'", "00_start_here"]),
        (["--only", ""], ["--only"]),
        *((["--jobs", jobs], ["--jobs", jobs, "whole number"]) for jobs in ("0", "-1", "x", "1.5", "")),
        (["--profile", "huge"], ["--profile", "huge", "quick"]),
        (["--split", "bar"], ["--split", "bar", "interleaved"]),
        (["--split", "ordered"], ["--split ordered", "FineFS"]),
        (["--share", "0.1,2"], ["0.1,2", "label shares"]),
        (["--share", "0"], ["'0'", "label shares"]),
        (["--share", "0.5"], ["--share 0.5", "own data"]),
        (["--data", ""], ["--data"]),
        (["--data", "no-such-folder"], ["no-such-folder", "is not a folder"]),
        (["--dask", "nonsense"], ["--dask", "tcp://"]),
        (["--dask", "tcp://127.0.0.1:9"], ["no Dask scheduler answers"]),
        (["--devise", "cpu"], ["--devise"]),
        (["tset"], ["tset"]),
        (["--skip-bad", "yes"], ["yes"]),
    ],
)
def test_command_line_says_what_is_wrong_before_any_work(project, capsys, arguments, words):
    said = refused(capsys, *arguments)
    assert all(word in said for word in words), said
    assert not (project / "runs").exists() and not list((project / "figures").iterdir())


@pytest.mark.parametrize(
    "name, value, words",
    [
        *(("SAPNET_JOBS", jobs, ["whole number"]) for jobs in ("0", "-2", "abc", "1.5")),
        ("SAPNET_SPLIT", "bar", ["random"]),
        ("SAPNET_SKIP_BAD", "maybe", ["1 or 0"]),
        ("SAPNET_RECOMPUTE", "maybe", ["1 or 0"]),
        ("SAPNET_CHECKPOINT", "abc", ["seconds"]),
        ("SAPNET_CHECKPOINT", "-1", ["60"]),
        ("SAPNET_DASK", "nonsense", ["tcp://"]),
        ("SAPNET_DATA", "/no/such", ["is not a folder"]),
        ("SAPNET_I3D", "/no/such", ["is not a file"]),
        ("SAPNET_RUNS", "/etc/passwd", ["not a folder"]),
        ("SAPNET_FIGURES", "/etc/passwd", ["not a folder"]),
        ("SAPNET_RUNS", "/etc/passwd/runs", ["writable"]),
        ("SAPNET_RUNS", "/tmp/" + "x" * 300, ["writable"]),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_before_any_work(project, monkeypatch, capsys, name, value, words):
    monkeypatch.setenv(name, value)
    said = refused(capsys, "--only", "00")
    assert name in said and all(word in said for word in words), said


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that even root cannot write to is at /proc")
@pytest.mark.parametrize("name", ["SAPNET_RUNS", "SAPNET_FIGURES"])
def test_a_folder_that_nobody_can_write_to_is_named_before_any_work(project, monkeypatch, capsys, name):
    monkeypatch.setenv(name, "/proc/sapnet")
    assert name in refused(capsys, "--only", "00")


def test_a_misspelled_variable_is_told(project, monkeypatch, capsys):
    monkeypatch.setenv("SAPNET_JOB", "1")
    monkeypatch.setenv("SAPNET_COLOR", "red")
    check_environment()
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 2 and "SAPNET_JOB is unknown" in said and "SAPNET_JOBS?" in said and "SAPNET_COLOR" in said
    )


def test_own_videos_have_two_notebooks(project, capsys):
    own, rows = project / "own", ["id,path,score,split"]
    own.mkdir()
    for number in range(6):
        np.save(own / f"{number}.npy", np.random.default_rng(number).normal(size=(20, 4)))
        rows.append(f"d{number},{number}.npy,{number},{'test' if number > 3 else 'train'}")
    (own / "records.csv").write_text("\n".join(rows) + "\n")
    assert "07 and 08" in refused(capsys, "--only", "03", "--data", str(own))


def test_a_name_counts_from_where_it_was_typed(project, monkeypatch, capsys):
    (project / "own").mkdir()
    monkeypatch.chdir(project)
    assert str(project / "own") in refused(capsys, "--only", "00", "--data", "own")


def test_a_failed_notebook_fails_the_command(project, monkeypatch, capsys):
    build(project / "notebooks" / "00_bad.ipynb", "1 / 0")
    found = environment.find_notebooks(folder=project / "notebooks")
    monkeypatch.setattr(environment, "find_notebooks", lambda names=None: found)
    assert main(["run", "--profile", "quick", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said and "1 failed" in said
