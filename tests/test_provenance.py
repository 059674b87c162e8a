"""Provenance: stored in each kind of file with all trial hashes, stale if a trial changed, safe to read in any file."""

import dataclasses
import importlib
import json
import struct
import zlib

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from project_copy import committed_figures
from wording import in_order

from sapnet_core import reporting
from sapnet_core.__main__ import main
from sapnet_core.backbones import registry
from sapnet_core.backbones.registry import backbone_digest
from sapnet_core.experiments import tables
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.reporting.embedded import RecordError, comment, read_record

# as an attribute, `reporting` has the function of this name
provenance = importlib.import_module("sapnet_core.reporting.provenance")
TABLE = pd.DataFrame({"system": ["I3D+MLP"], "rho": [0.5]})


@pytest.fixture
def figures(tmp_path, monkeypatch):
    for name in ("SAPNET_DATA", "SAPNET_I3D", "SAPNET_C3D", "SAPNET_SWIN", "SAPNET_DETECTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAPNET_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    return tmp_path / "figures"


@pytest.fixture
def declared(monkeypatch):
    """The trials that Figure 7 declares, seed -> Trial, for tests to change. Their hashes depend on the settings alone,
    so that no annotations are drawn and no videos rendered."""
    size = get_profile("quick")
    trials = {seed: declare("finediving", "SAP-Net (Ours)", 0.15, seed, size) for seed in range(3)}
    monkeypatch.setitem(tables.FIGURES, "fig07", lambda profile: trials)
    monkeypatch.setattr(tables, "_declared_once", tables._declared)  # tests change what is declared
    monkeypatch.setattr(provenance, "trial_hash", lambda t: f"{t.seed}{t.steps}{t.share:.2f}".replace(".", ""))
    return trials


def save(name="fig07", trials=(), **changes):
    """Save a figure and a table of the same stem."""
    record = reporting.provenance("quick", "twins of drawn annotations", (0, 1, 2), trials, "12_fig07_tau")
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    reporting.save_figure(fig, name, TABLE, {**record, **changes})
    plt.close(fig)
    reporting.save_table(name, TABLE, {**record, **changes}, "Figure 7")


def answer(figures, capsys, name="fig07.png"):
    code = main(["provenance", str(figures / name)])
    return code, capsys.readouterr()


def test_every_kind_of_file_holds_all_hashes(figures, declared, capsys):
    save(trials=declared.values())
    hashes = sorted(map(provenance.trial_hash, declared.values()))
    for kind in ("png", "svg", "md", "csv"):
        assert read_record(figures / f"fig07.{kind}")["hashes"] == hashes
        code, printed = answer(figures, capsys, f"fig07.{kind}")
        assert code == 0 and in_order(printed.out, "current", "3 trials") and "not checked" not in printed.out
    for part in (
        "twins of drawn annotations",
        "quick",
        "0, 1, 2",
        *hashes,
        "commit",
        "torch",
        "./runall.sh --only 12",
    ):
        assert part in printed.out
    assert in_order(printed.out, "0 of 3", "runs/trials")
    (figures.parent / "runs" / "trials" / f"finediving-sap-net-{hashes[0]}").mkdir(parents=True)
    assert in_order(answer(figures, capsys)[1].out, "1 of 3", "runs/trials")


def test_notebooks_show_number_and_digest_alone(figures, declared):
    record = reporting.provenance("quick", "twins", (0,), declared.values())
    assert len(record["hashes"]) == 3 and record["trials"].startswith("3 (")
    shown = reporting.provenance_table(record).data
    assert record["trials"] in shown and record["hashes"][0] not in shown
    save(trials=declared.values())
    visible = (figures / "fig07.md").read_text(encoding="utf-8").partition("<!--")[0]
    assert record["hashes"][0] not in visible


def test_equal_runs_give_equal_bytes(figures, declared):
    save(trials=declared.values())
    first = {file.name: file.read_bytes() for file in figures.iterdir()}
    save(trials=reversed(declared.values()))
    assert first == {file.name: file.read_bytes() for file in figures.iterdir()} and len(first) == 4


def test_changed_new_and_gone_trials_make_a_figure_stale(figures, declared, capsys):
    save(trials=declared.values())
    kept = dict(declared)
    declared[1] = dataclasses.replace(declared[1], steps=999)
    code, printed = answer(figures, capsys)
    assert code == 1 and in_order(printed.out, "stale", "1 of 3", "changed", "0 new", "0 gone")
    declared.update(kept)
    declared[3] = dataclasses.replace(kept[0], seed=3)
    assert in_order(answer(figures, capsys)[1].out, "stale", "0 of 3", "changed", "1 new", "0 gone")
    del declared[3], declared[2]
    assert in_order(answer(figures, capsys)[1].out, "stale", "0 of 3", "changed", "0 new", "1 gone")


def test_a_figure_may_show_a_part_of_what_is_declared_or_more(figures, declared, capsys):
    extra = dataclasses.replace(declared[0], share=0.3)
    save(trials=[declared[0], declared[1], extra])
    record = read_record(figures / "fig07.png")
    assert record["undrawn"] == [provenance.trial_hash(declared[2])]
    assert record["undeclared"] == [provenance.trial_hash(extra)]
    said = " ".join(answer(figures, capsys)[1].out.split())
    assert in_order(said, "current", "2 trials", "1 more", "not checked")
    declared[2] = dataclasses.replace(declared[2], steps=7)  # this trial is not in the figure
    assert answer(figures, capsys)[0] == 0
    declared[0] = dataclasses.replace(declared[0], steps=7)
    assert in_order(answer(figures, capsys)[1].out, "stale", "1 of 2", "changed", "0 new", "0 gone")


def test_a_trial_has_one_hash_whatever_processor_computes_it(figures, monkeypatch):
    size = get_profile("quick").resized("mtl-aqa", 12, 6)
    for system in ("I3D+MLP", "C3D-AVG-MTL", "VST+MLP"):
        dataset = "finefs" if system == "VST+MLP" else "mtl-aqa"
        trial = declare(dataset, system, 0.1, 0, size)
        hashes, features = set(), set()
        for numbers in (torch.bfloat16, torch.float32):
            monkeypatch.setattr(registry, "fast_dtype", lambda device, numbers=numbers: numbers)
            hashes.add(trial_hash(trial))
            features.add(backbone_digest(trial.backbone))
        assert len(hashes) == 1 and len(features) == 2  # features on disk are kept apart


def test_where_nothing_can_be_compared_it_says_so(figures, declared, capsys, tmp_path, monkeypatch):
    save("own_scatter", ["a1"])
    save("fig08")
    save("fig07", declared.values(), source="videos")
    save("fig07_more", declared.values(), weights={"I3D": "0" * 12})
    reasons = {
        "own_scatter": ("declared", "'own_scatter'"),
        "fig08": ("no trials",),
        "fig07": ("videos", "twins"),
        "fig07_more": ("other weights",),
    }
    for name, why in reasons.items():
        code, printed = answer(figures, capsys, f"{name}.png")
        assert code == 0 and in_order(" ".join(printed.out.split()), "not decided", *why), printed.out
    huge = {**read_record(figures / "fig07.png"), "profile": "huge"}
    assert in_order(str(provenance.status(huge, "fig07")), "not decided", "'huge'", "unknown")


def test_stems_name_their_declaration():
    names = {
        "table01": ("I",),
        "table02_curves": ("II",),
        "table06": ("VI",),
        "fig07": ("fig07",),
        "table09": (),
        "decisions": ("decisions",),
        "tables_differences": ("I", "II"),
        "own_results": (),
    }
    assert {stem: provenance.declared_names(stem) for stem in names} == names


def test_trials_are_hashed_and_hashes_taken_as_they_are(figures):
    trial = declare("mtl-aqa", "I3D+MLP", 0.1, 0, get_profile("quick").resized("mtl-aqa", 12, 6))
    record = reporting.provenance("quick", "twins", trials=[trial])
    assert record["hashes"] == [trial_hash(trial)] == reporting.provenance("quick", "x", (), record["hashes"])["hashes"]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    parts = [size, *chunks, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def svg(description: str, doctype: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?>{doctype}<svg xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:description>{description}</dc:description></metadata></svg>"
    ).encode()


GOOD = {"source": "twins", "profile": "quick"}
BOMB = '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))  # 10^9 times "lol" when expanded
LAUGHS = f'<!DOCTYPE svg [<!ENTITY l0 "lol">{LAUGHS}]>'
OUTSIDE = '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE svg [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", png(), "holds no provenance"),
        ("a.png", png()[:20], "cannot be read"),
        ("a.png", b"GIF89a", "cannot be read"),
        ("a.png", png((b"zTXt", b"Description\0\0" + zlib.compress(b"x" * 3_000_000))), "cannot be read"),
        ("a.png", png((b"tEXt", b"Description\0{not json")), "cannot be read"),
        ("a.png", png((b"tEXt", b'Description\0["a list"]')), "the record has no source"),
        ("a.svg", b"<svg></svg>", "holds no provenance"),
        ("a.svg", b"<svg>", "cannot be read"),
        ("a.svg", svg("&b;", BOMB), "declares entities"),
        ("a.svg", svg("&l9;", LAUGHS), "declares entities"),
        ("a.svg", svg("&a;", OUTSIDE), "declares entities"),
        ("a.svg", svg("x", PARAMETER), "declares entities"),
        ("a.svg", svg("&a;"), "cannot be read"),
        ("a.svg", svg("x" * 100)[:-80], "cannot be read"),
        ("a.svg", b"", "cannot be read"),
        ("a.svg", b"\xff\xfe<\x00s", "cannot be read"),
        ("a.md", b"# A page\n", "holds no provenance"),
        ("a.md", b"\xff\xfe", "cannot be read"),
        ("a.md", comment({**GOOD, "hashes": [["x"]]}).encode(), "hashes is not a list"),
        ("a.csv", b"x\n1\n", "(.png, .svg, .md)"),
        ("a.txt", b"", "not a .png, .svg, .md or .csv"),
        ("missing/a.png", None, "no such file"),
    ],
)
def test_a_file_without_provenance_is_named_in_one_line(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["provenance", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and str(tmp_path / name) in printed.err and message in printed.err
    assert printed.out == ""


def test_a_file_too_large_is_not_opened(tmp_path):
    with open(tmp_path / "a.svg", "wb") as file:
        file.truncate(65_000_000)
    with pytest.raises(RecordError, match="a.svg.* 64 MB"):
        read_record(tmp_path / "a.svg")


def test_foreign_records_are_read_and_print_no_control_characters(tmp_path, capsys):
    (tmp_path / "a.svg").write_bytes(svg(json.dumps(GOOD), '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "a.dtd">'))
    assert read_record(tmp_path / "a.svg") == GOOD
    hostile = {**GOOD, "source": "\x1b[31mred\x07 --> <!--"}
    (tmp_path / "b.md").write_text(comment(hostile))
    assert read_record(tmp_path / "b.md") == hostile
    assert main(["provenance", str(tmp_path / "a.svg"), str(tmp_path / "b.md"), str(tmp_path / "c.md")]) == 2
    assert "\x1b" not in capsys.readouterr().out
    old = "| a |\n\n- source: twins\n- profile: quick\n- trials: 9 (ab)\n- command: ./runall.sh\n"
    (tmp_path / "old.md").write_text(old)
    assert read_record(tmp_path / "old.md")["trials"] == "9 (ab)"


def test_what_is_committed_was_made_from_a_commit(tmp_path):
    """A commit with "+" is one whose code was changed when the file was made, so that nobody can make it again."""
    folder = committed_figures(tmp_path)
    made = [file for kind in ("*.png", "*.md") for file in sorted(folder.glob(kind))]
    changed = [file.name for file in made if read_record(file).get("commit", "").endswith("+")]
    assert len(made) > 20 and not changed, "run their notebooks again from a clean working tree"
