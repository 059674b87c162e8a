"""Whether a column of a table holds words, which are aligned to the left, or numbers, which are aligned to the right.

All tables follow this one rule: those of notebooks, in Markdown and as pandas writes them, and those of the gallery.
"""

import re
from collections.abc import Iterable

__all__ = ["holds_words"]

# Numbers with the signs and words that may stand between and beside them, as in "0.683 ± 0.075 (n=2)",
# "-0.1 [-0.2, 0.0]" or "2 of 14".
# Quantifiers are possessive: a cell of a user may be long, and trying every way to split its digits would not end.
NUMBERS = re.compile(
    r"(?:\d[\d.,]*+(?:e[-+]?\d++)?+|inf|nan|n=|\b(?:to|of)\b|[-−+±—–.\[\](),;%✓✗=?\s])*+", re.IGNORECASE
)


def holds_words(cells: Iterable[str]) -> bool:
    """Whether one of a column's cells is more than numbers and their signs; empty cells are none."""
    return not all(NUMBERS.fullmatch(cell) for cell in cells)
