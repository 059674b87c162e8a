"""Settings of the methods: the defaults that several methods share, and the check of every given value."""

from collections.abc import Mapping
from importlib import import_module
from types import SimpleNamespace

from sapnet_core import methods
from sapnet_core.methods import METHODS, get_method
from sapnet_core.methods.limits import check_value

__all__ = ["LR_BACKBONE", "TRAINING", "LABELED", "OWN_UNITS", "check_settings", "options"]

LR_BACKBONE = {"lr_backbone": 1e-4}  # of the backbone where it is trained too, as in the paper
# Adam as in the paper; a batch of 0 is as large as `training.batches.batch_size` says
TRAINING = {"lr": 1e-3, "batch": 0, "batch_unlabeled": 16, "unit_targets": True}
LABELED = {name: value for name, value in TRAINING.items() if name != "batch_unlabeled"}  # of supervised methods
OWN_UNITS = {name: value for name, value in LABELED.items() if name != "unit_targets"}  # with their own target scale


def options(method: str, settings: Mapping, defaults: Mapping) -> SimpleNamespace:
    """The method's settings, with defaults where not given; every method has `steps` (200).

    Raises:
        ValueError: a setting does not exist, or its value has another type than the default or lies outside its limits.
    """
    defaults = {"steps": 200, **defaults}
    if unknown := sorted(set(settings) - set(defaults)):
        raise ValueError(f"{method} has no setting {', '.join(unknown)}: choose from {', '.join(sorted(defaults))}")
    for name, value in settings.items():
        check_value(f"{method}: {name}", name, value, defaults[name])
    return SimpleNamespace(**{**defaults, **settings})


def check_settings(name: str, settings: Mapping) -> None:
    """Check the settings of a registered method before any data are read.

    A method that is registered as a function is not checked here; it checks its own settings when it is called.

    Raises:
        ValueError: the method or a setting does not exist (the message lists known ones), or a value cannot be used.
    """
    get_method(name)
    if isinstance(entry := METHODS[name], str):
        own = vars(import_module(f"{methods.__name__}.{entry.partition(':')[0]}"))
        if "check" in own:
            own["check"](settings)
        elif "SETTINGS" in own:
            options(name, settings, own["SETTINGS"])
