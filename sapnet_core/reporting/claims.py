"""Verdicts on the paper's claims: the trials that each claim needs, its test, and its verdict in this run.

    python -m sapnet_core claims --profile quick

The rule for verdicts is `experiments.statistics.judge`. A notebook takes the verdict on one claim by its id
(`verdict_of`) or all verdicts about a table or figure (`family_table`), so that it agrees with the ledger. A claim
about a system without declared trials in `experiments` is "not testable here" until they are declared; a claim about
several systems, of which only some are declared, can be contradicted by these but not supported. Controls (`ledger`)
are corrected and counted separately from the paper's claims.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pandas as pd
import torch

from sapnet_core.experiments import profiles
from sapnet_core.experiments.paper import paper_arithmetic
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.resampling import Cell, resampled
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.statistics import (
    CONTRADICTED,
    MARGIN,
    SUPPORTED,
    UNDECIDED,
    UNTESTABLE,
    VERDICTS,
    Hypothesis,
    Verdict,
    compare,
    equivalence,
    in_words,
    judge,
    seeds_to_decide,
    weakest,
)
from sapnet_core.experiments.tables import check_data, declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.source import source_name
from sapnet_core.reporting.ledger import Claim, Name, Side, by_classes, ledger
from sapnet_core.runtime import environment
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import trial_bars, waiting

__all__ = [
    "needed_trials",
    "read_cell",
    "examine",
    "decide",
    "size_beside_print",
    "evaluate",
    "print_verdicts",
    "family_table",
    "verdict_of",
    "verdict_text",
    "effect_text",
]

Lookup = Callable[[Name], Cell | None]

PARTLY = "seeds and videos, of the pairs that are here"
COLUMNS = (
    "claim",
    "statement",
    "place",
    "family",
    "kind",
    "control",
    "metric",
    "verdict",
    "effect",
    "low",
    "high",
    "seed_low",
    "seed_high",
    "p",
    "p_holm",
    "to_decide",
    "paper",
    "size",
    "test",
    "reason",
    "source",
    "profile",
    "seeds",
)


# ---- from a claim to its cells --------------------------------------------------------------------------------------
def _declared(names: Iterable[Name], profile: Profile) -> dict[Name, list[Trial]]:
    """The trials of each cell, one per seed; a cell without declared trials is left out."""
    found: dict[Name, list[Trial]] = {}
    for trials in {name[0] for name in names}:
        try:
            declared = declared_trials(trials, profile)
        except ValueError:
            continue
        for (row, column, _), trial in declared.items():
            found.setdefault((trials, str(row), str(column)), []).append(trial)
    return {name: found[name] for name in names if name in found}


def _about(families: Iterable[str]) -> list[Claim]:
    """The claims about these tables and figures, or all claims if none is named.

    Raises:
        ValueError: no claim is about one of them.
    """
    families, known = set(families), {claim.family for claim in ledger()}
    if unknown := families - known:
        raise ValueError(f"no claim is about {', '.join(sorted(unknown))}: choose among {', '.join(sorted(known))}")
    return [claim for claim in ledger() if not families or claim.family in families]


def needed_trials(profile: Profile, families: Iterable[str] = ()) -> list[Trial]:
    """The trials, each once, of every claim whose cells are all declared; `families` restricts the claims to those
    about some tables and figures."""
    testable = []
    for claim in _about(families):
        cells = _declared(claim.names, profile)
        testable += [trial for trials in cells.values() for trial in trials] * (len(cells) == len(claim.names))
    return list(dict.fromkeys(testable))


def read_cell(trials: list[Trial]) -> Cell:
    """Read the predictions of one cell's trials, one per seed.

    Raises:
        ValueError: the seeds were scored on different videos.
    """
    frames = [predictions(trial) for trial in trials]
    if len({tuple(frame["key"]) for frame in frames}) != 1:
        raise ValueError(f"seeds of one cell were scored on different videos: {trials[0]}")
    predicted = torch.from_numpy(np.stack([frame["predicted"].to_numpy() for frame in frames]))
    true = torch.tensor(frames[0]["score"].tolist(), dtype=torch.float64)
    return Cell(predicted, true, f"{trials[0].dataset}/{trials[0].group}")


# ---- from cells to numbers ------------------------------------------------------------------------------------------
def examine(claim: Claim, lookup: Lookup, resamples: int = 1000, memory: dict | None = None) -> dict[str, object]:
    """Compute the numbers of one claim, without its verdict.

    Args:
        lookup: maps the name of a cell to its predictions, or to None if its trials are not declared.
        resamples: number of resamples of the test videos.
        memory: caches the resampled metrics of cells between claims.

    Returns:
        "test" and, where they exist, effect, low, high, seed_low, seed_high, p, seeds, reason, said (whether this run
        shows what is claimed; None where seeds disagree), and for `judge` p_equal, margin and evidence, all of the
        weakest difference.
    """
    if claim.kind == "untested":
        return {"test": "none", "reason": claim.reason}
    if claim.kind == "arithmetic":
        return _arithmetic(claim)
    cells = {name: lookup(name) for name in claim.names}
    absent = list(dict.fromkeys(name[1] for name, cell in cells.items() if cell is None))
    pairs = [pair for pair in claim.pairs if not any(cells[name] is None for side in pair for name in side)]
    missing = {"reason": f"system not implemented: {', '.join(absent)}"} if absent else {}
    if not pairs or absent and claim.kind != "greater":
        return {"test": "none", **missing}
    if claim.kind in ("count", "worst"):
        return _errors(claim, list(cells.values()))
    memory = {} if memory is None else memory

    def measured(side: Side) -> list[torch.Tensor]:
        for name in side:
            if (name, claim.metric) not in memory:
                memory[name, claim.metric] = resampled(cells[name], claim.metric, resamples)
        return [memory[name, claim.metric] for name in side]

    limit = 2.0 if claim.metric == "rho" else math.inf
    found = [compare(measured(high), measured(low), by_classes(high), limit=limit) for high, low in pairs]
    link, p = weakest(found)
    numbers = {
        "effect": link.value,
        "low": link.low,
        "high": link.high,
        "seed_low": link.seed_low,
        "seed_high": link.seed_high,
        "seeds": len(link.by_seed),
        "evidence": link,
        "margin": claim.margin if claim.metric != "rho" or math.isfinite(claim.margin) else MARGIN,
    }
    if claim.kind == "comparable":
        inside, outside = equivalence(link, claim.margin)
        within = abs(link.value) <= claim.margin
        p = inside if within else min(1.0, 2 * outside)
        beyond = link._replace(value=abs(link.value) - claim.margin)  # its excess over the margin
        numbers |= {} if within else {"evidence": beyond, "margin": math.nan}
        return {"test": "seeds and videos, equivalence", **numbers, "p": p, "said": within}
    said = link.value > 0
    # Bonferroni's correction, since `link` is the weakest of several pairs
    numbers["p_equal"] = min(1.0, len(found) * equivalence(link, numbers["margin"])[0])
    if absent:  # one counterexample contradicts the claim, but part of the pairs cannot support it
        return {"test": PARTLY, **numbers, "p": 1.0 if said else p, "said": said, **missing}
    return {"test": "seeds and videos", **numbers, "p": p, "said": said}


def _arithmetic(claim: Claim) -> dict[str, object]:
    rows = paper_arithmetic().set_index("statement").loc[list(claim.numbers)]
    common = [
        name
        for name in ("arithmetic", "fisher", "relative")
        if all(name in holds.split(", ") for holds in rows["holds"])
    ]
    reason = f"by these readings: {', '.join(common)}" if common else "by none of three readings"
    relative = rows["relative"].dropna()
    if len(relative):
        reason += f"; it is a difference of rho, relative to the rival's it would be {relative.iloc[0]:.1%}"
    one = rows.iloc[0] if len(rows) == 1 else None
    effect = math.nan if one is None else one[common[0] if common else "arithmetic"]
    printed = math.nan if one is None else one["printed"]
    return {"test": "arithmetic", "said": bool(common), "effect": effect, "paper": printed, "reason": reason}


def _errors(claim: Claim, cells: list[Cell]) -> dict[str, object]:
    """Check a claim about single large errors seed by seed; "said" is None where the seeds disagree."""
    true, off = cells[0].true, torch.stack([(cell.predicted - cell.true).abs() for cell in cells])  # (C, S, N)
    if claim.kind == "worst":
        if not (true == 0).any():
            return {"test": "none", "reason": "no test video of this source is judged 0"}
        value = true[off[0].argmax(1)]  # (S,): the true score where the error is largest
        each, reason = value == 0, "true score of the video with the largest error, a seed"
    else:
        value = (off > claim.limit).any(0).sum(1).double()
        each, reason = value <= claim.count, f"videos off by more than {claim.limit:g} points, a seed"
    said = bool(each[0]) if len(each.unique()) == 1 else None
    return {
        "test": "every seed",
        "effect": value.mean().item(),
        "low": value.min().item(),
        "high": value.max().item(),
        "seeds": len(value),
        "said": said,
        "reason": reason,
    }


# ---- from numbers to a verdict --------------------------------------------------------------------------------------
def _decided(row: dict) -> str | None:
    """The verdict on a claim that needs no p-value; None if it needs one."""
    if row["test"] == "none":
        return UNTESTABLE
    if row["test"] in ("arithmetic", "every seed"):
        return UNDECIDED if row["said"] is None else SUPPORTED if row["said"] else CONTRADICTED
    return None


def decide(rows: Iterable[dict]) -> list[dict[str, object]]:
    """Decide the examined claims of one family: verdict, p_holm (the p-value after Holm's correction), and to_decide,
    the number of seeds that would decide an undecided claim (`statistics.seeds_to_decide`; NaN for others).

    A claim with undeclared systems can only be contradicted; otherwise it is not testable here.
    """
    rows = list(rows)
    open_ = [i for i, row in enumerate(rows) if _decided(row) is None]
    found = judge([Hypothesis(rows[i]["said"], rows[i]["p"], rows[i].get("p_equal", math.nan)) for i in open_])
    verdicts = [Verdict(_decided(row), math.nan) for row in rows]
    tested = sum(not math.isnan(rows[i]["p"]) for i in open_)
    seeds = [math.nan] * len(rows)
    for i, (word, p) in zip(open_, found, strict=True):
        if rows[i]["test"] == PARTLY and word != CONTRADICTED:
            word = UNTESTABLE
        if word == UNDECIDED:
            seeds[i] = seeds_to_decide(rows[i]["evidence"], tested, rows[i]["margin"])
        verdicts[i] = Verdict(word, p)
    return [{**v._asdict(), "verdict": v.word, "to_decide": n} for v, n in zip(verdicts, seeds, strict=True)]


def size_beside_print(row: dict) -> str:
    """Compare the effect's interval with the printed difference, whatever the verdict on the sign: "as printed" if the
    interval contains it, else "smaller", "larger" or "suspiciously larger"; "" where either is missing.

    "Suspiciously larger" means that the claim is supported, and that the whole interval lies above twice the printed
    difference and more than 0.02 above it. If a rebuilt system gains more than twice what its authors report, a weak
    baseline, a leak or an easier task is a likelier reason than a better system.
    """
    if not row["test"].startswith("seeds and videos") or math.isnan(row["paper"]) or math.isnan(row["low"]):
        return ""
    printed = row["paper"]
    too_good = printed > 0 and row["low"] > max(2 * printed, printed + 0.02)
    if too_good and row["kind"] != "comparable" and row["verdict"] == SUPPORTED:
        return "suspiciously larger"
    return "smaller" if row["high"] < printed else "larger" if row["low"] > printed else "as printed"


def evaluate(profile: Profile | str, families: Iterable[str] = ()) -> pd.DataFrame:
    """Evaluate the ledger for one run: one row per claim or control, in the ledger's order.

    Args:
        profile: the run's profile, or its name; all needed trials must have been run.
        families: tables and figures whose claims are evaluated, such as "Fig. 7"; all by default.

    Returns:
        A data frame with columns `COLUMNS`. The effect is that of the weakest pair; p_holm is corrected over the claims
        of a family, and separately over its controls; to_decide is the number of seeds that would decide an undecided
        claim; size comes from `size_beside_print`.
    """
    profile, claims = profiles.get_profile(profile) if isinstance(profile, str) else profile, _about(families)
    declared = _declared(list(dict.fromkeys(name for claim in claims for name in claim.names)), profile)
    read, memory, rows = cache(lambda name: read_cell(declared[name]) if name in declared else None), {}, []
    for claim in claims:
        sets = sorted({declared[name][0].dataset for name in claim.names if name in declared})
        row = {
            "claim": claim.id,
            "statement": claim.statement,
            "place": claim.place,
            "family": claim.family,
            "kind": claim.kind,
            "control": claim.control,
            "metric": claim.metric,
            "paper": claim.paper,
            "profile": profile.name,
            "source": source_name(environment.data_root(), *sets) if sets else "the paper",
            "seeds": 0,
            **examine(claim, read, profile.resamples, memory),
        }
        rows.append(row)
    for family in dict.fromkeys((row["family"], row["control"]) for row in rows):
        together = [row for row in rows if (row["family"], row["control"]) == family]
        for row, found in zip(together, decide(together), strict=True):
            row |= found
    table = pd.DataFrame([{**row, "size": size_beside_print(row)} for row in rows])
    table = table.reindex(columns=list(COLUMNS)).astype({"reason": object})
    return table.fillna({"reason": ""})


# ---- what a notebook shows ------------------------------------------------------------------------------------------
def verdict_text(row: pd.Series) -> str:
    """The verdict of a row in words, with the number of seeds that would decide it or the reason why it is not
    testable."""
    if row["verdict"] == UNTESTABLE:
        return f"{UNTESTABLE}: {row['reason']}"
    return row["verdict"] if row["kind"] in ("count", "worst") else in_words(row["verdict"], row["to_decide"])


def effect_text(row: pd.Series) -> str:
    """The effect of a row with its interval over seeds and videos; a count has its range over seeds instead."""
    if not np.isfinite(row["effect"]):
        return "—"
    if row["kind"] in ("arithmetic", "count", "worst"):
        seeds = f" ({row['low']:.3g} to {row['high']:.3g} by seed)" if np.isfinite(row["low"]) else ""
        return f"{row['effect']:.3f}{seeds}"
    unit = {"rho": "", "closeness": " closeness", "spread": " spread"}[row["metric"]]
    return f"{row['effect']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]{unit}"


def _run(profile: Profile, families: Iterable[str]) -> pd.DataFrame:
    run_trials(needed_trials(profile, families), environment.jobs())
    return evaluate(profile, families)


def family_table(profile: Profile, *families: str) -> pd.DataFrame:
    """The ledger's verdicts on the claims about some tables and figures, as text for `tables.show`; missing trials are
    run first.

    Returns:
        A data frame with columns "claim" (its id), "what is said", "this run" (the effect, by `effect_text`),
        "p, corrected" and "verdict".
    """
    table = _run(profile, families)
    return pd.DataFrame(
        {
            "claim": table["claim"],
            "what is said": [("control: " if c else "") + s for c, s in table[["control", "statement"]].to_numpy()],
            "this run": [effect_text(row) for _, row in table.iterrows()],
            "p, corrected": [f"{p:.2g}" if np.isfinite(p) else "—" for p in table["p_holm"]],
            "verdict": [verdict_text(row) for _, row in table.iterrows()],
        }
    )


def verdict_of(claim: str, profile: Profile) -> str:
    """The ledger's verdict on one claim, given by its id, in words; missing trials are run first.

    Raises:
        ValueError: the ledger has no such claim.
    """
    families = {c.id: c.family for c in ledger()}
    if claim not in families:
        raise ValueError(f"claim {claim!r} is not in the ledger: give one of the ids in reporting/claims.toml")
    return verdict_text(_run(profile, [families[claim]]).set_index("claim").loc[claim])


def print_verdicts(profile_name: str, jobs: int) -> None:
    """Run the missing trials in `jobs` processes, and print the number of claims and controls for each verdict."""
    check_data()
    reach_cluster()
    profile = profiles.get_profile(profile_name)
    with trial_bars() as bars:
        run_trials(needed_trials(profile), jobs, **bars)
    with waiting("computing the verdicts"):
        table = evaluate(profile)
    for control, part in table.groupby("control"):
        counts = part["verdict"].value_counts()
        print(
            f"{len(part)} {'controls' if control else 'claims'}: "
            + ", ".join(f"{counts[v]} {v}" for v in VERDICTS if v in counts)
        )
