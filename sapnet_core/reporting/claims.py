"""The ledger of one run: the trials that the paper's claims need, and the verdict on every claim.

    python -m sapnet_core claims

A study is looked at twice (`study/plan.md`). The verdicts of the first look, with ten seeds, stand. A claim that it
leaves undecided is judged again as soon as twenty seeds of all of its tables and figures are stored.

`reporting.verdicts` tests a single claim. A notebook takes the verdict on one claim by its id (`verdict_of`) or all
verdicts about a table or figure (`family_table`), so that it agrees with the ledger. Controls (`ledger`) are corrected
and counted separately from the paper's claims.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import numpy as np
import pandas as pd
import torch

from sapnet_core.experiments import profiles
from sapnet_core.experiments.failed_dives import failed_dive_scores
from sapnet_core.experiments.intervals import Interval
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.profiles import Profile, with_second_look
from sapnet_core.experiments.resampling import Cell
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.statistics import UNDECIDED, UNTESTABLE, VERDICTS, in_words
from sapnet_core.experiments.stored_seeds import study_if_left, with_stored_seeds
from sapnet_core.experiments.tables import check_data, declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.source import source_name
from sapnet_core.reporting.below_floor import below_floor
from sapnet_core.reporting.ledger import SINGLE_ERRORS, Claim, Name, ledger
from sapnet_core.reporting.verdicts import decide, examine, size_beside_print
from sapnet_core.runtime import environment
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import trial_bars, waiting

__all__ = [
    "claim_cells",
    "needed_trials",
    "read_cell",
    "evaluate",
    "print_verdicts",
    "family_table",
    "family_verdicts",
    "stated",
    "verdict_of",
    "verdict_text",
    "effect_text",
]


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
    "below",
)


Cells = dict[Name, list[Trial]]  # the trials of each cell, one per seed
Read = Callable[[Trial], pd.DataFrame]  # gives the predictions of a trial, as `results.predictions` does


def _judged(claims: Iterable[Claim], profile: Profile) -> dict[str, tuple[Profile, Cells]]:
    """The size at which each claim is judged, and the trials of its cells, by its id; a cell without declared trials is
    left out.

    A claim is judged by the study if the profile leaves one of its tables and figures to it (`study_if_left`). While
    the study is under way, it is judged with the seeds that are stored for all of them. A table with fewer than two
    seeds is left out; if none has more, the quick profile stands in (`with_stored_seeds`).
    """
    size_of, declared, judged = cache(with_stored_seeds), cache(_declared), {}
    for claim in claims:
        tables = _tables(claim)
        whole = study_if_left(profile, *tables)
        there = tuple(t for t in tables if size_of(whole, t).name == whole.name) or tables
        size = size_of(whole, *there)
        judged[claim.id] = size, _cells_of(claim, there, size, declared)
    return judged


def _cells_of(claim: Claim, tables: Iterable[str], size: Profile, declared: Callable[[str, Profile], Cells]) -> Cells:
    """The trials of a claim's cells that some tables and figures declare; `declared` is `_declared`, cached."""
    cells = {name: trials for table in tables for name, trials in declared(table, size).items()}
    return {name: cells[name] for name in claim.names if name in cells}


def _tables(claim: Claim) -> tuple[str, ...]:
    """The tables and figures that declare the trials of a claim."""
    return tuple(sorted({name[0] for name in claim.names} & set(KNOWN)))


def _declared(table: str, size: Profile) -> Cells:
    """The trials of every cell of a table or figure."""
    found: Cells = {}
    for (row, column, _), trial in declared_trials(table, size).items():
        found.setdefault((table, str(row), str(column)), []).append(trial)
    return found


def _seen_twice(claims: Iterable[Claim], profile: Profile) -> dict[str, tuple[Profile, Cells]]:
    """The size of the second look, and the trials of a claim's cells, by its id, for those claims of which the seeds of
    both looks are stored in all tables and figures. Where what is stored is trained anew, there is no second look."""
    wide = with_second_look(profile)
    if wide == profile or environment.recompute():
        return {}
    stored, declared, found = cache(lambda tables: with_stored_seeds(wide, *tables) == wide), cache(_declared), {}
    for claim in claims:
        if (tables := _tables(claim)) and stored(tables):
            found[claim.id] = wide, _cells_of(claim, tables, wide, declared)
    return found


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
    about some tables and figures. Of a study that is under way, these are the trials that are stored (`_judged`)."""
    testable, claims = [], _about(families)
    judged = _judged(claims, profile)
    for claim in claims:
        _, cells = judged[claim.id]
        testable += [trial for trials in cells.values() for trial in trials] * (len(cells) == len(claim.names))
    return list(dict.fromkeys(testable))


def claim_cells(claim: str, profile: Profile) -> Cells:
    """The trials of the cells of one claim, given by its id, with the seeds with which it is judged (`_judged`).

    Raises:
        ValueError: the ledger has no such claim.
    """
    return _judged([_known(claim)], profile)[claim][1]


def _known(claim: str) -> Claim:
    """The claim of the ledger with this id. Raises ValueError where it has none."""
    for one in ledger():
        if one.id == claim:
            return one
    raise ValueError(f"claim {claim!r} is not in the ledger: give one of the ids in reporting/claims.toml")


def read_cell(trials: list[Trial], read: Read = predictions) -> Cell:
    """Read the predictions of one cell's trials, one per seed.

    Raises:
        ValueError: the seeds were scored on different videos.
    """
    frames = [read(trial) for trial in trials]
    if len({tuple(frame["key"]) for frame in frames}) != 1:
        raise ValueError(f"seeds of one cell were scored on different videos: {trials[0]}")
    predicted = torch.from_numpy(np.stack([frame["predicted"].to_numpy() for frame in frames]))
    true = torch.tensor(frames[0]["score"].tolist(), dtype=torch.float64)
    return Cell(predicted, true, f"{trials[0].dataset}/{trials[0].group}")


def _failed(trials: list[Trial]) -> torch.Tensor | None:
    """The scores (S, F) that one cell's trials predict for the failed dives of other twins; None if they did not."""
    scores = failed_dive_scores(trials)
    return None if scores is None else torch.from_numpy(scores.to_numpy(copy=True))


def evaluate(profile: Profile | str, families: Iterable[str] = (), read: Read = predictions) -> pd.DataFrame:
    """Evaluate the ledger for one run: one row per claim or control, in the ledger's order.

    Args:
        profile: the run's profile, or its name; all needed trials must have been run. While the study is under way, a
            claim is judged with the seeds that are stored, or at the quick size (`_judged`).
        families: tables and figures whose claims are evaluated, such as "Fig. 7"; all by default.
        read: what gives the predictions of a trial; by default those that are stored or were trained here.

    Returns:
        A data frame with columns `COLUMNS`. The effect is that of the weakest pair; p_holm is corrected over the claims
        of a family, and separately over its controls; to_decide is the number of seeds that would decide an undecided
        claim; size comes from `size_beside_print`; profile and seeds are the claim's own; reason holds a claim's note
        where nothing else is in it; below comes from `below_floor`.
    """
    profile, claims = profiles.get_profile(profile) if isinstance(profile, str) else profile, _about(families)
    judged, cell = _judged(claims, profile), cache(lambda *trials: read_cell(list(trials), read))
    rows = [_examined(claim, *judged[claim.id], cell) for claim in claims]
    _decide(rows)
    undecided = {row["claim"] for row in rows if row["verdict"] == UNDECIDED}
    complete = [claim for claim in claims if claim.id in undecided and judged[claim.id][0] == profile]
    if twice := _seen_twice(complete, profile):
        again = {claim.id: _examined(claim, *twice[claim.id], cell) for claim in complete if claim.id in twice}
        waits = {"p": 1.0, "p_equal": 1.0}  # a claim that waits for its second seeds still counts in Holm's correction
        second = [again.get(row["claim"], row | waits) for row in rows if row["claim"] in undecided]
        _decide(second)
        rows = [again.get(row["claim"], row) for row in rows]
    table = pd.DataFrame([{**row, "size": size_beside_print(row)} for row in rows])
    table = table.reindex(columns=list(COLUMNS)).astype({"reason": object})
    return table.fillna({"reason": "", "below": ""})


def _examined(claim: Claim, size: Profile, cells: Cells, cell: Callable[..., Cell]) -> dict[str, object]:
    """One row of the ledger without its verdict; `cell` gives the predictions of a cell's trials."""
    sets = sorted({cells[name][0].dataset for name in claim.names if name in cells})
    row = {
        "claim": claim.id,
        "statement": claim.statement,
        "place": claim.place,
        "family": claim.family,
        "kind": claim.kind,
        "control": claim.control,
        "metric": claim.metric,
        "paper": claim.paper,
        "profile": size.name,
        "source": source_name(environment.data_root(), *sets) if sets else "the paper",
        "seeds": 0,
        **examine(
            claim,
            lambda name: cell(*cells[name]) if name in cells else None,
            size.resamples,
            lambda name: _failed(cells[name]),
        ),
    }
    below = below_floor(claim, cells, {name: cell(*trials) for name, trials in cells.items()})
    return row | {"reason": row.get("reason") or claim.note, "below": below}


def _decide(rows: list[dict[str, object]]) -> None:
    """Add the verdicts to rows of one look; the claims of a family are corrected together, and so are its controls.

    Of the second look, these are the claims that the first left undecided. With the level split between both looks, a
    family has a false verdict as rarely as with one look.
    """
    for family in dict.fromkeys((row["family"], row["control"]) for row in rows):
        together = [row for row in rows if (row["family"], row["control"]) == family]
        for row, found in zip(together, decide(together), strict=True):
            row |= found


def stated(row: Mapping[str, object]) -> str:
    """The statement of a row, and in parentheses that all systems that it compares lie below a floor, if they do."""
    return f"{row['statement']} ({row['below']})" if row.get("below") else str(row["statement"])


def verdict_text(row: pd.Series) -> str:
    """The verdict of a row in words, with the number of seeds that would decide it or the reason why it is not
    testable."""
    if row["verdict"] == UNTESTABLE:
        return f"{UNTESTABLE}: {row['reason']}"
    return row["verdict"] if row["kind"] in SINGLE_ERRORS else in_words(row["verdict"], row["to_decide"])


def effect_text(row: pd.Series) -> str:
    """The effect of a row with its interval over seeds and videos; a number of each seed has its range and its meaning
    instead. A claim that cannot be tested has none: what a part of its pairs shows is no answer to it."""
    if not np.isfinite(row["effect"]) or row["verdict"] == UNTESTABLE:
        return "—"
    if row["kind"] == "worst":
        mean, low, high = (f"{row[name]:.1f}" for name in ("effect", "low", "high"))
        said = f"the largest error falls on a video judged {mean} points on average ({low} to {high} by seed)"
        return f"{said}; {row['reason']}" if row["reason"] else said
    if row["kind"] == "count":
        return f"{row['effect']:.1f} {row['reason']}, on average; {row['low']:.0f} to {row['high']:.0f} by seed"
    if row["kind"] == "arithmetic":
        return f"{row['effect']:.3f}"
    unit = {
        "rho": "",
        "closeness": ", fall of the relative error R-ℓ2 times 100, negative where it rises",
        "spread": " in the ratio of spreads",
    }[row["metric"]]
    return f"{Interval(row['effect'], row['low'], row['high'])}{unit}"


def family_table(profile: Profile, *families: str) -> pd.DataFrame:
    """The ledger's verdicts on the claims about some tables and figures, as text for `tables.show`; missing trials are
    run first.

    Returns:
        A data frame with columns "what is said", "this run" (the effect, by `effect_text`), "p, corrected", "verdict"
        and "claim" (its id).
    """
    table = family_verdicts(profile, *families)
    return pd.DataFrame(
        {
            "what is said": [("control: " if row["control"] else "") + stated(row) for _, row in table.iterrows()],
            "this run": [effect_text(row) for _, row in table.iterrows()],
            "p, corrected": [f"{p:.2g}" if np.isfinite(p) else "—" for p in table["p_holm"]],
            "verdict": [verdict_text(row) for _, row in table.iterrows()],
            "claim": table["claim"],
        }
    )


def family_verdicts(profile: Profile, *families: str) -> pd.DataFrame:
    """The ledger's rows (`evaluate`) of the claims about some tables and figures; missing trials are run first."""
    run_trials(needed_trials(profile, families), environment.jobs())
    return evaluate(profile, families)


def verdict_of(claim: str, profile: Profile) -> str:
    """The ledger's verdict on one claim, given by its id, in words; missing trials are run first.

    Raises:
        ValueError: the ledger has no such claim.
    """
    return verdict_text(family_verdicts(profile, _known(claim).family).set_index("claim").loc[claim])


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
