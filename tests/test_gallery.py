"""The gallery and the notebook pages are complete, in order, and self-contained. `test_browser` looks at them."""

import csv
import importlib
import math
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from PIL import Image
from project_copy import committed_figures
from wording import in_order

from sapnet_core import reporting
from sapnet_core.experiments.statistics import LEVEL, VERDICTS, seeds_in_words
from sapnet_core.recipes import measure_cost
from sapnet_core.reporting import gallery, notebooks, parts, site_claims, site_context
from sapnet_core.reporting.ledger import FLOORS
from sapnet_core.reporting.mathml import LEFT_OVER, mathml
from sapnet_core.reporting.notebook_pages import markdown_html, notebook_page, write_notebook_page
from sapnet_core.reporting.site_context import PAGES
from sapnet_core.reporting.stored_tables import read_stored_table
from sapnet_core.reporting.tables import markdown
from sapnet_core.reporting.ten_sentences import lead, ledger_rows, ten_sentences
from sapnet_core.reporting.worth import PARTS
from sapnet_core.runtime import environment

# as an attribute, `reporting` has the function of this name
provenance = importlib.import_module("sapnet_core.reporting.provenance")
VOID = {"meta", "img", "br", "hr", "link", "input", "col"}
BLOCKS = {
    "div",
    "p",
    "ul",
    "ol",
    "table",
    "details",
    "section",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "pre",
    "dl",
    "nav",
    "main",
}
OUTSIDE = re.compile(r"[a-z]+:|//", re.IGNORECASE)


class Page(HTMLParser):
    """The resources, links, ids and text of a page; asserts that elements are nested correctly and ids are unique."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.loads, self.links, self.ids, self.text = [], [], [], set(), []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert not (tag in BLOCKS and "p" in self.open), f"<{tag}> in a paragraph, line {self.getpos()[0]}"
        assert attrs.get("id") not in self.ids - {None}, f"id {attrs['id']} twice"
        assert not [name for name in attrs if name.startswith("on")]
        self.ids.add(attrs.get("id"))
        assert tag != "img" or attrs.get("alt", "").strip(), f"a picture without a text, line {self.getpos()[0]}"
        self.loads += [attrs[k] for k in ("src", "srcset", "poster", "data") if k in attrs]
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif "href" in attrs:
            self.loads.append(attrs["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID or "math" in self.open
        if tag in VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}, line {self.getpos()[0]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" in self.open:
            assert "url(" not in data and "@import" not in data
        else:
            self.text.append(data)


def checked(file: Path, absent: str = "") -> Page:
    """Parse a page; asserts that it loads nothing from outside, that its pictures have a text, and that its links to
    files and ids resolve, except those that match `absent`."""
    page = parsed(file)
    assert not [link for link in page.loads if OUTSIDE.match(link) and not link.startswith("data:image/")]
    for link in (*page.links, *page.loads):
        if link.startswith("#"):
            assert unquote(link[1:]) in page.ids, link
        elif not OUTSIDE.match(link) and not (absent and re.fullmatch(absent, link)):
            target, _, anchor = unquote(link).partition("#")
            there = (file.parent / target).resolve()
            assert there.is_file(), link
            assert not anchor or there.suffix != ".html" or anchor in parsed(there).ids, link
    return page


def parsed(file: Path) -> Page:
    """A page, parsed once as long as its file does not change."""
    return _parsed(file, file.stat().st_mtime_ns)


@cache
def _parsed(file: Path, _written: int) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make `folder` the project whose figures and runs are read and written."""
    for name in ("SAPNET_DATA", "SAPNET_I3D", "SAPNET_C3D", "SAPNET_SWIN", "SAPNET_DETECTOR"):
        patch.delenv(name, raising=False)
    patch.setenv("SAPNET_FIGURES", str(folder / "figures"))
    patch.setenv("SAPNET_RUNS", str(folder / "runs"))
    for module in (provenance, parts):
        # avoids drawing annotations and rendering videos
        patch.setattr(module, "trial_hash", lambda trial, _=None: f"{trial.seed}")
    patch.setattr(provenance, "own_profile", lambda notebook: "quick")  # whatever size the notebooks here show
    # avoids resampling the stored trials, which takes seconds
    patch.setattr(site_context, "worth_of_parts", lambda size: worth_table(0))


def worth_table(seeds: int) -> pd.DataFrame:
    """What `worth` returns, with made-up effects; of 0 seeds, none."""
    rows = [
        {"part": part.name, "column": column, "effect": 0.1234, "low": -0.5, "high": 0.75, "verdict": "undecided"}
        | {"seeds": seeds, "planned": 10}
        for part in PARTS
        for column in ("10%", "40%")
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A project folder with one executed notebook, and figures/ with tables, curves, claims, the paper's and other
    figures, one of them without provenance and one damaged. Each test gets a copy, since drawing takes a second."""
    folder = tmp_path_factory.mktemp("project")
    for file in environment.root().iterdir():
        if file.name not in ("figures", "runs") and file.name[0] != ".":
            (folder / file.name).symlink_to(file)
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        fill(folder)
    return folder


def fill(folder: Path) -> None:
    """Write the figures, the claims and the executed notebook of `drawn`."""
    cells = pd.DataFrame({"system": ["I3D+MLP"], "column": ["10%"], "rho": [0.618]})
    runs = pd.DataFrame({"system": ["I3D+MLP", "a <b> c"], "column": "10%", "seed": 0, "rho": [0.5, 0.4]})
    for profile in ("quick", "study"):
        record = reporting.provenance(profile, "twins of <drawn> annotations", (0, 1), ["a1"], "05_ablations")
        reporting.save_table("table01", reporting.comparison_table(runs, cells), record, "Table I")
        fig, ax = plt.subplots(figsize=(7.2, 3))
        ax.plot([0, 1], [0, 1])
        for name in ("table01_curves", "fig12", "fig05", "own_scatter", "zz_other"):
            reporting.save_figure(fig, name, cells, record)
        plt.close(fig)
    record = reporting.provenance("quick", "twins of <drawn> annotations", (0, 1), ["a1"], "05_ablations")
    reporting.save_table("decisions", pd.DataFrame({"n": range(40)}), record)
    Image.new("L", (4, 4)).save(folder / "figures" / "fig09.png")  # has no provenance
    (folder / "figures" / "fig10.png").write_bytes(b"torn")
    rows = [
        ("<i>K</i> = 3", "Fig. 5 and 12", "supported"),
        ("C2", "Tables I, II", "contradicted"),
        ("C3", "Table I", "no difference"),
        ("C4", "abstract", "undecided"),
    ]
    with open(folder / "figures" / "claims.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("claim", "place", "verdict", "p"), *((*row, "0.1") for row in rows)])
    ran = folder / "runs" / "notebooks" / "05_ablations.ipynb"
    ran.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Ablate\n$$x^2\\tag{3}$$")]), ran)
    ran.with_suffix(".json").write_text('{"seconds": 12.3, "made": {}, "inputs": ""}')


@pytest.fixture
def project(drawn, tmp_path, monkeypatch) -> Path:
    """A copy of `drawn`, which a test may change; the environment variables point into it."""
    shutil.copytree(drawn, tmp_path, symlinks=True, dirs_exist_ok=True)
    enter(tmp_path, monkeypatch)
    return tmp_path


def test_everything_is_there_in_the_papers_order(project):
    folder = gallery.write_gallery().parent
    pages = {name: checked(folder / f"{name}.html") for name in PAGES}
    for page in pages.values():  # each leads to all others
        assert {f"{name}.html" for name in PAGES} <= {
            *page.links,
            *(f"{n}.html" for n in pages if page is pages[n]),
        }
    heads = re.findall(r'<section class="entry" id="(\w+)">', (folder / "results.html").read_text(encoding="utf-8"))
    assert heads == ["table01", "fig05", "fig09", "fig10", "fig12", "decisions", "zz_other", "own_scatter"]
    links = pages["results"].links
    for kind in ("png", "svg", "csv"):
        assert f"fig12.{kind}" in links
    assert {"table01.csv", "notebooks/05_ablations.html", "../notebooks/05_ablations.ipynb"} <= {*links}
    books = pages["notebooks"].links
    assert "../notebooks/00_start_here.ipynb" in books and "notebooks/00_start_here.html" not in books
    text = " ".join(" ".join(part for page in pages.values() for part in page.text).split())
    for part in (
        "notebook ran in under 20 s",
        "seeds 0, 1",
        "a <b> c",
        "twins of <drawn> annotations",
        "Zz other",
        "quick profile",
        "<i>K</i> = 3",
        "it holds no provenance",
        "picture cannot be read",
        "./runall.sh --only 05",
    ):
        assert part in text, part
    page = checked(project / "figures" / "notebooks" / "05_ablations.html")
    before, after = ("../../notebooks/04_training.ipynb", "../../notebooks/06_comparison.ipynb")  # these have no page
    assert {before, after, "../results.html", "../../notebooks/05_ablations.ipynb"} <= {*page.links}


def test_equal_files_give_equal_bytes_and_pages_are_made_once(project):
    folder = gallery.write_gallery().parent
    files = [folder / f"{name}.html" for name in PAGES]
    first, page = [file.read_bytes() for file in files], folder / "notebooks" / "05_ablations.html"
    written = page.stat().st_mtime_ns
    (project / "runs" / "notebooks" / "05_ablations.json").write_text('{"seconds": 17.9, "made": {}, "inputs": ""}')
    gallery.write_gallery()
    assert [file.read_bytes() for file in files] == first and page.stat().st_mtime_ns == written
    ran = project / "runs" / "notebooks" / "05_ablations.ipynb"
    ran.write_text(ran.read_text().replace("Ablate", "Remove"))
    assert write_notebook_page(ran, page) and "<title>Remove</title>" in page.read_text(encoding="utf-8")


def test_each_profile_has_its_gallery(project):
    gallery.write_gallery("study")
    gallery.write_gallery()
    assert "study/index.html" in checked(project / "figures" / "index.html").links
    checked(gallery.write_gallery("study"))
    folder = project / "figures" / "study"
    text = checked(folder / "results.html").links
    assert "../../notebooks/05_ablations.ipynb" in text and "../index.html" in parsed(folder / "index.html").links
    assert "study profile" in (folder / "results.html").read_text(encoding="utf-8")


def test_what_a_profile_leaves_to_the_study_is_shown_beside_its_own(project):
    study, quick = project / "figures" / "study", project / "figures" / "quick"
    quick.mkdir()
    for kind in ("png", "svg", "csv"):
        shutil.copy(study / f"fig05.{kind}", study / f"fig10.{kind}")
        shutil.copy(study / f"fig05.{kind}", quick / f"fig05.{kind}")
    links = {*checked(gallery.write_gallery("quick").parent / "results.html").links}
    assert {"fig05.png", "../study/fig10.png", "../study/fig10.csv"} <= links
    assert not links & {"../study/fig05.png", "../study/fig12.png", "fig10.png"}  # quick trains those itself
    assert 'src="../study/fig10.png"' in (quick / "results.html").read_text(encoding="utf-8")


def test_claims_stand_at_their_places(project):
    assert parts.places("Table I, Figs. 7 and 12; Tables IV, V and VI; Figure 9; Sec. III-B") == [
        "table01",
        "fig07",
        "fig12",
        "table04",
        "table05",
        "table06",
        "fig09",
    ]
    folder = gallery.write_gallery().parent
    text = (folder / "results.html").read_text(encoding="utf-8")
    entries = dict(re.findall(r'<section class="entry" id="(\w+)">(.*?)</section>', text, re.DOTALL))
    shown = {stem: re.findall(r'class="badge (\w+)">[✓✗=?–] \d', entry) for stem, entry in entries.items()}
    assert shown["table01"] == ["bad", "odd"] and shown["fig05"] == shown["fig12"] == ["good"]
    assert not shown["own_scatter"] and "C4" in (folder / "claims.html").read_text(encoding="utf-8")
    summary = " ".join(" ".join(checked(folder / "index.html").text).split())
    assert in_order(summary, "4 results", "supports 1", "contradicts 1", "1 show no difference")
    (project / "figures" / "claims.csv").write_text("claim,place,verdict\nx,Table I,maybe\n")
    with pytest.raises(ValueError, match="claims.csv: .*columns"):
        gallery.write_gallery()


@pytest.mark.parametrize(("seeds", "early"), [((2, 2, 10), "2 results"), ((10, 2, 10), "1 result"), ((10,) * 3, "")])
def test_the_summary_says_which_verdicts_are_preliminary(project, seeds, early):
    rows = [(f"C{i}", "Table I", "supported", "study", n) for i, n in enumerate(seeds)]
    rows += [("C8", "Table I", "supported", "quick", 2), ("C9", "Table I", "supported", "study", 0)]
    with open(project / "figures" / "claims.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("claim", "place", "verdict", "profile", "seeds"), *rows])
    text = " ".join(" ".join(checked(gallery.write_gallery()).text).split())
    assert ("preliminary" in text) == bool(early) == ("fewer seeds" in text)
    assert not early or re.search(rf"(?<!\d){early} [\w ]*\bfewer seeds", text)


def write_claims(folder: Path, *rows: dict[str, str]) -> None:
    """Write `claims.csv` with these rows; what they leave out is empty."""
    names = ("claim", "place", "kind", "verdict", "effect", "low", "high", "p_holm", "to_decide", "reason", "below")
    with open(folder / "figures" / "claims.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*names, "profile", "seeds"], restval="")
        writer.writeheader()
        writer.writerows(rows)


def words_of(file: Path) -> str:
    return " ".join(" ".join(checked(file).text).split())


def test_a_claim_that_cannot_be_tested_shows_no_numbers_and_is_not_preliminary(project):
    row = {"claim": "x", "place": "Conclusion", "verdict": "not testable here", "reason": "gone"}
    row |= {"effect": "0.1", "low": "0.05", "high": "0.15", "profile": "study", "seeds": "2"}
    write_claims(project, row)
    file = gallery.write_gallery(local=False)
    text, claims = words_of(file), words_of(file.with_name("claims.html"))
    assert "“x” — gone." in text and "preliminary" not in text
    assert "2 seeds" not in claims and "p =" not in claims and "+0.100" not in claims


def test_a_claim_about_systems_below_a_floor_says_so_on_both_pages(project):
    row = {"claim": "x", "place": "Table II", "kind": "greater", "verdict": "supported", "profile": "study"}
    row |= {"effect": "0.034", "low": "0.01", "high": "0.05", "seeds": "10", "below": "both are below it, 0.638"}
    write_claims(project, row)
    file = gallery.write_gallery(local=False)
    assert all("x (both are below it, 0.638)" in words_of(one) for one in (file, file.with_name("claims.html")))


def test_sums_of_printed_numbers_and_stand_ins_are_told_apart(project):
    tested = {
        "place": "Table VI",
        "kind": "greater",
        "verdict": "undecided",
        "effect": "0.1",
        "low": "0",
        "high": "0.2",
    }
    tested |= {"p_holm": "0.037", "profile": "quick", "seeds": "2", "to_decide": "inf"}
    summed = {"claim": "b", "place": "Table VI", "kind": "arithmetic", "verdict": "supported", "profile": "study"}
    write_claims(project, {"claim": "a"} | tested, summed | {"seeds": "0"})
    file = gallery.write_gallery(local=False)
    text, claims = words_of(file), words_of(file.with_name("claims.html"))
    assert re.search(r"Σ 1 [\w ]*\bsum\b", text) and "✓ 1 supported" not in text and in_order(text, "1 of 1")
    assert re.search(r"(?<![\d.])1 of [\w ]+ stand-in", text) and "preliminary" not in text
    assert in_order(claims, "Holm") and re.search(rf"\bp lies below {LEVEL:g}\b", claims)
    assert f"; {seeds_in_words(math.inf)}" in claims
    assert "--pages" in text  # links lead to the notebooks' files here


def test_decided_claims_come_first_and_sums_after_them():
    rows = [
        ("a", "undecided"),
        ("b", "supported"),
        ("c", "contradicted"),
        ("d", "not testable here"),
        ("e", "supported"),
    ]
    views = [{"name": name, "verdict": verdict, "kind": "arithmetic" * (name == "b")} for name, verdict in rows]
    assert [view["name"] for view in site_claims.claims_in_order(views)] == ["e", "c", "b", "a", "d"]


def test_results_on_real_people_are_no_source_of_the_papers_tables(project):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1], [0, 1])
    cells = pd.DataFrame({"system": ["x", "y"], "rho": [0.618, 0.5]})
    record = reporting.provenance("quick", "stored results on people", (0, 1), ["a1"], "05_ablations")
    reporting.save_table("real_people", cells, record)
    reporting.save_figure(fig, "real_people_curves", cells, record)
    plt.close(fig)
    file = gallery.write_gallery(local=False)
    assert "stored results on people" not in words_of(file)
    text = file.with_name("results.html").read_text(encoding="utf-8")
    entry = re.search(r'<section class="entry" id="real_people">(.*?)</section>', text, re.DOTALL)[1]
    assert "real_people_curves.png" in entry and 'id="real_people_curves"' not in text


def test_the_summary_begins_with_the_ten_sentences(project, monkeypatch):
    asked, table = [], worth_table(3)
    monkeypatch.setattr(site_context, "worth_of_parts", lambda size: asked.append(size.name) or table)
    page = checked(gallery.write_gallery())
    text = " ".join(" ".join(page.text).split())
    sentences = ten_sentences(ledger_rows(parts.claims(project / "figures", controls=True)), table)
    assert len(sentences) == 10 and lead() in text
    for sentence in sentences:
        assert sentence in text
    assert asked == ["study"]  # the paper's sizes, where the gallery has no profile of its own
    (project / "figures" / "claims.csv").unlink()
    assert "came-out" in page.ids and "came-out" not in checked(gallery.write_gallery()).ids


def test_the_stored_summary_and_readme_say_the_same():
    """`test_ten_sentences` holds README to the stored results."""
    text = (environment.root() / "README.md").read_text(encoding="utf-8")
    listed = text.split("<!-- ten sentences -->\n")[1].split("\n<!-- end -->")[0]
    shown = " ".join(" ".join(parsed(environment.root() / "figures" / "index.html").text).split())
    assert [line for line in listed.splitlines() if re.sub(r"^\d+\. ", "", line) not in shown] == []


def test_claims_stand_by_verdict_below_a_scoreboard_and_undecided_ones_in_folds(project):
    shutil.copy(environment.root() / "figures" / "claims.csv", project / "figures")
    text = gallery.write_gallery(local=False).with_name("claims.html").read_text(encoding="utf-8")
    rows = parts.claims(project / "figures")
    heads = re.findall(r'<h2 id="verdict-\d">(\d+) ([\w ]+)</h2>', text)
    assert heads == [(str(n), v) for v in VERDICTS if (n := sum(row["verdict"] == v for row in rows))]
    assert text.index("<table>") < text.index('<h2 id="verdict-1">')
    undecided = text[text.index(" undecided</h2>") :].partition("<h2")[0]
    before = [undecided[: card.start()] for card in re.finditer('<section class="card"', undecided)]
    assert before and all(part.count("<details>") > part.count("</details>") for part in before)  # in a fold
    assert "seeds would decide" in undecided
    for row in (row for row in rows if row["verdict"] == "undecided"):
        assert f'id="{row["claim"]}"' in undecided


def test_a_control_stands_in_the_card_of_its_claim(project):
    shutil.copy(environment.root() / "figures" / "claims.csv", project / "figures")
    text = gallery.write_gallery(local=False).with_name("claims.html").read_text(encoding="utf-8")
    card = re.search(r'<section class="card" id="ssp-mtl">(.*?)</section>', text, re.DOTALL)[1]
    assert f'<li id="ssp-mtl-ridge">{FLOORS["ridge"].words}: ' in card and 'id="ssp-mtl-in-order"' in card
    assert '<section class="card control" id="unlabeled-mtl">' in text  # a question of its own


def test_a_table_says_where_its_rows_differ_in_their_number_format(project, monkeypatch):
    monkeypatch.setattr(parts, "trial_hash", lambda trial: trial.method)
    table = pd.DataFrame({"trial": ["mtl-aqa-ridge", "mtl-aqa-mlp"], "numbers": ["float32", "bfloat16"]})
    monkeypatch.setattr(site_context, "stored_summary", lambda: table)
    record = reporting.provenance("quick", "twins", (0, 1), ["ridge", "mlp"], "05_ablations")
    cells = pd.DataFrame({"system": ["I3D+MLP"], "column": ["10%"], "rho": [0.618]})
    reporting.save_table("table01", reporting.comparison_table(cells.assign(seed=0), cells), record, "Table I")
    said = "I3D+MLP in bfloat16; Ridge on the mean feature in float32"
    assert said in entry_of("table01") or "; ".join(reversed(said.split("; "))) in entry_of("table01")
    assert "number format" not in entry_of("fig05")


@pytest.mark.parametrize("there", [True, False])
def test_the_cost_says_what_is_on_disk_and_what_was_measured(project, tmp_path, monkeypatch, there):
    file = tmp_path / "cost.csv"
    monkeypatch.setattr(measure_cost, "COST", file)
    if there:
        row = dict(zip(measure_cost.COST_COLUMNS, ("finediving", 1.26, 0.437, "bfloat16", "a processor"), strict=True))
        pd.DataFrame([row]).to_csv(file, index=False)
    text = " ".join(" ".join(checked(gallery.write_gallery()).text).split())
    cost = text.partition("What it cost")[2].partition("Check it")[0]
    assert "features on disk, MB" in cost and "MB, by their shapes" in cost
    assert ("1.3 0.44" in cost and "a processor, bfloat16" in cost) == there
    assert ("Neither" in cost and "measured" in cost) != there


def entry_of(stem: str) -> str:
    """HTML of one entry of the gallery."""
    text = gallery.write_gallery().with_name("results.html").read_text(encoding="utf-8")
    return re.search(rf'<section class="entry" id="{stem}">(.*?)</section>', text, re.DOTALL)[1]


def test_a_comparison_keeps_its_cells(project):
    cells = pd.DataFrame({"system": ["a | b"], "column": ["10%"], "rho": [0.618]})
    runs = pd.DataFrame({"system": ["a | b"] * 3 + ["c"], "column": "10%", "seed": [0, 1, 2, 0], "rho": [0.5] * 4})
    table = reporting.comparison_table(runs, cells, pd.DataFrame({"system": ["floor"], "rho": [0.1]}))
    table.loc["a | b", ("10%", "best")] = True
    reporting.save_table("table02", table, reporting.provenance("quick", "twins"))
    text = entry_of("table02")
    assert '<th colspan="2" scope="colgroup">10%</th>' in text and '<th scope="col">this run (n=3)</th>' in text
    assert '<th class="name" scope="row">a | b</th><td>0.618</td><td><strong>0.500 ± 0.000</strong></td>' in text
    assert '<th class="name" scope="row">c</th><td>—</td><td>0.500 (n=1)</td>' in text and "Table, 3 rows" in text


def test_a_plain_table_keeps_its_cells(project):
    table = pd.DataFrame(
        {"id": ["1.5", "002.50"], "n": [1, 2], "x": [0.5, None], "text": ["<b>", "-"], "p": ["07", "1.0"]}
    )
    reporting.save_table("own_predictions", table, reporting.provenance("quick", "twins"))
    text = entry_of("own_predictions")
    assert '<th class="words" scope="col">text</th>' in text and '<th scope="col">x</th>' in text
    assert (
        '<th class="name" scope="row">1.5</th><td>1</td><td>0.500</td><td class="words">&lt;b&gt;</td><td>07</td>'
        in text
    )
    assert '<th class="name" scope="row">002.50</th><td>2</td><td>—</td><td class="words">-</td><td>1.0</td>' in text
    reporting.save_table("own_predictions", table[:0], reporting.provenance("quick", "twins"))
    assert "<table>" not in entry_of("own_predictions")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b'"' + b"x" * 200_000])
def test_a_table_that_cannot_be_read_is_said(project, content):
    file = project / "figures" / "table01.csv"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert "cannot be read" in entry_of("table01")


@pytest.mark.parametrize("file", sorted((environment.root() / "figures").glob("*.md")), ids=lambda file: file.stem)
def test_a_stored_table_is_read_as_it_was_shown(file):
    """The last digits are not compared: a number that ends in 5 in the CSV may be rounded either way."""
    shown = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    written = markdown(read_stored_table(file.with_suffix(".csv")))
    read = [line for line in written.splitlines() if line.startswith("|")]  # without a note below
    assert [re.sub(r"\d\b", "", line) for line in read] == [re.sub(r"\d\b", "", line) for line in shown]


@pytest.mark.parametrize(
    ("tex", "part"),
    [
        (r"\bar{\mathcal F}_u", "ℱ"),
        (r"\mathbb 1", "𝟙"),
        (r"\arg\min_{z\notin\Gamma} Z", "<munder><mo>min</mo>"),
        (r"\big\lVert x\big\rVert^2", "‖"),
        (r"x = 1\tag{7}", '<span class="number">(7)</span>'),
        (r"x = 1\qquad(12)", '<span class="number">(12)</span>'),
        (r"\underbrace{x}_{\text{a b}}", 'stretchy="true">⏟'),
        (r"a & b < c", "&amp;"),
        (r"\hat{F}", "<mo>ˆ</mo>"),
        (r"\operatorname{sg}(x)", "<mo>sg</mo>"),
        (r"\unknown{x}", f'<code class="{LEFT_OVER}">'),
        (r"\frac{", f'<code class="{LEFT_OVER}">'),
    ],
)
def test_equations_become_mathml(tex, part):
    made = mathml(tex, block=True)
    assert part in made
    Page(f"<p>{made}</p>")


@pytest.mark.parametrize("file", notebooks.find(), ids=lambda file: file.stem)
def test_every_stored_equation_is_drawn(file):
    for cell in notebooks.load(file).cells:
        if cell.cell_type == "markdown":
            made = markdown_html(cell.source)
            assert f'class="{LEFT_OVER}"' not in made
            prose = re.sub(r"<(code|pre).*?</\1>", "", made, flags=re.DOTALL)
            assert "$" not in prose and not re.search(r"\\[a-z]{2,}", prose), cell.source


def pages_folder(root):
    """The folder of the notebooks' pages in a site that has empty pages beside it and the stored notebooks."""
    folder = root / "figures" / "notebooks"
    folder.mkdir(parents=True)
    (root / "notebooks").symlink_to(environment.root() / "notebooks")
    for name in PAGES:
        (folder.parent / f"{name}.html").write_text("<p></p>")
    return folder


def test_a_stored_notebook_is_one_file_with_its_neighbors(tmp_path):
    folder = pages_folder(tmp_path)
    (folder / "02_detection.html").write_text("<p></p>")
    file = folder / "03_pseudo_labels.html"
    pages = frozenset({"02_detection", "03_pseudo_labels"})
    file.write_text(notebook_page(notebooks.find(["03_pseudo_labels"])[0], pages), encoding="utf-8")
    page = checked(file)
    assert "02_detection.html" in page.links and "../../notebooks/03b_network.ipynb" in page.links
    assert not any(link.startswith("03b_network") for link in page.links)
    assert "script" not in file.read_text(encoding="utf-8").partition("<body>")[0]
    assert sum(link.startswith("data:image/png") for link in page.loads) > 3


def test_a_word_leads_to_its_heading_on_the_page_of_the_glossary(tmp_path):
    folder = pages_folder(tmp_path)
    stems = ("04_training", "12_fig07_threshold", "a5_glossary")
    for file in notebooks.find(stems):
        (folder / f"{file.stem}.html").write_text(notebook_page(file, frozenset(stems)), encoding="utf-8")
    pages = {stem: checked(folder / f"{stem}.html") for stem in stems}  # every link's heading is there
    assert {"a5_glossary.html#FixMatch", "a5_glossary.html#InfoNCE"} <= {*pages["04_training"].links}
    assert "a5_glossary.html#Holm-correction" in pages["12_fig07_threshold"].links
    assert {"Networks-and-losses", "Measures-and-tests", "Fisher-z", "Facility-location"} <= pages["a5_glossary"].ids
    alone = notebook_page(notebooks.find(["12_fig07_threshold"])[0], frozenset(["12_fig07_threshold"]))
    assert 'href="../../notebooks/a5_glossary.ipynb#FixMatch"' in alone  # the glossary has no page


def test_a_page_of_a_notebook_has_contents_folded_code_and_columns_of_words(tmp_path):
    frame = pd.DataFrame({"group": [1, 2], "direction": ["forward", "back"]}, index=["107B", "205B"])
    output = nbformat.v4.new_output("display_data", {"text/html": frame.to_html()})
    cells = [
        nbformat.v4.new_markdown_cell(f"{mark} {words}") for mark, words in (("#", "T"), ("##", "One"), ("##", "2"))
    ]
    codes = ("important = 2", "import os\n\nx = 3", "from os import path")
    cells += [nbformat.v4.new_code_cell("x = 1", outputs=[output]), *map(nbformat.v4.new_code_cell, codes)]
    file, made = tmp_path / "n.ipynb", tmp_path / "n.html"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), file)
    made.write_text(notebook_page(file), encoding="utf-8")
    page, text = Page(made.read_text(encoding="utf-8")), made.read_text(encoding="utf-8")
    assert {"#One", "#2", "#top"} <= {*page.links} and {"One", "2", "top"} <= page.ids
    assert len(re.findall(r'<details class="code"><summary>Code</summary><div class="highlight', text)) == 3
    assert re.findall(r'<details class="imports"><summary>.*?<span class="\w+">(\w+)', text, re.DOTALL) == ["import"]
    assert '<th class="words">direction</th>' in text and '<td class="words">forward</td>' in text
    assert "<th>group</th>" in text and "<td>1</td>" in text and '<th class="words">107B</th>' in text


def test_headings_have_ids_that_occur_once(tmp_path):
    made = markdown_html("## The paper's *first* `claim` & $x$")
    assert 'id="The-paper' in made and "-first-claim-&amp;-" in made
    cells = [nbformat.v4.new_markdown_cell(f"# {words}\n\ntext") for words in ("Top", "Set up", "Set up")]
    file = tmp_path / "twice.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), file)
    page = notebook_page(file)
    assert page.count('id="Set-up"') == 1 and page.count(">Set up</h1>") == 2 and Page(page).ids >= {"Top", "Set-up"}


@pytest.mark.parametrize("name", PAGES)
def test_the_stored_gallery_leads_everywhere(name):
    checked(environment.root() / "figures" / f"{name}.html")


def test_the_gallery_tells_which_content_it_was_made_from(project):
    file = gallery.write_gallery()
    for name in ("table01.md", "fig05.png", "claims.csv"):
        before = file.read_bytes()
        with open(project / "figures" / name, "ab") as changed:
            changed.write(b"\n")
        assert gallery.write_gallery().read_bytes() != before, name


def test_the_stored_gallery_is_that_of_the_stored_files(tmp_path, monkeypatch):
    """The processor does not matter."""
    for name in ("SAPNET_DATA", "SAPNET_I3D", "SAPNET_C3D", "SAPNET_SWIN", "SAPNET_DETECTOR"):
        monkeypatch.delenv(name, raising=False)
    committed_figures(tmp_path)
    (tmp_path / "notebooks").symlink_to(environment.root() / "notebooks")
    stored = {name: (tmp_path / "figures" / f"{name}.html").read_text(encoding="utf-8") for name in PAGES}
    monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    gallery.write_gallery(local=False)
    for name, text in stored.items():
        made = (tmp_path / "figures" / f"{name}.html").read_text(encoding="utf-8")
        assert made.splitlines() == text.splitlines(), (
            f"figures/{name}.html is not the gallery of the files beside it; make it again from the files as "
            "committed: python -m sapnet_core gallery"
        )


def test_the_repositorys_gallery_knows_nothing_of_runs(project):
    folder = gallery.write_gallery(local=False).parent
    texts = {name: (folder / f"{name}.html").read_text(encoding="utf-8") for name in PAGES}
    assert not any("notebooks/05_ablations.html" in text or "notebook ran" in text for text in texts.values())
    assert "../notebooks/05_ablations.ipynb" in texts["results"] and not (folder / "notebooks").exists()


def test_a_claim_leads_to_its_cells_trials_and_notebook(project):
    shutil.copy(environment.root() / "figures" / "claims.csv", project / "figures")
    folder = gallery.write_gallery(local=False).parent
    text = (folder / "claims.html").read_text(encoding="utf-8")
    card = re.search(r'<section class="card" id="ssp-mtl">(.*?)</section>', text, re.DOTALL)[1]
    assert re.search(r'href="../notebooks/05_ablations.ipynb">05_ablations, cell \[\d+\]<', card)
    assert 'href="trials.html#I-I3D-SSP-10"' in card and 'href="trials.html#I-I3D-MLP-40"' in card
    checked(folder / "claims.html")
