"""The repository as a whole: its tracked files, the imports between subpackages, and its commands."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from notebook_kit import build
from project_copy import copy_package
from wording import in_order

from sapnet_core.reporting import notebooks
from sapnet_core.reporting.stored_tables import read_stored_table
from sapnet_core.runtime import environment, run_tests

ROOT = environment.root()
CORE = sorted((ROOT / "sapnet_core").rglob("*.py"))


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    return subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()


def test_no_tracked_file_is_large():
    assert not [name for name in tracked() if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 4_200_000]


def test_nothing_that_git_ignores_is_tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-per-directory=.gitignore"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""


def test_no_tracked_file_names_a_place_on_one_machine():
    place = re.compile(r"(?<![\w.])/(?:home|Users|work|root)/\w+/")
    texts = [n for n in tracked() if n.endswith((".py", ".md", ".sh", ".toml", ".yml", ".txt", ".json", ".csv"))]
    texts = [ROOT / name for name in texts if name != "tests/test_notebook_guards.py"]
    assert not [file.name for file in texts if file.is_file() and place.search(file.read_text(errors="replace"))]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT / "sapnet_core").with_suffix("").parts).removesuffix("__init__").rstrip(".")


def test_imports_go_down_and_in_no_circle():
    """The contracts in `pyproject.toml`: which subpackage may import which, and no import cycle within a subpackage."""
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_stands_in_the_root_of_the_core_but_rooms():
    assert sorted(file.name for file in (ROOT / "sapnet_core").glob("*.py")) == ["__init__.py", "__main__.py"]


def test_core_imports_without_jupyter_and_draws_and_prints_nothing():
    modules = [f"sapnet_core.{module_name(file)}".rstrip(".") for file in CORE if file.name != "__main__.py"]
    code = (
        "import importlib, sys\n"
        "for name in ('papermill', 'nbclient', 'ipywidgets', 'IPython', 'sklearn', 'dask', 'distributed'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {[m for m in modules if not m.endswith(('.notebooks', '.run_notebooks'))]}:\n"
        "    importlib.import_module(name)\n"
        "pyplot = sys.modules.get('matplotlib.pyplot')\n"
        "assert pyplot is None or not pyplot.get_fignums()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_readme_shows_the_stored_table():
    """Both files are those of the last commit, since a user's own run writes its table into figures/."""

    def rows(text):
        return [line for line in text.splitlines() if line.startswith("|")]

    tracked()
    readme, table = (
        subprocess.check_output(["git", "show", f"HEAD:{name}"], cwd=ROOT, text=True, encoding="utf-8")
        for name in ("README.md", "figures/table01.md")
    )
    shown = readme.split("<!-- figures/table01.md -->")[1].split("<!-- end -->")[0]
    assert rows(shown) and rows(shown) == rows(table)


def test_readme_says_where_the_calibrated_baseline_misses_the_paper():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {name: read_stored_table(ROOT / "figures" / f"table0{name}.csv").loc["I3D+MLP"] for name in (1, 2)}
    ours, paper = found[1]["supervised", "mean"], found[1]["supervised", "paper"]
    prose = " ".join(line.strip() for line in readme.splitlines() if not line.startswith("|"))
    told = ("MTL-AQA", "I3D+MLP", f"{ours:.3f}", "paper", f"{paper:.3f}")  # in one sentence
    assert any(in_order(text, *told) for text in re.split(r"[.;:]\W* ", prose)) and abs(ours - paper) > 0.05
    assert abs(found[1]["10%", "mean"] - found[1]["10%", "paper"]) <= 0.05
    assert all(found[2][column, "paper"] - found[2][column, "mean"] > 0.05 for column in ("5%", "supervised"))


@pytest.fixture
def project(tmp_path):
    """A small copy of the project: its command, its package, one plain test and one speed test."""
    (tmp_path / "tests").mkdir()
    for name in ("runall.sh", "pyproject.toml", "tests/constraints.txt", "tests/without_dependencies.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    copy_package(tmp_path)
    tests = "import pytest\n\n\ndef test_one():\n    pass\n\n\n@pytest.mark.speed\ndef test_two():\n    pass\n"
    (tmp_path / "tests" / "test_one.py").write_text(tests)
    return tmp_path


def run(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `runall.sh` in a copy of the project, offline and without the user's own settings."""
    drop = ("SAPNET", "CONDA", "VIRTUAL", "PYTEST", "PYTHONPATH")
    keep = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    return subprocess.run(
        [shutil.which("bash"), "runall.sh", *arguments],
        cwd=project,
        env={**keep, "PIP_NO_INDEX": "1", "UV_OFFLINE": "1", **environment},  # no package is installed
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("failing", [(), ("ruff",), ("sapnet_core.reporting.check_notebooks",), ("pytest", "ruff")])
def test_a_part_that_fails_fails_the_tests_and_all_parts_run(monkeypatch, capsys, failing):
    ran = []

    def part(command, variables):
        ran.append(command)
        return int(command[1] in failing)

    monkeypatch.setattr(run_tests, "_run", part)
    assert run_tests.run_tests() == bool(failing)
    said = capsys.readouterr()
    assert ("All tests passed." in said.out) == (not failing) and bool(said.err) == bool(failing)
    assert [command[1] for command in ran][-2:] == ["sapnet_core", "sapnet_core.reporting.check_notebooks"]
    assert len(ran) == said.out.count("== ") == 6


@pytest.mark.slow
@pytest.mark.parametrize("good", [True, False])
def test_one_failing_notebook_fails_the_tests(project, good):
    nb = build(project / "notebooks" / "00_count.ipynb", "print(count)")
    notebooks.execute(nb)
    if not good:
        nb.write_text(nb.read_text().replace('"3\\n"', '"4\\n"'))
    done = run(project, "test", VIRTUAL_ENV=sys.prefix, SAPNET_JOBS="1")  # one worker: there is one plain test
    assert done.returncode == (0 if good else 1), done.stdout + done.stderr
    assert ("All tests passed." in done.stdout) is good
    assert "1 passed, 1 deselected" in done.stdout  # the other tests ran
    assert in_order(done.stdout, "1 of 1 notebooks", "00_count")


def test_help_needs_no_python(project):
    done = run(project, "--help", PATH=str(tools(project)))
    assert done.returncode == 0
    for option in ("--profile quick|study", "--only 03", "--data DIR", "--jobs N", "--dask ADDRESS", "runall.sh test"):
        assert option in done.stdout


def tools(project: Path) -> Path:
    """A folder for PATH with the programs that `runall.sh` uses, and no Python."""
    folder = project / "bin"
    folder.mkdir()
    for name in ("cat", "cksum", "dirname"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def test_without_python_it_says_what_to_install(project):
    done = run(project, PATH=str(tools(project)))
    assert done.returncode == 1 and in_order(done.stderr, "Python", "3.11", "3.12")
    assert not (project / ".venv").exists()


def test_commands_can_be_run():
    for name in ("runall.sh", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), f"{name} has no run bit"


def test_an_ordinary_install_has_every_file_of_the_package():
    with open(ROOT / "pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["sapnet_core"]
    package = ROOT / "sapnet_core"
    installed = {found.relative_to(ROOT).as_posix() for pattern in patterns for found in package.glob(pattern)}
    own = [name for name in tracked() if name.startswith("sapnet_core/") and not name.endswith(".py")]
    assert len(own) > 20 and [name for name in own if name not in installed] == []
