"""Describe the repository's results as an RO-Crate: what each file is, and what it was computed from.

An RO-Crate is a folder with the file `ro-crate-metadata.json`, which catalogs and archives read. Here the folder is
the repository. The crate lists every table and figure, the notebooks, the stored trials and the pages of the gallery,
each with its size and SHA-256, and one action for each table or figure: the notebook that made it, the trials it was
made from, and its provenance record.

Specification: https://w3id.org/ro/crate/1.3. The gallery writes the file again whenever it is written.
"""

import json
from pathlib import Path

from sapnet_core.experiments.stored import SHELVES, stored_names
from sapnet_core.reporting.notebooks import find, load
from sapnet_core.reporting.parts import Part, parts
from sapnet_core.reporting.provenance import provenance_rows
from sapnet_core.runtime.files import read_json, write_text
from sapnet_core.runtime.fingerprint import file_digest

__all__ = ["NAME", "crate", "write_crate"]

NAME = "ro-crate-metadata.json"
FORMATS = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
    ".parquet": "application/vnd.apache.parquet",
}
STORED = {
    "trials": "One row for each stored trial: its settings, its metrics, and the SHA-256 of its result files",
    "predictions": "The predicted score of every test video, for each stored trial",
    "curves": "The loss terms and metrics over the training steps, for each stored trial",
}
# the sets of `experiments.stored.SHELVES` that tables and figures read; `small` serves the tests alone
READ = {"study": "trials", "measured": "trials on data of real people"}


def crate(root: Path) -> str:
    """Return the text of `ro-crate-metadata.json` for a repository; equal files give an equal text.

    Args:
        root: the repository, with `figures/`, `notebooks/`, `sapnet_core/study/` and `codemeta.json`.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    from rocrate.rocrate import ROCrate

    meta = read_json(root / "codemeta.json")
    made = ROCrate(version="1.3")
    made.name, made.description = meta["name"], meta["description"]
    made.datePublished = meta["datePublished"]
    text = "Permission is granted to use, copy, change and distribute the work, without warranty: see the file LICENSE."
    terms = {"@type": "CreativeWork", "name": "MIT License", "description": text}
    made.license = _entity(made, meta["license"], terms)
    made.root_dataset["keywords"] = meta["keywords"]
    made.root_dataset["version"] = meta["version"]
    (author,) = meta["author"]
    paper = dict(meta["referencePublication"])
    people = paper.pop("author")
    made.root_dataset["author"] = _entity(made, "#authors", author)
    made.root_dataset["isBasedOn"] = article = _entity(made, "#paper", paper)
    article["author"] = [
        _entity(made, f"#{who['familyName']}", {**who, "name": f"{who['givenName']} {who['familyName']}"})
        for who in people
    ]

    def add(file: Path, name: str, text: str, **more: object):
        about = {"name": name, "description": text, "encodingFormat": FORMATS[file.suffix], **more}
        size = {"contentSize": str(file.stat().st_size), "sha256": file_digest(file)}
        return made.add_file(dest_path=file.relative_to(root).as_posix(), properties={**about, **size})

    python = _entity(made, "#python", {**meta["programmingLanguage"], "url": "https://www.python.org/"})
    kinds = {"@type": ["File", "SoftwareSourceCode"], "programmingLanguage": {"@id": python.id}}
    books = {}
    for file in find(folder=root / "notebooks"):
        title, _, text = load(file).cells[0].source.partition("\n")
        books[file.stem] = add(file, title.lstrip("# "), " ".join(text.split()) or title.lstrip("# "), **kinds)
    stored = []
    for shelf, of in READ.items():
        folder = root / "sapnet_core" / "study" / SHELVES[shelf][0]
        tables = [
            add(folder / f"{name}.parquet", f"Stored {of}: {name}", text)
            for name, text in STORED.items()
            if (folder / f"{name}.parquet").is_file()
        ]
        stored.append((frozenset(name.rpartition("-")[2] for name in stored_names(shelf)), tables))
    for part in parts(root / "figures"):
        text = part.caption or part.title
        files = [add(part.folder / name, f"{part.title} ({name})", text) for name in part.files]
        if part.record:
            _action(made, part, books, stored, files)
    for file in sorted((root / "figures").glob("*.html")):
        add(file, f"Page of the gallery: {file.stem}", "A page that shows these files and needs no network.")
    return json.dumps(made.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _entity(made, identifier: str, about: dict[str, object]):
    """Add a thing that is no file. `about` is a JSON-LD object with a "@type"."""
    from rocrate.model.contextentity import ContextEntity

    return made.add(ContextEntity(made, identifier, about))


def _action(made, part: Part, books: dict[str, object], stored: list[tuple], files: list) -> None:
    """Add the action that made a table or figure; its description is the provenance record, and its objects are the
    tables of stored trials that hold any of its trials, at whatever size these were run.

    Args:
        stored: for each set of tables, the hashes of its trials, and its files.
    """
    record, notebook = part.record, part.notebook
    hashes = set(map(str, record.get("hashes", ())))
    told = "; ".join(f"{name}: {text}" for name, text in provenance_rows(record))
    action = made.add_action(
        instrument=books[notebook.stem] if notebook and notebook.stem in books else None,
        identifier=f"#made-{part.stem}",
        object=[file for names, tables in stored if names & hashes for file in tables] or None,
        result=files,
        properties={"name": f"{part.title}: {record['command']}", "description": told},
    )
    action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    made.root_dataset.append_to("mentions", action)


def write_crate(root: Path) -> Path:
    """Write `ro-crate-metadata.json` of a repository; returns its path. Raises as `crate`."""
    return write_text(root / NAME, crate(root))
