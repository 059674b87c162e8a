"""The stored search for the difficulty of twins holds the settings that are in use."""

import pandas as pd

from sapnet_core.recipes.calibrate_simulator import AIM, SEARCH, chosen_rows, paper_rho, stored_rho


def test_every_dataset_has_one_measurement_of_the_settings_in_use():
    search, used = pd.read_csv(SEARCH), chosen_rows()
    assert sorted(used["dataset"]) == sorted(AIM) and len(used) < len(search)


def test_stored_results_of_the_tables_have_the_columns_that_were_aimed_at():
    for dataset in AIM:
        found = stored_rho(dataset)
        assert list(found) == list(paper_rho(dataset))
        assert all(-1 < rho < 1 for seeds in found.values() for rho in seeds)
    assert all(stored_rho("mtl-aqa").values())
