"""Tell whether a message holds its numbers, names and key words, without pinning the words between them."""

import re


def in_order(text: str, *parts: object) -> bool:
    """Whether these parts stand in the text in this order, each as a whole: "1" is not found in "10", "0.1" or "11"."""
    at = 0
    for part in map(str, parts):
        before = r"(?<![\w.])" if part[0].isalnum() else ""
        after = r"(?!\w|\.\d)" if part[-1].isalnum() else ""
        if not (found := re.compile(before + re.escape(part) + after).search(text, at)):
            return False
        at = found.end()
    return True
