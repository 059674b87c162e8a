"""Whether verdicts hang on the kind of processor: claims are judged again with trials that this processor trains.

    python -m sapnet_core stability iv-coreg iv-vat

A processor with bfloat16 computes features in it, any other in float32, and each adds up numbers in its own order. The
trials of the claims whose stored results are of another kind of processor or another number format are trained again
here, features included; a result of this kind is what this machine would compute, bit for bit (`experiments.verify`).
The claims are then judged with these results in place of the stored ones, and corrected with the other claims of their
family as they are stored. Both verdicts go into `study/stability.csv`, in place of earlier rows of the same claim and
processor. New results are kept in `stability` in the folder of runs, so that a measurement that was stopped goes on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from sapnet_core.backbones.registry import format_name
from sapnet_core.experiments import stored
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.profiles import PROFILES, Profile
from sapnet_core.experiments.result_files import parse_predictions
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import is_stored, stored_files
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.verify import facts
from sapnet_core.reporting.claims import Read, claim_cells, evaluate, read_cell
from sapnet_core.reporting.ledger import ledger
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import unwritable
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.processor import processor_kind
from sapnet_core.runtime.progress import trial_bars, waiting
from sapnet_core.runtime.variables import variables

__all__ = ["COLUMNS", "measure_stability", "stability_file", "stability_rows", "store_rows", "trained_elsewhere"]

JUDGED = ("effect", "low", "high", "verdict")
# The columns: the claim, and where it is judged; the number of seeds, and of trials that were trained again; the
# largest change of a trial's rho, and of a cell's mean over its seeds; the effect with its interval and the verdict, as
# stored and with the new results.
COLUMNS = (
    "claim",
    "family",
    "processor",
    "numbers",
    "seeds",
    "trained",
    "trial_moved",
    "mean_moved",
    *(f"stored_{name}" for name in JUDGED),
    *JUDGED,
)


def stability_file() -> Path:
    """The table of verdicts on several kinds of processors, beside the stored results; it may not exist."""
    return stored.FOLDER / "stability.csv"


def trained_elsewhere(trials: Sequence[Trial]) -> list[Trial]:
    """Those stored trials whose results are of another kind of processor or number format than this one's.

    Raises:
        ValueError: a trial is not stored, so that there is nothing to compare with.
    """
    if missing := [trial for trial in trials if not is_stored(trial)]:
        told = f"{len(missing)} of {len(trials)} trials are not stored"
        raise ValueError(f"{told}: run python -m sapnet_core study first")
    here = processor_kind(), format_name()
    kinds = {trial: facts(stored_files(trial)) for trial in trials}
    return [trial for trial, there in kinds.items() if (there["processor"], there["numbers"]) != here]


def stability_rows(
    claims: Sequence[str], anew: Mapping[Trial, pd.DataFrame], profile: Profile
) -> list[dict[str, object]]:
    """Judge claims with new predictions of some of their trials in place of the stored ones.

    Args:
        claims: ids of claims.
        anew: trial -> its new predictions.
        profile: the size at which the claims are judged.

    Returns: a row for each claim, as `COLUMNS` explain it.
    """

    def read(trial: Trial) -> pd.DataFrame:
        return anew[trial] if trial in anew else predictions(trial)

    families = {one.id: one.family for one in ledger() if one.id in claims}
    was, now = (evaluate(profile, families.values(), by).set_index("claim") for by in (predictions, read))
    rows = []
    for claim in claims:
        cells = claim_cells(claim, profile)
        moved = [_rho(trials, read) - _rho(trials, predictions) for trials in cells.values()]
        rows.append(
            {
                "claim": claim,
                "family": families[claim],
                "processor": processor_kind(),
                "numbers": format_name(),
                "seeds": was.at[claim, "seeds"],
                "trained": len(anew.keys() & {trial for trials in cells.values() for trial in trials}),
                "trial_moved": max(one.abs().max().item() for one in moved),
                "mean_moved": max(one.mean().abs().item() for one in moved),
                **{f"stored_{name}": was.at[claim, name] for name in JUDGED},
                **{name: now.at[claim, name] for name in JUDGED},
            }
        )
    return rows


def _rho(trials: list[Trial], read: Read) -> Tensor:
    """Spearman's rho of each trial of a cell (S,)."""
    cell = read_cell(trials, read)
    return torch.stack([spearman(one, cell.true) for one in cell.predicted])


def store_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows to the table, in place of earlier ones of the same claim and processor."""
    table, file = pd.DataFrame(rows, columns=COLUMNS), stability_file()
    if file.exists():
        table = pd.concat([pd.read_csv(file), table])
    table = table.drop_duplicates(["claim", "processor"], keep="last").sort_values(["claim", "processor"])
    write_text(file, table.to_csv(index=False, float_format="%.5g"))


def measure_stability(claims: Sequence[str], jobs: int) -> None:
    """Train in `jobs` processes what has to be trained again, judge the claims, and write and print their rows.

    Raises:
        ValueError: the ledger has no such claim, or no trial of these has to be trained again, or one is not stored.
        OSError: the table or the folder of runs cannot be written.
    """
    reach_cluster()
    if fault := unwritable(stability_file().parent):
        raise ValueError(f"{stability_file()} cannot be written: {fault}")
    profile, runs = PROFILES["study"], environment.runs() / "stability"
    needed = [trial for claim in claims for trials in claim_cells(claim, profile).values() for trial in trials]
    elsewhere = trained_elsewhere(list(dict.fromkeys(needed)))
    if not elsewhere:
        raise ValueError("this kind of processor made all stored trials of these claims: choose other claims")
    with variables(SAPNET_RUNS=str(runs), SAPNET_RECOMPUTE="1"), trial_bars() as bars:
        folders = run_trials(elsewhere, jobs, **bars)
    texts = [(folder / "predictions.csv").read_bytes() for folder in folders]
    anew = dict(zip(elsewhere, map(parse_predictions, texts), strict=True))
    with waiting("computing the verdicts"):
        rows = stability_rows(claims, anew, profile)
    store_rows(rows)
    for row in rows:
        print(f"{row['claim']}: {row['stored_verdict']} as stored, {row['verdict']} here", flush=True)
