"""Checks of settings: a wrong type or value raises ValueError with one line that names setting, fault and remedy."""

import math
from collections.abc import Sequence

__all__ = ["choice", "number", "switch", "text", "whole"]


def whole(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Check that a value is a whole number (an `int`, no `bool`) in [least, most]. Raises ValueError."""
    wanted = (
        f"give a whole number of at least {least}" if most is None else f"give a whole number from {least} to {most}"
    )
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is not a whole number: {wanted}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name}={value} is too {'small' if value < least else 'large'}: {wanted}")


def number(name: str, value: object, least: float = 0.0, most: float = math.inf, open_ends: str = "") -> None:
    """Check that a value is a finite number in [least, most]; `open_ends` names excluded ends: "least", "most".

    Raises:
        ValueError: the value is not such a number, or it is a `bool`.
    """
    left, right = "(" if "least" in open_ends else "[", ")" if "most" in open_ends or most == math.inf else "]"
    wanted = f"give a number in {left}{least:g}, {'∞' if most == math.inf else f'{most:g}'}{right}"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is not a number: {wanted}")
    inside = (least < value if "least" in open_ends else least <= value) and (
        value < most if right == ")" else value <= most
    )
    if not inside or not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is out of range: {wanted}")


def switch(name: str, value: object) -> None:
    """Check that a value is True or False. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is not a boolean: give True or False")


def text(name: str, value: object) -> None:
    """Check that a value is a text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} is not a string: give a name in quotes")


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """Check that a value is one of the known texts. Raises ValueError, which lists them."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={value!r} is unknown: choose one of {', '.join(known)}")
