"""The rules for stored notebooks. `python tests/notebook_rules.py 03` lists the violations in notebook 03."""

import ast
import re
import sys
from pathlib import Path

from nbformat import NotebookNode

from sapnet_core.reporting.notebooks import dumps, find, load, normalize

ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|opt|mnt|var|private|content)/|\b[A-Z]:\\\w")
FORBIDDEN = {
    r"\bclear_output\b": "clear_output changes stored outputs",
    r"(?<![\w.])interact\(": "bare interact stores a blank view: use sapnet_core.reporting.explore",
    r"from tqdm import": "bare tqdm: use tqdm.auto or fixed-format lines",
    r"\bsys\.exit\b|(?<![\w.])(?:exit|quit)\(": "a cell exits",
}


def _texts(cell: NotebookNode) -> list[str]:
    """The texts in the stored outputs of a code cell."""
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
    return faults + ([] if "profile" in names else ['parameters cell lacks `profile: str = "quick"`, or another'])


def _cell_faults(cell: NotebookNode) -> list[str]:
    source, tags = cell.source, cell.metadata.get("tags", [])
    faults = [reason for pattern, reason in FORBIDDEN.items() if re.search(pattern, source)]
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
    """The rules that a notebook file breaks, one line each. Its name counts, too: `10_fig05_...` must save `fig05`."""
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
    if "## summary" not in headings and "## what came out" not in headings:
        faults.append("no `## Summary`, and no `## What came out`")
    if "## exercises" not in headings:
        faults.append("no `## Exercises`")
    if "provenance" not in code[-1].source:
        faults.append("no provenance cell at the end")
    sources = "\n".join(cell.source for cell in code)
    if "matplotlib" in sources and "use_style()" not in sources:
        faults.append("draws without use_style(), which lets pictures appear in any kernel")
    for figure in re.findall(r"_((?:fig|table)\d\d)(?=_|$)", path.stem):
        if not any(f'"{figure}"' in cell.source for cell in code):
            faults.append(f"saves no {figure}, which its name promises")
    return faults + ([] if dumps(normalize(notebook)) == path.read_text(encoding="utf-8") else ["not normalized"])


if __name__ == "__main__":
    broken = {path.stem: faults for path in find(sys.argv[1:]) if (faults := violations(path))}
    for stem, faults in broken.items():
        print(stem, *faults, sep="\n  ")
    sys.exit(bool(broken))
