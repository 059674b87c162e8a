"""The gallery's page of tables and figures: each beside its caption, its provenance and the claims about it."""

import re
from collections import Counter
from pathlib import Path

from PIL import Image

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.reporting.column_alignment import holds_words
from sapnet_core.reporting.literal import visible
from sapnet_core.reporting.number_formats import format_sentence
from sapnet_core.reporting.parts import Part, entries, places
from sapnet_core.reporting.provenance import declared_names, provenance_rows
from sapnet_core.reporting.site_claims import Label, cells_of, claims_in_order, count_labels
from sapnet_core.reporting.site_context import Site
from sapnet_core.reporting.stored_tables import read_stored_table
from sapnet_core.reporting.tables import BOLD, shown_cells

__all__ = ["part_view", "results_page"]

STATES = {"current": ("good", "✓ current"), "stale": ("old", "! stale"), "not decided": ("open", "? not compared")}
LONG = 16  # number of rows from which a table is folded


def _picture(file: Path, address: str) -> dict[str, str | int]:
    """Address of an image, and the size at which the page shows it. Raises OSError if it cannot be read."""
    with Image.open(file, formats=("PNG",)) as image:
        width, height = image.size
    return {"address": address, "width": round(0.62 * width), "height": round(0.62 * height)}


def _table(file: Path) -> dict[str, list | str] | None:
    """Read a stored table: its columns, the column groups of a comparison with their sizes, its rows, and what bold
    means in it; None if it has no rows. Raises OSError or ValueError if it cannot be read."""
    names, rows = shown_cells(read_stored_table(file))
    if not rows:
        return None
    cells = [[cell._replace(text=visible(cell.text)) for cell in row] for row in rows]
    is_text = [holds_words(row[i].text for row in cells) for i in range(len(names))]
    return {
        "groups": [(visible(group), n) for group, n in Counter(group for group, _ in names if group).items()],
        "columns": [(visible(name), words) for (_, name), words in zip(names, is_text, strict=True)],
        "rows": cells,
        "bold": BOLD if any(cell.bold for row in cells for cell in row[1:]) else "",
    }


def part_view(site: Site, part: Part) -> dict[str, object]:
    """What the template shows of a part: image, table, caption, facts, provenance."""
    shown: dict[str, object] = {"title": part.title, "caption": part.caption, "picture": None, "table": None}
    shown["faults"] = faults = []
    if (file := part.folder / f"{part.stem}.png").is_file():
        try:
            shown["picture"] = _picture(file, site.beside(part, file.name))
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
    shown["files"] = [site.beside(part, name) for name in part.files]
    shown["notebook"] = site.links(notebook.stem) if notebook else None
    shown["provenance"] = [("status", str(part.status)), *provenance_rows(record)]
    shown["trials"] = [name for name in declared_names(part.stem) if name in site.sizes] if record else []
    return shown


def _entry(site: Site, entry: list[Part], views: list[dict[str, object]]) -> dict[str, object]:
    """What the template shows of an entry: a table or figure, the parts that belong to it, and the claims about it."""
    first = entry[0]
    short = first.title.partition(".")[0] if re.match(r"(Table|Figure) ", first.title) else first.title
    about = claims_in_order(view for view in views if not view["control"] and first.stem in places(view["family"]))
    shown = [part_view(site, part) for part in entry]
    return {
        "id": first.stem,
        "short_title": short,
        "parts": shown,
        "claims": about,
        "counts": count_labels(about),
        "formats": _formats(site, first),
    }


def _formats(site: Site, part: Part) -> str:
    """One sentence where the trials that a part compares rest on features in different number formats, else ""."""
    record = part.record or {}
    shown, cells = set(map(str, record.get("hashes", ()))), {}
    for table in declared_names(part.stem) if record.get("profile") in PROFILES else ():
        for (name, row, column), trials in cells_of(str(record["profile"])).items():
            if name == table:
                found = [hash_ for hash_ in map(site.hashed, trials) if hash_ in shown]
                cells[row, column] = [site.formats[hash_] for hash_ in found if hash_ in site.formats]
    return format_sentence(cells)


def results_page(site: Site) -> dict[str, object]:
    """The values of the template "results": the sections with their tables and figures, and how many parts there are
    at each size and in each state."""
    views, sections = site.claim_views, []
    for title, section in entries(site.parts).items():
        sections.append({"title": title, "entries": [_entry(site, entry, views) for entry in section]})
    states = Counter(part.status.state for part in site.parts)
    sizes = Counter(str(part.record["profile"]) for part in site.parts if part.record)
    return {
        "sizes": ", ".join(f"{n} at the profile {name}" for name, n in sizes.items()),
        "number": len(site.parts),
        "states": ", ".join(f"{n} {STATES[state][1][2:]}" for state, n in sorted(states.items())),
        "sections": sections,
        "LONG": LONG,
    }
