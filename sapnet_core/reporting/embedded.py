"""The provenance record inside the file of a figure or table, read back without trusting the file.

A PNG has it in the text chunk "Description", an SVG in `dc:description` of its metadata, Markdown in an HTML comment at
the end (older files: in the list that they show). A CSV has no room for it, so the file of the same stem beside it is
read instead.
"""

import json
import re
from pathlib import Path

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse
from PIL import Image

__all__ = ["RecordError", "comment", "read_record"]

LARGEST = 64_000_000  # maximum size of a file in bytes; the suite's own figures are far smaller
LISTS = ("hashes", "undrawn", "undeclared")
SIBLINGS = (".png", ".svg", ".md")
COMMENT = re.compile(r"^<!-- provenance (\{.*\}) -->$", re.MULTILINE)
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


class RecordError(ValueError):
    """The provenance of a file cannot be read; the message names the file."""


def comment(record: dict[str, object]) -> str:
    """Format a record as an HTML comment for Markdown: one line that is not displayed."""
    return f"<!-- provenance {json.dumps(record, sort_keys=True).replace('>', chr(92) + 'u003e')} -->\n"


def read_record(path: Path | str) -> dict[str, object]:
    """Read the provenance of a .png, .svg, .md or .csv.

    Returns:
        The record of `sapnet_core.reporting.provenance.provenance`, with what saving added; older files have no
        "hashes".

    Raises:
        RecordError: the file is missing, damaged, too large, of another kind, or without a record.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise RecordError(f"{path}: no such file")
        if path.stat().st_size > LARGEST:
            raise RecordError(f"{path}: larger than {LARGEST // 1_000_000} MB: not a figure or table of this suite")
        if path.suffix == ".csv":
            beside = [path.with_suffix(kind) for kind in SIBLINGS if path.with_suffix(kind).is_file()]
            if not beside:
                kinds = ", ".join(SIBLINGS)
                raise RecordError(
                    f"{path}: a .csv stores no provenance, and no file of the same name ({kinds}) is beside it"
                )
            return read_record(beside[0])
        if path.suffix not in READERS:
            raise RecordError(f"{path}: not a .png, .svg, .md or .csv")
        found = READERS[path.suffix](path)
        if found is None:
            raise RecordError(f"{path}: holds no provenance: it was not saved by this suite")
        return _checked(found)
    except RecordError:
        raise
    except Exception as error:  # a hostile file fails in many ways: OSError, SyntaxError, UnicodeError ...
        reason = " ".join(str(error).split())[:120]
        raise RecordError(f"{path}: its provenance cannot be read ({type(error).__name__}: {reason})") from None


def _png(path: Path) -> str | None:
    with Image.open(path, formats=("PNG",)) as image:  # reads the chunks before the pixels, decodes nothing
        return image.info.get("Description")


def _svg(path: Path) -> str | None:
    """Text of the first `dc:description`; nothing behind it is read, nor anything outside the file."""
    with open(path, "rb") as file:
        try:
            for _, element in iterparse(file, forbid_entities=True, forbid_external=True):
                if element.tag == DESCRIPTION:
                    return "".join(element.itertext())
        except DefusedXmlException:
            text = "its document type declares entities, unlike the figures of this suite: make the figure again"
            raise RecordError(f"{path}: {text}") from None
    return None


def _markdown(path: Path) -> str | dict | None:
    text = path.read_text(encoding="utf-8")
    if found := COMMENT.findall(text):
        return found[-1]
    rows = dict(re.findall(r"^- (\w+): (.*)$", text, re.MULTILINE))
    return rows if {"source", "profile", "command"} <= set(rows) else None


READERS = {".png": _png, ".svg": _svg, ".md": _markdown}


def _checked(found: str | dict) -> dict[str, object]:
    record = json.loads(found) if isinstance(found, str) else found
    if not isinstance(record, dict) or not all(isinstance(record.get(k), str) for k in ("source", "profile")):
        raise ValueError("the record has no source or no profile")
    for name in LISTS:
        part = record.get(name, [])
        if not isinstance(part, list) or not all(isinstance(h, str) and h.isalnum() for h in part):
            raise ValueError(f"{name} is not a list of hashes")
    return record
