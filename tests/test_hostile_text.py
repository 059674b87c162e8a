"""Text from users is shown literally and never interpreted: on pages, in figures, in spreadsheets."""

import base64
import csv
import hashlib
import io
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from hostile_text import DEED, IDS, Look, plain
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from sapnet_core import reporting
from sapnet_core.reporting import gallery, parts
from sapnet_core.reporting.embedded import read_record
from sapnet_core.reporting.literal import from_cell, in_cell, in_figure, visible
from sapnet_core.reporting.markup import page
from sapnet_core.reporting.mathml import mathml
from sapnet_core.reporting.notebook_pages import markdown_html, notebook_page
from sapnet_core.reporting.site_context import PAGES

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FORMULAS = [
    "=1+1",
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "'=1+1",
    '=HYPERLINK("https://example.org";"x")',
    "a;=1+1",
    "a\t=1+1",
    "a\n=1+1",
    'a";=1+1',
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    "'",
    "''=1",
    "-",
    "=",
    "\t",
    "-1.5",
    "a=1",
    "a-b",
    "it's",
    "a;b",
    "",
]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    for name in ("SAPNET_DATA", "SAPNET_I3D", "SAPNET_C3D", "SAPNET_SWIN", "SAPNET_DETECTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    return tmp_path / "figures"


def record(source: str = "own videos") -> dict:
    return {"source": source, "profile": "quick", "seeds": "0", "command": "./runall.sh"}


def own_table(folder: Path) -> pd.DataFrame:
    """A records.csv with hostile texts in its cells, read as notebook 07 reads it."""
    with open(folder / "records.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path", "score", "split", "group", "note", IDS[1]])
        rows.writerows([text, text, "7.5", "train", text, text, text] for text in IDS if "\x00" not in text)
    return pd.read_csv(folder / "records.csv", dtype=str, keep_default_na=False)


def page_of(folder: Path, *outputs) -> str:
    """The HTML page of an executed notebook with these outputs."""
    cells = [new_markdown_cell("# Title"), new_code_cell("show(table)", outputs=list(outputs))]
    nbformat.write(new_notebook(cells=cells), folder / "ran.ipynb")
    return notebook_page(folder / "ran.ipynb")


def shown(displayed) -> nbformat.NotebookNode:
    return new_output("display_data", {"text/markdown": displayed.data, "text/plain": repr(displayed)})


def raw(text: str) -> list[nbformat.NotebookNode]:
    """A text, unescaped, in every kind of output that a page may interpret."""
    kinds = ("text/html", "text/markdown", "image/svg+xml", "application/javascript", "text/latex", "text/plain")
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": text, "version_major": 2}, "text/plain": text}
    outputs = [new_output("display_data", {kind: text}) for kind in kinds]
    outputs += [new_output("display_data", widget), new_output("stream", name="stdout", text=text)]
    return [*outputs, new_output("error", ename=text, evalue=text, traceback=[text])]


def test_there_are_attacks_enough():
    assert len(set(IDS)) > 70 and sum(DEED in text for text in IDS) > 40


def test_a_page_shows_the_texts_of_a_table_literally(tmp_path):
    own = own_table(tmp_path)
    text = page_of(tmp_path, shown(reporting.show(own)), shown(reporting.provenance_table(record(IDS[1]))))
    look = Look(text)
    assert not look.live
    columns = [look.cells[i : i + 7] for i in range(0, 7 * (len(own) + 1), 7)]
    assert [plain(cell) for cell in columns[0]] == [plain(visible(name)) for name in own.columns]
    for cells, row in zip(columns[1:], own.itertuples(index=False), strict=True):
        assert [plain(cell) for cell in cells] == [plain(visible(value)) for value in row]
    assert IDS[1] in look.text.partition("provenance")[2]


@pytest.mark.filterwarnings("ignore:Your element with mimetype")  # warns of a script or an image that is left out
@pytest.mark.parametrize("text", IDS, ids=range(len(IDS)))
def test_whatever_reaches_a_page_as_markup_is_taken_off_it(tmp_path, text):
    look = Look(page_of(tmp_path, *raw(text), *raw(f"**{text}**"), *raw(f"| a |\n| --- |\n| {text} |")))
    assert not look.live
    assert "show(table)" in look.text  # the rest of the page is still there


def test_the_gallery_shows_what_lies_in_the_folder_literally(figures, tmp_path):
    own = own_table(tmp_path)
    reporting.save_table("own_predictions", own, record(IDS[1]), IDS[0])
    fig, ax = plt.subplots()
    for name in ("javascript:alert(1)", "a#b?c&d 'e' \"f\" <g>", "own_scatter"):
        reporting.save_figure(fig, name, own, record(IDS[2]) | {"command": IDS[0], "seeds": IDS[4]})
    plt.close(fig)
    row = {"claim": IDS[1], "place": f"Table I {IDS[0]}", "verdict": "supported", "statement": IDS[2]}
    pd.DataFrame([row]).to_csv(figures / "claims.csv", index=False)
    folder = gallery.write_gallery().parent
    pages = {name: (folder / f"{name}.html").read_text(encoding="utf-8") for name in PAGES}
    looks = {name: Look(text) for name, text in pages.items()}
    assert not [look.live for look in looks.values() if look.live]
    for text in IDS[:5]:
        assert any(text in look.text for look in looks.values()), text
    cells = [*map(plain, looks["results"].cells)]
    assert not [text for text in own["id"] if plain(visible(text)) not in cells]
    links = [unescape(link) for link in re.findall(r'(?:href|src)="([^"]+)"', pages["results"])]
    assert "javascript%3Aalert%281%29.png" in links and "a%23b%3Fc%26d%20%27e%27%20%22f%22%20%3Cg%3E.svg" in links
    assert read_record(figures / "own_predictions.md")["source"] == IDS[1]


def test_markdown_shows_texts_literally():
    table = reporting.markdown(pd.DataFrame({"id": IDS, "**n**": -1.5}))
    assert len(table.splitlines()) == len(IDS) + 2
    look = Look(f"<body>{markdown_html(table)}")
    assert not look.live and look.cells[1] == "**n**"
    assert [plain(cell) for cell in look.cells[2::2]] == [plain(visible(text)) for text in IDS]
    assert reporting.markdown(pd.DataFrame({"a": ["`x`"], "b": ["`x`"]}), ours=["b"]).endswith("| &#96;x&#96; | `x` |")
    runs = pd.DataFrame({"system": IDS[0], "column": "`c`", "seed": [0, 1], "rho": [0.5, 0.6]})
    compared = reporting.markdown(reporting.comparison_table(runs, runs[["system", "column", "rho"]][:1]))
    assert "&lt;script&gt;" in compared and "`" not in compared


@pytest.mark.parametrize(
    "tex", [r"\text{<b}", "a &nbsp; b", "\x00", r"\href{javascript:x}{y}", "{" * 3000, r"\text{]]>}"], ids=range(6)
)
def test_a_formula_that_is_none_is_shown_as_typed(tex):
    assert not Look(page("t", f"<p>{mathml(tex)}</p>")).live


def test_a_page_allows_its_one_style_and_its_pictures_alone(figures):
    for text in (page("a <b>", "x", "p { color: red; }"), gallery.write_gallery().read_text(encoding="utf-8")):
        head = text.partition("<body>")[0]
        rules = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', head)[1]).split("; ")
        (style,) = re.findall(r"<style>(.*?)</style>", head, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert rules[:3] == ["default-src 'none'", "img-src 'self' data:", f"style-src 'sha256-{digest}'"]
        assert rules[3:] == ["base-uri 'none'", "form-action 'none'"]
        assert head.index("Content-Security") < min(map(head.index, ("<title", "<style", "viewport")))
        assert "script" not in head and "style=" not in text


def browsed(file: Path, folder: Path) -> str:
    """The title of a page in a headless browser, after the page's scripts have run."""
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder}",
        "--virtual-time-budget=2000",
        "--dump-dom",
    )
    done = subprocess.run([BROWSER, *flags, file.as_uri()], capture_output=True, text=True, check=False, timeout=60)
    assert "<title>" in done.stdout, done.stderr[-500:]
    return re.search("<title>(.*?)</title>", done.stdout)[1]


@pytest.mark.filterwarnings("ignore:Your element with mimetype")
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_browser_runs_nothing_of_it(tmp_path):
    """The sanitizer alone and the content security policy alone stop every script; without both, scripts do run."""
    html = page_of(
        tmp_path, *(output for text in IDS for output in raw(text)), shown(reporting.show(own_table(tmp_path)))
    )
    policy = re.search(r"<meta http-equiv=[^>]*>", html)[0]
    texts = "\n".join(text for text in IDS if text != "<!-- left open")
    unsafe = page("Title", "").replace("</body>", f"{texts}</body>")
    inner = re.search(r"<meta http-equiv=[^>]*>", unsafe)[0]
    pages = {"both": html, "sanitized": html.replace(policy, ""), "held": unsafe, "open": unsafe.replace(inner, "")}
    told = {}
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        told[name] = browsed(tmp_path / f"{name}.html", tmp_path / f"browser-{name}")
    assert told == {"both": "Title", "sanitized": "Title", "held": "Title", "open": "owned"}


def starts(text: str) -> list[str]:
    """Cells of a CSV text, split at commas, semicolons or tabs as spreadsheets may; leading spaces are removed."""
    found = []
    for delimiter in ",;\t":
        found += [cell for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in line]
        found += [cell.strip('"') for line in text.splitlines() for cell in line.split(delimiter)]
    return [cell.lstrip(" ") for cell in found]


def test_no_text_in_a_file_for_people_is_a_formula_of_a_spreadsheet(figures):
    texts = FORMULAS + IDS
    own = pd.DataFrame({"id": texts, "path": texts, "predicted": [-1.5] * len(texts), "n": -2, "=x": "y"})
    reporting.save_table("own_predictions", own, record())
    fig, _ = plt.subplots()
    reporting.save_figure(fig, "own_scatter", own, record())
    plt.close(fig)
    grouped = own.set_index("id")
    reporting.save_table("own_results", grouped, record())
    for name in ("own_predictions", "own_scatter", "own_results"):
        written = (figures / f"{name}.csv").read_bytes().decode()
        numbers = {"-1.5", "-2"}
        assert not [cell for cell in starts(written) if cell[:1] in ("=", "+", "-", "@") and cell not in numbers]
        again = pd.read_csv(figures / f"{name}.csv", keep_default_na=False)
        assert again["predicted"].tolist() == own["predicted"].tolist() and again["n"].tolist() == own["n"].tolist()
        with open(figures / f"{name}.csv", encoding="utf-8", newline="") as file:
            read = [[from_cell(cell) for cell in line] for line in csv.reader(file)]
        assert read[0] == list(own.columns) and [line[0] for line in read[1:]] == texts
    assert in_cell("plain - text = 1") == "plain - text = 1" and "'" not in in_cell("a-1 (x@y, +5)")


def test_claims_are_read_as_they_were_written(figures):
    claims = pd.DataFrame({"claim": ["=1+1"], "place": "Table I", "verdict": "supported", "statement": ["-x"]})
    reporting.save_table("claims", claims, record())
    assert [(row["claim"], row["statement"]) for row in parts.claims(figures)] == [("=1+1", "-x")]


@pytest.mark.parametrize("letters", ["path", "none"])
def test_a_figure_draws_texts_literally(figures, letters):
    drawn = [text for text in IDS if visible(text).isascii()]
    with plt.rc_context({"svg.fonttype": letters}):
        fig, axes = plt.subplots(2, figsize=(20, 40))
        for text in drawn:
            axes[0].plot([0, 1], label=in_figure(text))
        axes[0].legend()
        axes[1].set_title(f"{in_figure('$x$ and $')}, score $L_{{reg}}$")
        reporting.save_figure(fig, "own_scatter", pd.DataFrame({"x": drawn}), record(IDS[0]) | {"command": IDS[1]})
        plt.close(fig)
    tree = ElementTree.fromstring((figures / "own_scatter.svg").read_bytes())
    assert not {node.tag.rpartition("}")[2] for node in tree.iter()} & {"script", "image", "a", "foreignObject"}
    assert not [name for node in tree.iter() for name in node.attrib if name.startswith("on")]
    told = {plain("".join(node.itertext())) for node in tree.iter() if node.tag.endswith("}text")}
    assert letters == "path" or not [text for text in drawn if plain(visible(text)) not in told]
    assert read_record(figures / "own_scatter.svg")["command"] == IDS[1]
