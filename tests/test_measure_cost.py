"""The memory of a training and the time of a video's features are measured for each dataset."""

from dataclasses import replace

import pytest
from test_trials import SMALL

from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.recipes import measure_cost
from sapnet_core.recipes.command_lines import RECIPES
from sapnet_core.runtime.arguments import Parser

pytestmark = pytest.mark.usefixtures("own_runs")


def test_every_dataset_is_measured_by_its_training_with_the_most_labels():
    found = measure_cost.largest_trials()
    assert sorted(found) == sorted(DATASETS) and {trial.method for trial in found.values()} == {"sap-net"}
    assert found["mtl-aqa"].share == found["finediving"].share == 1.0  # their tables have a column with all labels


def test_a_row_is_measured_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(measure_cost, "COST", tmp_path / "cost.csv")
    monkeypatch.setattr(
        measure_cost, "largest_trials", lambda: dict.fromkeys(DATASETS, replace(SMALL, method="mlp", overrides=()))
    )
    monkeypatch.setattr(measure_cost, "DATASETS", ["mtl-aqa"])
    assert measure_cost.stored_cost() == {}
    parser = Parser("recipe")
    RECIPES["measure_cost"][1](parser)
    measure_cost.main(parser.parse_args(["--videos", "8"]))
    row = measure_cost.stored_cost()[SMALL.dataset]
    assert 0.1 < row["memory"] < 4 and 0 < row["video"] < 60  # a process that has loaded PyTorch takes more
    (tmp_path / "cost.csv").write_text("dataset\nmtl-aqa\n")
    with pytest.raises(ValueError, match=r"cost\.csv: .* dataset, memory"):
        measure_cost.stored_cost()
