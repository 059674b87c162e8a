"""The notebooks as a course: every link leads somewhere, and each lesson names the one before it and the one after."""

import ast
import re

import pytest

from sapnet_core.reporting import notebooks
from sapnet_core.reporting.lessons import HEADING, minutes_of_waiting
from sapnet_core.runtime import environment

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LESSONS = {  # notebook -> the ones before and after it
    "00_start_here": ("01_data",),
    "01_data": ("00_start_here", "02_detection"),
    "02_detection": ("01_data", "03_pseudo_labels"),
    "03_pseudo_labels": ("02_detection", "03b_network"),
    "03b_network": ("03_pseudo_labels", "04_training"),
    "04_training": ("03b_network", "05_ablations"),
    "05_ablations": ("04_training", "06_comparison"),
    "06_comparison": ("05_ablations", "07_own_training"),
    "07_own_training": ("06_comparison", "08_own_results"),
    "08_own_results": ("07_own_training", "09_decisions"),
    "09_decisions": ("08_own_results", "10_fig05_score_scatter"),
    "10_fig05_score_scatter": ("09_decisions", "11_fig06_label_shares"),
    "11_fig06_label_shares": ("10_fig05_score_scatter", "12_fig07_threshold"),
    "12_fig07_threshold": ("11_fig06_label_shares", "13_fig08_loss_terms"),
    "13_fig08_loss_terms": ("12_fig07_threshold", "14_fig09_subactions"),
    "14_fig09_subactions": ("13_fig08_loss_terms", "15_fig10_teacher_input"),
    "15_fig10_teacher_input": ("14_fig09_subactions", "16_fig11_attention"),
    "16_fig11_attention": ("15_fig10_teacher_input", "17_fig12_label_shares"),
    "17_fig12_label_shares": ("16_fig11_attention", "18_fig13_errors"),
    "18_fig13_errors": ("17_fig12_label_shares", "19_fig14_failure_case"),
    "19_fig14_failure_case": ("18_fig13_errors", "20_claims"),
    "20_claims": ("19_fig14_failure_case", "21_real_data"),
    "21_real_data": ("20_claims", "a1_backbone"),
    "a1_backbone": ("21_real_data", "a2_speed"),
    "a2_speed": ("a1_backbone", "a3_own_method"),
    "a3_own_method": ("a2_speed", "a4_layouts"),
    "a4_layouts": ("a3_own_method", "a5_glossary"),
    "a5_glossary": ("a4_layouts",),
}
PATHS = {
    "Learn the method": ("01_data", "03_pseudo_labels", "03b_network", "04_training"),
    "Check the paper": ("05_ablations", "20_claims"),
    "Bring your data": ("07_own_training", "08_own_results", "a4_layouts"),
}
# words that need more than their name, as patterns -> the heading of the glossary that explains them
WORDS = {
    "FixMatch": "FixMatch",
    "InfoNCE": "InfoNCE",
    "facility location": "Facility-location",
    "Fisher": "Fisher-z",
    "Holm": "Holm-correction",
}
# likewise, with the heading of the table that has a row of them; a lesson may also explain them itself
ROWS = {
    r"\bTSA\b(?!-)": "The-paper-and-this-suite",
    r"\bFSPN\b": "The-paper-and-this-suite",
    r"\bTCL\b": "The-paper-and-this-suite",
    r"\b[Ll]edger\b": "The-paper-and-this-suite",
    r"\b[Tt]rials?\b": "Measures-and-tests",
    r"\b[Bb]ootstrap": "Measures-and-tests",
    r"\btIoU\b": "Measures-and-tests",
    r"\b[Aa]blations?\b": "Measures-and-tests",
    r"\b[Ll]ogits?\b": "Networks-and-losses",
    r"\b[Rr]idge\b": "Networks-and-losses",
}
READING = re.compile(r"^- .*\b(?:19|20)\d\d\b.*$", re.MULTILINE)  # an entry of a reading list
FOLDER = environment.root() / "notebooks"


def texts(stem: str) -> list[str]:
    return [cell.source for cell in notebooks.load(FOLDER / f"{stem}.ipynb").cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere(path):
    targets = LINK.findall("\n".join(texts(path.stem)))
    inside = [target.partition("#")[0] for target in targets if not re.match(r"\w+:|#", target)]
    assert [target for target in inside if not (FOLDER / target).is_file()] == []


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_links_to_a_heading_of_a_notebook_lead_there(path):
    """JupyterLab joins the words of a heading by hyphens."""
    targets = [target.partition("#") for target in LINK.findall("\n".join(texts(path.stem))) if "#" in target]
    for file, _, anchor in targets:
        if not re.match(r"\w+:", file):
            headings = HEADING.findall("\n".join(texts(file.removesuffix(".ipynb") or path.stem)))
            assert anchor in [heading.replace(" ", "-") for heading in headings]


def glossary_links(text: str, place: int) -> list[str]:
    """The headings of the glossary that the link around a place of a text leads to."""
    links = re.finditer(r"\[[^\]]*\]\(a5_glossary\.ipynb#([^)]+)\)", text)
    return [link[1] for link in links if link.start() < place < link.end()]


def teachers(word: str) -> set[str]:
    """The notebooks that the glossary's row of a word, a pattern, names as teaching it."""
    rows = [line for line in "\n".join(texts("a5_glossary")).splitlines() if line.startswith("| **")]
    (row,) = (row for row in rows if re.search(word, row.split("|")[1]))
    return set(re.findall(r"\((\w+)\.ipynb\)", row))


def without_other_names(text: str) -> str:
    """A text of equal length without code, headings and links that lead elsewhere than to the glossary."""
    other = r"`[^`\n]*`|^#.*$|\[[^\]]*\]\((?!a5_glossary\.ipynb#)[^)]*\)"
    return re.sub(other, lambda found: "#" * len(found[0]), text, flags=re.MULTILINE)


READERS = [stem for stem in LESSONS if stem != "a5_glossary"]


@pytest.mark.parametrize("stem", READERS)
def test_a_word_of_a_method_leads_to_the_glossary_where_it_is_first_used(stem):
    text = READING.sub("", "\n\n".join(texts(stem)))
    for word, heading in WORDS.items():
        if used := re.search(word, text):
            assert glossary_links(text, used.start()) == [heading], word


@pytest.mark.parametrize("stem", READERS)
def test_a_word_of_this_suite_is_linked_or_explained_where_it_is_first_used(stem):
    """It leads to the glossary, is set off as a word that the sentence explains, or stands beside a link to the
    notebook that teaches it; that notebook itself may build it up."""
    text = READING.sub("", "\n\n".join(texts(stem)))
    unknown = []
    for word, heading in ROWS.items():
        used, taught = re.search(word, without_other_names(text)), teachers(word)
        if used and stem not in taught and glossary_links(text, used.start()) != [heading]:
            set_off = any(e.start() < used.start() < e.end() for e in re.finditer(r"\*+[^*\n]{1,60}\*+", text))
            sentence = next(s for s in re.finditer(r"(?:[^.\n]|\.(?! ))+", text) if s.start() <= used.start() < s.end())
            if not (set_off or any(f"({name}.ipynb)" in sentence[0] for name in taught)):
                unknown.append(f"{used[0]}: {sentence[0].strip()}")
    assert unknown == []


def test_a_row_of_the_glossary_is_found_by_its_word():
    assert teachers(r"\btIoU\b") == {"03_pseudo_labels"}
    assert without_other_names("a `trial`, [a trial](x.ipynb), [it](a5_glossary.ipynb#A)") == (
        "a #######, " + "#" * len("[a trial](x.ipynb)") + ", [it](a5_glossary.ipynb#A)"
    )


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


@pytest.mark.parametrize(
    ("said", "minutes"),
    [
        ("Python, and forty minutes. The notebook runs in about a minute, and in four more the first time.", 5),
        ("[a](a.ipynb) and half an hour. It trains five systems in about two minutes, once features are there.", 2),
        ("An hour. The notebook runs in half a minute.", 0.5),
        ("Basic Python, and ten minutes. The notebook runs in seconds; nothing is trained here.", 0),
    ],
)
def test_the_head_of_a_notebook_says_how_long_its_first_run_takes(said, minutes):
    head = f"**You will do.** It runs in nine minutes.\n\n**You need.** {said}\n\nIt runs."
    assert minutes_of_waiting(head) == minutes


@pytest.mark.parametrize("stem", [*PATHS["Learn the method"], *PATHS["Bring your data"]])
def test_a_notebook_of_a_path_says_how_long_it_runs(stem):
    assert minutes_of_waiting("\n".join(texts(stem)[:2])) > 0


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


def without_commands(source: str) -> str:
    """A cell's source as Python: lines that begin with % are commands of IPython."""
    return re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.MULTILINE)


def told_by(source: str) -> list[str]:
    """Patterns of the texts that a cell gives its pictures; what it computes may be anything, as may the settings that
    `explore` adds."""
    tree = ast.parse(source)
    named = {
        node.targets[0].id: node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and _is_name(node)
    }

    def pattern(value: ast.expr) -> str:
        if isinstance(value, ast.Name):
            return pattern(named[value.id]) if value.id in named else ".+"
        if isinstance(value, ast.JoinedStr):
            return "".join(map(pattern, value.values))
        return re.escape(value.value) if isinstance(value, ast.Constant) else ".+"

    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "picture":
                found.append(pattern(node.args[0]))
            elif node.func.id == "explore":
                found.append(pattern(next(word.value for word in node.keywords if word.arg == "alt")) + ": .+")
            elif node.func.id == "display":
                found += [pattern(word.value.values[0]) for word in node.keywords if word.arg == "metadata"]
    return found


def _is_name(node: ast.Assign) -> bool:
    return len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)


@pytest.mark.parametrize("stem", LESSONS)
def test_the_stored_text_of_a_picture_is_the_one_in_its_code(stem):
    functions: dict[str, str] = {}  # of the cells so far: name -> source; a cell may call one of them to draw
    for cell in (c for c in notebooks.load(FOLDER / f"{stem}.ipynb").cells if c.cell_type == "code"):
        outputs = cell.outputs
        plain = without_commands(cell.source)
        called = {node.id for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Name)} & set(functions)
        known = [text for source in (plain, *(functions[name] for name in sorted(called))) for text in told_by(source)]
        functions |= {n.name: ast.unparse(n) for n in ast.parse(plain).body if isinstance(n, ast.FunctionDef)}
        for text in (o.metadata["alt"] for o in outputs if "alt" in o.get("metadata", {})):
            assert any(re.fullmatch(pattern, text) for pattern in known), text
