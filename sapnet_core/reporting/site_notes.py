"""What the gallery says beside tables and figures: deviations from the paper, what is missing, cost, the checklist."""

import csv
import math
import tomllib
from pathlib import Path

import pandas as pd

from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNTESTABLE
from sapnet_core.experiments.stored import stored_size, stored_trials
from sapnet_core.experiments.stored_summary import stored_summary
from sapnet_core.recipes.measure_cost import stored_cost
from sapnet_core.reporting.errata import errata
from sapnet_core.reporting.feature_size import feature_megabytes, feature_sets
from sapnet_core.reporting.parts import Part
from sapnet_core.reporting.pictures import DATASET_TITLES
from sapnet_core.reporting.site_claims import Label, verdict_label
from sapnet_core.reporting.stored_tables import read_cells, read_stored_table
from sapnet_core.runtime import environment
from sapnet_core.runtime.files import read_json

__all__ = ["checklist", "cite", "cost", "deviations", "facts", "gaps"]

ANSWERS = {"yes": "good", "partly": "odd", "no": "bad", "does not apply": "open"}


def deviations(folder: Path) -> list[dict[str, object]]:
    """The errata, each with the measured effect of every other reading that `decisions.csv` holds.

    An effect is (the other reading, ρ with the decision minus ρ with the other reading and its interval, a label).
    """
    effects: dict[str, list] = {}
    if (folder / "decisions.csv").is_file():
        head, lines = read_cells(folder / "decisions.csv")
        for row in (dict(zip(head, line, strict=True)) for line in lines):
            if not {"erratum", "alternative", "difference", "low", "high", "verdict"} <= row.keys():
                break
            interval = f"{float(row['difference']):+.3f} [{float(row['low']):+.3f}, {float(row['high']):+.3f}]"
            found = (row["alternative"], interval, _effect(float(row["low"]), float(row["high"]), row["verdict"]))
            effects.setdefault(row["erratum"], []).append(found)
    return [{**one._asdict(), "effects": effects.get(one.id, [])} for one in errata()]


def _effect(low: float, high: float, verdict: str) -> Label:
    """The verdict on "the decision reaches a higher ρ than the other reading", in these words."""
    words = {SUPPORTED: "better", CONTRADICTED: "other reading better", NO_DIFFERENCE: NO_DIFFERENCE}
    if verdict == CONTRADICTED and low > 0 or verdict == SUPPORTED and high < 0:
        raise ValueError(f"decisions.csv: the interval [{low}, {high}] cannot be {verdict}: run 09_decisions again")
    return verdict_label(verdict, words.get(verdict, ""))


def gaps(found: list[Part], views: list[dict[str, object]]) -> dict[str, object]:
    """What of the paper is not reproduced.

    Args:
        found: the tables and figures of the gallery.
        views: its claims (`site_claims.claim_views`).

    Returns:
        "sources": where the videos of the paper's tables and figures come from; "systems": for each comparison, the
        paper's rows for which nothing was trained; "untested": (statement, reason) of each claim that cannot be tested.
    """
    paper = [part for part in found if part.record and not part.stem.startswith(("own_", "real_"))]
    sources = sorted({str(part.record["source"]) for part in paper})
    systems = {}
    for part in found:
        if part.title.startswith("Table ") and (absent := _absent(part)):
            systems[part.title] = absent
    untested = [
        (view["statement"], view["reason"]) for view in views if view["verdict"] == UNTESTABLE and not view["control"]
    ]
    return {"sources": sources, "systems": systems, "untested": untested}


def _absent(part: Part) -> list[str]:
    """The systems of a stored comparison that have printed cells and no result in any column."""
    try:
        table = read_stored_table(part.folder / f"{part.stem}.csv")
    except (OSError, ValueError):
        return []
    if not isinstance(table.columns, pd.MultiIndex):
        return []
    printed = table.xs("paper", axis=1, level=1).notna().any(axis=1)
    reached = table.xs("mean", axis=1, level=1).notna().any(axis=1)
    names = table.index.get_level_values("system" if "system" in table.index.names else -1)
    return list(dict.fromkeys(str(name) for name, missing in zip(names, printed & ~reached, strict=True) if missing))


def cost() -> dict[str, object]:
    """What the stored trials took: one row for each dataset, and the sums; the disk that results and features take."""
    table, needed, measured = stored_summary(), feature_sets(stored_trials()), stored_cost()
    rows = [
        (
            DATASET_TITLES.get(name, name),
            len(part),
            part["method"].nunique(),
            part["seconds"].sum() / 3600,
            sum(OFFICIAL_SIZES[name]),
            len(needed[name]),
            measured.get(name, {}).get("memory", math.nan),
            measured.get(name, {}).get("video", math.nan),
            feature_megabytes(name, needed[name]),
        )
        for name, part in table.groupby("dataset")
    ]
    return {
        "rows": rows,
        "trials": len(table),
        "hours": table["seconds"].sum() / 3600,
        "median": table["seconds"].median() if len(table) else math.nan,
        "processors": sorted(set(table["processor"])),
        "measured": "; ".join(sorted({f"{row['processor']}, {row['numbers']}" for row in measured.values()})),
        "stored": stored_size() / 1e6,
        "features": sum(row[-1] for row in rows),
    }


def facts(found: list[Part], rows: list[dict[str, str]]) -> dict[str, str]:
    """The numbers that the answers of the checklist hold, as text."""
    root, spent = environment.root(), cost()
    with open(root / "sapnet_core" / "methods" / "tuning.csv", encoding="utf-8", newline="") as file:
        tried = {row["setting"] for row in csv.DictReader(file)}
    lock = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))
    shown = {name for part in found if part.record for name in part.record.get("hashes", ())}
    return {
        "errata": f"{len(errata())}",
        "claims": f"{len(rows)}",
        "packages": f"{sum('registry' in package['source'] for package in lock['package'])}",
        "candidates": f"{len(tried)}",
        "shown": f"{len(shown):,}",
        "stored": f"{spent['trials']:,}",
        "hours": f"{spent['hours']:.1f}",
        "processors": "; ".join(spent["processors"]) or "none yet",
    }


def checklist(numbers: dict[str, str]) -> dict[str, object]:
    """The questions of `reporting/checklist.toml` with their answers, in which `numbers` stand for the names in braces.

    Raises:
        KeyError: an answer names a number that is not there, or is none of `ANSWERS`.
    """
    read = tomllib.loads(Path(__file__).with_name("checklist.toml").read_text(encoding="utf-8"))
    number, sections = 0, []
    for section in read["section"]:
        questions = []
        for asked in section["question"]:
            number += 1
            label = Label(ANSWERS[asked["answer"]], asked["answer"])
            links = [tuple(link) for link in asked["links"]]
            text = asked["why"].format_map(numbers)
            questions.append({"number": number, "text": asked["text"], "label": label, "why": text, "links": links})
        sections.append({"title": section["title"], "questions": questions})
    answers = [asked["answer"] for section in read["section"] for asked in section["question"]]
    counts = [Label(kind, f"{answers.count(word)} {word}") for word, kind in ANSWERS.items() if word in answers]
    return {"source": read["source"], "sections": sections, "counts": counts}


def cite() -> dict[str, str]:
    """How to cite the suite and the paper, from `codemeta.json`."""
    meta = read_json(environment.root() / "codemeta.json")
    paper, (author,) = meta["referencePublication"], meta["author"]
    names = [f"{who['givenName']} {who['familyName']}" for who in paper["author"]]
    entry = [
        "@software{sapnet_rebuilt,",
        f"  title   = {{{meta['name']}}},",
        f"  author  = {{{{{author['name']}}}}},",
        f"  version = {{{meta['version']}}},",
        f"  year    = {{{meta['copyrightYear']}}},",
        f"  license = {{{meta['license'].rpartition('/')[2]}}}",
        "}",
    ]
    return {"bibtex": "\n".join(entry), "paper": f"{', '.join(names)}. {paper['name']}."}
