"""The recipe that judges measures of the teacher's confidence: its table, and that it goes on where it stopped."""

from dataclasses import replace

import pandas as pd

from sapnet_core.__main__ import main
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.systems import OURS
from sapnet_core.recipes import choose_confidence
from sapnet_core.recipes.choose_confidence import CONFIDENCE, KEY, MEASURES, SEEDS, confidence_trials


def test_stored_rows_are_those_of_the_trials():
    table = pd.read_csv(CONFIDENCE, keep_default_na=False)
    keys = [tuple(row[name] for name in KEY) for row in table.to_dict("records")]
    assert len({*keys}) == len(keys) and {*keys} <= {*confidence_trials()}
    dives = table[table["group"] == ""].groupby(["dataset", "share", "confidence"])["seed"]
    assert len(dives) == 8 and all(tuple(seeds) == SEEDS for _, seeds in dives)
    for trial in confidence_trials().values():  # twins that no table uses
        assert (trial.source, trial.boxes, trial.twin_seed) == ("drawn", "true", 1)


def test_a_row_that_is_there_is_kept_and_a_missing_one_is_measured(own_runs, tmp_path, monkeypatch, capsys):
    one = declare("mtl-aqa", OURS, 0.4, 0, get_profile("smoke"))
    small = {
        (one.dataset, "", 0.4, 0, measure): replace(one, overrides=(*one.overrides, ("confidence", measure)))
        for measure in MEASURES
    }
    file = tmp_path / "confidence.csv"
    monkeypatch.setattr(choose_confidence, "CONFIDENCE", file)
    monkeypatch.setattr(choose_confidence, "confidence_trials", lambda: small)
    assert not main(["recipe", "choose_confidence", "--jobs", "1"])
    first = pd.read_csv(file, keep_default_na=False)
    assert first["confidence"].tolist() == [*MEASURES] and first["group"].tolist() == ["", ""]
    assert first["rho_error"].between(-1, 1).all() and first["share_sure"].between(0, 1).all()
    first.assign(rho_error=0.25).head(1).to_csv(file, index=False)  # the second row is gone
    assert not main(["recipe", "choose_confidence", "--jobs", "1"])
    again = pd.read_csv(file, keep_default_na=False)
    assert again["rho_error"].tolist() == [0.25, first["rho_error"][1]]
    assert "agreement" in capsys.readouterr().out
