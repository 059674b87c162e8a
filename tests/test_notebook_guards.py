"""The rules for notebooks: every committed notebook keeps them, and each rule rejects a notebook that breaks it."""

import os
import subprocess
import sys

import nbformat
import pytest
from jupyter_client.manager import run_kernel
from nbformat.v4 import new_output
from notebook_kit import PARAMETERS, build, change
from notebook_rules import violations
from wording import in_order

from sapnet_core.reporting import notebooks
from sapnet_core.runtime import environment

COMMITTED = sorted((environment.root() / "notebooks").glob("*.ipynb"))
PLOT = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_notebook_keeps_the_rules(path):
    assert violations(path) == []


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """An executed notebook that keeps every rule; the bad notebooks are edited copies of it."""
    path = build(tmp_path_factory.mktemp("good") / "00_good.ipynb", "print(count / 7)", "count * 2")
    notebooks.execute(path)
    return path


@pytest.fixture
def copy(good, tmp_path):
    target = tmp_path / "00_copy.ipynb"
    target.write_bytes(good.read_bytes())
    return target


def test_good_notebook_passes_and_executes_to_the_same_bytes(good, copy):
    assert violations(good) == []
    notebooks.execute(copy)
    assert copy.read_bytes() == good.read_bytes()


def source(number, text):
    return lambda nb: nb.cells[number].update(source=text)


def output(**content):
    return lambda nb: nb.cells[2].outputs.append(new_output(**content))


PICTURE = {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}}
BROKEN = {
    "execution counts": lambda nb: nb.cells[2].update(execution_count=None),
    "not tagged": lambda nb: nb.cells[1].metadata.update(tags=[]),
    "no literal": source(1, PARAMETERS + "\nfolder: str = str(count)"),
    "no annotated literal": source(1, PARAMETERS + "\nseed = 0"),
    "lacks `profile": source(1, "count: int = 3"),
    "no title": source(0, "Count to three"),
    "## Summary": source(-1, "## Exercises"),
    "## Exercises": source(-1, "## Summary"),
    "no provenance cell": source(-2, "print('over')"),
    "trailing `;`": source(2, "print(count / 7);"),
    "clear_output": source(2, "from IPython.display import clear_output"),
    "bare interact": source(2, "interact(print, x=1)"),
    "bare tqdm": source(2, "from tqdm import tqdm"),
    "a cell exits": source(2, "import sys\nsys.exit()"),
    "stored error": output(output_type="error", ename="E", evalue="", traceback=[]),
    "absolute path": output(output_type="stream", text="saved /home/ada/figures/fig05.png\n"),
    "standard error": output(output_type="stream", name="stderr", text="warning\n"),
    "printed digest": lambda nb: nb.cells[2].update(outputs=[new_output(**PICTURE)]),
    "tag that hides": lambda nb: nb.cells[2].metadata.update(tags=["raises-exception"]),
    "not normalized": lambda nb: nb.metadata.update(papermill={"duration": 1.0}),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_each_rule_bites(copy, fault):
    change(copy, BROKEN[fault])
    assert any(fault in found for found in violations(copy)), violations(copy)


def test_a_figure_notebook_must_save_its_figure(copy):
    promised = copy.rename(copy.with_name("10_fig05_scatter.ipynb"))
    (fault,) = violations(promised)
    assert in_order(fault, "no fig05")


def test_normal_form_drops_tools_and_keeps_content(good):
    nb = notebooks.load(good)
    messy = notebooks.load(good)
    messy.metadata.update(widgets={"state": {}}, papermill={"x": 1}, kernelspec={"name": "mine", "display_name": "M"})
    for number, cell in enumerate(messy.cells):
        cell.id = f"random-{number}"
        cell.metadata.update(execution={"iopub.status.busy": "now"}, papermill={}, collapsed=True)
    messy.cells[2].outputs = [new_output("stream", text=part) for part in messy.cells[2].outputs[0].text]
    before = notebooks.dumps(messy)
    assert notebooks.dumps(notebooks.normalize(messy)) == notebooks.dumps(nb)
    assert notebooks.dumps(messy) == before  # a copy was changed, not the argument
    assert [cell.execution_count for cell in nb.cells if cell.cell_type == "code"] == [1, 2, 3, 4]


def test_a_raising_notebook_is_left_as_it_was(tmp_path):
    path = build(tmp_path / "00_bad.ipynb", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebooks.execute(path)
    assert path.read_bytes() == before


def test_strict_nbval_bites(good, tmp_path):
    """An unchanged notebook passes; one with an edited digit in an output, or with a cell that raises, fails."""

    def edited(nb):
        stored = nb.cells[2].outputs[0]
        stored.text = stored.text.replace("0.42857", "0.42858")

    for name, edit in (("same", lambda nb: None), ("edited", edited), ("raises", source(3, "1 / 0"))):
        (tmp_path / f"{name}.ipynb").write_bytes(good.read_bytes())
        change(tmp_path / f"{name}.ipynb", edit)
    assert "0.42858" in (tmp_path / "edited.ipynb").read_text()
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-rA", "-q", "-c", os.devnull]
    done = subprocess.run([*command, "--rootdir", ".", "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    verdicts = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED"))]
    failed = [line.split()[1] for line in verdicts if line.startswith("FAILED")]
    assert failed == ["edited.ipynb::Cell", "raises.ipynb::Cell"], done.stdout
    assert sum(line.startswith("PASSED same.ipynb") for line in verdicts) == 4
    assert done.returncode == 1


EXPLORE = "from sapnet_core.reporting import explore\nexplore(lambda ax, k: ax.plot([0, k]), [{'k': 1}], k=(1, 3))"


def test_explore_stores_no_widget_without_a_reader(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(environment.root()))
    path = build(tmp_path / "00_explore.ipynb", EXPLORE)
    notebooks.execute(path)
    kinds = [kind for output in notebooks.load(path).cells[2].outputs for kind in output.get("data", {})]
    assert "image/png" in kinds and not any("widget" in kind for kind in kinds)


def test_explore_adds_sliders_where_a_reader_can_answer(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(environment.root()))
    seen = []
    with run_kernel(kernel_name="python3") as client:  # only a live front end allows input
        client.execute_interactive(EXPLORE, allow_stdin=True, timeout=60, output_hook=seen.append)
    kinds = [kind for message in seen for kind in message["content"].get("data", {})]
    assert "image/png" in kinds and "application/vnd.jupyter.widget-view+json" in kinds


def test_names_are_found_in_reading_order(tmp_path):
    for name in ("10_b", "03_a", "a1_c"):
        build(tmp_path / f"{name}.ipynb")
    assert [p.stem for p in notebooks.find(folder=tmp_path)] == ["03_a", "10_b", "a1_c"]
    assert [p.stem for p in notebooks.find(["a1", "10"], tmp_path)] == ["10_b", "a1_c"]
    with pytest.raises(ValueError, match="'04'"):
        notebooks.find(["04"], tmp_path)
    assert nbformat.validate(notebooks.load(tmp_path / "03_a.ipynb")) is None
