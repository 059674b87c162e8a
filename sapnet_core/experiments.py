"""What each table and figure declares: its systems, its columns, the trials behind every cell, and the floors.

`python -m sapnet_core.experiments --profile quick --tables I II` runs the declared trials without Jupyter.
"""

import argparse
import sys

import pandas as pd
import torch

from sapnet_core import paths, profiles
from sapnet_core.metrics import spearman
from sapnet_core.profiles import Profile, get_profile
from sapnet_core.trials import Trial, run_trials, trial_data

__all__ = ["TABLES", "TARGET", "SYSTEMS", "CONTROLS", "column_name", "declare", "table_trials", "floors"]

# What is regressed: execution, that is score / difficulty; predictions are multiplied by the known difficulty degree.
# The paper says so of MTL-AQA and is silent on FineDiving, where the same is done; `target="score"` is the alternative.
TARGET = {"mtl-aqa": "execution", "finediving": "execution"}

# Rows of Tables I and II: the paper's name -> (method, overrides).
SYSTEMS: dict[str, tuple[str, dict]] = {
    "I3D+MLP": ("mlp", {}),
    "I3D+SSP": ("sap-net", {"lambda_un": 0.0, "lambda_gc": 0.0}),
    "I3D+GCL": ("sap-net", {"lambda_un": 0.0, "lambda_ubc": 0.0}),
    "SAP-Net (Ours)": ("sap-net", {}),
}
# Rows that the paper lacks and a reader needs to credit the right part (E17, E18).
CONTROLS: dict[str, tuple[str, dict]] = {
    "I3D+MLP (clips in order)": ("mlp-ordered", {}),
    "SAP-Net, L_reg alone": ("sap-net", {"lambda_un": 0.0, "lambda_ubc": 0.0, "lambda_gc": 0.0}),
}

TABLES = {
    "I": ("mtl-aqa", (0.1, 0.2, 0.3, 0.4, 1.0)),
    "II": ("finediving", (0.05, 0.1, 0.15, 0.2, 1.0)),
}


def column_name(share: float) -> str:
    """The paper's column of a label share: "10%", or "supervised" for 1."""
    return "supervised" if share == 1 else f"{share:.0%}"


def declare(dataset: str, system: str, share: float, seed: int, profile: Profile, **overrides) -> Trial:
    """The trial of one system at one label share, at the profile's size and source."""
    method, own = {**SYSTEMS, **CONTROLS}[system]
    return Trial(
        dataset=dataset, source="official" if paths.data_root() else "drawn", method=method, share=share, seed=seed,
        target=TARGET[dataset], train=profile.train, test=profile.test, steps=profile.steps, size=profile.size,
        overrides=tuple({**own, **overrides}.items()),
    )  # fmt: skip


def table_trials(table: str, profile: Profile) -> dict[tuple[str, str, int], Trial]:
    """Trials of Table I or II: (system, column, seed) -> Trial."""
    if table not in TABLES:
        raise ValueError(f"table {table!r} has no trials here: choose one of {', '.join(TABLES)}")
    dataset, shares = TABLES[table]
    return {
        (system, column_name(share), seed): declare(dataset, system, share, seed, profile)
        for system in (*SYSTEMS, *CONTROLS) for share in shares for seed in profile.seeds
    }  # fmt: skip


def floors(trial: Trial) -> pd.DataFrame:
    """What is reached without looking at a video, and what judge noise leaves reachable, on a trial's test part.

    Rows: "mean" (one constant execution or score), "difficulty alone" (prediction = difficulty degree) and, on twins,
    "ceiling: true quality" (the simulator's factors, without the judges' noise). Columns: system, rho.
    """
    data = trial_data(trial)
    test = ~data.train
    score, difficulty = data.score[test], data.difficulty[test]
    guess = {
        "mean": torch.ones_like(score),
        "difficulty alone": difficulty,
        "ceiling: true quality": data.features.factors[test].mean(1) * difficulty,
    }
    return pd.DataFrame([{"system": k, "rho": round(float(spearman(v, score)), 4)} for k, v in guess.items()])


def main(arguments: list[str] | None = None) -> None:
    """Run the declared trials of the named tables; progress goes to standard error."""
    parser = argparse.ArgumentParser(description="Run the trials that tables declare; resumes where it stopped.")
    parser.add_argument("--profile", default="quick", choices=profiles.PROFILES)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--jobs", type=int, default=profiles.jobs())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    profile = get_profile(args.profile)
    trials = [trial for table in args.tables for trial in table_trials(table, profile).values()]

    def progress(done: int, of: int) -> None:
        print(f"trial {done} of {of}", file=sys.stderr, flush=True)

    run_trials(trials, args.jobs, args.device, progress=progress)
    print(f"{len(set(trials))} trials are in {paths.runs() / 'trials'}")


if __name__ == "__main__":
    main()
