"""The files by which others install, cite and index this project agree with each other."""

import ast
import csv
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sapnet_core
from sapnet_core.runtime import environment

ROOT = environment.root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODEMETA = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))


def locked() -> list[dict]:
    """The packages in `uv.lock` that come from a package index: all but this project."""
    return [package for package in LOCK["package"] if "registry" in package["source"]]


def test_the_lock_fits_the_ranges_of_every_extra():
    versions: dict[str, list[str]] = {}
    for package in locked():
        versions.setdefault(package["name"], []).append(package["version"])
    for line in PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), []):
        requirement = Requirement(line)
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement.name} is not locked: run uv lock"
        assert all(version in requirement.specifier for version in found), requirement.name


def imported(file: Path) -> set[str]:
    """Top-level names of the modules that a Python file or the code cells of a notebook import."""
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        cells = ["".join(cell["source"]) for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
        lines = "\n".join(cells).splitlines()
        source = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_every_imported_package_is_declared():
    """An imported package is declared even if another dependency happens to install it."""
    lines = PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
    apart = (ROOT / "tests" / "without_dependencies.txt").read_text(encoding="utf-8").splitlines()
    lines += [line for line in apart if not line.startswith("#")]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    own = {"sapnet_core", *(file.stem for file in (ROOT / "tests").rglob("*.py")), *sys.stdlib_module_names}
    files = [file for folder in ("sapnet_core", "tests") for file in (ROOT / folder).rglob("*.py")]
    files += [*(ROOT / "notebooks").glob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    packages = packages_distributions()
    for name in set().union(*map(imported, files)) - own:
        assert declared & {canonicalize_name(package) for package in packages.get(name, [name])}, name


def test_the_lock_names_the_public_index_and_a_hash_of_every_file():
    for package in locked():
        assert package["source"]["registry"] == "https://pypi.org/simple", package["name"]
        files = package.get("wheels", []) + [package[key] for key in ("sdist",) if key in package]
        assert files and all(file["url"].startswith("https://files.pythonhosted.org/") for file in files)
        assert all(file["hash"].startswith("sha256:") for file in files)


def test_constraints_of_pip_are_the_versions_of_the_lock():
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition(";")[0].strip() for line in lines if not line.startswith("#")]
    assert sorted(pins) == sorted(f"{package['name']}=={package['version']}" for package in locked())


def test_environment_of_conda_installs_what_the_lock_names():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    assert "-c tests/constraints.txt" in pip and "-e .[notebooks,test]" in pip
    (python,) = (entry for entry in conda if str(entry).startswith("python="))
    assert python.removeprefix("python=") in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_citation_and_codemeta_agree_with_the_project():
    assert CITATION["version"] == CODEMETA["version"] == sapnet_core.__version__
    assert CODEMETA["license"] == f"https://spdx.org/licenses/{PROJECT['license']}"
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["title"] == CODEMETA["name"]
    assert CITATION["keywords"] == CODEMETA["keywords"]
    assert CODEMETA["description"] == PROJECT["description"]
    needed = [package["name"] + package["version"] for package in CODEMETA["softwareRequirements"]]
    assert needed == PROJECT["dependencies"]
    assert CODEMETA["programmingLanguage"]["version"] == PROJECT["requires-python"]


def test_one_author_and_one_paper_wherever_they_are_named():
    (author,) = CITATION["authors"]
    assert [author["name"]] == [entry["name"] for entry in CODEMETA["author"]]
    assert author["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
    (paper,) = CITATION["references"]
    published = CODEMETA["referencePublication"]
    assert paper["title"] == published["name"]
    names = [(person["givenName"], person["familyName"]) for person in published["author"]]
    assert names == [(person["given-names"], person["family-names"]) for person in paper["authors"]]


def shown(name: str) -> str:
    """The part of the README between the marker of this name and the next end marker."""
    return README.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0]


def test_readme_draws_every_room_of_the_package():
    rooms = {folder.name for folder in (ROOT / "sapnet_core").iterdir() if folder.is_dir() and folder.name[0] != "_"}
    assert rooms == set(re.findall(r"^  (\w+)/ ", shown("rooms"), re.MULTILINE))


def test_readme_counts_the_verdicts_of_the_ledger():
    """Both files are those of the last commit, since a user's own run writes its ledger into figures/."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    readme, ledger = (
        subprocess.check_output(["git", "show", f"HEAD:{name}"], cwd=ROOT, text=True, encoding="utf-8")
        for name in ("README.md", "figures/claims.csv")
    )
    rows = readme.split("<!-- figures/claims.csv -->")[1].split("<!-- end -->")[0].strip().splitlines()[2:]
    counted = dict(re.fullmatch(r"\| ([\w ]+) \| (\d+) \|", row).groups() for row in rows)
    verdicts = [row["verdict"] for row in csv.DictReader(ledger.splitlines()) if row["control"] == "False"]
    assert {verdict: int(count) for verdict, count in counted.items()} == Counter(verdicts)


def test_readme_names_files_modules_and_notebooks_that_exist():
    for name in re.findall(r"`((?:sapnet_core|tests|figures)/[\w/.]+)`", README):
        assert (ROOT / name).exists() or name.startswith(("figures/study", "figures/quick", "figures/own")), name
    for name in re.findall(r"python -m (sapnet_core[\w.]*)", README):
        assert importlib.util.find_spec(name), name
    numbers = {file.stem for file in (ROOT / "notebooks").glob("*.ipynb")}
    assert numbers == set(re.findall(r"`((?:\d\db?|a\d)_\w+)`", README))


def test_shipped_weights_are_those_of_the_checksums():
    folder = ROOT / "sapnet_core" / "weights"
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sums == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")}
