"""How long a trial trains: the same number of passes over its labels, whatever their number, and a minimum of steps."""

from dataclasses import replace

import pytest

from sapnet_core.experiments.fit import training_steps, training_task
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import run_trial
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data

SMALL = Trial("finediving", "drawn", "mlp", 0.5, 0, "score", 24, 8, steps=4, size=48, overrides=(("batch", 4),))


@pytest.fixture(scope="module", autouse=True)
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAPNET_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("SAPNET_DATA", raising=False)
        yield


@pytest.mark.parametrize(
    "epochs, overrides, labeled, steps",
    [
        (0, (), 1000, 4),
        (200, (), 16, 200),
        (200, (), 1059, 3310),  # batches of 64
        (200, (), 424, 2650),  # batches of 32
        (200, (), 320, 4000),  # batches of 16
        (200, (), 31, 200),  # one batch
        (200, (("batch", 16),), 1059, 13238),
        (200, (), 5, 200),  # all labels are one batch
        (0.01, (), 40, 4),
    ],
)
def test_steps_follow_epochs_and_have_a_minimum(epochs, overrides, labeled, steps):
    assert training_steps(replace(SMALL, epochs=epochs, overrides=overrides), labeled) == steps


def test_a_trial_trains_that_long_and_says_so():
    trial = replace(SMALL, epochs=3)  # 12 labels in batches of 4: 3 steps a pass
    task = training_task(trial, trial_data(trial))
    assert task.steps == task.settings["steps"] == 9
    run_trial(trial), run_trial(SMALL)
    assert results([trial, SMALL]).step.tolist() == [9, 4]


def test_epochs_below_zero_are_refused():
    with pytest.raises(ValueError, match="epochs"):
        replace(SMALL, epochs=-1)
