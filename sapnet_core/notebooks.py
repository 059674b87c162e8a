"""Notebooks as source: one normal form, the rules they keep, and how a developer refreshes stored outputs.

    python -m sapnet_core.notebooks execute 03_pseudo_labels     # run in place with default parameters, normalize
    python -m sapnet_core.notebooks check                        # list what breaks a rule, in every notebook
"""

import argparse
import ast
import copy
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sapnet_core import paths
from sapnet_core.storage import write_text

__all__ = ["normalize", "dumps", "load", "violations", "execute", "find"]

LONGEST_CELL = 25
KEPT_CELL_METADATA = ("tags", "jupyter")
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|opt|mnt|var|private|content)/|\b[A-Z]:\\\w")
FORBIDDEN = {
    r"\bclear_output\b": "clear_output changes stored outputs",
    r"(?<![\w.])interact\(": "bare interact stores a blank view: use sapnet_core.report.explore",
    r"from tqdm import": "bare tqdm: use tqdm.auto or fixed-format lines",
    r"\bsys\.exit\b|(?<![\w.])(?:exit|quit)\(": "a cell exits",
}


def find(names: list[str] | None = None, folder: Path | None = None) -> list[Path]:
    """Notebooks in reading order; `names` keeps those whose stem starts with one of them.

    Raises:
        ValueError: a name that no notebook starts with.
    """
    folder = folder or paths.root() / "notebooks"
    every = sorted(folder.glob("*.ipynb"))
    starts = tuple(Path(name).name.removesuffix(".ipynb") for name in names or ())
    for start in starts:
        if not any(path.stem.startswith(start) for path in every):
            known = ", ".join(path.stem for path in every) or "none"
            raise ValueError(f"no notebook starts with {start!r}: there are {known}")
    return [path for path in every if not starts or path.stem.startswith(starts)]


def load(path: Path) -> NotebookNode:
    """The notebook of one file, in format 4."""
    return nbformat.read(path, as_version=4)


def normalize(notebook: NotebookNode) -> NotebookNode:
    """The one normal form of a notebook, as a copy: equal content gives equal bytes.

    Metadata of tools is dropped, cells are numbered c00, c01, ..., consecutive pieces of one output stream are joined.
    Sources, outputs, execution counts and tags stay.
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
    """The text of a notebook's file."""
    return nbformat.writes(notebook, version=4, indent=1).rstrip("\n") + "\n"


def _texts(cell: NotebookNode) -> list[str]:
    """Everything readable that a code cell has stored."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        found += [output.get("text", "")] + [data[k] for k in data if k.startswith("text/")]
    return ["".join(text) for text in found]


def _parameter_faults(source: str) -> list[str]:
    faults, names = [], []
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            names.append(node.target.id)
            try:
                ast.literal_eval(node.value)
            except ValueError:
                faults.append(f"parameter {node.target.id} is no literal")
        else:
            faults.append(f"parameters cell: `{ast.unparse(node)}` is no annotated literal (name: type = value)")
    return faults + ([] if "profile" in names else ["parameters cell lacks `profile: str = \"quick\"`"])


def _cell_faults(cell: NotebookNode) -> list[str]:
    source, tags = cell.source, cell.metadata.get("tags", [])
    faults = [reason for pattern, reason in FORBIDDEN.items() if re.search(pattern, source)]
    if len(source.splitlines()) > LONGEST_CELL:
        faults.append(f"{len(source.splitlines())} lines, {LONGEST_CELL} at most")
    if source.rstrip().endswith(";"):
        faults.append("trailing `;`: assign to _ instead")
    if {"raises-exception", "nbval-skip", "injected-parameters"} & set(tags):
        faults.append("a tag that hides errors or belongs to a run")
    if any(output.output_type == "error" for output in cell.outputs):
        faults.append("stored error")
    if any(ABSOLUTE_PATH.search(text) for text in _texts(cell)):
        faults.append("prints an absolute path")
    if any(o.get("name") == "stderr" for o in cell.outputs) and "nbval-ignore-output" not in tags:
        faults.append("writes to standard error")
    shows = [any(k.startswith("image/") for k in output.get("data", {})) for output in cell.outputs]
    if any(shows) and all(shows):
        faults.append("a figure without a printed digest of its data: nbval compares no pictures")
    return faults


def violations(path: Path) -> list[str]:
    """What in a notebook's file breaks the house rules; empty when nothing does. `10_fig05_...` must save `fig05`."""
    notebook = load(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code:
        return ["no code cell"]
    faults = [f"cell {cell.get('id')}: {fault}" for cell in code for fault in _cell_faults(cell)]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        faults.append(f"execution counts are not 1..{len(code)}: execute the notebook as a whole")
    if "parameters" in code[0].metadata.get("tags", []):
        faults += _parameter_faults(code[0].source)
    else:
        faults.append("the first code cell is not tagged `parameters`")
    if not re.match(r"# \S", notebook.cells[0].source) or notebook.cells[0].cell_type != "markdown":
        faults.append("the first cell is no title")
    headings = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown").lower()
    faults += [f"no `## {part}`" for part in ("summary", "exercises") if f"## {part}" not in headings]
    if "provenance" not in code[-1].source or "nbval-ignore-output" not in code[-1].metadata.get("tags", []):
        faults.append("the last code cell is no provenance cell tagged `nbval-ignore-output`")
    for figure in re.findall(r"_((?:fig|table)\d\d)(?=_|$)", path.stem):
        if not any(f'"{figure}"' in cell.source for cell in code):
            faults.append(f"saves no {figure}, which its name promises")
    return faults + ([] if dumps(normalize(notebook)) == path.read_text(encoding="utf-8") else ["not normalized"])


def execute(path: Path, timeout: float | None = None) -> None:
    """Run a notebook with its default parameters, in its folder, and store the normalized result in its place.

    The file is replaced only after the last cell: an error leaves it as it was.
    """
    from nbclient import NotebookClient

    nb = load(path)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(nb, timeout=timeout, kernel_name="python3", resources=resources).execute()
    write_text(path, dumps(normalize(nb)))


def main(arguments: list[str] | None = None) -> int:
    """Command line: `execute` or `check`, then names (all notebooks when none is given)."""
    parser = argparse.ArgumentParser(prog="python -m sapnet_core.notebooks", description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("execute", "check"))
    parser.add_argument("names", nargs="*", help="starts of notebook names, such as 03")
    args = parser.parse_args(arguments)
    broken = 0
    for path in find(args.names):
        if args.task == "execute":
            execute(path)
        faults = violations(path)
        broken += bool(faults)
        print(f"{path.stem}: {'keeps the rules' if not faults else ''}", *faults, sep="\n  " if faults else "")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
