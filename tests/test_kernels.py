"""Notebook kernels ignore the user's settings: figures appear, and outputs are the same, whatever the shell exports."""

import os
import shutil
import subprocess
import sys

import matplotlib as mpl
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from notebook_kit import build
from notebook_rules import violations

from sapnet_core.reporting import notebooks, run_notebooks
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import VARIABLES
from sapnet_core.runtime.kernels import INLINE, clean_environment, show_inline

DRAW = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nprint(plt.rcParams['text.color'])"
SEEN = """import os
import sys
print(sys.flags.utf8_mode, os.environ.get("OMP_NUM_THREADS"), len(get_ipython().user_ns.get("leaked", "")))
print([name for name in os.environ if name.startswith(("PYTHONSTART", "TQDM", "JUPYTER_PATH", "COLUMNS"))])"""


@pytest.fixture
def person(tmp_path, monkeypatch):
    """A shell that exports every setting known to suppress a notebook's figures or to change its outputs."""
    profile = tmp_path / "person" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00.py").write_text("leaked = 'x'\nimport matplotlib\nmatplotlib.use('Agg')\nprint('hello')")
    (profile / "ipython_kernel_config.py").write_text("c.InlineBackend.figure_formats = {'svg'}\n")
    (tmp_path / "matplotlibrc").write_text("text.color: red\nbackend: svg\n")
    (tmp_path / "start.py").write_text("leaked = 'y'\nprint('hello')")
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["/no/python"], "display_name": "", "language": "python"}')
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "papermill.py").write_text("raise SystemError('not the one')")
    for name, value in {
        "MPLBACKEND": "Agg",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "IPYTHONDIR": str(tmp_path / "person"),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONSTARTUP": str(tmp_path / "start.py"),
        "PYTHONPATH": str(tmp_path / "modules"),
        "PYTHONUTF8": "0",
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "7",
        "TQDM_DISABLE": "1",
        "COLUMNS": "20",
        "OMP_NUM_THREADS": "3",
        "FORCE_COLOR": "1",
        "NO_COLOR": "1",
        "LC_ALL": "C",
    }.items():
        monkeypatch.setenv(name, value)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path / "figures"))
    return tmp_path


def shown(path) -> list[str]:
    """Image types and printed text of a notebook's code cells, without the parameters and the provenance."""
    outputs = [output for cell in notebooks.load(path).cells[2:-2] for output in cell.outputs]
    pictures = [kind for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")]
    return [*pictures, "".join(output.text for output in outputs if output.output_type == "stream")]


NEWS = ("KeyboardInterrupt", "TCP", "WARNING")  # in a kernel's log when it starts and ends


def test_the_runner_draws_whatever_the_shell_exports(person, monkeypatch, capfd):
    notebook, out = build(person / "notebooks" / "00_draw.ipynb", DRAW, SEEN), person / "out"
    assert run_notebooks.run_notebook(notebook, {"profile": "quick"}, out).state == "ran"
    assert shown(out / "00_draw.ipynb") == ["image/png", "black\n1 1 0\n[]\n"]
    assert not any(word in "".join(capfd.readouterr()) for word in NEWS)
    for name in ("MPLBACKEND", "IPYTHONDIR", "PYTHONSTARTUP", "JUPYTER_PATH"):
        monkeypatch.delenv(name)
    assert run_notebooks.run_notebook(notebook, {"profile": "quick"}, out).state == "up to date"


def test_nbval_finds_what_is_stored_whatever_the_shell_exports(person):
    notebook = build(person / "notebooks" / "00_draw.ipynb", DRAW, SEEN)
    notebooks.execute(notebook)
    assert shown(notebook) == ["image/png", "black\n1 1 0\n[]\n"]
    for name in ("conftest.py", "nbval_sanitize.cfg"):
        shutil.copy(environment.root() / "notebooks" / name, person / "notebooks")
    variables = {**os.environ, "PYTHONPATH": str(environment.root()), "PYTHONWARNINGS": "", "MPLBACKEND": "nonsense"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "notebooks"]
    done = subprocess.run(command, cwd=person, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(word in done.stdout + done.stderr for word in NEWS), done.stdout + done.stderr


def test_a_kernel_that_somebody_else_started_draws_too(person, monkeypatch):
    """JupyterLab starts kernels with the user's environment variables, IPython profile and matplotlibrc."""
    monkeypatch.setenv("PYTHONPATH", str(environment.root()))
    monkeypatch.setenv("PYTHONWARNINGS", "")
    monkeypatch.delenv("JUPYTER_PATH")
    cells = [
        "import matplotlib.pyplot as plt\nfrom sapnet_core.runtime.kernels import show_inline\nshow_inline()",
        DRAW,
        "%config InlineBackend.figure_formats = ['jpeg']\n_ = plt.plot([1])",
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3").execute()
    kinds = [[kind for o in cell.outputs for kind in o.get("data", {}) if "image" in kind] for cell in notebook.cells]
    assert kinds == [[], ["image/png"], ["image/jpeg"]]
    assert notebook.cells[1].outputs[0].text == "black\n"


def test_the_environment_is_lent_and_given_back(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("TQDM_NCOLS", "7")
    monkeypatch.setenv("SAPNET_JOBS", "3")
    before = dict(os.environ)
    with pytest.raises(KeyError), clean_environment(SAPNET_FIGURES="elsewhere"):
        assert os.environ["MPLBACKEND"] == INLINE and "TQDM_NCOLS" not in os.environ
        assert (os.environ["SAPNET_FIGURES"], os.environ["SAPNET_JOBS"]) == ("elsewhere", "3")
        assert os.environ["PATH"] == before["PATH"] and os.environ["PYTHONPATH"] == str(environment.root())
        raise KeyError
    assert dict(os.environ) == before


def test_outside_of_a_kernel_nothing_is_set():
    with mpl.rc_context({"text.color": "red"}):
        show_inline()
        assert mpl.rcParams["text.color"] == "red"


STYLE = "from sapnet_core.reporting import use_style\nuse_style()\n"


@pytest.mark.parametrize("style, faulty", [("", True), (STYLE, False)])
def test_a_notebook_that_draws_sets_the_style_which_shows_its_pictures(tmp_path, style, faulty):
    notebook = build(tmp_path / "00_draw.ipynb", style + DRAW)
    assert any("use_style" in fault for fault in violations(notebook)) is faulty


def test_a_failed_cell_is_one_line_and_the_notebook_stays(tmp_path, capsys):
    path = build(tmp_path / "00_fails.ipynb", "raise KeyError('no such row')")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"00_fails\.ipynb: .*KeyError: .*no such row") as said:
        notebooks.refresh([path])
    assert "\n" not in str(said.value) and path.read_bytes() == before
