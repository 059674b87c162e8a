"""A trial that cannot run is refused when created, before any video is touched, in one line that names the field."""

from dataclasses import replace

import pytest
from test_trials import SMALL

from sapnet_core.experiments import fit as fitting
from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.trial_data import trial_data

pytestmark = pytest.mark.usefixtures("own_runs")

REFUSED = [
    *(("share", value) for value in ("0.5", True, None, float("nan"), -0.1, 1.01)),
    *(("seed", value) for value in (-1, 0.0, "0", True, None, 2**63)),
    *(("steps", value) for value in (0, -5, 1.5, None)),
    *((name, value) for name in ("train", "test") for value in (0, -3, 2.0, "12", False)),
    ("size", 0),
    ("size", "112"),
    ("twin_seed", -1),
    ("dataset", "aqa-7"),
    ("dataset", None),
    ("source", ["drawn"]),
    ("method", "nonesuch"),
    ("method", None),
    ("target", None),
    ("target", 3),
    ("group", None),
    ("group", 1),
    ("overrides", {"tau": 0.5}),
    ("overrides", None),
    ("overrides", ("tau",)),
    ("overrides", (("tau", 0.5), ("tau", 0.6))),
]


@pytest.mark.parametrize("name, value", REFUSED)
def test_a_field_of_the_wrong_kind_or_size_is_named_as_the_trial_is_made(name, value):
    with pytest.raises(ValueError) as refusal:
        replace(SMALL, **{name: value})
    assert name in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "method, setting, value",
    [
        ("sap-net", "lambda_zz", 1.0),
        ("sap-net", "K", 3.5),
        ("sap-net", "tau", 1.5),
        ("sap-net", "batch", -1),
        ("sap-net", "warmup", -0.1),
        ("sap-net", "channels", 64),
        ("mlp", "tau", 0.5),
        ("mlp-ordered", "lr", 0.0),
        ("vat", "eps", float("inf")),
        ("svr", "kernel", "poly"),
    ],
)
def test_a_setting_that_its_method_cannot_use_is_refused_as_the_trial_is_made(method, setting, value):
    with pytest.raises(ValueError, match=setting):
        replace(SMALL, method=method, overrides=((setting, value),))


def test_what_was_made_before_is_still_a_trial():
    """A whole number is accepted as a share, None as a size, and a list of lists as overrides."""
    assert replace(SMALL, share=1, train=None, test=None).share == 1
    assert replace(SMALL, overrides=[["warmup", 0.0], ["tau", 0.1]]).overrides == (("tau", 0.1), ("warmup", 0.0))


def test_one_label_is_enough_to_train():
    for method in ("sap-net", "mlp"):
        trial = replace(SMALL, share=0.01, method=method, overrides=())
        data = trial_data(trial)
        assert fitting.label_count(trial, data) == 1
        predicted = fit_trial(trial, data)[3]
        assert predicted.isfinite().all()
