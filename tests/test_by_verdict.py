"""The ledger by verdict: a scoreboard that adds up, results in the order of verdicts, each beside its controls."""

import pandas as pd
from wording import in_order

from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED, VERDICTS
from sapnet_core.reporting.by_verdict import SEEDS_GROUPS, by_verdict, control_counts, scoreboard, seeds_group
from sapnet_core.reporting.ledger import FLOORS, asked_of, ledger

HEAD = ("claim", "control", "verdict", "profile", "seeds", "effect", "low", "high", "kind", "metric")
ROWS = (
    ("a", False, "undecided", "study", 10),
    ("a (ridge)", True, "contradicted", "study", 10),
    ("a (in order)", True, "supported", "study", 10),
    ("b", False, "supported", "study", 2),
    ("b (ridge)", True, "supported", "study", 2),
    ("c", False, "undecided", "study", 2),
    ("d", False, "undecided", "quick", 2),
    ("e", False, "supported", "study", 0),
    ("own-question", True, "no difference", "study", 2),
)
TABLE = pd.DataFrame([(*row, 0.1, 0.0, 0.2, "greater", "rho") for row in ROWS], columns=HEAD)


def test_the_scoreboard_adds_up():
    board = scoreboard(TABLE).set_index("verdict")
    assert list(board.index) == [*VERDICTS, "all"]
    assert board.loc["supported"].tolist() == [2, 0, 1, 0, 1]
    assert board.loc["undecided"].tolist() == [3, 1, 1, 1, 0]
    assert (board.iloc[:, 1:].sum(axis=1) == board["results"]).all()
    assert board.loc["all", "results"] == (~TABLE["control"]).sum() == board["results"][:-1].sum()


def test_results_come_by_verdict_and_controls_after_them():
    ordered = by_verdict(TABLE)
    assert ordered["claim"].tolist() == [
        *("b", "e", "a", "c", "d"),
        *("a (in order)", "b (ridge)", "a (ridge)", "own-question"),
    ]
    assert len(ordered) == len(TABLE)


def test_a_result_says_what_came_out_of_its_controls_in_the_order_of_floors():
    told = by_verdict(TABLE).set_index("claim")["beside"]
    effect = ("+0.100", "+0.000", "+0.200")
    assert in_order(told["a"], "in order", *effect, SUPPORTED, "ridge", *effect, CONTRADICTED)
    assert told["c"] == told["own-question"] == told["a (ridge)"] == ""


def test_a_control_names_its_claim_and_its_floor():
    names = {claim.id for claim in ledger() if not claim.control}
    found = {claim.id: asked_of(claim.id) for claim in ledger() if claim.control}
    assert all(claim in names and short in FLOORS for claim, short in found.values() if claim)
    own = {name for name, (claim, _) in found.items() if not claim}
    assert own == {"unlabeled-mtl", "unlabeled-fd", "actor-or-frame", "fig14-lowest", "fig14-others-lowest"}
    assert asked_of("x (something)") == ("", "")


def test_floors_count_what_they_leave_of_supported_results():
    counts = control_counts(TABLE).set_index("asked of")
    assert counts.loc[FLOORS["ridge"].words].tolist() == [2, 1, 1]
    assert counts.loc[FLOORS["in order"].words].tolist() == [1, 0, 0]
    assert counts.loc[FLOORS["searched"].words].tolist() == [0, 0, 0]


def test_undecided_results_are_grouped_by_what_stands_behind_them():
    groups = [seeds_group(row["verdict"], row["profile"], row["seeds"]) for _, row in TABLE.iterrows()]
    assert [groups[i] for i in (5, 6, 0)] == list(SEEDS_GROUPS) and groups[3] == ""
