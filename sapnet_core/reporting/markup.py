"""Pieces of HTML that the gallery and the pages of notebooks are put together from."""

import html
import re
from pathlib import Path

from sapnet_core.reporting.literal import from_markdown
from sapnet_core.reporting.sanitize import policy, sanitized

__all__ = ["STYLE", "badge", "fold", "listing", "page", "table"]

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
CELLS = re.compile(r"(?<!\\)\|")
BOLD = re.compile(r"\*\*(.+?)\*\*")
NUMBER = re.compile(r"(<strong>)?[-−+]?\d|—")
PAIR = re.compile(r"(.+) (paper|this run.*)")  # header of a comparison: two columns of one kind


def page(title: str, body: str, style: str = "", head: str = "") -> str:
    """A whole document: its style within, nothing outside it, and nothing in its body that acts (`sanitize`)."""
    style = f"\n{STYLE}{style}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{policy(style)}\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{head}\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{sanitized(body)}\n</body>\n</html>\n"
    )


def badge(kind: str, text: str, why: str = "") -> str:
    """A small label; `kind` is a class of the style: good, bad, open, odd, old."""
    hint = f' title="{html.escape(why)}"' * bool(why)
    return f'<span class="badge {kind}"{hint}>{html.escape(text)}</span>'


def fold(summary: str, content: str, is_open: bool = False) -> str:
    """Something to open and close."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>\n{content}\n</details>"


def listing(rows: list[tuple[str, str]]) -> str:
    """Names and texts, side by side."""
    return "<dl>" + "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in rows) + "</dl>"


def _text(cell: str) -> str:
    """A cell of Markdown as HTML: bold is ours, all else is text."""
    parts = [html.escape(from_markdown(part), quote=False) for part in BOLD.split(cell.strip())]
    return "".join(f"<strong>{part}</strong>" if i % 2 else part for i, part in enumerate(parts))


def _row(cells: list[str], words: list[bool], tag: str = "td") -> str:
    kinds = [' class="words"' * wordy for wordy in words[1:]]
    rest = "".join(f"<{tag}{kind}>{cell}</{tag}>" for cell, kind in zip(cells[1:], kinds, strict=True))
    return f'<tr><th class="name">{cells[0]}</th>{rest}</tr>'


def _head(names: list[str], words: list[bool]) -> str:
    """One line of header, or two where every column but the first is one of a pair."""
    pairs = [PAIR.fullmatch(name) for name in names[1:]]
    if not pairs or not all(pairs):
        return _row(names, words, "th")
    groups = list(dict.fromkeys(pair[1] for pair in pairs))
    spans = "".join(f'<th colspan="{sum(p[1] == g for p in pairs)}">{g}</th>' for g in groups)
    below = "".join(f"<th>{pair[2]}</th>" for pair in pairs)
    return f'<tr><th class="name" rowspan="2">{names[0]}</th>{spans}</tr><tr>{below}</tr>'


def table(markdown: str) -> tuple[str, int]:
    """The table in a Markdown text as HTML in a box that scrolls by itself; and its number of rows, 0 for none."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    if len(lines) < 2:
        return "", 0
    head, _, *rows = ([_text(cell) for cell in CELLS.split(line.strip())[1:-1]] for line in lines)
    rows = [(row + [""] * len(head))[: len(head)] for row in rows]
    words = [bool(rows) and not any(NUMBER.match(row[i]) for row in rows) for i in range(len(head))]
    body = "\n".join(_row(row, words) for row in rows)
    content = f"<table>\n<thead>{_head(head, words)}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="scroll" tabindex="0">{content}</div>', len(rows)
