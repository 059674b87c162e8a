"""`Site` holds all that the pages of one gallery share: folder, tables, figures, claims, and the addresses of links."""

import os
import re
from functools import cache, cached_property
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.profiles import PROFILES, get_profile
from sapnet_core.experiments.stored_summary import stored_summary
from sapnet_core.reporting import parts as found_parts
from sapnet_core.reporting.lessons import lessons
from sapnet_core.reporting.parts import Part, claims, entries, parts, places
from sapnet_core.reporting.provenance import declared_names
from sapnet_core.reporting.site_claims import Spot, cells_of, claim_views, spots
from sapnet_core.reporting.ten_sentences import lead, ledger_rows, ten_sentences
from sapnet_core.reporting.worth import worth as worth_of_parts
from sapnet_core.runtime import environment
from sapnet_core.runtime.files import read_json

__all__ = ["PAGES", "Site", "executed"]

PAGES = {  # name of a page -> its words in the navigation
    "index": "Summary",
    "results": "Tables and figures",
    "claims": "Claims",
    "trials": "Trials",
    "deviations": "Deviations",
    "checklist": "Checklist",
    "notebooks": "Notebooks",
}
STUDY = "study"  # the profile of the paper's sizes
STEPS = (
    (5, "5 s"),
    (10, "10 s"),
    (20, "20 s"),
    (30, "30 s"),
    (60, "1 min"),
    (120, "2 min"),
    (300, "5 min"),
    (600, "10 min"),
    (1200, "20 min"),
    (3600, "1 h"),
)


class Site:
    """One gallery as it is written: the folder, what lies in it, and what its pages link to.

    Attributes:
        folder: `figures/`, or its subfolder of one profile. What this profile leaves to the study lies in another
            subfolder, and is shown as well.
        profile: name of that profile, or None.
        pages: stems of the notebooks that have a page; none in the repository's own gallery.
        times: whether to say how long notebooks ran here.
    """

    def __init__(self, folder: Path, profile: str | None, pages: frozenset[str], times: bool):
        self.folder, self.profile, self.pages, self.times = folder, profile, pages, times
        self.up = "../" * (1 + (folder != environment.figures()))
        self.hashed = cache(found_parts.trial_hash)  # most trials are used by several figures
        left = get_profile(profile).left_to_study if profile else ()
        self.parts = parts(folder, self.hashed, environment.figures() / STUDY, left)
        self.rows = claims(folder, controls=True)
        self.lessons = lessons()
        # the size at which each table and figure of `experiments.tables` is shown
        self.sizes: dict[str, str] = {}
        for part in self.parts:
            for name in declared_names(part.stem) if part.record else ():
                self.sizes.setdefault(name, str(part.record["profile"]))

    @cached_property
    def heads(self) -> set[str]:
        """The ids of the entries on the page of tables and figures."""
        return {entry[0].stem for section in entries(self.parts).values() for entry in section}

    @cached_property
    def said(self) -> list[dict[str, str]]:
        """The rows of the paper's own claims."""
        return [row for row in self.rows if row.get("control") != "True"]

    def beside(self, part: Part, name: str) -> str:
        """The address of a part's file, from the pages."""
        return (Path(os.path.relpath(part.folder, self.folder)) / name).as_posix()

    def links(self, stem: str, anchor: str = "") -> dict[str, str]:
        """Addresses of a notebook and of its page; the page is "" if there is none."""
        made = f"notebooks/{stem}.html{anchor}" if stem in self.pages else ""
        return {"name": f"{stem}.ipynb", "source": f"{self.up}notebooks/{stem}.ipynb", "page": made}

    def address(self, target: str) -> str:
        """The address of a page of this site, of a notebook, or of a file of the repository."""
        page, _, anchor = target.partition("#")
        if page.removesuffix(".html") in PAGES:  # a table that is not here yet has no entry
            return page if page == "results.html" and anchor not in self.heads else target
        stem = re.fullmatch(r"notebooks/(\w+)\.ipynb", target)
        links = self.links(stem[1]) if stem else {}
        return links.get("page") or self.up + target

    def spot(self, spot: Spot) -> str:
        """The address of a notebook's cell: its anchor on the notebook's page, or the notebook itself."""
        links = self.links(spot.stem, f"#cell-id={spot.cell}")
        return links["page"] or links["source"]

    @cached_property
    def claim_views(self) -> list[dict[str, object]]:
        """What the pages show of each claim and control (`site_claims.claim_views`)."""
        homes, notebooks = {}, {part.stem: part.notebook for part in self.parts}
        for row in self.rows:
            about = places(row.get("family") or row["place"])
            known = [notebooks[stem] for stem in about if notebooks.get(stem)]
            homes |= {row["claim"]: known[0].stem} if known else {}
        sizes = {table: size for table, size in self.sizes.items() if size in PROFILES}
        cells = {name for table, size in sizes.items() for name in cells_of(size) if name[0] == table}
        found = spots({row["claim"]: row.get("statement", "") for row in self.rows}, homes)
        return claim_views(self.rows, found, self.spot, cells, stand_in=self.profile is None)

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """The rows of the ledger with numbers (`ten_sentences.ledger_rows`)."""
        return ledger_rows(self.rows)

    @cached_property
    def formats(self) -> dict[str, str]:
        """The number format of the features of each stored trial, by the trial's hash."""
        table = stored_summary()
        return {name.rpartition("-")[2]: numbers for name, numbers in table[["trial", "numbers"]].values}

    @cached_property
    def worth(self) -> pd.DataFrame:
        """What each part of SAP-Net is worth (`reporting.worth`), from trials of the profile of this gallery; those of
        the study where it has none."""
        return worth_of_parts(get_profile(self.profile or STUDY))

    @cached_property
    def came_out(self) -> dict[str, object]:
        """What came out in ten sentences, as in README, with the lead before them; empty without a ledger."""
        return {"lead": lead(), "sentences": ten_sentences(self.ledger, self.worth)} if self.rows else {}

    def time(self, stem: str) -> str:
        """How long the last run of a notebook took, in steps; "" if it has not run here or times are not shown."""
        last = executed(stem, self.profile) if self.times else None
        if last is None or not last.with_suffix(".json").is_file():
            return ""
        seconds = read_json(last.with_suffix(".json"))["seconds"]
        return next(
            (f"notebook ran in under {text}" for most, text in STEPS if seconds < most), "notebook ran over 1 h"
        )


def executed(stem: str, profile: str | None) -> Path | None:
    """The newest executed copy of a notebook, None if it has not run; copies run on own videos lie in a subfolder."""
    folder = environment.runs() / "notebooks" / (profile or "")
    found = [f for f in (folder / "own" / f"{stem}.ipynb", folder / f"{stem}.ipynb") if f.is_file()]
    return max(found, key=lambda f: f.stat().st_mtime_ns, default=None)
