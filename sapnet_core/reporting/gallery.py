"""All tables and figures on one page that needs no network and no script: `figures/index.html`.

    python -m sapnet_core.reporting.gallery [--profile paper]

It shows what lies in the folder, in the paper's order, and is the same for the same files, which it names by a digest.
Times are told in steps ("under 20 s"), so that a run like the last one leaves the page as it was. The page in the
repository is that of the files in the repository, and tells no run's times:

    SAPNET_RUNS=$(mktemp -d) python -m sapnet_core.reporting.gallery
"""

import argparse
import hashlib
import html
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.reporting.markup import badge, fold, listing, page, table
from sapnet_core.reporting.notebook_pages import write_notebook_page
from sapnet_core.reporting.notebooks import find, load
from sapnet_core.reporting.parts import VERDICTS, Part, claims, entries, parts, places
from sapnet_core.reporting.provenance import provenance_rows
from sapnet_core.runtime import environment
from sapnet_core.runtime.files import read_json, write_text

__all__ = ["write_gallery", "write_page", "main"]

STATES = {"current": ("good", "✓ current"), "stale": ("old", "! stale"), "not decided": ("open", "? not compared")}
MARKS = (("good", "✓"), ("bad", "✗"), ("open", "?"), ("odd", "!"), ("good", "✓"), ("bad", "✗"), ("open", "–"))
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
LONG = 16  # rows from which a table is folded


def _verdicts(rows: list[dict[str, str]]) -> str:
    """A badge a kind of verdict; opened, the claims themselves."""
    if not rows:
        return ""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    badges = " ".join(badge(*_labelled(v, f"{n} {v}")) for v, n in counts.items() if n)
    items = "".join(
        f"<li>{badge(*_labelled(row['verdict'], row['verdict']))} "
        f"{html.escape(row.get('statement') or row['claim'])} "
        f'<span class="note">{html.escape(row["place"])}</span></li>'
        for row in rows
    )
    return fold(f"The paper says, this run: {badges}", f'<ul class="claims">{items}</ul>')


def _labelled(verdict: str, text: str) -> tuple[str, str]:
    kind, sign = SIGNS[verdict]
    return kind, f"{sign} {text}"


def _time(notebook: Path, profile: str) -> str:
    """How long the notebook took when it last ran, in steps; "" where it has not run here."""
    executed = _executed(notebook, profile)
    if executed is None or not executed.with_suffix(".json").is_file():
        return ""
    seconds = read_json(executed.with_suffix(".json"))["seconds"]
    return next((f"notebook ran in under {text}" for most, text in STEPS if seconds < most), "notebook ran over 1 h")


def _executed(notebook: Path, profile: str) -> Path | None:
    """The newest executed copy of a notebook: one on own videos lies apart."""
    folder = environment.runs() / "notebooks" / ("" if profile == "quick" else profile)
    found = [f for f in (folder / "own" / notebook.name, folder / notebook.name) if f.is_file()]
    return max(found, key=lambda f: f.stat().st_mtime_ns, default=None)


def _links(notebook: Path, folder: Path) -> str:
    up = "../" * (1 + (folder != environment.figures()))
    source = f'<a href="{up}notebooks/{quote(notebook.name)}">{html.escape(notebook.name)}</a>'
    rendered = f"notebooks/{notebook.stem}.html"
    page = f'<a href="{quote(rendered)}">notebook</a> ({source})'
    return page if (folder / rendered).is_file() else f"notebook {source}"


def _picture(file: Path, alt: str) -> str:
    """The picture at reading size, a link to itself."""
    try:
        with Image.open(file, formats=("PNG",)) as image:
            width, height = image.size
    except OSError:
        return '<p class="note">The picture cannot be read.</p>'
    size, name = f'width="{round(0.62 * width)}" height="{round(0.62 * height)}"', quote(file.name)
    image = f'<img src="{name}" {size} alt="{html.escape(alt)}" loading="lazy">'
    return f'<figure><a href="{name}">{image}</a></figure>'


def _part(part: Part, profile: str) -> str:
    """Picture, table, caption, facts, provenance: in this order."""
    content = []
    if (file := part.folder / f"{part.stem}.png").is_file():
        content.append(_picture(file, part.caption or part.title))
    if (file := part.folder / f"{part.stem}.md").is_file():
        shown, rows = table(file.read_text(encoding="utf-8"))
        content.append(fold(f"Table, {rows} rows", shown, is_open=rows < LONG) if rows else "")
    if part.caption:
        content.append(f'<p class="caption">{html.escape(part.caption)}</p>')
    kind, text = STATES[part.status.state]
    record, notebook = part.record or {}, part.notebook
    facts = [badge(kind, text, part.status.why)]
    facts += [html.escape(str(record[k])) for k in ("source",) if k in record]
    facts += [f"{html.escape(str(record['profile']))} profile"] if record else []
    facts += [f"seeds {html.escape(str(record['seeds']))}"] if record.get("seeds", "none") != "none" else []
    facts += [_time(notebook, profile)] if notebook else []
    files = [f'<a href="{quote(f)}">{f.rpartition(".")[2].upper()}</a>' for f in part.files]
    facts += [" · ".join(files), _links(notebook, part.folder) if notebook else ""]
    content.append('<ul class="facts">' + "".join(f"<li>{fact}</li>" for fact in facts if fact) + "</ul>")
    rows = [("status", str(part.status)), *provenance_rows(record)]
    content.append(fold("Where it comes from", listing(rows)))
    return '<div class="part">\n' + "\n".join(c for c in content if c) + "\n</div>"


def _entry(entry: list[Part], profile: str, said: list[dict[str, str]]) -> str:
    first, *others = entry
    body = [f"<h3>{html.escape(first.title)}</h3>", _part(first, profile), _verdicts(said)]
    for part in others:
        body += [f"<h4>{html.escape(part.title)}</h4>", _part(part, profile)]
    return f'<section class="entry" id="{html.escape(first.stem)}">\n' + "\n".join(filter(None, body)) + "\n</section>"


def _notebooks(folder: Path, profile: str) -> str:
    rows = []
    for notebook in find():
        title = load(notebook).cells[0].source.splitlines()[0].lstrip("# ")
        told = (html.escape(title), _links(notebook, folder), _time(notebook, profile))
        rows.append("<li>" + " · ".join(filter(None, told)) + "</li>")
    return '<h2 id="notebooks">Notebooks</h2>\n<ul>\n' + "\n".join(rows) + "\n</ul>"


def _index(sections: dict[str, list[list[Part]]]) -> str:
    lists = []
    for section, found in sections.items():
        names = {first.stem: first.title for first, *_ in found}
        short = {k: t.partition(".")[0] if re.match(r"(Table|Figure) ", t) else t for k, t in names.items()}
        items = "".join(f'<li><a href="#{quote(k)}">{html.escape(t)}</a></li>' for k, t in short.items())
        lists.append(f"<p>{html.escape(section)}</p>\n<ul>{items}</ul>")
    return "<nav>\n" + "\n".join(lists) + "\n</nav>"


def _count(values: Iterable[str]) -> dict[str, int]:
    values = list(values)
    return {value: values.count(value) for value in dict.fromkeys(values)}


def _made_from(folder: Path, found: list[Part]) -> str:
    """A digest of every file that the page shows or reads: names and contents."""
    whole = hashlib.sha256()
    for name in sorted({name for part in found for name in part.files} | {"claims.csv"}):
        content = (folder / name).read_bytes() if (folder / name).is_file() else b""
        whole.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _page(folder: Path, profile: str) -> str:
    found, rows = parts(folder), claims(folder)
    sections = entries(found)
    heads = [entry[0].stem for section in sections.values() for entry in section]
    states = _count(part.status.state for part in found)
    said = ", ".join(f"{n} {STATES[s][1][2:]}" for s, n in sorted(states.items()))
    sources = "; ".join(_count(str(p.record["source"]) for p in found if p.record))
    other = environment.figures() / ("paper" if profile == "quick" else "") / "index.html"
    link = "paper/index.html" if profile == "quick" else "../index.html"
    body = [
        "<h1>SAP-Net, rebuilt: every table and figure</h1>",
        f"<p>Computed by this suite, {html.escape(profile)} profile, from {html.escape(sources or 'nothing yet')}. The "
        "paper's numbers stand beside each table's own. <em>Current</em> means that the trials behind a file are those "
        "that the suite declared when this page was made, whichever number format its backbone computed in.</p>",
        f'<p class="note">{len(found)} tables and figures: {html.escape(said)}. Notebooks as pages appear with '
        "<code>./runall.sh</code>." + f' <a href="{link}">The other profile</a>.' * other.is_file() + "</p>",
        _verdicts(rows),
        _index(sections),
    ]
    for section, shown in sections.items():
        body.append(f"<h2>{html.escape(section)}</h2>")
        body += [_entry(e, profile, [r for r in rows if e[0].stem in places(r["place"])]) for e in shown]
    rest = [row for row in rows if not set(places(row["place"])) & set(heads)]
    body.append(f"<h2>Other claims</h2>\n{_verdicts(rest)}" if rest else "")
    body.append(_notebooks(folder, profile))
    head = f'<meta name="made-from" content="{_made_from(folder, found)}">'
    return page("SAP-Net, rebuilt: every table and figure", "\n".join(filter(None, body)), head=head)


def _folder(profile: str) -> Path:
    return environment.figures() if profile == "quick" else environment.figures() / profile


def write_page(notebook: Path, profile: str = "quick", stored: bool = False) -> None:
    """Write the page of a notebook as it was last run; `stored` as of `write_gallery`."""
    source = _executed(notebook, profile) or (notebook if stored and profile == "quick" else None)
    if source:
        write_notebook_page(source, _folder(profile) / "notebooks" / f"{notebook.stem}.html")


def write_gallery(profile: str = "quick", stored: bool = False) -> Path:
    """Write `index.html` beside the figures of a profile, and a page for every notebook that was run.

    Args:
        stored: make pages of notebooks that were not run here from their stored outputs (quick profile only).

    Returns:
        The gallery's path. What has not changed is not written again.
    """
    folder = _folder(profile)
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in find():
        write_page(notebook, profile, stored)
    return write_text(folder / "index.html", _page(folder, profile))


def main(arguments: list[str] | None = None) -> None:
    """Command line: write the gallery of one profile."""
    parser = argparse.ArgumentParser(prog="python -m sapnet_core.reporting.gallery", description="Write the gallery.")
    parser.add_argument("--profile", default="quick", choices=sorted(PROFILES))
    print(write_gallery(parser.parse_args(arguments).profile, stored=True).name)


if __name__ == "__main__":
    main()
