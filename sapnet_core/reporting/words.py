"""Words for sentences that the package writes."""

from collections.abc import Sequence

__all__ = ["in_list"]


def in_list(parts: Sequence[str], last: str = "and") -> str:
    """Words in a list: "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
