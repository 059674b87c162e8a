"""Fingerprints: which edits of a copy of the package change the hash of which stored results, and which change none."""

import re
import shutil
from pathlib import Path

import pytest

from sapnet_core.experiments import trial_hash as trials
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features import store
from sapnet_core.features.store import features_digest
from sapnet_core.features.video_source import DiskSource, TwinSource
from sapnet_core.reporting import inputs, notebook_pages
from sapnet_core.runtime import environment, fingerprint
from sapnet_core.runtime.fingerprint import cached_file_digest, code_digest, file_digest, modules_in, syntax

TRIAL = Trial("finediving", "drawn", "sap-net", 0.2, 0, "score", 40, 20, 5)
PEOPLE = FoldTrial("ui-prmd", "videos", "mlp", 0.2, 0, "score", None, None, 5, by="subject", tested=("s01",))
KEPT = fingerprint.ROOT
BETWEEN, CONSTANT = r"\n\n\n(?=def |class |@)", "\n\nMORE = 2\n\n\n"  # inserts a constant between two definitions


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package without its weights, which the fingerprints read in its place."""
    folder = tmp_path / "sapnet_core"
    shutil.copytree(KEPT, folder, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    monkeypatch.setattr(fingerprint, "ROOT", folder)
    forget()
    yield folder
    monkeypatch.undo()
    forget()


def forget():
    for cached in (code_digest, trials._twins_hash, fingerprint._unchanged_results):
        cached.cache_clear()  # what follows from code is cached, since the code of a process does not change


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("SAPNET_DATA", raising=False)


def hashes() -> dict[str, object]:
    """Kind of stored result -> its hash."""
    forget()
    notebook = environment.root() / "notebooks" / "00_start_here.ipynb"
    return {
        "features": features_digest("finediving", TwinSource()),
        "features of gymnasts": features_digest("rg", TwinSource()),
        "features of files": features_digest("finediving", DiskSource(Path("."), boxes="detected")),
        "trials": trial_hash(TRIAL),
        "trials of the MLP": trial_hash(Trial("finediving", "drawn", "mlp", 0.2, 0, "score", 40, 20, 5)),
        "trials of people": trial_hash(PEOPLE),
        "notebooks": inputs.inputs_digest(notebook, {}),
        "pages": notebook_pages._made_from(notebook, None, "../../"),
    }


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(re.findall(old, text)) >= 1, f"{file.name} has no {old}"
    file.write_text(re.sub(old, new, text, count=1), encoding="utf-8")


FILMED = {"features", "features of files", "features of gymnasts", "trials", "trials of the MLP", "notebooks"}
TRAINED = {"trials", "trials of the MLP", "trials of people", "notebooks"}
CHANGES = {  # edit -> (module, pattern, replacement, kinds of results that become stale)
    "a constant of the renderer": (
        "simulator/render.py",
        r"(?m)^([A-Z_]+ = )(?=[\d.(])",
        r"\g<1>2 * ",
        FILMED - {"features of files"},
    ),
    "a constant of the gymnast": (
        "simulator/gymnastics/gymnast.py",
        BETWEEN,
        CONSTANT,
        {"features of gymnasts", "notebooks"},
    ),
    "how files are decoded": (
        "datasets/decoding.py",
        BETWEEN,
        CONSTANT,
        {"features of files", "notebooks"},
    ),
    "how people are found": (
        "detection/tracking.py",
        BETWEEN,
        CONSTANT,
        {"features of files", "notebooks"},
    ),
    "how crops are cut": ("detection/crops.py", BETWEEN, CONSTANT, FILMED),
    "the backbone": ("backbones/i3d.py", r"(?m)^WIDE, LONG = 64", "WIDE, LONG = 65", FILMED),
    "the trainer": (
        "training/loop.py",
        BETWEEN,
        CONSTANT,
        TRAINED,
    ),
    "what a trial learns from": ("experiments/trial_data.py", BETWEEN, CONSTANT, TRAINED),
    "what a record is": ("datasets/records.py", BETWEEN, CONSTANT, TRAINED),
    "which records a fold tests": ("datasets/folds.py", BETWEEN, CONSTANT, {"trials of people", "notebooks"}),
    "a metric": ("experiments/metrics.py", r"clamp\(-1, 1\)", "clamp(-1, 2)", TRAINED),
    "an interval": ("experiments/intervals.py", "CHUNK = 2_000_000", "CHUNK = 2_000_001", TRAINED),
    "the metrics that are stored": ("experiments/trial_metrics.py", "resamples=1000", "resamples=999", TRAINED),
    "how stored features are put together": ("features/store.py", BETWEEN, CONSTANT, FILMED),
    "how frames are brought": ("features/video_source.py", "EVERY = 4", "EVERY = 5", FILMED),
    "how a backbone is built": ("backbones/registry.py", BETWEEN, CONSTANT, FILMED),
    "the factors of twins, which notebooks show": ("simulator/factors.py", BETWEEN, CONSTANT, {"notebooks"}),
    "the network": ("sapnet/network.py", BETWEEN, CONSTANT, {"trials", "notebooks"}),
    "how annotations are drawn": (
        "simulator/draw_annotations.py",
        BETWEEN,
        CONSTANT,
        {"trials", "trials of the MLP", "notebooks"},
    ),
    "the values that a setting may have": ("methods/limits.py", BETWEEN, CONSTANT, {"notebooks"}),
    "a table's looks": ("reporting/tables.py", BETWEEN, CONSTANT, {"notebooks"}),
}


def test_changes_that_leave_results_as_they_were_are_of_modules_as_they_stand_and_end_with_the_next_change(copy):
    for name, entry in fingerprint._unchanged_results(copy / fingerprint.UNCHANGED)["changed"].items():
        file, now, stored = copy / f"{name.replace('.', '/')}.py", entry["now"], entry["stored"]
        own = fingerprint._tree_digest(file.read_text(encoding="utf-8"))
        assert own == now != stored, f"{name}: remove its entry, or renew it with {own}"
        assert fingerprint._module_digest(name) == stored and entry["why"]
        edit(file, BETWEEN, CONSTANT)
        assert fingerprint._module_digest(name) not in (now, stored)


def test_a_module_that_joined_later_counts_for_nothing_until_it_changes(copy):
    joined = {*trials.AROUND, *store.READS, "backbones.registry", "datasets.folds"}
    entries = fingerprint._unchanged_results(copy / fingerprint.UNCHANGED)["joined"]
    assert entries.keys() <= joined
    for name, entry in entries.items():
        file = copy / f"{name.replace('.', '/')}.py"
        own = fingerprint._tree_digest(file.read_text(encoding="utf-8"))
        assert own == entry["now"], f"{name}: remove its entry, or, if no result changes, renew it with {own}"
        assert not fingerprint._joined_digest(name) and entry["why"]
        edit(file, BETWEEN, CONSTANT)
        assert fingerprint._joined_digest(name) not in ("", own)


@pytest.mark.parametrize("change", CHANGES)
def test_an_edit_makes_stale_what_hangs_on_it_and_nothing_else(copy, change):
    file, old, new, expected = CHANGES[change]
    before = hashes()
    edit(copy / file, old, new)
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == expected


def test_comments_docstrings_and_layout_make_nothing_stale(copy):
    before = hashes()
    for file in copy.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        text = re.sub(r'(?m)^"""', '"""Another sentence. ', text, count=1)
        file.write_text("# a comment\n\n" + text + "\n\n# the end\n", encoding="utf-8")
    assert hashes() == before


@pytest.mark.parametrize("file, old", [("page.css", r"\A"), ("templates/page.html.jinja", r"\Z")])
def test_a_style_sheet_and_a_template_make_pages_stale_alone(copy, file, old):
    before = hashes()
    edit(copy / "reporting" / file, old, "\n")
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == {"pages"}


def test_a_table_of_the_package_makes_notebooks_stale_alone(copy):
    before = hashes()
    edit(copy / "experiments" / "paper.csv", r"\Z", "\n")
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == {"notebooks"}


def test_what_a_module_is_called_counts_and_where_its_imports_lie_does_not():
    assert syntax("from sapnet_core.a import b\n") == syntax("from sapnet_core.c.d import b\n")
    assert syntax("from sapnet_core.a import b\n") != syntax("from sapnet_core.a import c\n")
    assert syntax("from numpy import b\n") != syntax("from scipy import b\n")
    with pytest.raises(ValueError, match="simulator.no_such"):
        code_digest("simulator.no_such")
    assert {"sapnet.network", "simulator", "simulator.diving.diver"} <= set(modules_in())
    assert modules_in("sapnet") == tuple(name for name in modules_in() if name.partition(".")[0] == "sapnet")


def test_a_hash_reads_and_never_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(trials, "digested_records", lambda *_: pytest.fail("records were drawn"))
    assert len({trial_hash(TRIAL), trial_hash(Trial(**{**vars(TRIAL), "seed": 1}))}) == 2
    assert not (tmp_path / "runs").exists()


def test_an_own_method_counts_with_its_text(monkeypatch):
    def first(data, steps, seed):
        return steps

    def second(data, steps, seed):
        return steps + 1

    found = []
    for method in (first, second):
        monkeypatch.setitem(trials.METHODS, "own", method)
        found.append(trial_hash(Trial("finediving", "drawn", "own", 0.2, 0, "score", 40, 20, 5)))
    assert len(set(found)) == 2


def test_weights_count_by_content(tmp_path):
    file, same = tmp_path / "a.pt", tmp_path / "b.pt"
    file.write_bytes(b"weights")
    same.write_bytes(b"weights")
    assert cached_file_digest(file) == cached_file_digest(same) == file_digest(file)
    file.write_bytes(b"other weights")
    assert cached_file_digest(file) != cached_file_digest(same)
