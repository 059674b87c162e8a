"""The gallery: a small static site beside the tables and figures that needs no network and no script.

    python -m sapnet_core gallery [--profile study] [--pages]

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

from pathlib import Path

from markupsafe import Markup

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.statistics import LEVEL, LOOKS, MOST_SEEDS, SUPPORTED, UNTESTABLE, VERDICTS
from sapnet_core.experiments.stored_summary import stored_summary
from sapnet_core.reporting import site_notes
from sapnet_core.reporting.by_verdict import FEWER, SEEDS_GROUPS, SMALL, control_counts, scoreboard, seeds_group
from sapnet_core.reporting.crate import write_crate
from sapnet_core.reporting.markup import page, render
from sapnet_core.reporting.notebook_pages import markdown_html, write_notebook_page
from sapnet_core.reporting.notebooks import find
from sapnet_core.reporting.parts import places
from sapnet_core.reporting.site_claims import count_labels, trial_views, verdict_label
from sapnet_core.reporting.site_context import PAGES, Site, executed
from sapnet_core.reporting.site_results import part_view, results_page
from sapnet_core.reporting.ten_sentences import write_readme
from sapnet_core.runtime import environment
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.fingerprint import file_digest, fingerprint
from sapnet_core.runtime.progress import waiting

__all__ = ["with_pages", "write_gallery", "write_page", "write_pages"]

# the claims of the summary: those of the abstract and the conclusion, and the main claim of each table and sweep
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


def _families(site: Site, views: list[dict[str, object]]) -> list[dict[str, object]]:
    """For each table, figure or section that claims are about: its link, the number of each verdict that rests on
    trained networks, and how many sums of printed numbers are right."""
    heads, found = site.heads, []
    for family in dict.fromkeys(view["family"] for view in views):
        about = [view for view in views if view["family"] == family and not view["control"]]
        if about:
            stem = next((stem for stem in places(family) if stem in heads), "")
            tested, sums = [view for view in about if not view["sum"]], [view for view in about if view["sum"]]
            counts = [sum(view["verdict"] == verdict for view in tested) for verdict in VERDICTS]
            held = f"{sum(view['verdict'] == SUPPORTED for view in sums)} of {len(sums)}" if sums else ""
            found.append({"name": family, "stem": stem, "counts": counts, "sums": held, "number": len(about)})
    return sorted(found, key=lambda family: (family["stem"][:3] == "fig", family["stem"]))


def _index(site: Site) -> dict[str, object]:
    views = site.claim_views
    own, controls = ([view for view in views if view["control"] is asked] for asked in (False, True))
    named = {view["name"]: view for view in own}
    counts = {verdict: sum(view["verdict"] == verdict for view in own) for verdict in VERDICTS}
    tested = scoreboard(site.ledger).set_index("verdict").drop([UNTESTABLE, "all"]).sum()
    others = {"The default run": "../index.html"} if site.profile else {name: f"{name}/index.html" for name in PROFILES}
    return {
        "counts": counts,
        "labels": count_labels(own),
        "floors": control_counts(site.ledger) if controls else None,
        "number": len(own),
        "sums": sum(view["verdict"] == SUPPORTED and view["sum"] for view in own),
        "stand_ins": 0 if site.profile else int(tested[SMALL]),
        "sizes": [name for name in dict.fromkeys(view["profile"] for view in own) if name],
        "seeds": sorted({view["seeds"] for view in own if view["seeds"] not in ("", "0")}, key=int),
        "preliminary": int(tested[FEWER]),
        "decided": {v: [view for view in own if view["verdict"] == v] for v in VERDICTS[:3]},
        "headlines": [named[name] for name in HEADLINES if name in named],
        "came_out": site.came_out,
        "families": _families(site, views),
        "verdicts": [verdict_label(verdict) for verdict in VERDICTS],
        "gaps": site_notes.gaps(site.parts, views),
        "any": bool(site.pages),
        "cost": site_notes.cost(),
        "cite": site_notes.cite(),
        "others": {name: link for name, link in others.items() if (site.folder / link).is_file()},
        "pictures": [part_view(site, part) for part in site.parts if part.stem == "claims_forest"],
    }


def _claims(site: Site) -> dict[str, object]:
    views, heads = site.claim_views, site.heads
    for view in views:
        view["about"] = next((stem for stem in places(view["family"]) if stem in heads), "")
        view["controls"] = [control for control in views if control["belongs"] == view["name"]]
        view["group"] = seeds_group(view["verdict"], view["profile"], int(view["seeds"] or 0))
    own = [view for view in views if not view["control"]]
    board = scoreboard(site.ledger)
    return {
        "number": len(site.said),
        "columns": [*board.columns[1:]],
        "board": [(row[0], verdict_label(row[0]) if row[0] in VERDICTS else None, row[1:]) for row in board.values],
        "floors": control_counts(site.ledger),
        "groups": [(verdict, [view for view in own if view["verdict"] == verdict]) for verdict in VERDICTS],
        "why": [name for name in SEEDS_GROUPS if name in {view["group"] for view in own}],
        "questions": [view for view in views if view["control"] and not view["belongs"]],
    }


def _trials(site: Site) -> dict[str, object]:
    table = stored_summary()
    stored = dict(zip(table["trial"], table["rho"], strict=True))
    return {"tables": trial_views(site.sizes, site.hashed, stored), "stored": len(stored)}


def _deviations(site: Site) -> dict[str, object]:
    held = next((part.folder for part in site.parts if part.stem == "decisions"), site.folder)
    found = site_notes.deviations(held)
    for one in found:
        stems = [next((stem for stem in site.lessons if stem.split("_")[0] == name), "") for name in one["met_in"]]
        one["lessons"] = [(stem, site.address(f"notebooks/{stem}.ipynb")) for stem in stems if stem]
    return {"errata": found, "gaps": site_notes.gaps(site.parts, site.claim_views)}


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
    "results": ("Every table and figure", results_page),
    "claims": ("Every result that the paper states", _claims),
    "trials": ("The trials behind every cell", _trials),
    "deviations": ("Where this suite departs from the paper", _deviations),
    "checklist": ("The reproducibility checklist", _checklist),
    "notebooks": ("The notebooks", _notebooks),
}


def _made_from(site: Site) -> str:
    """A digest of the names and contents of every file in the folder that the pages show or read."""
    names = {site.beside(part, name) for part in site.parts for name in part.files} | {"claims.csv"}
    files = {name: site.folder / name for name in names}
    return fingerprint({name: file_digest(file) if file.is_file() else "" for name, file in files.items()})


def _folder(profile: str | None) -> Path:
    return environment.figures() / (profile or "")


def with_pages(profile: str | None = None, stored: bool = False) -> frozenset[str]:
    """Stems of the notebooks that get a page: those that were run here, or all if stored outputs are shown, too."""
    return frozenset(n.stem for n in find() if executed(n.stem, profile) or (stored and not profile))


def write_page(notebook: Path, profile: str | None, pages: frozenset[str]) -> None:
    """Write the page of a notebook from its last run here, else from its stored outputs.

    Args:
        profile: as for `write_gallery`.
        pages: stems of all notebooks that get a page (`with_pages`): links lead to these, and to the files of others.
    """
    source = executed(notebook.stem, profile) or notebook
    up = "../" * (2 + bool(profile))
    write_notebook_page(source, _folder(profile) / "notebooks" / f"{notebook.stem}.html", pages, up)


def write_gallery(profile: str | None = None, stored: bool = False, local: bool = True) -> Path:
    """Write the pages of the gallery beside the figures, and the RO-Crate of the repository; the repository's own
    gallery also renews in README what came out, and Table I.

    Args:
        profile: None shows `figures/`, each part at the profile that its notebook names; the name of a profile shows
            what was made at this one in place of it, in the subfolder of that name, and what it takes from the study.
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
        shown |= {"level": LEVEL, "looks": LOOKS, "most_seeds": MOST_SEEDS}
        body = render(name, **shown, **content(site))
        write_text(folder / f"{name}.html", page(title, body, made_from=made_from))
    if environment.figures() == environment.root() / "figures":
        write_crate(environment.root())
        if not local and site.rows:
            first = (environment.figures() / "table01.md").read_text(encoding="utf-8")
            write_readme(environment.root() / "README.md", site.ledger, site.worth, first)
    return folder / "index.html"


def write_pages(profile: str | None = None, pages: bool = False) -> None:
    """The command `gallery`: write the gallery of one profile, and print its first page.

    Args:
        profile: what was made at this profile; None for what each notebook makes by default.
        pages: whether each notebook gets a page of its own, too.
    """
    with waiting("writing the gallery"):
        page = write_gallery(profile, stored=pages, local=pages or bool(profile))
    print(page.name)
