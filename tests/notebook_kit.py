"""Build small notebooks for the tests of the notebook runner and of the notebook rules."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sapnet_core.reporting.notebooks import dumps, normalize

PARAMETERS = 'profile: str = "quick"\ncount: int = 3'


def build(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """Write a notebook that keeps the rules once executed: title, parameters, the given code cells, provenance."""
    code = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)]
    code.append(new_code_cell('print("provenance")'))
    head, tail = new_markdown_cell("# Count to three"), new_markdown_cell("## Summary\nDone.\n\n## Exercises\nNone.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(normalize(new_notebook(cells=[head, *code, tail]))), encoding="utf-8")
    return path


def change(path: Path, edit) -> Path:
    """Apply `edit(notebook)` to a notebook file in place."""
    notebook = nbformat.read(path, as_version=4)
    edit(notebook)
    path.write_text(dumps(notebook), encoding="utf-8")
    return path
