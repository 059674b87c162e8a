"""Save figures and tables with the data behind them and their provenance; equal numbers give equal bytes."""

import csv
import io
import json
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from sapnet_core.reporting.embedded import comment
from sapnet_core.reporting.literal import in_cell, in_markdown
from sapnet_core.reporting.provenance import provenance_rows, with_declaration
from sapnet_core.reporting.tables import flat, markdown
from sapnet_core.runtime import environment
from sapnet_core.runtime.files import write_bytes, write_text

__all__ = ["save_figure", "save_table"]


def _folder(provenance: dict) -> Path:
    """`figures/` for the profile that the notebook names, and for any other its subfolder, such as `figures/smoke/`."""
    own = "--profile " not in provenance["command"]
    return environment.figures() if own else environment.figures() / provenance["profile"]


def _csv(data: pd.DataFrame) -> str:
    """Format data as a CSV for people to open: no text, including ids and column names, acts as a spreadsheet formula;
    numbers are unchanged. `literal.from_cell` restores the original text."""

    def cell(x: object) -> object:
        return in_cell(x) if isinstance(x, str) else x

    safe = data.map(cell).set_axis([cell(name) for name in data.columns], axis=1)
    text = safe.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    if "\r" in text:  # pandas does not quote it, but readers take it for a line end
        text = safe.to_csv(index=False, float_format="%.6g", lineterminator="\n", quoting=csv.QUOTE_ALL)
    return text


def save_figure(fig: Figure, name: str, data: pd.DataFrame, provenance: dict) -> list[str]:
    """Write `name`.png, .svg and .csv; the pictures carry the provenance in their metadata.

    Args:
        name: file name without extension, such as "fig05".
        data: every number drawn, one row per mark. In the file, text that a spreadsheet would take for a formula begins
            with an apostrophe (`sapnet_core.reporting.literal.in_cell`).
        provenance: from `sapnet_core.reporting.provenance.provenance`.

    Returns:
        The names of the files, without folders.
    """
    folder, note = _folder(provenance), json.dumps(with_declaration(provenance, name), sort_keys=True)
    content = {}
    for kind, metadata in (("png", {"Description": note}), ("svg", {"Date": None, "Description": note})):
        buffer = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": name}):  # element ids from the name, not random ones
            fig.savefig(buffer, format=kind, metadata={"Title": name, **metadata})
        content[f"{name}.{kind}"] = buffer.getvalue()
    content[f"{name}.csv"] = _csv(data).encode()
    for file, data_bytes in content.items():
        write_bytes(folder / file, data_bytes)
    return sorted(content)


def save_table(name: str, table: pd.DataFrame, provenance: dict, title: str = "") -> list[str]:
    """Write `name`.csv (numbers) and `name`.md (as shown, with its provenance below and the hashes of its trials in an
    HTML comment).

    Text is literal in both: escaped in the Markdown, and in the CSV preceded by an apostrophe if a spreadsheet would
    take it for a formula (`sapnet_core.reporting.literal`).

    Args:
        name: file name without extension, such as "table01".
        table: from `comparison_table`, or any data frame.
        provenance: from `sapnet_core.reporting.provenance.provenance`.
        title: printed in bold above the table in the Markdown.

    Returns:
        The names of the files, without folders.
    """
    head = f"**{in_markdown(title)}**\n\n" if title else ""
    rows = "".join(f"- {in_markdown(key)}: {in_markdown(text)}\n" for key, text in provenance_rows(provenance))
    note = comment(with_declaration(provenance, name))
    folder = _folder(provenance)
    write_text(folder / f"{name}.csv", _csv(flat(table)))
    write_text(folder / f"{name}.md", f"{head}{markdown(table)}\n\n{rows}\n{note}")
    return [f"{name}.csv", f"{name}.md"]
