"""An executed notebook as one HTML file that needs no network: own style, pictures inside, equations as MathML."""

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

SHOWN = ["text/html", "text/markdown", "image/png", "image/jpeg", "text/latex", "text/plain"]  # of an output, the first


@cache
def _renderer() -> type:
    """nbconvert's way from Markdown to HTML, with equations as MathML."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    class Renderer(IPythonRenderer):
        def inline_math(self, body: str) -> str:
            return mathml(body)

        def block_math(self, body: str) -> str:
            return mathml(body, block=True)

        def latex_environment(self, name: str, body: str) -> str:
            return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", block=True)

        def table_cell(self, text: str, align: str | None = None, head: bool = False) -> str:
            """A cell whose place in its column is a class: a page has no styles but its own."""
            name, kind = "th" if head else "td", f' class="{align}"' if align else ""
            return f"  <{name}{kind}>{text}</{name}>\n"

    return Renderer


def markdown_html(source: str) -> str:
    """The Markdown of a cell as HTML."""
    from nbconvert.filters.markdown_mistune import MarkdownWithMath

    return MarkdownWithMath(renderer=_renderer()(escape=False, exclude_anchor_links=True)).render(source)


@cache
def _exporter():
    """nbconvert's cells without its page, which fetches scripts from elsewhere."""
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
    """The whole page. `back` is where its link to the gallery goes."""
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
    """Write the page of a notebook unless it is there already, made from the same bytes; returns whether it wrote."""
    if target.is_file() and f'content="{_made_from(notebook)}"' in target.read_text(encoding="utf-8")[:2000]:
        return False
    write_text(target, notebook_page(notebook, back))
    return True
