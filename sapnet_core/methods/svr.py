"""SVR: support vector regression on the time average of the features.

Source: Pirsiavash et al., "Assessing the Quality of Actions", ECCV 2014 [64], on frequency-transformed poses.

    min 1/2 ||w||^2 + C sum_i max(0, |w phi(x_i) + b - y_i| - eps)

Published: a linear kernel, C chosen by cross-validation. It learns from labeled videos only.
Deviations: features of I3D in place of poses; an RBF kernel can be chosen. It needs scikit-learn.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapnet_core.methods.base import Fitted
from sapnet_core.methods.settings import options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "fit"]

SETTINGS = {"kernel": "rbf", "C": 1.0, "epsilon": 0.1}


def fit(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Fitted:
    """Settings: `kernel` ("linear", "rbf"), `C`, `epsilon` (in standard deviations of the labeled scores).

    Raises:
        ValueError: a setting does not exist, or its value cannot be used.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    o = options("svr", settings, SETTINGS)
    from sklearn.svm import SVR

    labeled = train.labeled
    y, shift, scale = train.unit_targets(True)
    x = train.frame.mean(1)
    mean, sd = x.mean(0), x.std(0) + 1e-6  # over all training videos; uses no scores
    machine = SVR(kernel=o.kernel, C=o.C, epsilon=o.epsilon)
    machine.fit(((x - mean) / sd)[labeled].cpu().double().numpy(), y[labeled].cpu().double().numpy())

    def predict(videos: VideoBatch) -> Tensor:
        unit = ((videos.frame.mean(1) - mean) / sd).cpu().double().numpy()
        return torch.from_numpy(machine.predict(unit)).to(videos.frame) * scale + shift

    return Fitted(predict, [{"step": 0, "support_vectors": float(len(machine.support_))}])
