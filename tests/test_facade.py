"""Names that notebooks import from the package's root, and hidden outputs, by which nbval compares their numbers."""

import ast
import re
import shutil
import subprocess
import sys
from itertools import takewhile

import pytest
from notebook_kit import build
from wording import in_order

import sapnet_core
from sapnet_core.reporting import notebooks
from sapnet_core.reporting.checks import UNSEEN, digest_line, verify
from sapnet_core.reporting.notebook_pages import notebook_page
from sapnet_core.runtime import environment

NOTEBOOKS = notebooks.find([])


def imported(source: str) -> set[str]:
    """Modules of the package from which a cell imports."""
    lines = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
    nodes = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in nodes if (node.module or "").partition(".")[0] == "sapnet_core"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_set_up_cell_takes_what_it_needs_from_few_places(path):
    cells = notebooks.load(path).cells
    first = next(i for i, cell in enumerate(cells) if cell.cell_type == "code" and imported(cell.source))
    set_up = set()  # the first cell with imports, and the code that follows it directly
    for cell in takewhile(lambda cell: cell.cell_type == "code", cells[first:]):
        set_up |= imported(cell.source)
    assert "sapnet_core" in set_up and len(set_up) <= 3


def test_every_public_name_is_there_and_the_package_itself_loads_nothing():
    assert sorted(sapnet_core.PUBLIC) and {"SAPNet", "Trial", "check", "run_trials"} <= set(dir(sapnet_core))
    for names in sapnet_core.PUBLIC.values():
        assert all(hasattr(sapnet_core, name) for name in names), names
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sapnet_core.no_such_name
    code = "import sapnet_core, sys; print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=environment.root(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_unseen_lines_are_stored_and_compared_and_not_shown(tmp_path):
    cells = (
        "from sapnet_core import check, digest_line, verify\ncheck('seen', 1, 1)\nverify('unseen', 2, 2)\n"
        "digest_line('points', [1.0, 2.0])\nprint(count)"
    )
    record = 'provenance("quick", "twins", [{}], [], "00_count")'
    tables = [
        f"from sapnet_core import provenance, provenance_table\nprovenance_table({record.format(n)})" for n in (7, 8)
    ]
    path = build(tmp_path / "00_count.ipynb", cells, *tables)
    notebooks.execute(path)
    outputs = [output for cell in notebooks.load(path).cells if cell.cell_type == "code" for output in cell.outputs]
    kept = ["".join(output.data[UNSEEN]) for output in outputs if UNSEEN in output.get("data", {})]
    assert in_order(kept[0], "✓", "unseen", 2, 2) and in_order(kept[1], "points", "n=2", "mean 1.50")
    assert all(set(output.data) == {UNSEEN} for output in outputs if UNSEEN in output.get("data", {}))
    page = notebook_page(path)
    assert "✓ seen" in page and "✓ unseen" not in page and "n=2" not in page
    for name in ("conftest.py", "nbval_sanitize.cfg"):
        shutil.copy(environment.root() / "notebooks" / name, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", path]
    text = path.read_text(encoding="utf-8").replace("mean 1.50", "mean 1.60").replace("| seeds | 8 |", "| seeds | 9 |")
    text, commits = re.subn(r"\| commit \| [^|]+\|", "| commit | another one |", text)  # this alone is no difference
    path.write_text(text, encoding="utf-8")
    changed = subprocess.run(command, cwd=environment.root(), capture_output=True, text=True, check=False)
    assert commits == 2 and "2 failed" in changed.stdout
    assert "mean 1.60" in changed.stdout and "| seeds | 9 |" in changed.stdout


def test_outside_a_notebook_the_lines_are_printed(capsys):
    verify("videos", 480, 480)
    digest_line("points", [1.0, 2.0])
    assert in_order(capsys.readouterr().out.splitlines()[0], "✓", "videos", 480, 480)
    with pytest.raises(AssertionError, match="✗ videos"):
        verify("videos", 480, 481)
