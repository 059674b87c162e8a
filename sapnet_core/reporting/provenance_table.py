"""Provenance as notebooks show it; `sapnet_core.reporting.provenance` records it and reports that of a file."""

from sapnet_core.reporting.literal import in_markdown
from sapnet_core.reporting.provenance import provenance, provenance_rows

__all__ = ["provenance", "provenance_rows", "provenance_table"]


def provenance_table(record: dict[str, object]):
    """Return the provenance as a small table for the last cell of a notebook. nbval compares it but for the commit and
    the versions (`notebooks/nbval_sanitize.cfg`)."""
    from IPython.display import Markdown

    rows = "\n".join(f"| {in_markdown(key)} | {in_markdown(text)} |" for key, text in provenance_rows(record))
    return Markdown(f"| provenance | |\n|---|---|\n{rows}")
