"""The grammar of dive numbers, and the tables of difficulties and subactions."""

import pytest

from sapnet_core.datasets import load_records
from sapnet_core.datasets.annotation_pickles import read_pickle
from sapnet_core.datasets.dive_numbers import (
    DIVES,
    SUBACTION_NAMES,
    Dive,
    board_height,
    difficulty,
    parse_dive,
    subaction_ids,
)


@pytest.mark.parametrize(
    "number, expected",
    [
        ("107B", Dive(1, False, "forward", 7, 0, "B", False)),
        ("207c", Dive(2, False, "back", 7, 0, "C", False)),
        ("301A", Dive(3, False, "reverse", 1, 0, "A", False)),
        ("405C", Dive(4, False, "inward", 5, 0, "C", False)),
        ("113B", Dive(1, False, "forward", 3, 0, "B", True)),
        ("1011C", Dive(1, False, "forward", 11, 0, "C", False)),
        ("5156B", Dive(5, False, "forward", 5, 6, "B", False)),
        ("5253B", Dive(5, False, "back", 5, 3, "B", False)),
        ("5337D", Dive(5, False, "reverse", 3, 7, "D", False)),
        ("5422D", Dive(5, False, "inward", 2, 2, "D", False)),
        ("626C", Dive(6, True, "back", 6, 0, "C", False)),
        ("6142D", Dive(6, True, "forward", 4, 2, "D", False)),
        ("636C", Dive(6, True, "reverse", 6, 0, "C", False)),
        ("300D", Dive(3, False, "reverse", 1, 0, "D", False)),
    ],
)
def test_numbers_are_taken_apart(number, expected):
    assert parse_dive(number) == expected


@pytest.mark.parametrize(
    "number",
    [
        "",
        "107",
        "107E",
        "507B",
        "5053B",
        "5553B",
        "5250B",
        "646C",
        "606C",
        "127B",
        "1012C",
        "807B",
        "52535B",
        "6243",
    ],
)
def test_other_text_is_refused(number):
    with pytest.raises(ValueError, match=repr(number)):
        parse_dive(number)


def test_difficulty_and_height_agree():
    assert (difficulty("107B", 3), difficulty("107b", 10), difficulty("5255B", 10)) == (3.1, 3.0, 3.6)
    assert difficulty("5132D", 10) == 2.1  # not 2.0, the value of synchronized events
    assert (board_height("107B", 3.1), board_height("107B", 3.0), board_height("999Z", 3.0)) == (3, 10, 10)
    for unknown in (("626C", 3), ("107B", 5), ("999Z", 10)):
        with pytest.raises(ValueError, match=unknown[0]):
            difficulty(*unknown)


def test_the_table_is_consistent():
    assert len({(fact.number, fact.height, fact.synchronized) for fact in DIVES}) == len(DIVES)
    for fact in DIVES:
        dive = parse_dive(fact.number)
        assert fact.height in (3, 10) and 1.5 <= fact.difficulty <= 4.1
        assert not (dive.armstand and fact.height == 3)  # armstand dives are from the platform only
        assert (fact.difficulty == 2.0) or not fact.synchronized
    assert all(985 <= sum(getattr(fact, name) for fact in DIVES) <= 1005 for name in ("mtl_aqa", "finediving"))


def test_subactions_of_a_dive():
    def names(number):
        return [SUBACTION_NAMES[i] for i in subaction_ids(parse_dive(number))]

    assert names("407C") == ["Inward", "3.5 Soms.Tuck", "Entry"]
    assert names("5253B") == ["Back", "1.5 Twists", "2.5 Soms.Pike", "Entry"]
    assert names("5152B") == ["Forward", "2.5 Soms.Pike", "1 Twist", "2.5 Soms.Pike", "Entry"]
    assert names("6243D") == ["Arm.Back", "1.5 Twists", "2 Soms.Pike", "Entry"]
    with pytest.raises(ValueError, match=" 5 somersaults"):
        subaction_ids(parse_dive("1010C"))


def test_official_dives_follow_the_grammar_and_the_tables(official):
    assert read_pickle(official / "FineDiving" / "Sub_action_Types_Table.pkl") == SUBACTION_NAMES
    fine = load_records("finediving", official)
    as_labeled = [subaction_ids(parse_dive(record.action)) == record.subactions for record in fine]
    assert sum(as_labeled) == 2944  # the others are annotation errors, such as a tucked 107B
    table = {(fact.number, fact.difficulty) for fact in DIVES}
    assert sum((record.action, record.difficulty) in table for record in fine) / len(fine) > 0.98
    raw = read_pickle(official / "MTL-AQA" / "final_annotations_dict_with_dive_number.pkl")
    for entry in raw.values():  # MTL-AQA annotates the same facts in separate fields
        dive = parse_dive(entry["dive_number"])
        assert (max(1, entry["ss_no"]), entry["tw_no"], entry["armstand"]) == (
            dive.half_somersaults,
            dive.half_twists,
            int(dive.armstand),
        )
        assert "DBCA"[entry["position"]] == dive.position
        assert ("back", "forward", "inward", "reverse")[entry["rotation_type"]] == dive.direction
