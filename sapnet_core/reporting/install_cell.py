"""The cell that installs the package where a notebook's kernel lacks it, as in Colab or a new kernel of VS Code.

    python -m sapnet_core notebooks --install-cell     # put it into every notebook, behind the parameters

The cell does nothing where the package can be imported. Elsewhere it installs the package from the clone that holds the
notebook, or from one that lies in the working folder. It is folded in JupyterLab and left out of the gallery's pages.
"""

import copy
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from sapnet_core.reporting.notebooks import dumps, load, normalize
from sapnet_core.runtime.files import write_text

__all__ = ["INSTALL_CELL", "TAG", "renew_cells", "with_install_cell"]

TAG = "install"
INSTALL_CELL = """\
from importlib.util import find_spec

if find_spec("sapnet_core") is None:  # as in Colab or a new kernel of VS Code; elsewhere this cell does nothing
    import subprocess
    import sys
    from pathlib import Path

    places = [Path.cwd(), *Path.cwd().parents, *Path.cwd().iterdir()]
    clone = next((folder for folder in places if (folder / "runall.sh").is_file()), None)
    assert clone, f"the package is missing: clone its repository into {Path.cwd()}, and run this cell again"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "--editable", f"{clone}[notebooks]"])
    sys.path.insert(0, str(clone))  # a kernel finds an editable package by itself only when it starts"""


def with_install_cell(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook that has the cell behind its parameters; one that it had is replaced.

    A new cell gets the next execution count, and those behind it move on, as if the notebook had been run with it.

    Raises:
        ValueError: the notebook has no cell tagged "parameters".
    """
    nb = copy.deepcopy(notebook)
    tags = [set(cell.metadata.get("tags", ())) for cell in nb.cells]
    if TAG in set().union(*tags):
        nb.cells[next(i for i, own in enumerate(tags) if TAG in own)].source = INSTALL_CELL
        return nb
    place = next((i for i, own in enumerate(tags) if "parameters" in own), None)
    if place is None:
        raise ValueError("no cell is tagged parameters: tag the first code cell")
    ran = nb.cells[place].get("execution_count")
    for cell in nb.cells[place + 1 :]:
        if cell.cell_type == "code" and cell.execution_count is not None:
            cell.execution_count += 1
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = cell.execution_count
    metadata = {"tags": [TAG], "jupyter": {"source_hidden": True}}
    nb.cells.insert(place + 1, new_code_cell(INSTALL_CELL, execution_count=ran and ran + 1, metadata=metadata))
    return nb


def renew_cells(paths: list[Path]) -> None:
    """The command `notebooks --install-cell`: put the cell into notebooks, or renew it."""
    for path in paths:
        write_text(path, dumps(normalize(with_install_cell(load(path)))))
