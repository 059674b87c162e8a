"""Render an executed notebook as one HTML file that needs no network: embedded style and images, MathML equations."""

import html
import re
from functools import cache
from pathlib import Path

from markupsafe import Markup

from sapnet_core.reporting.checks import UNSEEN
from sapnet_core.reporting.column_alignment import holds_words
from sapnet_core.reporting.install_cell import TAG
from sapnet_core.reporting.lessons import HEADING, lessons, named_by
from sapnet_core.reporting.markup import PAGE_DATA, page, render
from sapnet_core.reporting.mathml import mathml
from sapnet_core.reporting.notebooks import load
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.fingerprint import code_digest, file_digest, fingerprint, package_data_digest

WIDE = re.compile(r'<(?:pre|table|span class="equation")(?=[ >])')  # these may be scrolled, by keyboard too

TAGS = re.compile(r"<[^>]*>")
HEADED = re.compile(r'(<h[1-6]) id="([^"]*)"')
SECTION = re.compile(r'<h2 id="([^"]*)">(.*?)</h2>', re.DOTALL)
IMPORTS = re.compile(r"\s*(import|from) ")
CODE = re.compile(r'<div class="highlight hl-[\w-]+">\s*<pre.*?</pre>\s*</div>', re.DOTALL)
FRAME = re.compile(r'<table[^>]*class="dataframe".*?</table>', re.DOTALL)  # a table as pandas writes it
ROW = re.compile(r"<tr[^>]*>.*?</tr>", re.DOTALL)
CELL = re.compile(r"<(t[dh])>(.*?)</t[dh]>", re.DOTALL)

__all__ = ["markdown_html", "notebook_page", "write_notebook_page"]

# The formats of an output in order of preference: the first that an output has is shown.
SHOWN = ["text/html", "text/markdown", "image/png", "image/jpeg", "text/latex", "text/plain"]
STYLE = "xcode"  # the colors of code; of Pygments' styles the one whose every color is dark enough on the gray of pages

LONG = 40  # characters of TeX within a line from which an equation may be wider than a phone


@cache
def _renderer() -> type:
    """A class that renders Markdown as nbconvert does, but equations as MathML."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    class Renderer(IPythonRenderer):
        def heading(self, text: str, level: int, **_attributes: object) -> str:
            """Give a heading the id that JupyterLab gives it, its words joined by hyphens: a link to a heading of a
            notebook then leads there in JupyterLab and on the notebook's page."""
            words = "-".join(html.unescape(TAGS.sub("", text)).split())
            return f'<h{level} id="{html.escape(words)}">{text}</h{level}>\n'

        def inline_math(self, body: str) -> str:
            """Convert an equation within a line; one that may be wider than a phone can be scrolled there."""
            made = mathml(body)
            return f'<span class="long" tabindex="0">{made}</span>' if len(body) > LONG else made

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

    made = MarkdownWithMath(renderer=_renderer()(escape=False)).render(source)
    return re.sub(r'(href="\w+)\.ipynb(?=["#])', r"\1.html", made)


def _with_ids_once(body: str) -> str:
    """Keep the id of the first of several headings with the same words: as in JupyterLab, links lead to that one."""
    seen: set[str] = set()

    def kept(found: re.Match) -> str:
        first = found[2] not in seen
        seen.add(found[2])
        return found[0] if first else found[1]

    return HEADED.sub(kept, body)


def _contents(body: str) -> list[tuple[str, str]]:
    """(id, words) of each section of a notebook, in order."""
    return [(html.unescape(name), html.unescape(TAGS.sub("", words))) for name, words in SECTION.findall(body)]


def _folded(body: str) -> str:
    """Put code into folds. The style unfolds them where there is room: on a phone, text and results come first. The
    first imports stay folded everywhere, so that a page begins with what it is about."""
    imported = False

    def fold(found: re.Match) -> str:
        nonlocal imported
        imports = not imported and bool(IMPORTS.match(TAGS.sub("", found[0])))
        imported |= imports
        kind, name = ("imports", "Imports and set-up") if imports else ("code", "Code")
        return f'<details class="{kind}"><summary>{name}</summary>{found[0]}</details>'

    return CODE.sub(fold, body)


def _with_words(body: str) -> str:
    """Mark the columns of pandas' tables that hold words, so that they are aligned and broken like words."""

    def marked(frame: re.Match) -> str:
        rows = [[cell[2] for cell in CELL.finditer(row)] for row in ROW.findall(frame[0])]
        width = max(map(len, rows), default=0)
        below = [row for row in rows[1:] if len(row) == width]
        words = {i for i in range(width) if holds_words(TAGS.sub("", row[i]) for row in below)}

        def row_marked(row: re.Match) -> str:
            at = iter(range(width))
            return CELL.sub(
                lambda cell: f'<{cell[1]} class="words">{cell[2]}</{cell[1]}>' if next(at) in words else cell[0], row[0]
            )

        return ROW.sub(row_marked, frame[0])

    return FRAME.sub(marked, body)


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

    return HtmlFormatter(style=STYLE).get_style_defs(".highlight") + "\n.highlight { background: none; }\n"


def _describe_pictures(cells: list) -> None:
    """Give every picture an alternative text, unless its cell or output has one: the section that draws it."""
    heading, number = "", 0
    for cell in cells:
        if cell.cell_type == "markdown" and (found := HEADING.findall(cell.source)):
            heading = found[-1]
        for output in cell.get("outputs", []) if cell.cell_type == "code" else []:
            kinds = [kind for kind in output.get("data", {}) if kind in ("image/png", "image/jpeg")]
            number += bool(kinds)
            for kind in kinds:
                told = output.setdefault("metadata", {}).setdefault(kind, {})
                if not (told.get("alt") or output.metadata.get("alt") or cell.metadata.get("alt")):
                    text = f"Picture {number} of this notebook, drawn by the code above it"
                    told["alt"] = f"{text}, in the section: {heading}" if heading else text


def _neighbors(stem: str, pages: frozenset[str] | None, up: str) -> dict[str, object]:
    """The links of a notebook's page: the notebooks before and after it, and those that name it or are named by it."""
    every = lessons()
    order = list(every)

    def link(name: str) -> tuple[str, str]:
        return every[name].title, f"{name}.html" if pages is None or name in pages else f"{up}notebooks/{name}.ipynb"

    if stem not in every:
        return {"before": None, "after": None, "names": [], "named_by": []}
    place = order.index(stem)
    return {
        "before": link(order[place - 1]) if place else None,
        "after": link(order[place + 1]) if place + 1 < len(order) else None,
        "names": [link(name) for name in every[stem].names if name in every],
        "named_by": [link(name) for name in named_by(stem, every)],
    }


def notebook_page(notebook: Path, pages: frozenset[str] | None = None, up: str = "../../") -> str:
    """Return the page of a notebook as HTML.

    Args:
        pages: stems of the notebooks that have a page beside this one; links to others lead to their files. None
            stands for all.
        up: address of the repository's root, relative to the page.
    """
    nb = load(notebook)
    nb.cells = [cell for cell in nb.cells if TAG not in cell.metadata.get("tags", ())]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if UNSEEN not in output.get("data", {})]
    _describe_pictures(nb.cells)
    body, _ = _exporter().from_notebook_node(nb)
    body = WIDE.sub(r'\g<0> tabindex="0"', _folded(_with_words(_with_ids_once(body))))
    if pages is not None:
        absent = "|".join(map(re.escape, sorted(set(lessons()) - pages))) or "(?!)"
        body = re.sub(rf'href="({absent})\.html(?=["#])', rf'href="{up}notebooks/\1.ipynb', body)
    title = nb.cells[0].source.splitlines()[0].lstrip("# ") if nb.cells else notebook.stem
    source = f"{up}notebooks/{notebook.stem}.ipynb" if notebook.stem in lessons() else ""
    shown = {"cells": Markup(body), "contents": _contents(body), "source": source}
    main = render("notebook", **shown, **_neighbors(notebook.stem, pages, up))
    return page(title, main, _highlighting(), _made_from(notebook, pages, up))


def _made_from(notebook: Path, pages: frozenset[str] | None, up: str) -> str:
    modules = ("column_alignment", "lessons", "markup", "mathml", "notebook_pages", "sanitize")
    code = code_digest(*(f"reporting.{name}" for name in modules))
    links = [*_neighbors(notebook.stem, pages, up).values(), None if pages is None else sorted(pages)]
    return fingerprint(code, package_data_digest(*PAGE_DATA), file_digest(notebook), links)


def write_notebook_page(notebook: Path, target: Path, pages: frozenset[str] | None = None, up: str = "../../") -> bool:
    """Write the page of a notebook unless `target` was made from the same notebook, code, style and links.

    Args:
        pages, up: as for `notebook_page`.

    Returns:
        Whether it was written.
    """
    made_from = _made_from(notebook, pages, up)
    if target.is_file() and f'content="{made_from}"' in target.read_text(encoding="utf-8")[:2000]:
        return False
    write_text(target, notebook_page(notebook, pages, up))
    return True
