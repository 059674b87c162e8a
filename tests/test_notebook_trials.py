"""Each notebook names its profile, and what it reads is known before it runs."""

import re

import pytest
from notebook_kit import build

from sapnet_core.experiments.names import KNOWN, SHOWN_IN
from sapnet_core.experiments.profiles import PROFILES, get_profile
from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.stored import stored_names
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting.check_notebooks import READS_FEATURES
from sapnet_core.reporting.claims import needed_trials
from sapnet_core.reporting.notebook_trials import LEDGER, notebook_trials
from sapnet_core.reporting.notebooks import find, load, own_profile
from sapnet_core.reporting.provenance import provenance

DECLARES = re.compile(r'\b(?:figure|declared|table|class|comparison)_trials\("(\w+)"')


def test_a_notebook_names_its_profile(tmp_path):
    assert {own_profile(path) for path in find()} <= set(PROFILES)
    one = build(tmp_path / "one.ipynb", "print(profile)", parameters='count: int = 3\nprofile: str = "study"')
    assert own_profile(one) == "study"
    assert own_profile(tmp_path / "absent.ipynb") == own_profile("no_such_notebook") == "quick"
    assert own_profile("05_ablations") == own_profile(next(path for path in find() if path.stem == "05_ablations"))


def test_the_command_names_a_profile_only_where_it_is_not_the_notebooks_own():
    own = own_profile("05_ablations")
    assert provenance(own, "twins", notebook="05_ablations")["command"] == "./runall.sh --only 05"
    assert provenance("smoke", "twins", notebook="05_ablations")["command"] == "./runall.sh --profile smoke --only 05"


def test_what_a_notebook_shows_is_known():
    stems = {path.stem for path in find()}
    assert set(SHOWN_IN) <= stems
    for path in find():
        named = {n for cell in load(path).cells if cell.cell_type == "code" for n in DECLARES.findall(cell.source)}
        # rows that are shown, or counted, where they are stored
        optional = {"trained"} if path.stem in ("05_ablations", "09_decisions") else set()
        known = KNOWN if path.stem == LEDGER else SHOWN_IN.get(path.stem, ())
        assert named - optional <= set(known), path.stem
    assert set().union(*SHOWN_IN.values()) == set(KNOWN) - {"trained"}


def test_the_ledger_reads_what_the_claims_compare():
    (path,) = (path for path in find() if path.stem == LEDGER)
    for name in ("smoke", own_profile(path)):
        assert set(notebook_trials([path], name)) == set(needed_trials(get_profile(name)))


def test_a_notebooks_trials_have_its_own_profile_or_the_one_that_is_given():
    path = next(path for path in find() if path.stem == "18_fig13_errors")
    own = notebook_trials([path])
    assert own == list(dict.fromkeys(declared_trials("fig13", get_profile(own_profile(path))).values()))
    assert {trial.train for trial in notebook_trials([path], "smoke")} == {80}
    assert notebook_trials([path, path]) == own and notebook_trials([]) == []


@pytest.mark.parametrize("name", ["00_start_here", "a1_backbone"])
def test_a_notebook_without_tables_reads_no_declared_trials(name):
    assert notebook_trials([path for path in find() if path.stem == name]) == []


def test_a_notebook_of_the_study_needs_nothing_but_stored_results():
    """Otherwise a fresh machine would train for hours, or compute the features of thousands of videos."""
    for path in find():
        if own_profile(path) == "study":
            missing = {result_name(trial) for trial in notebook_trials([path])} - stored_names()
            assert not missing, (path.stem, len(missing))
            cells = [cell.source for cell in load(path).cells if cell.cell_type == "code"]
            live = any("live_profile(" in source for source in cells)  # what it trains itself has another size
            assert live or not [source for source in cells if READS_FEATURES.search(source)], path.stem
