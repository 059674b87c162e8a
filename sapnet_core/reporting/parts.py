"""The tables and figures in a folder, in the paper's order, and the verdicts on claims that are stored with them."""

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from sapnet_core.experiments.statistics import VERDICTS
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.reporting.embedded import RecordError, read_record
from sapnet_core.reporting.notebooks import find
from sapnet_core.reporting.provenance import ROMAN, Status, declared_names, status
from sapnet_core.reporting.stored_tables import read_cells

__all__ = ["Part", "parts", "entries", "places", "claims"]

KINDS = (".png", ".svg", ".csv", ".md")
PLACE = re.compile(r"(Table|Fig)(?:ure)?s?\.?\s+((?:[IVX]+|\d+)(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+)(?:[IVX]+|\d+)\b)*)")


@dataclass(frozen=True)
class Part:
    """One table or figure: the files of a folder that share a stem, that is, a name without extension.

    Attributes:
        folder, stem: where the files lie, and their stem.
        title, caption, section: from `captions.csv`; built from the stem for what the paper does not have.
        hashed: computes the hash of a trial, as `trial_hash` does.
    """

    folder: Path
    stem: str
    title: str
    caption: str
    section: str
    hashed: Callable[[Trial], str]

    @cached_property
    def record(self) -> dict | None:
        """The provenance that the first of its files holds, None where it holds none or a damaged one."""
        kinds = [k for k in (".png", ".svg", ".md", ".csv") if (self.folder / (self.stem + k)).is_file()]
        try:
            return read_record(self.folder / (self.stem + kinds[0]))
        except RecordError:
            return None

    @cached_property
    def status(self) -> Status:
        """Whether it is current or stale, and why; "not decided" without provenance."""
        if self.record is None:
            return Status("not decided", "it holds no provenance")
        return status(self.record, self.stem, self.hashed)

    @property
    def files(self) -> list[str]:
        """The names of its files, in the order of `KINDS`."""
        return [self.stem + kind for kind in KINDS if (self.folder / (self.stem + kind)).is_file()]

    @property
    def notebook(self) -> Path | None:
        """The notebook that the recorded command runs, None if it cannot be told."""
        named = re.search(r"--only (\w+)", str((self.record or {}).get("command", "")))
        try:
            return find([named[1]])[0] if named else None
        except ValueError:
            return None


def parts(
    folder: Path, hashed: Callable[[Trial], str] | None = None, study: Path | None = None, left: Iterable[str] = ()
) -> list[Part]:
    """Find the tables and figures of a folder: those of the paper in its order, then the others by name.

    Args:
        hashed: computes the hash of a trial; by default `trial_hash`, cached, since most trials are used by several
            figures.
        study: a second folder, if there is one; the tables and figures of `left` come from there where the first folder
            has none.
        left: as `Profile.left_to_study`.
    """
    with open(Path(__file__).with_name("captions.csv"), encoding="utf-8", newline="") as file:
        known = {row.pop("stem"): row for row in csv.DictReader(file)}
    theirs = _stems(study) if study and study.is_dir() else set()
    folders = {stem: study for stem in theirs if not set(left).isdisjoint(declared_names(stem))}
    folders |= dict.fromkeys(_stems(folder), folder)
    found, hashed = [], hashed or cache(trial_hash)
    for stem in sorted(folders, key=lambda s: ([*known].index(s) if s in known else len(known), s)):
        plain = {"section": "Beyond the paper", "title": stem.replace("_", " ").capitalize(), "caption": ""}
        found.append(Part(folders[stem], stem, **known.get(stem, plain), hashed=hashed))
    return found


def _stems(folder: Path) -> set[str]:
    """The stems of the pictures and tables of a folder."""
    return {
        file.stem for file in folder.iterdir() if file.suffix in (".png", ".svg", ".md") and file.stem[0] not in "._"
    }


def entries(found: list[Part]) -> dict[str, list[list[Part]]]:
    """Group parts by section: section -> entries.

    An entry is a table or figure followed by the parts that belong to it: those whose stem begins with its own, as
    "table01_curves" belongs to "table01" and "real_people_curves" to "real_people".
    """
    stems = {part.stem for part in found}
    owners = {stem: next((one for one in sorted(stems) if stem.startswith(f"{one}_")), stem) for stem in stems}
    sections: dict[str, list[list[Part]]] = {}
    for part in found:
        if owners[part.stem] == part.stem:
            belongs = [other for other in found if other is not part and owners[other.stem] == part.stem]
            sections.setdefault(part.section or "Beyond the paper", []).append([part, *belongs])
    return sections


def places(text: str) -> list[str]:
    """Stems of the tables and figures that a text names: "Table I, Fig. 7" -> ["table01", "fig07"]."""
    stems = []
    for kind, numbers in PLACE.findall(text):
        for number in re.findall(r"[IVX]+|\d+", numbers):
            value = ROMAN.index(number) + 1 if number in ROMAN else int(number) if number.isdigit() else 0
            stems += [f"{kind.lower()}{value:02d}"] * bool(value)
    return stems


def claims(folder: Path, controls: bool = False) -> list[dict[str, str]]:
    """Read the rows of `claims.csv` (claim, place, verdict, ...); an absent file has no rows. Controls, which are
    questions of ours and not of the paper, are left out unless they are asked for.

    Raises:
        ValueError: one of these columns is missing, or a verdict is unknown.
    """
    file = folder / "claims.csv"
    if not file.is_file():
        return []
    head, lines = read_cells(file)
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    for row in rows:
        if not {"claim", "place", "verdict"} <= row.keys() or row["verdict"] not in VERDICTS:
            raise ValueError(f"{file}: needs columns claim, place, verdict; verdicts are {', '.join(VERDICTS)}")
    return [row for row in rows if controls or row.get("control") != "True"]
