"""The gallery: a small static site beside the tables and figures that needs no network and no script.

    python -m sapnet_core.reporting.gallery [--profile study] [--pages]

`figures/index.html` says what of the paper holds. From there lead: every table and figure beside what the paper says of
it and the verdict (`results.html`), the ledger of claims (`claims.html`), the trials behind every table cell
(`trials.html`), deviations from the paper (`deviations.html`), the reproducibility checklist (`checklist.html`), and
the notebooks (`notebooks.html`), each of which becomes a page of its own in `figures/notebooks/`.

The pages in the repository are those of the repository's own files: they link to the notebooks themselves and show no
run times, so that equal files give equal pages everywhere. A run (`./runall.sh`) and `--pages` also write a page for
each notebook and link to it; these pages repeat what the notebooks store, so the repository does not hold them.

The site is made with Jinja2 and not with Jupyter Book. What makes it useful is the join of tables, claims, cells and
trials, which no book builder knows; MyST fetches its theme from the network and needs scripts to read its pages, which
these pages forbid (`sanitize.policy`).
"""

import hashlib
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.statistics import VERDICTS
from sapnet_core.experiments.stored_summary import stored_summary
from sapnet_core.recipes import command_lines
from sapnet_core.reporting import parts as found_parts
from sapnet_core.reporting import site_notes
from sapnet_core.reporting.crate import write_crate
from sapnet_core.reporting.lessons import lessons
from sapnet_core.reporting.literal import visible
from sapnet_core.reporting.markup import page, render
from sapnet_core.reporting.notebook_pages import markdown_html, write_notebook_page
from sapnet_core.reporting.notebooks import find
from sapnet_core.reporting.parts import Part, claims, entries, parts, places
from sapnet_core.reporting.provenance import declared_names, provenance_rows
from sapnet_core.reporting.site_claims import (
    Label,
    Spot,
    cells_of,
    claim_views,
    count_labels,
    spots,
    trial_views,
    verdict_label,
)
from sapnet_core.reporting.stored_tables import read_stored_table
from sapnet_core.reporting.tables import shown_cells
from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.files import read_json, write_text
from sapnet_core.runtime.progress import waiting

__all__ = ["PAGES", "with_pages", "write_gallery", "write_page", "main"]

PAGES = {  # name of a page -> its words in the navigation
    "index": "Summary",
    "results": "Tables and figures",
    "claims": "Claims",
    "trials": "Trials",
    "deviations": "Deviations",
    "checklist": "Checklist",
    "notebooks": "Notebooks",
}
STATES = {"current": ("good", "✓ current"), "stale": ("old", "! stale"), "not decided": ("open", "? not compared")}
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
LONG = 16  # number of rows from which a table is folded
NUMBER = re.compile(r"[-−+]?\d|—")
# the claims of the summary: what the abstract, the conclusion and the head of each table and sweep say
HEADLINES = (
    "ahead-everywhere",
    "works-everywhere",
    "whole-mtl",
    "whole-fd",
    "synergy-mtl",
    "synergy-fd",
    "iv-s4aqa-10",
    "v-tsa",
    "vi-s4aqa",
    "vii-mlp",
    "loss-all",
    "tau-best",
    "k-best",
    "actor-teacher",
    "attention-both",
)


class Site:
    """One gallery as it is written: the folder, what lies in it, and what its pages link to.

    Attributes:
        folder: `figures/`, or its subfolder of one profile.
        profile: name of that profile, or None.
        pages: stems of the notebooks that have a page; none in the repository's own gallery.
        times: whether to say how long notebooks ran here.
    """

    def __init__(self, folder: Path, profile: str | None, pages: frozenset[str], times: bool):
        self.folder, self.profile, self.pages, self.times = folder, profile, pages, times
        self.up = "../" * (1 + (folder != environment.figures()))
        self.hashed = cache(found_parts.trial_hash)  # most trials are used by several figures
        self.parts = parts(folder, self.hashed)
        self.rows = claims(folder, controls=True)
        self.lessons = lessons()
        # the size at which each table and figure of `experiments.tables` is shown
        self.sizes: dict[str, str] = {}
        for part in self.parts:
            for name in declared_names(part.stem) if part.record else ():
                self.sizes.setdefault(name, str(part.record["profile"]))

    @property
    def heads(self) -> set[str]:
        """The ids of the entries on the page of tables and figures."""
        return {entry[0].stem for section in entries(self.parts).values() for entry in section}

    @property
    def said(self) -> list[dict[str, str]]:
        """The rows of the paper's own claims."""
        return [row for row in self.rows if row.get("control") != "True"]

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

    @property
    def claim_views(self) -> list[dict[str, object]]:
        homes, notebooks = {}, {part.stem: part.notebook for part in self.parts}
        for row in self.rows:
            about = places(row.get("family") or row["place"])
            known = [notebooks[stem] for stem in about if notebooks.get(stem)]
            homes |= {row["claim"]: known[0].stem} if known else {}
        sizes = {table: size for table, size in self.sizes.items() if size in PROFILES}
        cells = {name for table, size in sizes.items() for name in cells_of(size) if name[0] == table}
        return claim_views(self.rows, spots({row["claim"] for row in self.rows}, homes), self.spot, cells)

    def time(self, stem: str) -> str:
        """How long the last run of a notebook took, in steps; "" if it has not run here or times are not shown."""
        executed = _executed(stem, self.profile) if self.times else None
        if executed is None or not executed.with_suffix(".json").is_file():
            return ""
        seconds = read_json(executed.with_suffix(".json"))["seconds"]
        return next(
            (f"notebook ran in under {text}" for most, text in STEPS if seconds < most), "notebook ran over 1 h"
        )


def _executed(stem: str, profile: str | None) -> Path | None:
    """The newest executed copy of a notebook, None if it has not run; copies run on own videos lie in a subfolder."""
    folder = environment.runs() / "notebooks" / (profile or "")
    found = [f for f in (folder / "own" / f"{stem}.ipynb", folder / f"{stem}.ipynb") if f.is_file()]
    return max(found, key=lambda f: f.stat().st_mtime_ns, default=None)


# ---- tables and figures ---------------------------------------------------------------------------------------------


def _picture(file: Path) -> dict[str, str | int]:
    """Name of an image, and the size at which the page shows it. Raises OSError if it cannot be read."""
    with Image.open(file, formats=("PNG",)) as image:
        width, height = image.size
    return {"name": file.name, "width": round(0.62 * width), "height": round(0.62 * height)}


def _table(file: Path) -> dict[str, list] | None:
    """Read a stored table: its columns, the column groups of a comparison with their sizes, and its rows; None if it
    has no rows. Raises OSError or ValueError if it cannot be read."""
    names, rows = shown_cells(read_stored_table(file))
    if not rows:
        return None
    cells = [[cell._replace(text=visible(cell.text)) for cell in row] for row in rows]
    is_text = [not any(NUMBER.match(row[i].text) for row in cells) for i in range(len(names))]
    return {
        "groups": [(visible(group), n) for group, n in _count(group for group, _ in names if group).items()],
        "columns": [(visible(name), words) for (_, name), words in zip(names, is_text, strict=True)],
        "rows": cells,
    }


def _part(site: Site, part: Part) -> dict[str, object]:
    """What the template shows of a part: image, table, caption, facts, provenance."""
    shown: dict[str, object] = {"title": part.title, "caption": part.caption, "picture": None, "table": None}
    shown["faults"] = faults = []
    if (file := part.folder / f"{part.stem}.png").is_file():
        try:
            shown["picture"] = _picture(file)
        except OSError:
            faults.append("The picture cannot be read.")
    if (part.folder / f"{part.stem}.md").is_file() and part.stem != "claims":  # claims have a page of their own
        try:
            shown["table"] = _table(part.folder / f"{part.stem}.csv")
        except (OSError, ValueError):
            faults.append("The table cannot be read.")
    kind, text = STATES[part.status.state]
    record, notebook = part.record or {}, part.notebook
    facts = [str(record["source"]), f"{record['profile']} profile"] if record else []
    facts += [f"seeds {record['seeds']}"] if record.get("seeds", "none") != "none" else []
    facts += [site.time(notebook.stem)] if notebook else []
    shown["alt"] = f"{part.title}. {part.caption}".strip()
    shown["state"] = Label(kind, text, part.status.why)
    shown["facts"] = [*filter(None, facts)]
    shown["files"] = part.files
    shown["notebook"] = site.links(notebook.stem) if notebook else None
    shown["provenance"] = [("status", str(part.status)), *provenance_rows(record)]
    shown["trials"] = [name for name in declared_names(part.stem) if name in site.sizes] if record else []
    return shown


def _entry(site: Site, entry: list[Part], views: list[dict[str, object]]) -> dict[str, object]:
    """What the template shows of an entry: a table or figure, the parts that belong to it, and the claims about it."""
    first = entry[0]
    short = first.title.partition(".")[0] if re.match(r"(Table|Figure) ", first.title) else first.title
    about = [view for view in views if not view["control"] and first.stem in places(view["family"])]
    shown = [_part(site, part) for part in entry]
    return {"id": first.stem, "short_title": short, "parts": shown, "claims": about, "counts": count_labels(about)}


def _results(site: Site) -> dict[str, object]:
    views, sections = site.claim_views, []
    for title, section in entries(site.parts).items():
        sections.append({"title": title, "entries": [_entry(site, entry, views) for entry in section]})
    states = _count(part.status.state for part in site.parts)
    sizes = _count(str(part.record["profile"]) for part in site.parts if part.record)
    return {
        "sizes": ", ".join(f"{n} at the profile {name}" for name, n in sizes.items()),
        "number": len(site.parts),
        "states": ", ".join(f"{n} {STATES[state][1][2:]}" for state, n in sorted(states.items())),
        "sections": sections,
        "LONG": LONG,
    }


# ---- the other pages ------------------------------------------------------------------------------------------------


def _families(site: Site, views: list[dict[str, object]]) -> list[dict[str, object]]:
    """For each table, figure or section that claims are about: its link, and the number of each verdict."""
    heads, found = site.heads, []
    for family in dict.fromkeys(view["family"] for view in views):
        about = [view for view in views if view["family"] == family and not view["control"]]
        if about:
            stem = next((stem for stem in places(family) if stem in heads), "")
            counts = [sum(view["verdict"] == verdict for view in about) for verdict in VERDICTS]
            found.append({"name": family, "stem": stem, "counts": counts, "number": len(about)})
    return sorted(found, key=lambda family: (family["stem"][:3] == "fig", family["stem"]))


def _index(site: Site) -> dict[str, object]:
    views = site.claim_views
    own, controls = ([view for view in views if view["control"] is asked] for asked in (False, True))
    named = {view["name"]: view for view in own}
    counts = {verdict: sum(view["verdict"] == verdict for view in own) for verdict in VERDICTS}
    others = {"The default run": "../index.html"} if site.profile else {name: f"{name}/index.html" for name in PROFILES}
    return {
        "counts": counts,
        "labels": count_labels(own),
        "control_labels": count_labels(controls),
        "number": len(own),
        "sums": sum(view["verdict"] == "supported" and view["kind"] == "arithmetic" for view in own),
        "sizes": [name for name in _count(view["profile"] for view in own) if name],
        "seeds": sorted({view["seeds"] for view in own if view["seeds"] not in ("", "0")}, key=len),
        "decided": {v: [view for view in own if view["verdict"] == v] for v in VERDICTS[:3]},
        "headlines": [named[name] for name in HEADLINES if name in named],
        "families": _families(site, views),
        "verdicts": [verdict_label(verdict) for verdict in VERDICTS],
        "gaps": site_notes.gaps(site.parts, site.said),
        "cost": site_notes.cost(),
        "cite": site_notes.cite(),
        "others": {name: link for name, link in others.items() if (site.folder / link).is_file()},
        "pictures": [_part(site, part) for part in site.parts if part.stem == "claims_forest"],
    }


def _claims(site: Site) -> dict[str, object]:
    views = site.claim_views
    groups = [(family, [v for v in views if v["family"] == family["name"]]) for family in _families(site, views)]
    return {"groups": groups, "labels": count_labels(v for v in views if not v["control"]), "number": len(site.said)}


def _trials(site: Site) -> dict[str, object]:
    table = stored_summary()
    stored = dict(zip(table["trial"], table["rho"], strict=True))
    return {"tables": trial_views(site.sizes, site.hashed, stored), "stored": len(stored)}


def _deviations(site: Site) -> dict[str, object]:
    found = site_notes.deviations(site.folder)
    for one in found:
        stems = [next((stem for stem in site.lessons if stem.split("_")[0] == name), "") for name in one["met_in"]]
        one["lessons"] = [(stem, site.address(f"notebooks/{stem}.ipynb")) for stem in stems if stem]
    return {"errata": found, "gaps": site_notes.gaps(site.parts, site.said)}


def _checklist(site: Site) -> dict[str, object]:
    return site_notes.checklist(site_notes.facts(site.parts, site.said))


def _notebooks(site: Site) -> dict[str, object]:
    found = [
        (
            lesson.stem,
            lesson.title,
            Markup(markdown_html(lesson.intro)),
            site.links(lesson.stem),
            site.time(lesson.stem),
        )
        for lesson in site.lessons.values()
    ]
    return {"found": found, "any": bool(site.pages)}


CONTENTS = {
    "index": ("SAP-Net, rebuilt: what of the paper holds", _index),
    "results": ("Every table and figure", _results),
    "claims": ("Every result that the paper states", _claims),
    "trials": ("The trials behind every cell", _trials),
    "deviations": ("Where this suite departs from the paper", _deviations),
    "checklist": ("The reproducibility checklist", _checklist),
    "notebooks": ("The notebooks", _notebooks),
}


def _count(values: Iterable[str]) -> dict[str, int]:
    values = list(values)
    return {value: values.count(value) for value in dict.fromkeys(values)}


def _made_from(site: Site) -> str:
    """A digest of the names and contents of every file in the folder that the pages show or read."""
    whole = hashlib.sha256()
    for name in sorted({name for part in site.parts for name in part.files} | {"claims.csv"}):
        content = (site.folder / name).read_bytes() if (site.folder / name).is_file() else b""
        whole.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _folder(profile: str | None) -> Path:
    return environment.figures() / (profile or "")


def with_pages(profile: str | None = None, stored: bool = False) -> frozenset[str]:
    """Stems of the notebooks that get a page: those that were run here, or all if stored outputs are shown, too."""
    return frozenset(n.stem for n in find() if _executed(n.stem, profile) or (stored and not profile))


def write_page(notebook: Path, profile: str | None, pages: frozenset[str]) -> None:
    """Write the page of a notebook from its last run here, else from its stored outputs.

    Args:
        profile: as for `write_gallery`.
        pages: stems of all notebooks that get a page (`with_pages`): links lead to these, and to the files of others.
    """
    source = _executed(notebook.stem, profile) or notebook
    up = "../" * (2 + bool(profile))
    write_notebook_page(source, _folder(profile) / "notebooks" / f"{notebook.stem}.html", pages, up)


def write_gallery(profile: str | None = None, stored: bool = False, local: bool = True) -> Path:
    """Write the pages of the gallery beside the figures, and the RO-Crate of the repository.

    Args:
        profile: None shows `figures/`, each part at the profile that its notebook names; the name of a profile shows
            what was made at this one in place of it, in the subfolder of that name.
        stored: make pages of notebooks that were not run here from their stored outputs (where `profile` is None).
        local: write and link pages of notebooks, and say how long notebooks ran here; otherwise the gallery is the
            repository's own.

    Returns:
        The path of its first page.
    """
    folder = _folder(profile)
    folder.mkdir(parents=True, exist_ok=True)
    pages = with_pages(profile, stored) if local else frozenset()
    for notebook in find():
        if notebook.stem in pages:
            write_page(notebook, profile, pages)
    site = Site(folder, profile, pages, times=local)
    made_from = _made_from(site)
    for name, (title, content) in CONTENTS.items():
        shown = {"title": title, "pages": PAGES, "here": name, "address": site.address, "links": site.links}
        body = render(name, **shown, **content(site))
        write_text(folder / f"{name}.html", page(title, body, made_from=made_from))
    if environment.figures() == environment.root() / "figures":
        write_crate(environment.root())
    return folder / "index.html"


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Command line: write the gallery of one profile."""
    asked = command_lines.gallery().parse_args(arguments)
    with waiting("writing the gallery"):
        page = write_gallery(asked.profile, stored=asked.pages, local=asked.pages or bool(asked.profile))
    print(page.name)


if __name__ == "__main__":
    sys.exit(main())
