"""Show text from users (ids, groups, paths, column names) literally: never as markup, an equation or a spreadsheet
formula. There is one function for each kind of output.

    in_markdown("<b>*a*</b>")     a cell or a line of Markdown that shows <b>*a*</b>
    in_figure("$x$")              a label that matplotlib draws as $x$
    in_cell("=1+1")               "'=1+1", a cell that spreadsheets show as text; from_cell gives "=1+1" back
"""

import html
import re
import unicodedata

__all__ = ["from_cell", "in_cell", "in_figure", "in_markdown", "visible"]

JOINERS = "\u200c\u200d"  # invisible, but needed to write Persian, Kannada and many emoji
# Characters that can start or end markup in Markdown. An underscore inside a word cannot, nor can a lone asterisk (see
# `in_markdown`). A closing bracket counts only where it could make a link, a colon or dot only in a possible address.
MARKUP = re.compile(r"[&<>`~@$\\|*]|(?<![^\W_])_|_(?![^\W_])|\](?=[\[(:])|:(?=//)|(?<=[Ww]{3})\.")
# Where a spreadsheet may start a cell: at the start of a text, and after any separator other than the comma. `FORMULA`
# finds starts of a formula there, and apostrophes, too, so that `from_cell` can undo `in_cell`.
STARTS = r"(?:\A|(?<=[;\t\r\n]))"
FORMULA = re.compile(STARTS + r"(?=[^\S\t\r\n]*[=+\-@＝＋－＠'\t\r\n])")
APOSTROPHE = re.compile(STARTS + "'")


def visible(text: str) -> str:
    """Put a text on one line: every kind of space becomes a plain space, and any other invisible character its escape
    code, such as \\n for a line end and \\u202e for the mark that reverses the reading direction."""

    def shown(c: str) -> str:
        if c.isprintable() or c in JOINERS:
            return c
        return " " if unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode("ascii")

    return "".join(map(shown, text))


def in_markdown(text: str) -> str:
    """Escape a text so that every Markdown reader shows it literally, within a line or a table cell.

    Special characters become HTML entities, which no Markdown reader takes for markup. Dollar signs and backslashes are
    also put into a `<span>` each, since MathJax reads the finished page and would take a pair of them for an equation.
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
    """Escape a text for a title, label or legend of matplotlib: no part is read as an equation, and a leading
    underscore does not hide it from the legend."""
    text = visible(text).replace("$", "\\$")
    return f" {text}" if text.startswith("_") else text


def in_cell(text: str) -> str:
    """Escape a text for a CSV that people open: an apostrophe goes before what a spreadsheet would take for a formula.

    That is `=`, `+`, `-`, `@`, their full-width forms, an apostrophe, a tab or a line end, at the start of the text,
    also after spaces, or after a semicolon, tab or line end, where spreadsheets of some countries start a new cell.
    """
    return FORMULA.sub("'", text)


def from_cell(text: str) -> str:
    """Undo `in_cell`; a text that `in_cell` had no reason to change comes back as it is."""
    return APOSTROPHE.sub("", text)
