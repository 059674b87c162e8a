"""The gallery: all tables and figures on one page that needs no network and no script, `figures/index.html`.

    python -m sapnet_core.reporting.gallery [--profile study]

The page shows the files of the folder in the paper's order and carries a digest of them; equal files give an equal
page. Run times are rounded up to steps ("under 20 s"), so that a similar run leaves the page unchanged. The page in the
repository shows the repository's own files, without run times:

    SAPNET_RUNS=$(mktemp -d) python -m sapnet_core.reporting.gallery
"""

import hashlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.statistics import VERDICTS
from sapnet_core.recipes import command_lines
from sapnet_core.reporting.literal import visible
from sapnet_core.reporting.markup import page, render
from sapnet_core.reporting.notebook_pages import write_notebook_page
from sapnet_core.reporting.notebooks import find, load
from sapnet_core.reporting.parts import Part, claims, entries, parts, places
from sapnet_core.reporting.provenance import provenance_rows
from sapnet_core.reporting.stored_tables import read_stored_table
from sapnet_core.reporting.tables import shown_cells
from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.files import read_json, write_text
from sapnet_core.runtime.progress import waiting

__all__ = ["write_gallery", "write_page", "main"]

STATES = {"current": ("good", "✓ current"), "stale": ("old", "! stale"), "not decided": ("open", "? not compared")}
MARKS = (("good", "✓"), ("bad", "✗"), ("odd", "="), ("open", "?"), ("open", "–"))
SIGNS = dict(zip(VERDICTS, MARKS, strict=True))
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


class Label(NamedTuple):
    """A small label; `kind` is its CSS class: good, bad, open, odd or old."""

    kind: str
    text: str
    hint: str = ""


class Column(NamedTuple):
    """A column of a table; `is_text` if none of its cells is a number."""

    name: str
    is_text: bool


def _verdict(verdict: str, text: str) -> Label:
    kind, sign = SIGNS[verdict]
    return Label(kind, f"{sign} {text}")


def _said(rows: list[dict[str, str]]) -> dict[str, list]:
    """What the page says about claims: a label with the count of each verdict, and (label, statement, place) of each
    claim."""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    return {
        "counts": [_verdict(verdict, f"{n} {verdict}") for verdict, n in counts.items() if n],
        "claims": [
            (_verdict(row["verdict"], row["verdict"]), row.get("statement") or row["claim"], row["place"])
            for row in rows
        ],
    }


def _time(notebook: Path, profile: str | None) -> str:
    """How long the last run of a notebook took, in steps; "" if it has not run here."""
    executed = _executed(notebook, profile)
    if executed is None or not executed.with_suffix(".json").is_file():
        return ""
    seconds = read_json(executed.with_suffix(".json"))["seconds"]
    return next((f"notebook ran in under {text}" for most, text in STEPS if seconds < most), "notebook ran over 1 h")


def _executed(notebook: Path, profile: str | None) -> Path | None:
    """The newest executed copy of a notebook, None if it has not run; copies run on own videos lie in a subfolder."""
    folder = environment.runs() / "notebooks" / (profile or "")
    found = [f for f in (folder / "own" / notebook.name, folder / notebook.name) if f.is_file()]
    return max(found, key=lambda f: f.stat().st_mtime_ns, default=None)


def _links(notebook: Path, folder: Path) -> dict[str, str]:
    """Addresses of a notebook and of its page, relative to a folder of figures; the page is "" if there is none."""
    up = "../" * (1 + (folder != environment.figures()))
    page = f"notebooks/{notebook.stem}.html"
    made = page if (folder / page).is_file() else ""
    return {"name": notebook.name, "source": f"{up}notebooks/{notebook.name}", "page": made}


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
        "columns": [Column(visible(name), words) for (_, name), words in zip(names, is_text, strict=True)],
        "rows": cells,
    }


def _part(part: Part, profile: str | None) -> dict[str, object]:
    """What the template shows of a part: image, table, caption, facts, provenance."""
    shown: dict[str, object] = {"title": part.title, "caption": part.caption, "picture": None, "table": None}
    shown["faults"] = faults = []
    if (file := part.folder / f"{part.stem}.png").is_file():
        try:
            shown["picture"] = _picture(file)
        except OSError:
            faults.append("The picture cannot be read.")
    if (part.folder / f"{part.stem}.md").is_file():
        try:
            shown["table"] = _table(part.folder / f"{part.stem}.csv")
        except (OSError, ValueError):
            faults.append("The table cannot be read.")
    kind, text = STATES[part.status.state]
    record, notebook = part.record or {}, part.notebook
    facts = [str(record["source"]), f"{record['profile']} profile"] if record else []
    facts += [f"seeds {record['seeds']}"] if record.get("seeds", "none") != "none" else []
    facts += [_time(notebook, profile)] if notebook else []
    shown["state"] = Label(kind, text, part.status.why)
    shown["facts"] = [*filter(None, facts)]
    shown["files"] = part.files
    shown["notebook"] = _links(notebook, part.folder) if notebook else None
    shown["provenance"] = [("status", str(part.status)), *provenance_rows(record)]
    return shown


def _entry(entry: list[Part], profile: str | None, rows: list[dict[str, str]]) -> dict[str, object]:
    """What the template shows of an entry: a table or figure, the parts that belong to it, and the claims about it."""
    first = entry[0]
    short = first.title.partition(".")[0] if re.match(r"(Table|Figure) ", first.title) else first.title
    said = _said([row for row in rows if first.stem in places(row["place"])])
    return {"id": first.stem, "short_title": short, "parts": [_part(part, profile) for part in entry], "said": said}


def _notebooks(folder: Path, profile: str | None) -> list[dict[str, object]]:
    found = []
    for notebook in find():
        title = load(notebook).cells[0].source.splitlines()[0].lstrip("# ")
        found.append({"title": title, "links": _links(notebook, folder), "time": _time(notebook, profile)})
    return found


def _count(values: Iterable[str]) -> dict[str, int]:
    values = list(values)
    return {value: values.count(value) for value in dict.fromkeys(values)}


def _made_from(folder: Path, found: list[Part]) -> str:
    """A digest of the names and contents of every file that the page shows or reads."""
    whole = hashlib.sha256()
    for name in sorted({name for part in found for name in part.files} | {"claims.csv"}):
        content = (folder / name).read_bytes() if (folder / name).is_file() else b""
        whole.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _page(folder: Path, profile: str | None) -> str:
    found, rows = parts(folder), claims(folder)
    sections = [
        {"title": title, "entries": [_entry(entry, profile, rows) for entry in section]}
        for title, section in entries(found).items()
    ]
    heads = {entry["id"] for section in sections for entry in section["entries"]}
    states = _count(part.status.state for part in found)
    sizes = _count(str(part.record["profile"]) for part in found if part.record)
    others = {"the default run": "../index.html"} if profile else {name: f"{name}/index.html" for name in PROFILES}
    title = "SAP-Net, rebuilt: every table and figure"
    body = render(
        "gallery",
        title=title,
        sizes=", ".join(f"{n} at the profile {name}" for name, n in sizes.items()),
        sources="; ".join(_count(str(part.record["source"]) for part in found if part.record)),
        number=len(found),
        states=", ".join(f"{n} {STATES[state][1][2:]}" for state, n in sorted(states.items())),
        others={name: link for name, link in others.items() if (folder / link).is_file()},
        said=_said(rows),
        sections=sections,
        rest=_said([row for row in rows if not heads & {*places(row["place"])}]),
        notebooks=_notebooks(folder, profile),
        LONG=LONG,
    )
    return page(title, body, made_from=_made_from(folder, found))


def _folder(profile: str | None) -> Path:
    return environment.figures() / (profile or "")


def write_page(notebook: Path, profile: str | None = None, stored: bool = False) -> None:
    """Write the page of a notebook from its last run, if it has run; arguments as for `write_gallery`."""
    source = _executed(notebook, profile) or (notebook if stored and not profile else None)
    if source:
        write_notebook_page(source, _folder(profile) / "notebooks" / f"{notebook.stem}.html")


def write_gallery(profile: str | None = None, stored: bool = False) -> Path:
    """Write `index.html` beside the figures, and a page for every notebook that was run.

    Args:
        profile: None shows `figures/`, each part at the profile that its notebook names; the name of a profile shows
            what was made at this one in place of it, in the subfolder of that name.
        stored: make pages of notebooks that were not run here from their stored outputs (where `profile` is None).

    Returns:
        The gallery's path.
    """
    folder = _folder(profile)
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in find():
        write_page(notebook, profile, stored)
    return write_text(folder / "index.html", _page(folder, profile))


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Command line: write the gallery of one profile."""
    profile = command_lines.gallery().parse_args(arguments).profile
    with waiting("writing the gallery"):
        page = write_gallery(profile, stored=True)
    print(page.name)


if __name__ == "__main__":
    sys.exit(main())
