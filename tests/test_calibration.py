"""The stored search for the difficulty of twins holds the settings that are in use."""

import pandas as pd

from sapnet_core.recipes.calibrate_simulator import AIM, SEARCH, chosen_rows


def test_every_dataset_has_one_measurement_of_the_settings_in_use():
    search, used = pd.read_csv(SEARCH), chosen_rows()
    assert sorted(used["dataset"]) == sorted(AIM) and len(used) < len(search)
