"""Verdicts on the paper's claims: the trials each needs, its test, and what this run says of it.

    python -m sapnet_core claims --profile quick

A claim whose systems are not declared by `experiments` is "not testable here", and becomes testable by itself once they
are; of a claim on several, those that are here can contradict it and not support it. Controls (`ledger`) are corrected
and counted apart from the paper's claims.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pandas as pd
import torch

from sapnet_core.experiments import profiles
from sapnet_core.experiments.evidence import Cell, Evidence, compare, equivalence, holm, resampled
from sapnet_core.experiments.paper import paper_arithmetic
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.results import predictions, run_trials
from sapnet_core.experiments.tables import check_data, declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.source import source_name
from sapnet_core.reporting.ledger import Claim, Name, Side, by_classes, ledger
from sapnet_core.runtime import environment
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import trial_bars, waiting

__all__ = [
    "VERDICTS",
    "LEVEL",
    "needed_trials",
    "read_cell",
    "examine",
    "weakest",
    "decide",
    "size_beside_print",
    "evaluate",
    "print_verdicts",
]

Lookup = Callable[[Name], Cell | None]

LEVEL = 0.05
SUPPORTED, SUSPICIOUS, CONTRADICTED, UNDECIDED = "supported", "suspiciously better", "contradicted", "undecided here"
PARTLY = "seeds and videos, of the pairs that are here"
HOLDS, FAILS, UNTESTED = "holds", "does not hold", "not testable here"
VERDICTS = (SUPPORTED, SUSPICIOUS, CONTRADICTED, UNDECIDED, HOLDS, FAILS, UNTESTED)


# ---- from a claim to its cells --------------------------------------------------------------------------------------
def _declared(names: Iterable[Name], profile: Profile) -> dict[Name, list[Trial]]:
    """The trials of each cell, one a seed; a cell that nothing declares is left out."""
    found: dict[Name, list[Trial]] = {}
    for trials in {name[0] for name in names}:
        try:
            declared = declared_trials(trials, profile)
        except ValueError:
            continue
        for (row, column, _), trial in declared.items():
            found.setdefault((trials, str(row), str(column)), []).append(trial)
    return {name: found[name] for name in names if name in found}


def needed_trials(profile: Profile) -> list[Trial]:
    """Trials of every claim that can be tested."""
    testable = []
    for claim in ledger():
        cells = _declared(claim.names, profile)
        testable += [trial for trials in cells.values() for trial in trials] * (len(cells) == len(claim.names))
    return list(dict.fromkeys(testable))


def read_cell(trials: list[Trial]) -> Cell:
    """Predictions of one cell's trials, one a seed. Raises ValueError where seeds were scored on different videos."""
    frames = [predictions(trial) for trial in trials]
    if len({tuple(frame["key"]) for frame in frames}) != 1:
        raise ValueError(f"seeds of one cell were scored on different videos: {trials[0]}")
    predicted = torch.from_numpy(np.stack([frame["predicted"].to_numpy() for frame in frames]))
    true = torch.tensor(frames[0]["score"].tolist(), dtype=torch.float64)
    return Cell(predicted, true, f"{trials[0].dataset}/{trials[0].group}")


# ---- from cells to numbers ------------------------------------------------------------------------------------------
def weakest(found: list[Evidence]) -> tuple[Evidence, float]:
    """Of several differences that are all said to be above 0, the one that says so least, and the p of them all.

    "All are above 0" holds with the p of the weakest (an intersection-union test); that it fails because the weakest
    lies below 0 had as many chances as there are differences (Bonferroni).
    """
    link = max(found, key=lambda e: -1 if math.isnan(e.p) else e.p / 2 if e.value > 0 else 1 - e.p / 2)
    return link, link.p if link.value > 0 else min(1.0, len(found) * link.p)


def examine(claim: Claim, lookup: Lookup, resamples: int = 1000, memory: dict | None = None) -> dict[str, object]:
    """The numbers of one claim, without its verdict.

    Args:
        lookup: from a cell's name to its predictions, None where no such system is here.
        memory: keeps resampled metrics of cells between claims.

    Returns: `test` and, as far as they exist, effect, low, high, seed_low, seed_high, p, seeds, reason, said (True or
    False where the test is no p-value).
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

    found = [compare(measured(high), measured(low), by_classes(high)) for high, low in pairs]
    link, p = weakest(found)
    numbers = {
        "effect": link.value,
        "low": link.low,
        "high": link.high,
        "seed_low": link.seed_low,
        "seed_high": link.seed_high,
        "seeds": len(link.by_seed),
    }
    if claim.kind == "comparable":
        inside, outside = equivalence(link, claim.margin)
        within = abs(link.value) <= claim.margin
        p = inside if within else min(1.0, 2 * outside)
        return {"test": "seeds and videos, equivalence", **numbers, "p": p, "said": within}
    said = link.value > 0
    if absent:  # a counterexample is enough to contradict, the ones that are here are not enough to support
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
    """Claims on single large errors: whether they are true of each seed; said is None where seeds disagree."""
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
def decide(row: dict) -> str:
    """The verdict of one examined claim, `p_holm` and `paper` added.

    Decided at a Holm-corrected p below 0.05. "Suspiciously better": supported, and the whole interval lies above twice
    the printed difference and more than 0.02 above it. A rebuilt system that gains twice what its authors print more
    often meets a crippled rival, a leak or an easier task than it is better.
    """
    if row["test"] == "none":
        return UNTESTED
    if row["test"] == "arithmetic":
        return HOLDS if row["said"] else FAILS
    if row["test"] == "every seed":
        return UNDECIDED if row["said"] is None else SUPPORTED if row["said"] else CONTRADICTED
    if not row["p_holm"] < LEVEL:
        return UNTESTED if row["test"] == PARTLY else UNDECIDED
    if not row["said"]:
        return CONTRADICTED
    too_good = row["paper"] > 0 and row["low"] > max(2 * row["paper"], row["paper"] + 0.02)
    return SUSPICIOUS if too_good and row["kind"] != "comparable" else SUPPORTED


def size_beside_print(row: dict) -> str:
    """Whether the effect's interval holds the printed size, whatever the verdict on its sign; "" where none is."""
    if not row["test"].startswith("seeds and videos") or math.isnan(row["paper"]) or math.isnan(row["low"]):
        return ""
    return "smaller" if row["high"] < row["paper"] else "larger" if row["low"] > row["paper"] else "as printed"


def evaluate(profile: Profile | str) -> pd.DataFrame:
    """The ledger of one run: a row a claim, or control, in the ledger's order. Trials must have been run.

    Returns: columns claim, statement, place, kind, control, metric, verdict, effect, low, high, seed_low, seed_high, p,
    p_holm, paper, size, test, reason, source, profile, seeds. The effect is that of the weakest pair; p_holm is
    corrected over the paper's tested claims, and over the controls apart; size is that of `size_beside_print`.
    """
    profile = profiles.get_profile(profile) if isinstance(profile, str) else profile
    declared = _declared(list(dict.fromkeys(name for claim in ledger() for name in claim.names)), profile)
    read, memory, rows = cache(lambda name: read_cell(declared[name]) if name in declared else None), {}, []
    for claim in ledger():
        sets = sorted({declared[name][0].dataset for name in claim.names if name in declared})
        row = {
            "claim": claim.id,
            "statement": claim.statement,
            "place": claim.place,
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
    for control in (False, True):
        family = [row for row in rows if row["control"] == control]
        for row, p in zip(family, holm([row.get("p", math.nan) for row in family]), strict=True):
            row["p_holm"] = p
    table = pd.DataFrame([{**row, "verdict": decide(row), "size": size_beside_print(row)} for row in rows])
    columns = [
        "claim",
        "statement",
        "place",
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
        "paper",
        "size",
        "test",
        "reason",
        "source",
        "profile",
        "seeds",
    ]
    return table.reindex(columns=columns).assign(reason=table["reason"].fillna(""))


def print_verdicts(profile_name: str, jobs: int) -> None:
    """Run what is missing in `jobs` processes, and print how many claims have which verdict."""
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
