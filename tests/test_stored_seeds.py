"""A table of a study that is under way is drawn with the seeds whose trials are all stored."""

from dataclasses import replace

import pytest

from sapnet_core.experiments import stored_seeds
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.stored_seeds import with_stored_seeds
from sapnet_core.experiments.tables import declared_trials

STUDY, QUICK = get_profile("study"), get_profile("quick")


@pytest.fixture
def keep(monkeypatch):
    """Declare that the trials for which a function of the trial is true are stored, and no others."""
    return lambda holds: monkeypatch.setattr(stored_seeds, "is_stored", holds)


def test_a_seed_counts_where_all_its_trials_are_stored(keep):
    one = next(t for t in declared_trials("I", STUDY).values() if t.seed == 4)
    keep(lambda trial: trial.seed in (0, 3, 4, 7) and trial != one)
    assert with_stored_seeds(STUDY, "I") == replace(STUDY, seeds=(0, 3, 7))
    keep(lambda trial: trial.seed < 4 or trial.dataset == "mtl-aqa")
    assert with_stored_seeds(STUDY, "I", "II").seeds == (0, 1, 2, 3)
    assert with_stored_seeds(STUDY, "I").seeds == STUDY.seeds


def test_with_one_seed_or_none_the_quick_profile_stands_in(keep):
    keep(lambda trial: trial.seed == 2)
    assert with_stored_seeds(STUDY, "fig10") == QUICK
    keep(lambda trial: trial.seed < 4 and trial.dataset == "mtl-aqa")
    assert with_stored_seeds(STUDY, "I").seeds == (0, 1, 2, 3)
    assert with_stored_seeds(STUDY, "I", "II") == QUICK


def test_other_sizes_are_returned_as_they_are(keep):
    keep(lambda trial: False)
    assert with_stored_seeds(QUICK, "I", "II") == QUICK
    smoke = get_profile("smoke")
    assert all(with_stored_seeds(smoke, name) == smoke for name in KNOWN)


def test_what_a_small_profile_leaves_out_comes_from_the_study(keep, monkeypatch):
    keep(lambda trial: trial.seed < 3)
    assert "VI" in QUICK.left_to_study and set(QUICK.left_to_study) < set(KNOWN)
    assert with_stored_seeds(QUICK, "VI") == with_stored_seeds(QUICK, "I", "VI") == replace(STUDY, seeds=(0, 1, 2))
    keep(lambda trial: False)
    assert with_stored_seeds(QUICK, "VI") == QUICK  # without stored results it is trained
    monkeypatch.setenv("SAPNET_RECOMPUTE", "1")
    assert with_stored_seeds(QUICK, "VI") == QUICK


def test_a_table_that_few_seeds_have_trials_of_takes_these(keep):
    keep(lambda trial: True)
    assert with_stored_seeds(STUDY, "decisions").seeds == (0, 1, 2, 3, 4)  # those that have trials
    with pytest.raises(ValueError, match="fig99"):
        with_stored_seeds(STUDY, "fig99")


def test_what_is_stored_is_not_used_where_all_is_computed_anew(monkeypatch):
    monkeypatch.setenv("SAPNET_RECOMPUTE", "1")
    assert with_stored_seeds(STUDY, "I") == STUDY
