"""The RO-Crate lists the repository's results as they are, and its validator accepts it, without network."""

import importlib.resources
import io
import json
from pathlib import Path

import pytest

from sapnet_core.experiments.stored import stored_names
from sapnet_core.reporting import crate
from sapnet_core.reporting.parts import parts
from sapnet_core.runtime import environment
from sapnet_core.runtime.fingerprint import file_digest

ROOT = environment.root()


@pytest.fixture(scope="module")
def graph() -> dict[str, dict]:
    """The entities of the crate of this repository, by identifier."""
    return {entity["@id"]: entity for entity in json.loads(crate.crate(ROOT))["@graph"]}


def test_every_file_is_listed_as_it_is(graph):
    listed = {part["@id"] for part in graph["./"]["hasPart"]}
    shown = {f"figures/{f.name}" for f in (ROOT / "figures").iterdir() if f.suffix in crate.FORMATS}
    books = {f"notebooks/{f.name}" for f in environment.find_notebooks()}
    folders = (ROOT / "sapnet_core" / "study", ROOT / "sapnet_core" / "study" / "measured")
    stored = {f.relative_to(ROOT).as_posix() for folder in folders for f in folder.glob("*.parquet")}
    assert listed == shown | books | stored
    for name in ("figures/table01.csv", "notebooks/05_ablations.ipynb", "sapnet_core/study/trials.parquet"):
        assert graph[name]["sha256"] == file_digest(ROOT / name)
        assert graph[name]["contentSize"] == str((ROOT / name).stat().st_size)


def test_a_figure_names_its_notebook_and_its_provenance(graph):
    action = graph["#made-fig05"]
    assert action["@type"] == "CreateAction"
    assert action["instrument"]["@id"] == "notebooks/10_fig05_score_scatter.ipynb"
    assert {file["@id"] for file in action["result"]} == {f"figures/fig05.{kind}" for kind in ("png", "svg", "csv")}
    told = dict(part.split(": ", 1) for part in action["description"].split("; "))
    assert {"source", "profile", "seeds", "trials", "commit", "command"} <= told.keys()


def test_a_table_names_the_stored_trials_behind_it_at_whatever_size_they_were_run(graph):
    kept = {name.rpartition("-")[2] for name in stored_names("study")}
    tables = {f"sapnet_core/study/{name}.parquet" for name in crate.STORED}
    seen = set()
    for part in parts(ROOT / "figures"):
        if part.record:
            action = graph[f"#made-{part.stem}"]
            named = {stored["@id"] for stored in action.get("object", [])}
            assert (tables <= named) is bool(kept & set(map(str, part.record.get("hashes", ())))), part.stem
            assert all(graph[name]["encodingFormat"] == "application/vnd.apache.parquet" for name in named)
            seen |= {part.stem} if named else set()
    assert {"table01", "table06", "table07"} <= seen  # the last two also where their size is quick


def fill(cache: Path) -> None:
    """Put the JSON-LD context that every crate names into the validator's cache, as a visit to its address would: the
    library `rocrate` ships a copy, and no test needs the network."""
    import requests
    from requests_cache import CachedSession
    from urllib3 import HTTPResponse

    class Shipped(requests.adapters.HTTPAdapter):
        def send(self, request, **_):
            content = importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
            kind = {"Content-Type": "application/ld+json"}
            body = HTTPResponse(io.BytesIO(content), kind, 200, preload_content=False, request_url=request.url)
            return self.build_response(request, body)

    with CachedSession(str(cache)) as session:
        session.mount("https://", Shipped())
        assert session.get("https://w3id.org/ro/crate/1.3/context").json()["@context"]


def faults(folder: Path, cache: Path) -> list[str]:
    """What the validator finds in a crate by all its required checks."""
    from rocrate_validator import models, services

    settings = services.ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="ro-crate-1.3",
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=str(cache),
    )
    return [issue.message for issue in services.validate(settings).get_issues()]


def test_every_reference_leads_to_an_entity(graph):
    def references(value):
        if isinstance(value, dict):
            yield from [value["@id"]] if set(value) == {"@id"} else []
            value = list(value.values())
        for part in value if isinstance(value, list) else []:
            yield from references(part)

    schemes = ("https://w3id.org/", "http://schema.org/")
    lost = {name for entity in graph.values() for name in references(entity)} - graph.keys()
    assert [name for name in lost if not name.startswith(schemes)] == []
    assert graph["./"].keys() >= {"name", "description", "datePublished", "license", "author", "hasPart"}
    assert all({"@type", "name"} <= entity.keys() for name, entity in graph.items() if name != crate.NAME)


def test_the_validator_accepts_the_crate_and_refuses_a_broken_one(tmp_path):
    pytest.importorskip(
        "rocrate_validator",
        reason="the validator is missing: pip install --no-deps -r tests/without_dependencies.txt",
    )
    cache = tmp_path / "cache"
    fill(cache)
    for name in ("figures", "notebooks", "sapnet_core", "codemeta.json"):
        (tmp_path / name).symlink_to(ROOT / name)
    file = crate.write_crate(tmp_path)
    assert faults(tmp_path, cache) == []
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("figures/fig05.csv", "figures/gone.csv"), encoding="utf-8")
    assert any("gone.csv" in fault for fault in faults(tmp_path, cache))


def test_the_stored_crate_is_that_of_the_stored_files():
    assert (ROOT / crate.NAME).read_text(encoding="utf-8") == crate.crate(ROOT), (
        f"{crate.NAME} is not the crate of the files beside it: python -m sapnet_core gallery"
    )
