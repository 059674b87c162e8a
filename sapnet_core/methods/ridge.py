"""Ridge: linear regression with an L2 penalty on the time average of the features, a floor for every learned system.

    min sum_i (w x_i + b - y_i)^2 + alpha ||w||^2

Source: Hoerl & Kennard, "Ridge Regression", Technometrics 1970. It is in no table of the paper. It learns from labeled
videos only, in closed form; alpha is chosen by leave-one-out cross-validation on them, so nothing is tuned. It needs
scikit-learn.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sapnet_core.methods.base import Fitted
from sapnet_core.methods.settings import options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "fit"]

SETTINGS = {"alpha": 0.0}
ALPHAS = np.logspace(-1, 5, 13)  # standardized features: up to a penalty that leaves the mean alone


def fit(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Fitted:
    """Settings: `alpha`, the penalty on standardized features and targets; 0 chooses it among `ALPHAS`.

    Raises:
        ValueError: a setting does not exist, or its value cannot be used.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    o = options("ridge", settings, SETTINGS)
    from sklearn.linear_model import Ridge, RidgeCV

    labeled = train.labeled
    y, shift, scale = train.unit_targets(True)
    x = train.frame.mean(1)
    mean, sd = x.mean(0), x.std(0) + 1e-6  # over all training videos; uses no scores
    machine = Ridge(o.alpha) if o.alpha or len(labeled) < 2 else RidgeCV(ALPHAS)
    machine.fit(((x - mean) / sd)[labeled].cpu().double().numpy(), y[labeled].cpu().double().numpy())

    def predict(videos: VideoBatch) -> Tensor:
        standard = ((videos.frame.mean(1) - mean) / sd).cpu().double().numpy()
        return torch.from_numpy(machine.predict(standard)).to(videos.frame) * scale + shift

    return Fitted(predict, [{"step": 0, "alpha": float(getattr(machine, "alpha_", o.alpha))}])
