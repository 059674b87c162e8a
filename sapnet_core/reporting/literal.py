"""Text that people bring (ids, groups, paths, names of columns) shown as it is: it is never markup, an equation or a
formula of a spreadsheet, wherever it is written to. One function for each such place.

    in_markdown("<b>*a*</b>")     a cell or a line of Markdown that shows <b>*a*</b>
    in_figure("$x$")              a label that matplotlib draws as $x$
    in_cell("=1+1")               "'=1+1", a cell that spreadsheets show as text; from_cell gives "=1+1" back
"""

import html
import re
import unicodedata

__all__ = ["from_cell", "in_cell", "in_figure", "in_markdown", "visible"]

JOINERS = "\u200c\u200d"  # unseen, and part of how Persian, Kannada and many an emoji are written
# In Markdown: what begins markup, or ends it. An underscore within a word does neither, nor a lone asterisk; a bracket
# does before what makes it a link, and a colon or point in what is taken for an address.
MARKUP = re.compile(r"[&<>`~@$\\|*]|(?<![^\W_])_|_(?![^\W_])|\](?=[\[(:])|:(?=//)|(?<=[Ww]{3})\.")
# Where a spreadsheet may begin a cell: at the start of a text, and within it wherever another separator than the comma
# is in use. What it takes for a formula there; the apostrophe is told apart so that it can be taken away again.
STARTS = r"(?:\A|(?<=[;\t\r\n]))"
FORMULA = re.compile(STARTS + r"(?=[^\S\t\r\n]*[=+\-@＝＋－＠'\t\r\n])")
APOSTROPHE = re.compile(STARTS + "'")


def visible(text: str) -> str:
    """The text on one line: a space for spaces of any kind, and what else cannot be seen as its code, such as \\n for
    a line end and \\u202e for the mark that turns the direction of reading."""

    def shown(c: str) -> str:
        if c.isprintable() or c in JOINERS:
            return c
        return " " if unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode("ascii")

    return "".join(map(shown, text))


def in_markdown(text: str) -> str:
    """Markdown, for a cell of a table or within a line, that every reader shows as this text, on one line.

    Signs that would act are written as entities, which no reader of Markdown takes for markup. Two of them stand in a
    `<span>`, since MathJax reads the page that was made, and takes a pair of them for an equation.
    """
    text = visible(text)
    lone = text.count("*") < 2

    def written(found: re.Match) -> str:
        sign = found[0]
        if sign == "|":
            return "\\|"
        if sign == "*" and lone:
            return sign
        entity = html.escape(sign) if sign in "&<>" else f"&#{ord(sign)};"
        return f"<span>{entity}</span>" if sign in "$\\" else entity

    return MARKUP.sub(written, text)


def in_figure(text: str) -> str:
    """The text for a title, label or legend of matplotlib: no part of it is read as an equation, nor left out of a
    legend, as labels are that begin with an underscore."""
    text = visible(text).replace("$", "\\$")
    return f" {text}" if text.startswith("_") else text


def in_cell(text: str) -> str:
    """The text for a cell of a CSV that people open: with an apostrophe before what a spreadsheet takes for a formula.

    These are texts that begin with `=`, `+`, `-`, `@`, their wide forms, a tab or a line end, also after spaces, or
    have such a sign behind a semicolon, tab or line end, where spreadsheets of other countries begin a cell.
    """
    return FORMULA.sub("'", text)


def from_cell(text: str) -> str:
    """The text that `in_cell` wrote; any text that it had no reason to change comes back as it is."""
    return APOSTROPHE.sub("", text)
