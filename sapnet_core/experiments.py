"""What each table and figure declares: its systems, its columns, the trials behind every cell, and the floors.

`python -m sapnet_core.experiments --profile quick --tables I II` runs the declared trials without Jupyter.
"""

import argparse

import pandas as pd
import torch

from sapnet_core import paths, profiles
from sapnet_core.data.source import source_kind
from sapnet_core.metrics import fisher_mean, spearman
from sapnet_core.profiles import Profile, get_profile
from sapnet_core.progress import progress_bar
from sapnet_core.results import run_trials
from sapnet_core.sim import sport_of
from sapnet_core.trials import Trial, trial_data

__all__ = ["TABLES", "CLASS_TABLES", "COMPARED", "TARGET", "EPOCHS", "SYSTEMS", "CONTROLS", "column_name", "declare",
           "table_trials", "class_trials", "with_average", "floors"]  # fmt: skip

# What is regressed: execution, that is score / difficulty; predictions are multiplied by the known difficulty degree.
# The paper says so of MTL-AQA and is silent on FineDiving, where the same is done; `target="score"` is the alternative.
TARGET = {"mtl-aqa": "execution", "finediving": "execution", "rg": "score", "finefs": "score", "folder": "score"}

# Epochs of the paper's classes. A class gets its share of the profile's steps: steps x epochs / mean epochs of its set.
EPOCHS = {
    "rg": {"Ball": 300, "Clubs": 400, "Hoop": 500, "Ribbon": 300},
    "finefs": {"SP": 400, "FS": 500},
}

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

# Rows of Tables VI and VII that are here.
COMPARED = ("I3D+MLP", "I3D+MLP (clips in order)", "SAP-Net (Ours)")

TABLES = {
    "I": ("mtl-aqa", (0.1, 0.2, 0.3, 0.4, 1.0)),
    "II": ("finediving", (0.05, 0.1, 0.15, 0.2, 1.0)),
}

# Tables whose columns are classes: dataset, label share, column -> (group, target).
CLASS_TABLES = {
    "VI": ("rg", 0.4, {name: (name, "score") for name in EPOCHS["rg"]}),
    "VII": ("finefs", 0.5, {f"{group} {mark.upper()}": (group, mark) for group in EPOCHS["finefs"]
                            for mark in ("pcs", "tes")}),
}  # fmt: skip


def column_name(share: float) -> str:
    """The paper's column of a label share: "10%", or "supervised" for 1."""
    return "supervised" if share == 1 else f"{share:.0%}"


def declare(
    dataset: str, system: str, share: float, seed: int, profile: Profile, group: str = "", target: str | None = None,
    boxes: str | None = None, **overrides,
) -> Trial:  # fmt: skip
    """The trial of one system at one label share, at the profile's size and the source that `SAPNET_DATA` gives."""
    method, own = {**SYSTEMS, **CONTROLS}[system]
    source, (train, test) = source_kind(dataset, paths.data_root()), profile.sizes(dataset)
    epochs = EPOCHS.get(dataset, {})
    pace = epochs[group] * len(epochs) / sum(epochs.values()) if group in epochs else 1.0
    return Trial(
        dataset=dataset, source=source, method=method, share=share, seed=seed, target=target or TARGET[dataset],
        train=train, test=test, steps=round(profile.steps * pace), size=profile.size, group=group,
        boxes=boxes or ("detected" if source == "videos" else "true"), overrides=tuple({**own, **overrides}.items()),
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


def class_trials(
    table: str, profile: Profile, systems: tuple[str, ...] = COMPARED
) -> dict[tuple[str, str, int], Trial]:
    """Trials of Table VI or VII, whose classes are learned one by one: (system, column, seed) -> Trial."""
    if table not in CLASS_TABLES:
        raise ValueError(f"table {table!r} has no classes: choose one of {', '.join(CLASS_TABLES)}")
    dataset, share, columns = CLASS_TABLES[table]
    return {
        (system, column, seed): declare(dataset, system, share, seed, profile, group, target)
        for system in systems for column, (group, target) in columns.items() for seed in profile.seeds
    }  # fmt: skip


def with_average(runs: pd.DataFrame, column: str = "Avg") -> pd.DataFrame:
    """Results of classes (system, column, seed, rho) with one row more a system and seed: the Fisher-z mean (E14)."""
    mean = runs.groupby(["system", "seed"], sort=False)["rho"].agg(lambda x: fisher_mean([*x])).reset_index()
    return pd.concat([runs, mean.assign(column=column)], ignore_index=True)


def floors(trial: Trial) -> pd.DataFrame:
    """What is reached without looking at a video, and what judge noise leaves reachable, on a trial's test part.

    Rows: "mean" (one constant execution or score); "difficulty alone" (prediction = difficulty degree), where degrees
    differ; and, on twins, "ceiling: true quality" (the points that the shown factors are worth, without the judges'
    noise). Columns: system, rho.
    """
    data = trial_data(trial)
    test = ~data.train
    score, difficulty = data.score[test], data.difficulty[test]
    guess = {"mean": torch.ones_like(score)}
    if len(difficulty.unique()) > 1:
        guess["difficulty alone"] = difficulty
    if trial.source != "videos":
        mark, sport = "score" if trial.target == "execution" else trial.target, sport_of(trial.dataset)
        shown = [sport.shown_scores(r, f)[mark] for r, f in zip(data.records, data.features.factors, strict=True)]
        guess["ceiling: true quality"] = torch.tensor(shown)[test]
    return pd.DataFrame([{"system": k, "rho": round(float(spearman(v, score)), 4)} for k, v in guess.items()])


def main(arguments: list[str] | None = None) -> None:
    """Run the declared trials of the named tables; progress goes to standard error."""
    parser = argparse.ArgumentParser(description="Run the trials that tables declare; resumes where it stopped.")
    parser.add_argument("--profile", default="quick", choices=profiles.PROFILES)
    parser.add_argument("--tables", nargs="+", default=[*TABLES, *CLASS_TABLES], choices=[*TABLES, *CLASS_TABLES])
    parser.add_argument("--jobs", type=int, default=profiles.jobs())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    profile = get_profile(args.profile)
    declared = [(table_trials if table in TABLES else class_trials)(table, profile) for table in args.tables]
    trials = [trial for table in declared for trial in table.values()]
    run_trials(trials, args.jobs, args.device, progress=progress_bar("trial"), videos=progress_bar)
    print(f"{len(set(trials))} trials are in {paths.runs() / 'trials'}")


if __name__ == "__main__":
    main()
