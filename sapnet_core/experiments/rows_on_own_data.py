"""Which rows of the tables run on own data, and why the others do not."""

import torch

from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.systems import BACKBONE_OF, TRAINED, get_system
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData
from sapnet_core.methods import extra_views, get_description

__all__ = ["why_not", "why_not_row"]


def why_not_row(system: str, sequences: bool) -> str:
    """Why a row of the tables does not run on own data, "" if it may: what can be said before a trial is declared.

    Args:
        system: a row's name, as in `systems.EVERY`.
        sequences: whether the data are sequences instead of videos.
    """
    method, _ = get_system(system)
    if system in TRAINED:
        return "its backbone learns too, which own data have no cached maps for"
    if sequences and extra_views(method):
        return f"{method} learns from turned frames, which a sequence does not have"
    if not sequences and (system in BACKBONE_OF or extra_views(method)):
        return "it needs features of its own from every video: declare its trial in Python to have them computed"
    return ""


def why_not(trial: Trial, data: TrialData) -> str:
    """Why the method of a trial cannot learn from its data, in the method's own words; "" if it can.

    The method prepares its training, or is fitted if it is a closed form, on the training videos of the trial. It takes
    no step, and no test score is read.
    """
    task = training_task(trial, data)
    try:
        with torch.random.fork_rng(devices=[]):  # a method may seed PyTorch's random numbers
            get_description(trial.method)(task.train, task.settings, task.generator())
    except ValueError as error:
        return str(error)
    return ""
