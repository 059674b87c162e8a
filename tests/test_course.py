"""The notebooks as a course: every link leads somewhere, and each lesson names the one before it and the one after."""

import re

import pytest

from sapnet_core.reporting import notebooks
from sapnet_core.runtime import environment

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LESSONS = {  # notebook -> the ones before and after it
    "00_start_here": ("01_data",),
    "01_data": ("00_start_here", "02_detection"),
    "03_pseudo_labels": ("02_detection", "03b_network"),
    "03b_network": ("03_pseudo_labels", "04_training"),
    "04_training": ("03b_network", "05_ablations"),
    "a4_layouts": ("a3_own_method",),
    "a5_glossary": ("a4_layouts",),
}
PATHS = {
    "Learn the method": ("01_data", "03_pseudo_labels", "03b_network", "04_training"),
    "Check the paper": ("05_ablations", "20_claims"),
    "Bring your data": ("07_own_training", "08_own_results", "a4_layouts"),
}
FOLDER = environment.root() / "notebooks"


def texts(stem: str) -> list[str]:
    return [cell.source for cell in notebooks.load(FOLDER / f"{stem}.ipynb").cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere(path):
    targets = LINK.findall("\n".join(texts(path.stem)))
    inside = [target.partition("#")[0] for target in targets if not re.match(r"\w+:|#", target)]
    assert [target for target in inside if not (FOLDER / target).is_file()] == []


@pytest.mark.parametrize("stem", LESSONS)
def test_a_lesson_links_to_its_neighbors_at_both_ends(stem):
    lesson = texts(stem)
    for text in (lesson[1], lesson[-1]):
        for neighbor in LESSONS[stem]:
            assert f"({neighbor}.ipynb)" in text
    assert all(f"**You {what}" in "\n".join(lesson[:2]) for what in ("will do", "will learn", "need"))


def test_the_start_has_three_paths_of_links():
    section = next(text for text in texts("00_start_here") if "## 1. Three paths" in text)
    starts = [section.index(f"**{path}**") for path in PATHS]
    assert starts == sorted(starts)
    parts = [section[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
    for part, stems in zip(parts, PATHS.values(), strict=True):
        assert [stem for stem in stems if f"({stem}.ipynb)" not in part] == []


@pytest.mark.parametrize("stem", ["01_data", "03_pseudo_labels", "03b_network", "04_training"])
def test_a_lesson_does_not_depend_on_trials_of_tables(stem):
    code = "\n".join(c.source for c in notebooks.load(FOLDER / f"{stem}.ipynb").cells if c.cell_type == "code")
    assert not re.search(r"\b(run_trials|results|predictions|curves)\(", code)


@pytest.mark.parametrize("stem", LESSONS)
def test_every_picture_of_a_lesson_says_in_words_what_it_shows(stem):
    cells = [cell for cell in notebooks.load(FOLDER / f"{stem}.ipynb").cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    pictures = [o for o in outputs if any(kind.startswith("image/") for kind in o.get("data", {}))]
    told = [picture.metadata.get("alt", "") for picture in pictures]
    assert [text for text in told if len(text.split()) < 8] == []
    assert len(set(told)) == len(told)
