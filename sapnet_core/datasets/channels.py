"""Which columns of a sequence a text such as "38-75" or "left* right*" names."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

__all__ = ["ChannelError", "chosen_channels"]

RANGE = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?", re.ASCII)


class ChannelError(ValueError):
    """A text names no columns of a sequence; the message says why, and what to write."""


def chosen_channels(text: str, columns: int, names: Sequence[str] = ()) -> tuple[int, ...]:
    """Numbers of the columns that a text names, ascending, counted from 0.

    Args:
        text: words between spaces or semicolons: a number, a range of numbers with its last one included ("38-75"), or
            a name, in which "*" stands for any letters ("left*").
        columns: the number of columns.
        names: their names, where the sequence has any; a name goes before a number.

    Raises:
        ChannelError: a word names no column, or all columns are named, so that both views would be equal.
    """
    found: set[int] = set()
    for word in text.replace(";", " ").split():
        named = [i for i, name in enumerate(names) if fnmatchcase(name, word)]
        match = RANGE.fullmatch(word)
        if not named and match:
            first, last = int(match[1]), int(match[2] or match[1])
            named = list(range(first, last + 1)) if first <= last < columns else []
        if not named:
            known = f"columns are numbered from 0 to {columns - 1}"
            known += f" and named {', '.join(names)[:120]}" if names else " and have no names"
            raise ChannelError(f"{word[:40]!r} names no column: {known}")
        found |= set(named)
    if len(found) == columns:
        raise ChannelError("it names all columns, so that teacher and student see the same: name fewer")
    return tuple(sorted(found))
