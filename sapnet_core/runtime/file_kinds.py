"""Descriptions of what is at a path and of the kind of a file's content, for error messages."""

import os
import stat
from pathlib import Path

__all__ = ["ARCHIVES", "content_kind", "found_at", "listed", "printable"]

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar", ".gz", ".xz", ".zst")
HEAD = 4096  # bytes that are examined
SIGNS = (  # first bytes of a file, and the kind of file that begins with them
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file"),
    (b"%PDF-", "a PDF file"),
    (b"{\\rtf", "an RTF file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"version https://git-lfs", "a pointer of Git LFS (`git lfs pull` fetches the file itself)"),
)
ZIPPED = (
    (b"xl/workbook", "an Excel workbook"),
    (b"word/document", "a Word document"),
    (b"opendocument.spreadsheet", "a spreadsheet of OpenDocument"),
    (b"Index/Document", "a Numbers or Pages document"),
)
MARKUP = ((b"<!doctype html", "a web page"), (b"<html", "a web page"), (b"<?xml", "an XML file"))


def content_kind(content: bytes) -> str:
    """The kind of file that begins with these bytes; "" where it is unknown."""
    if not content:
        return "an empty file"
    if content.startswith(b"PK\x03\x04"):
        inside = (kind for sign, kind in ZIPPED if sign in content[:HEAD])
        return next(inside, "a zip archive")
    text = content[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    markup = (kind for sign, kind in MARKUP if text.startswith(sign))
    return next((kind for sign, kind in SIGNS if content.startswith(sign)), next(markup, ""))


def found_at(path: Path | str) -> str:
    """A description of what is at a path: "a folder", "an empty file", "a link that leads nowhere", "a web page", ...;
    "a file" where its kind is unknown, and "" where there is nothing. Never raises."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if os.path.islink(path):
            return "a link that leads nowhere"
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        return "" if absent else f"not accessible ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "a folder"
    if not stat.S_ISREG(mode):
        return "a pipe, a device or a socket"
    try:
        with open(path, "rb") as file:
            return content_kind(file.read(HEAD)) or "a file"
    except OSError as error:
        return f"a file that cannot be opened ({error.strerror})"


def listed(names: list[str], most: int = 3) -> str:
    """The first `most` names, and the number of further ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def printable(text: str) -> str:
    """Escape a text to one printable line, since names of files may contain line breaks and undecodable bytes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
