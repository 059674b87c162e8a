"""The notebooks as a course: their order, titles and first words, and which of them name each other."""

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sapnet_core.reporting.notebooks import find

__all__ = ["HEADING", "Lesson", "lessons", "minutes_of_waiting", "named_by"]

LINK = re.compile(r"\]\((\w+)\.ipynb[)#]")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
NEEDED = re.compile(r"^\*\*You need\.\*\*.*$", re.MULTILINE)
RUNS = re.compile(r"\bruns\b|\btrains\b|\bthe first time\b")  # in a sentence that says how long the machine works
COUNTS = {"half a": 0.5, "a": 1, "one": 1} | {w: n for n, w in enumerate("two three four five six seven".split(), 2)}
WAITED = re.compile(rf"\b({'|'.join(COUNTS)}|\d+) (?:minutes?\b|more\b)")


class Lesson(NamedTuple):
    """What the gallery says of a notebook.

    Attributes:
        stem: its name without extension.
        title: its first heading.
        intro: the paragraph below it, in Markdown without links.
        names: stems of the notebooks that its text links to, in the order of their first mention.
    """

    stem: str
    title: str
    intro: str
    names: tuple[str, ...]


def lessons() -> dict[str, Lesson]:
    """All notebooks of the repository by stem, in reading order. Raises ValueError naming a file that is none."""
    return {path.stem: _lesson(path, path.stat().st_mtime_ns) for path in find()}


@cache
def _lesson(path: Path, _written: int) -> Lesson:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a readable notebook ({error}): restore it from the repository") from error
    first = texts[0] if texts else path.stem
    title, _, rest = first.strip().partition("\n")
    intro = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(rest.strip().partition("\n\n")[0].split()))
    names = dict.fromkeys(name for text in texts for name in LINK.findall(text) if name != path.stem)
    return Lesson(path.stem, title.lstrip("# "), intro, tuple(names))


def minutes_of_waiting(head: str) -> float:
    """The minutes that the first run of a notebook takes, by the head of the notebook: the sum over the sentences below
    "You need" that say how long it runs; 0 where they say "seconds", or nothing."""
    sentences = re.split(r"(?<=\.) ", "".join(NEEDED.findall(head)))
    times = [word for sentence in sentences if RUNS.search(sentence) for word in WAITED.findall(sentence)]
    return float(sum(COUNTS[word] if word in COUNTS else int(word) for word in times))


def named_by(stem: str, every: dict[str, Lesson]) -> list[str]:
    """Stems of the notebooks that link to one."""
    return [lesson.stem for lesson in every.values() if stem in lesson.names]
