"""Read and normalize the source notebooks, and refresh their stored outputs.

    python -m sapnet_core notebooks 03_pseudo_labels     # run in place with default parameters, normalize

The rules for stored notebooks are in `tests/notebook_rules.py`.
"""

import ast
import copy
import os
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment
from sapnet_core.runtime.environment import find_notebooks as find
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.kernels import clean_environment
from sapnet_core.runtime.progress import waiting

__all__ = ["normalize", "dumps", "load", "execute", "find", "own_profile", "refresh"]

KEPT_CELL_METADATA = ("tags", "jupyter")
USUAL = "quick"  # the profile of a notebook that names none


def load(path: Path) -> NotebookNode:
    """Read a notebook, in format 4. Raises ValueError naming the file if it is not a notebook."""
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        fault = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        raise ValueError(
            f"{path}: not a readable notebook ({fault}): restore it from the repository, or delete it"
        ) from error


def own_profile(notebook: Path | str) -> str:
    """The profile that a notebook's parameters cell names: the size of its tables and figures in the repository.

    Args:
        notebook: its path, or the name of one in the folder `notebooks`, such as "12_fig07_threshold".

    Returns:
        The name of the profile; `USUAL` where there is no such notebook, or where it names none.
    """
    path = notebook if isinstance(notebook, Path) else environment.root() / "notebooks" / f"{notebook}.ipynb"
    cells = load(path).cells if path.is_file() else []
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", ()):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "profile":
                    return ast.literal_eval(node.value)
    return USUAL


def normalize(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook in normal form, in which equal content gives equal bytes.

    Metadata of tools is dropped, cells get the ids c00, c01, ..., and consecutive pieces of one output stream are
    joined. Sources, outputs, execution counts and tags stay.
    """
    nb = copy.deepcopy(notebook)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb.metadata = NotebookNode(kernelspec=NotebookNode(kernel), language_info=NotebookNode(name="python"))
    nb.nbformat, nb.nbformat_minor = 4, 5
    for number, cell in enumerate(nb.cells):
        cell.id = f"c{number:02d}"
        cell.metadata = NotebookNode({k: cell.metadata[k] for k in KEPT_CELL_METADATA if cell.metadata.get(k)})
        if cell.cell_type != "code":
            continue
        outputs = []
        for output in cell.outputs:
            last = outputs[-1] if outputs else NotebookNode(output_type=None)
            if output.output_type == "stream" == last.output_type and output.name == last.name:
                last.text += output.text
            else:
                outputs.append(output)
        cell.outputs = outputs
    return nb


def dumps(notebook: NotebookNode) -> str:
    """Format a notebook as the text of its file."""
    return nbformat.writes(notebook, version=4, indent=1).rstrip("\n") + "\n"


def execute(path: Path, timeout: float | None = None) -> None:
    """Run a notebook with its default parameters, in its folder, and store the normalized result in its place.

    The file is replaced only after the last cell: an error leaves it as it was.
    """
    from nbclient import NotebookClient

    nb = load(path)
    resources = {"metadata": {"path": str(path.parent)}}
    with clean_environment():
        NotebookClient(nb, timeout=timeout, kernel_name="python3", resources=resources).execute()
    write_text(path, dumps(normalize(nb)))


def refresh(paths: list[Path]) -> None:
    """The command `notebooks`: execute notebooks in place, with default parameters.

    Raises:
        ValueError: a cell failed; this notebook and those after it stay as they were.
    """
    from nbclient.exceptions import CellExecutionError

    for name in ("DATA", "SPLIT", "SKIP_BAD", "DETECTOR", "I3D", "C3D", "SWIN"):
        os.environ.pop(f"SAPNET_{name}", None)  # stored outputs use the defaults
    check_environment()
    for path in paths:
        print(f"{path.stem} ...", flush=True)
        with waiting(path.stem):
            try:
                execute(path)
            except CellExecutionError as error:
                raise ValueError(
                    f"{path}: a cell failed, with {error.ename}: {' '.join(error.evalue.split())}"
                ) from error
