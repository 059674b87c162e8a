"""`./runall.sh` itself: what it refuses before any set-up, and what it hands on of the shell it was started from."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from test_repository import house, run, tools  # noqa: F401 - the fixture is a small house with this command

SHOW = """import json
import os
import sys

own = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "TQDM", "MPL", "SAPNET"))}
print(json.dumps([os.getcwd(), sys.argv[1:], own, sys.flags.utf8_mode]))
"""


WRONG = [(["tset"], "tset"), (["test", "--only", "03"], "--only 03"), (["all"], "all"), (["test", "test"], "test")]


@pytest.mark.parametrize("arguments, word", WRONG)
def test_a_misspelled_command_is_refused_at_once(house, arguments, word):  # noqa: F811
    done = run(house, *arguments, PATH=str(tools(house)))
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and word in done.stderr
    assert not (house / ".venv").exists()


@pytest.mark.parametrize("jobs", ["0", "abc", "-1", "1.5"])
def test_tests_refuse_a_wrong_number_of_processes(house, jobs):  # noqa: F811
    done = run(house, "test", VIRTUAL_ENV=sys.prefix, SAPNET_JOBS=jobs)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert f"SAPNET_JOBS='{jobs}'" in done.stderr


def test_nothing_that_was_set_for_other_programs_comes_along(house):  # noqa: F811
    """Started from a folder whose modules have the names of Python's own."""
    (house / "sapnet_core" / "__main__.py").write_text(SHOW)
    here = house / "here"
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
        "PYTHONPATH": str(house),
        "PYTHONUTF8": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
        "SAPNET_RUNS": str(here / "mine"),
        "SAPNET_DATA": "~/own",
    }
