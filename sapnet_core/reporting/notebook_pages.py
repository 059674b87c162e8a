"""Render an executed notebook as one HTML file that needs no network: embedded style and images, MathML equations."""

import re
from functools import cache
from pathlib import Path

from markupsafe import Markup

from sapnet_core.reporting.checks import UNSEEN
from sapnet_core.reporting.markup import PAGE_DATA, page, render
from sapnet_core.reporting.mathml import mathml
from sapnet_core.reporting.notebooks import load
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.fingerprint import code_digest, file_digest, fingerprint, package_data_digest

__all__ = ["markdown_html", "notebook_page", "write_notebook_page"]

# The formats of an output in order of preference: the first that an output has is shown.
SHOWN = ["text/html", "text/markdown", "image/png", "image/jpeg", "text/latex", "text/plain"]


@cache
def _renderer() -> type:
    """A class that renders Markdown as nbconvert does, but equations as MathML."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    class Renderer(IPythonRenderer):
        def inline_math(self, body: str) -> str:
            return mathml(body)

        def block_math(self, body: str) -> str:
            return mathml(body, block=True)

        def latex_environment(self, name: str, body: str) -> str:
            return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

        def table_cell(self, text: str, align: str | None = None, head: bool = False) -> str:
            """Render a cell whose alignment is a CSS class: pages allow no inline style."""
            name, kind = "th" if head else "td", f' class="{align}"' if align else ""
            return f"  <{name}{kind}>{text}</{name}>\n"

    return Renderer


def markdown_html(source: str) -> str:
    """Convert the Markdown of a cell to HTML; a link to a notebook beside this one becomes a link to its page."""
    from nbconvert.filters.markdown_mistune import MarkdownWithMath

    html = MarkdownWithMath(renderer=_renderer()(escape=False, exclude_anchor_links=True)).render(source)
    return re.sub(r'(href="\w+)\.ipynb(?=["#])', r"\1.html", html)


@cache
def _exporter():
    """nbconvert's exporter for the cells alone: the page that it puts around them loads scripts from other sites."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(Config(NbConvertBase={"display_data_priority": SHOWN}), template_name="basic")
    exporter.register_filter("markdown2html", markdown_html)
    return exporter


@cache
def _highlighting() -> str:
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style="friendly").get_style_defs(".highlight") + "\n.highlight { background: none; }\n"


def notebook_page(notebook: Path, back: str = "../index.html") -> str:
    """Return the page of a notebook as HTML. `back` is the address of its link to the gallery."""
    nb = load(notebook)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if UNSEEN not in output.get("data", {})]
    body, _ = _exporter().from_notebook_node(nb)
    title = nb.cells[0].source.splitlines()[0].lstrip("# ") if nb.cells else notebook.stem
    main = render("notebook", back=back, cells=Markup(body))
    return page(title, main, _highlighting(), _made_from(notebook))


def _made_from(notebook: Path) -> str:
    code = code_digest("reporting.markup", "reporting.mathml", "reporting.notebook_pages", "reporting.sanitize")
    return fingerprint(code, package_data_digest(*PAGE_DATA), file_digest(notebook))


def write_notebook_page(notebook: Path, target: Path, back: str = "../index.html") -> bool:
    """Write the page of a notebook unless `target` was made from the same notebook, code and style.

    Returns:
        Whether it was written.
    """
    if target.is_file() and f'content="{_made_from(notebook)}"' in target.read_text(encoding="utf-8")[:2000]:
        return False
    write_text(target, notebook_page(notebook, back))
    return True
