"""What notebooks show and save: figures and tables with provenance, checks of numbers, data digests, live figures."""

from sapnet_core.reporting.checks import check, digest_line, verify
from sapnet_core.reporting.pictures import picture
from sapnet_core.reporting.provenance_table import provenance, provenance_table
from sapnet_core.reporting.save import save_figure, save_table
from sapnet_core.reporting.style import COLORS, COLUMN, PAGE, use_style
from sapnet_core.reporting.tables import as_printed, comparison_table, markdown, show
from sapnet_core.reporting.widgets import explore

__all__ = [
    "check",
    "digest_line",
    "picture",
    "provenance",
    "provenance_table",
    "save_figure",
    "save_table",
    "COLORS",
    "COLUMN",
    "PAGE",
    "use_style",
    "as_printed",
    "comparison_table",
    "markdown",
    "show",
    "explore",
    "verify",
]
