"""Where the paper is silent, ambiguous or misprinted, and what was decided: the entries of `reporting/errata.toml`."""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Erratum", "errata"]


class Erratum(NamedTuple):
    """One such place.

    Attributes:
        id: "E1", "E2" and so on.
        paper: what the paper says or leaves out.
        decided: what this suite does.
        settings: fields of `SAPNetSettings` with which another reading can be run; empty if there is none.
        met_in: beginnings of the names of the notebooks that explain it.
        trial: other settings that do so, of a trial, its training or its method.
    """

    id: str
    paper: str
    decided: str
    settings: tuple[str, ...]
    met_in: tuple[str, ...]
    trial: tuple[str, ...] = ()


@cache
def errata() -> tuple[Erratum, ...]:
    """All entries in the order of the file.

    Raises:
        TypeError: an entry of the file lacks a field, or has an unknown one.
    """
    entries = tomllib.loads(Path(__file__).with_name("errata.toml").read_text(encoding="utf-8"))["erratum"]
    return tuple(Erratum(**{k: tuple(v) if isinstance(v, list) else v for k, v in e.items()}) for e in entries)
