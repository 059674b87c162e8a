"""Families of systems: every compared system stands in one, a schematic shows it, and what is unequal is said."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from wording import in_order

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.systems import FOOTNOTES, OURS, PAIRS, RIDGE, RIVALS, SEARCHED
from sapnet_core.experiments.tables import COMPARISONS, comparison_trials
from sapnet_core.reporting import caveats as caveats_module
from sapnet_core.reporting.caveats import BOXES_IN_TESTS, CAVEATS, caveats, untried
from sapnet_core.reporting.families import FAMILIES, systems_of
from sapnet_core.reporting.schematics import SCHEMATICS, SPECIAL, schematic
from sapnet_core.reporting.style import COLUMN

COMPARED = {system for rows in COMPARISONS.values() for part in rows for system in part} - set(SEARCHED)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_compared_system_stands_in_one_family():
    placed = [system for family in FAMILIES.values() for system in family]
    assert len(placed) == len(set(placed)) and set(placed) == COMPARED
    assert set(RIVALS) < COMPARED and {RIDGE, OURS} < COMPARED


def test_the_sentence_of_a_family_has_each_system_once_with_its_mark():
    text = systems_of("semi-supervised")
    assert f"**TRS ({FOOTNOTES['TRS']})**: " in text and text.endswith(".") and ".;" not in text
    parts = text.removesuffix(".").split("; ")
    assert [p.split("**")[1].split(" (after")[0] for p in parts] == list(FAMILIES["semi-supervised"])
    assert not any(";" in what or what.endswith(".") for family in FAMILIES.values() for what in family.values())
    with pytest.raises(ValueError, match="regression, "):
        systems_of("transformers")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_schematic_shows_its_boxes_and_arrows_within_the_column(family):
    shown, alt = SCHEMATICS[family], schematic(family)
    fig = plt.gcf()
    fig.canvas.draw()
    (ax,) = fig.axes
    boxes = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert fig.get_figwidth() == COLUMN and [t.get_text() for t in ax.texts] == list(shown.boxes)
    assert len(boxes) == len(shown.boxes) and len(arrows) == len(shown.arrows) + len(shown.both)
    for box, text in zip(boxes, ax.texts, strict=True):
        inside, words = box.get_window_extent(), text.get_window_extent()
        assert inside.x0 < words.x0 and words.x1 < inside.x1 and inside.y0 < words.y0 and words.y1 < inside.y1
        assert fig.bbox.x0 < inside.x0 and inside.x1 < fig.bbox.x1 and fig.bbox.y0 < inside.y0 < inside.y1 < fig.bbox.y1
    apart = [box.get_window_extent() for box in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(apart) for b in apart[i + 1 :])
    colored = [text for text, box in zip(shown.boxes, boxes, strict=True) if box.get_linewidth() > 1]
    assert sorted(colored) == sorted(shown.special) and (shown.special or shown.both)
    assert alt == shown.alt and len(alt.split()) > 8 and SPECIAL[1] != "#666666"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_of_a_schematic_ends_on_the_right(family):
    shown = SCHEMATICS[family]
    last = max(x for x, _ in shown.boxes.values())
    for text, (x, _) in shown.boxes.items():
        follows = [b for a, b in shown.arrows if a == text]
        assert bool(follows) == (x < last), text
        assert all(shown.boxes[b][0] > x for b in follows)


def test_a_schematic_of_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="regression, "):
        schematic("transformers")


def test_what_is_unequal_is_said_of_systems_that_are_there(monkeypatch):
    assert set(CAVEATS) <= COMPARED and set(FOOTNOTES) <= set(CAVEATS)
    assert all(text.endswith(".") and text.count(".") == 1 and len(text.split()) <= 22 for text in CAVEATS.values())
    monkeypatch.setattr(caveats_module, "untried", lambda: ("CoRe", "APT"))
    title, _, told, unsearched, *own = caveats(["USDL", "CoRe", "APT", "SGN", "CoRe"]).splitlines()
    assert title.startswith("**") and own == [f"- APT {CAVEATS['APT']}", f"- SGN {CAVEATS['SGN']}"]
    assert told.startswith("- CoRe, SGN: ") and in_order(told, "difficulty", "dive number")
    assert unsearched.startswith("- CoRe, APT: ") and in_order(unsearched, "settings", "not searched")
    assert set(PAIRS) < COMPARED and caveats(["USDL"]) == ""
    assert told.replace("SGN", "TSA") in caveats(["CoRe", "TSA"]).splitlines()
    again = caveats(["MUSDL", "APT", "SGN"], said=["SGN", "APT", "TSA"]).splitlines()[-2:]
    assert again[0] == f"- MUSDL {CAVEATS['MUSDL']}" and again[1].startswith("- APT, SGN: ")
    assert not any(CAVEATS[system] in again[1] for system in ("APT", "SGN"))


def test_every_table_says_whose_predictions_see_the_true_box():
    size = get_profile("study")
    for table, rows in COMPARISONS.items():
        systems = [system for part in rows for system in part]
        boxed = [line for line in caveats(systems, said=systems).splitlines() if "the true one on twins" in line]
        seen = list(dict.fromkeys(system for system in systems if system in BOXES_IN_TESTS))
        assert len(boxed) == bool(seen) and all(line.startswith(f"- {', '.join(seen)}: ") for line in boxed)
        for (system, *_), trial in comparison_trials(table, size).items():
            assert system not in BOXES_IN_TESTS or (trial.boxes, trial.teacher) == ("true", "actor")


def test_systems_that_the_search_has_not_tried_are_told_from_its_file(tmp_path, monkeypatch):
    file = tmp_path / "tuning.csv"
    tried = [system for system in RIVALS if system not in ("CoRe", "TRS")]
    file.write_text("setting\n" + "".join(f'"{system}: lr = 0.1, width = 2"\n' for system in tried))
    monkeypatch.setattr(caveats_module, "TUNING", file)
    assert untried() == ("CoRe", "TRS")
