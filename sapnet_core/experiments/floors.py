"""Floors and ceiling of a table: what predictions reach that look at no video, and what a perfect eye would reach."""

import math

import pandas as pd
import torch

from sapnet_core.experiments.fit import video_roles
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.features.sequences import is_sequence, lengths
from sapnet_core.simulator import sport_of

__all__ = ["difficulty_alone", "floors"]


def difficulty_alone(trial: Trial) -> float:
    """Spearman's rho of the degree of difficulty with the scores of a trial's test part; NaN if all degrees are equal.
    It needs no features of simulated videos."""
    data = trial_data(trial)
    score, difficulty = data.score[~data.train], data.difficulty[~data.train]
    return float(spearman(difficulty, score)) if len(difficulty.unique()) > 1 else math.nan


def floors(trial: Trial) -> pd.DataFrame:
    """Floors and ceiling of rho on a trial's test part: predictions without any video, and with the true quality.

    Rows: "mean" (a constant prediction); "difficulty alone" (the prediction is the degree of difficulty), if degrees
    differ; "length alone" of sequences (their number of rows, or its negative, whichever correlates with the scores of
    the labeled training sequences), if lengths differ; and, for twins, "ceiling: true quality" (the score that the
    simulated quality is worth, without the judges' noise). Columns: system, rho.
    """
    data = trial_data(trial)
    test = ~data.train
    score = data.score[test]
    guess = {"mean": torch.ones_like(score)}
    if not math.isnan(difficulty_alone(trial)):
        guess["difficulty alone"] = data.difficulty[test]
    if is_sequence(data.records) and len((length := lengths(data.records)).unique()) > 1:
        roles = video_roles(trial, data)
        known = roles.learn[roles.labeled]
        rising = len(known) < 2 or spearman(length[known], data.score[known]) >= 0
        guess["length alone"] = length[test] if rising else -length[test]
    if trial.is_twin:
        name, sport = "score" if trial.target == "execution" else trial.target, sport_of(trial.dataset)
        shown = [sport.shown_scores(r, f)[name] for r, f in zip(data.records, data.factors, strict=True)]
        guess["ceiling: true quality"] = torch.tensor(shown)[test]
    return pd.DataFrame([{"system": k, "rho": round(float(spearman(v, score)), 4)} for k, v in guess.items()])
