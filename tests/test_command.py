"""The script `./runall.sh`: what it refuses before any set-up, and which environment variables it passes on."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from test_repository import project, run, tools  # noqa: F401 - the fixture is a small copy of the project

SHOW = """import json
import os
import sys

own = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "TQDM", "MPL", "SAPNET"))}
print(json.dumps([os.getcwd(), sys.argv[1:], own, sys.flags.utf8_mode]))
"""


WRONG = [(["tset"], "tset"), (["test", "--only", "03"], "--only 03"), (["all"], "all"), (["test", "test"], "test")]


@pytest.mark.parametrize("arguments, word", WRONG)
def test_a_misspelled_command_is_refused_at_once(project, arguments, word):  # noqa: F811
    done = run(project, *arguments, PATH=str(tools(project)))
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and word in done.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("jobs", ["0", "abc", "-1", "1.5"])
def test_tests_refuse_a_wrong_number_of_processes(project, jobs):  # noqa: F811
    done = run(project, "test", VIRTUAL_ENV=sys.prefix, SAPNET_JOBS=jobs)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert f"SAPNET_JOBS='{jobs}'" in done.stderr


def test_nothing_that_was_set_for_other_programs_comes_along(project):  # noqa: F811
    """The script runs in a folder with modules named like those of the standard library, which must not be imported."""
    (project / "sapnet_core" / "__main__.py").write_text(SHOW)
    here = project / "here"
    here.mkdir()
    for name in ("json", "random", "tomllib"):
        (here / f"{name}.py").write_text("raise SystemError('not the one')")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAPNET", "CONDA", "PYTEST"))}
    kept |= {
        "VIRTUAL_ENV": sys.prefix,
        "PYTHONPATH": str(here),
        "PYTHONHOME": "/no/python",
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "abc",
        "PYTHONOPTIMIZE": "2",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "CDPATH": "/",
        "TQDM_MININTERVAL": "abc",
        "MPLBACKEND": "nonsense",
        "SAPNET_RUNS": "mine",
        "SAPNET_DATA": "~/own",
    }
    done = subprocess.run(
        [shutil.which("bash"), "../runall.sh", "--data", "own"],
        cwd=here,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder, arguments, own, utf8 = json.loads(done.stdout)
    assert (folder, arguments, utf8) == (str(here), ["run", "--data", "own"], 1)
    assert own == {
        "PYTHONPATH": str(project),
        "PYTHONUTF8": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "SAPNET_RUNS": str(here / "mine"),
        "SAPNET_DATA": "~/own",
    }


@pytest.fixture
def bare(project):  # noqa: F811
    """The copy of the project with an interpreter without packages, and a command that only prints that it began."""
    begins = (
        "def parse(words):\n    assert '--wrong' not in words\n\n\nif __name__ == '__main__':\n    print('began')\n"
    )
    (project / "sapnet_core" / "__main__.py").write_text(begins)
    interpreter = project / ".venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to(sys.executable)
    uv = project / "with-uv" / "uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\necho "$@" >>uv.said\nsleep 1\n')
    uv.chmod(0o755)
    return project


def test_packages_are_installed_by_uv_where_it_is_there(bare):
    path = os.pathsep.join((str(bare / "with-uv"), os.environ["PATH"]))
    done = run(bare, PATH=path)
    assert done.returncode == 0 and done.stdout.endswith("began\n") and not done.stderr, done.stderr
    asked, after = (line.split() for line in (bare / "uv.said").read_text().splitlines())
    assert asked[:2] == ["pip", "install"] and "tests/constraints.txt" in asked and ".[notebooks,test]" in asked
    assert after[:2] == ["pip", "install"] and after[-3:] == ["--no-deps", "-r", "tests/without_dependencies.txt"]
    (bare / "uv.said").unlink()
    assert run(bare, PATH=path).stdout == "began\n" and not (bare / "uv.said").exists()  # installed only once


def test_wrong_options_are_refused_before_anything_is_installed(bare):
    done = run(bare, "--wrong", PATH=os.pathsep.join((str(bare / "with-uv"), os.environ["PATH"])))
    assert done.returncode != 0 and "Installing" not in done.stdout and not (bare / "uv.said").exists()
