"""Errata: each has a number, and every reading that can be run names its setting in one of them."""

import dataclasses

import pytest

from sapnet_core.experiments.decisions import DECISIONS
from sapnet_core.experiments.trial import Trial
from sapnet_core.methods.sapnet import SETTINGS
from sapnet_core.reporting.errata import errata
from sapnet_core.sapnet.settings import _CHOICES, SAPNetSettings

FIELDS = {field.name for field in dataclasses.fields(SAPNetSettings)}
OTHER = {field.name for field in dataclasses.fields(Trial)} | set(SETTINGS) | {"warmup", "batch", "anneal"}


def test_errata_are_numbered_without_a_gap():
    assert [one.id for one in errata()] == [f"E{i}" for i in range(1, len(errata()) + 1)]


@pytest.mark.parametrize("one", errata(), ids=lambda one: one.id)
def test_settings_of_an_erratum_exist(one):
    assert set(one.settings) <= FIELDS
    assert set(one.trial) <= OTHER - FIELDS | {"steps"}
    assert one.paper and one.decided and one.met_in


def test_every_choice_of_the_network_belongs_to_an_erratum():
    named = {name for one in errata() for name in one.settings}
    assert set(_CHOICES) <= named


@pytest.mark.parametrize(("key", "row"), DECISIONS.items(), ids=lambda x: x[1] if isinstance(x[0], str) else "")
def test_a_reading_that_is_run_is_named_by_its_erratum(key, row):
    """A reading differs from the decision in the settings of its erratum, apart from the data it is tried on."""
    one = next(one for one in errata() if one.id == key[0])
    given, overrides = row
    changed = set(given) - {"dataset", "share", "system"} | set(overrides)
    assert changed and changed <= {*one.settings, *one.trial}
