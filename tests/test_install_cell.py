"""The install cell: it does nothing where the package is there, and installs it from the clone where it is not."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_rules import violations
from wording import in_order

from sapnet_core.reporting.install_cell import INSTALL_CELL, TAG, with_install_cell
from sapnet_core.reporting.notebook_pages import notebook_page
from sapnet_core.reporting.notebooks import dumps, find, load, normalize
from sapnet_core.runtime import environment


def ran(*sources: str) -> nbformat.NotebookNode:
    cells = [new_code_cell(source, execution_count=i) for i, source in enumerate(sources, 1)]
    cells[0].metadata["tags"] = ["parameters"]
    return new_notebook(cells=[new_markdown_cell("# Title"), *cells])


def test_it_stands_behind_the_parameters_and_the_counts_go_on():
    once = with_install_cell(ran("profile: str = 'quick'", "print(1)"))
    assert [cell.source for cell in once.cells][1:] == ["profile: str = 'quick'", INSTALL_CELL, "print(1)"]
    assert [cell.execution_count for cell in once.cells[1:]] == [1, 2, 3]
    assert with_install_cell(once) == once
    once.cells[2].source = "an older one"
    assert with_install_cell(once).cells[2].source == INSTALL_CELL
    with pytest.raises(ValueError, match="parameters"):
        with_install_cell(new_notebook(cells=[new_code_cell("1")]))


def test_a_notebook_with_it_keeps_the_rules_and_pages_leave_it_out(tmp_path):
    path = tmp_path / "a5_glossary.ipynb"
    path.write_text(dumps(normalize(with_install_cell(load(find(["a5_glossary"])[0])))), encoding="utf-8")
    assert violations(path) == []
    assert TAG in load(path).cells[3].metadata.tags and "as in Colab" not in notebook_page(path)


def test_it_does_nothing_where_the_package_is(tmp_path):
    code = f"{INSTALL_CELL}\nimport sys\nprint('pip' in sys.modules, 'clone' in globals())"
    variables = {**os.environ, "PYTHONPATH": str(environment.root())}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False False\n", "")


def new_environment(folder: Path) -> Path:
    """Make a virtual environment that sees the installed packages, but not this one; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # a .pth in there is not followed
    return folder / "bin" / "python"


@pytest.mark.slow
def test_it_installs_the_package_from_the_clone(tmp_path):
    """In a new environment, outside of this repository: beside the notebook as in VS Code, and below it as in Colab."""
    if not (environment.root() / ".git").exists():
        pytest.skip("not a git clone")
    python = new_environment(tmp_path / "new")
    subprocess.run(["git", "clone", "-q", "--local", str(environment.root()), str(tmp_path / "clone")], check=True)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SAPNET", "PIP_"))}
    code = f"{INSTALL_CELL}\nimport sapnet_core\nprint(sapnet_core.__file__)"

    def cell(folder: Path, offline: bool = False) -> subprocess.CompletedProcess:
        more = {"PIP_NO_INDEX": "1"} if offline else {}
        return subprocess.run(
            [str(python), "-c", code],
            cwd=folder,
            env={**variables, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    (tmp_path / "elsewhere").mkdir()
    lost = cell(tmp_path / "elsewhere")
    assert lost.returncode == 1 and in_order(lost.stderr, "clone", tmp_path / "elsewhere")
    done = cell(tmp_path / "clone" / "notebooks")
    assert done.stdout.startswith(str(tmp_path / "clone")), done.stdout + done.stderr
    again = cell(tmp_path / "clone" / "notebooks", offline=True)  # nothing is installed twice
    assert again.stdout == done.stdout and again.stderr == ""
    subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", "sapnet-core"], check=True)
    shutil.move(tmp_path / "clone", tmp_path / "elsewhere" / "clone")
    below = cell(tmp_path / "elsewhere")
    assert below.stdout.startswith(str(tmp_path / "elsewhere" / "clone")), below.stdout + below.stderr
