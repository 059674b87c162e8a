"""CoRe with one thing changed at a time: each change is what its name says, and the stored table follows its seeds."""

from types import SimpleNamespace

import pandas as pd
import torch
from test_methods import easy_set

from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.methods import get_method
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.recipes import look_at_core
from sapnet_core.recipes.look_at_core import (
    CANDIDATES,
    CONTROLS,
    LOOKED_AT,
    TABLES,
    Candidate,
    DrawnExemplars,
    row_of,
)


def test_drawn_exemplars_are_of_the_same_difficulty_and_not_the_nearest():
    train, x, _ = easy_set()
    drawn, near = (kind(train, "difficulty", torch.Generator()).nearest(x, 5) for kind in (DrawnExemplars, Exemplars))
    assert (train.difficulty[drawn] == x.difficulty[:, None]).all() and (drawn < 40).all()
    assert not torch.equal(drawn.sort(1).values, near.sort(1).values)
    assert torch.equal(drawn, DrawnExemplars(train, "difficulty", torch.Generator()).nearest(x, 5))


def test_the_candidate_of_the_tables_is_core():
    train, x, _ = easy_set()
    settings = {"steps": 8, "width": 8}
    task = SimpleNamespace(train=train, settings=settings, generator=lambda: torch.Generator().manual_seed(3))

    def predicted(candidate: Candidate) -> torch.Tensor:
        def described(*given):
            return look_at_core._described(candidate, task)

        return look_at_core.train(described, train, settings, task.generator()).predict(x)

    ours = get_method("core")(train, settings, task.generator()).predict(x)
    assert torch.equal(predicted(CANDIDATES[TABLES]), ours)
    for name, candidate in CANDIDATES.items():
        if name != TABLES and candidate.longer == 1:
            assert not torch.equal(predicted(candidate), ours), name


def test_the_stored_table_holds_every_candidate_and_follows_from_its_seeds():
    table = pd.read_csv(LOOKED_AT)
    assert (table["format"] == FORMAT).all()
    names = table["system"].where(table["system"].isin(CONTROLS), table["candidate"])
    assert names.tolist() == [*CANDIDATES, *CONTROLS]
    seeds = [[float(value) for value in row.split()] for row in table["rho_by_seed"]]
    for row, name, rho in zip(table.to_dict("records"), names, seeds, strict=True):
        again = row_of(name, rho, seeds[0])
        for column, value in again.items():
            assert row[column] == value, (name, column)
