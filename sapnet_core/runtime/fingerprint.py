"""Fingerprints, the one rule for whether a stored result is up to date: a hash of everything that determines it.

A fingerprint covers content: the bytes of input files, plain values such as settings, an explicit version, and the
source code. Code is hashed as its syntax tree without comments, docstrings and layout, so that editing a comment leaves
results valid, while changing a constant does not. Nothing here writes to disk.

There is one exception. Of the user's own large files, such as videos, sizes and modification times are hashed in place
of their bytes (`features.video_source`, `reporting.inputs`), since reading gigabytes to find out that nothing has
changed would take longer than the work it saves. A copy of such a file with a new time counts as a changed file.
"""

import ast
import hashlib
import json
import os
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = [
    "bytes_digest",
    "cached_file_digest",
    "code_digest",
    "file_digest",
    "fingerprint",
    "imported_modules",
    "modules_in",
    "package_data_digest",
    "syntax",
]

PACKAGE = "sapnet_core"
ROOT = Path(__file__).parent.parent
UNCHANGED = Path("study") / "unchanged_results.toml"  # below ROOT: code that leaves stored results as they were


def fingerprint(*parts: object, digits: int = 16) -> str:
    """Hash of plain values (numbers, text, None, lists, dicts), in `digits` hexadecimal digits.

    Raises:
        TypeError: a part is not a plain value, so that its text could differ from run to run.
    """
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's content, in 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bytes_digest(parts: Iterable[bytes]) -> str:
    """SHA-256 of bytes that are given in parts, in 64 hexadecimal digits: where they are divided has no influence."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def cached_file_digest(path: Path | str) -> str:
    """`file_digest`, cached: a file is read again only when its size or modification time changes."""
    state = os.stat(path)
    return _content_digest(os.path.abspath(path), state.st_size, state.st_mtime_ns)


@cache
def _content_digest(path: str, _size: int, _written: int) -> str:
    return file_digest(path)


@cache
def code_digest(
    *modules: str, within: tuple[str, ...] = (), without: tuple[str, ...] = (), joined: tuple[str, ...] = ()
) -> str:
    """Hash of the source code of modules of this package, in 16 hexadecimal digits; cached per process.

    Args:
        modules: names below the package, such as "simulator.render".
        within: subpackages in which imports are followed: with ("simulator",), the modules of the simulator that
            `modules` import, directly or indirectly, are hashed as well, and no others.
        without: names of imported modules that are left out, with what they alone import. A subpackage's name leaves
            out its `__init__` and none of its modules.
        joined: further modules, without their imports, that joined when results had been stored. While the code of one
            is what it was then, it counts for nothing, so that these results are still found; once it has changed, it
            counts as the others do.
    """
    names = imported_modules(modules, within, without)
    digests = [[name, _module_digest(name)] for name in names]
    later = [[name, digest] for name in sorted(joined) if (digest := _joined_digest(name))]
    return fingerprint(digests + later)


def imported_modules(
    modules: tuple[str, ...], within: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The modules and those in the subpackages `within` that they import, directly or indirectly, sorted by name."""
    found, todo = set(), list(modules)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            own = [other for other in _imports(_source(name)) if other.partition(".")[0] in within]
            todo += [other for other in own if _is_module(other) and other not in without]
    return tuple(sorted(found))


def modules_in(*subpackages: str) -> tuple[str, ...]:
    """Names of all modules in these subpackages, or in the whole package where none is given."""
    names = []
    for file in sorted(ROOT.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        if name and (not subpackages or name.partition(".")[0] in subpackages):
            names.append(name)
    return tuple(names)


def _source(name: str) -> str:
    """The source text of a module. Raises ValueError where the package has no such module."""
    place = ROOT / name.replace(".", "/")
    for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ValueError(f"{PACKAGE} has no module {name!r}: give the name of an existing module")


def _is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return bool(name) and (place.with_name(f"{place.name}.py").is_file() or (place / "__init__.py").is_file())


@cache
def _imports(source: str) -> tuple[str, ...]:
    """Names of modules of this package, or of their members, that are imported anywhere in a module's source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names.append(node.module or "")
        else:
            continue
        found += [name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")]
    return tuple(found)


def _module_digest(name: str) -> str:
    """SHA-256 of a module's syntax tree, or of the earlier one whose results it leaves as they were."""
    own, entry = _tree_digest(_source(name)), _unchanged_results(ROOT / UNCHANGED)["changed"].get(name)
    return entry["stored"] if entry and own == entry["now"] else own


def _joined_digest(name: str) -> str:
    """SHA-256 of a module's syntax tree; "" where it is the one with which the module joined."""
    own, entry = _tree_digest(_source(name)), _unchanged_results(ROOT / UNCHANGED)["joined"].get(name)
    return "" if entry and own == entry["now"] else own


@cache
def _unchanged_results(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The entries of `UNCHANGED`: kind of entry -> module -> entry; the file says what they mean."""
    with open(file, "rb") as content:
        return tomllib.load(content)


@cache
def _tree_digest(source: str) -> str:
    return bytes_digest([syntax(source).encode()])


def package_data_digest(*patterns: str, without: tuple[str, ...] = ()) -> str:
    """Hash of names and contents of the package's files other than Python modules.

    Args:
        patterns: patterns for `Path.match` that select files, such as "templates/*"; all files where none is given.
        without: patterns of files that are left out.
    """
    found = {}
    for file in sorted(ROOT.rglob("*")):
        wanted = not patterns or any(map(file.match, patterns))
        if wanted and file.is_file() and file.suffix not in (".py", ".pyc") and not any(map(file.match, without)):
            found[file.relative_to(ROOT).as_posix()] = file_digest(file)
    return fingerprint(found)


def syntax(source: str) -> str:
    """The syntax tree of a program as text, equal for equal programs in every version of Python.

    Comments, layout and docstrings are left out, and so are the module names in imports from this package, so that
    moving a module changes nothing; imported code has its own hash.
    """
    return _text(ast.parse(source))


def _text(node: object) -> str:
    if isinstance(node, ast.AST):
        fields: Iterable[tuple[str, object]] = ast.iter_fields(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            fields = [(name, body if name == "body" else value) for name, value in fields]
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            fields = [("names", node.names)]
        # empty fields are left out: newer versions of Python have fields that older ones lack
        told = (f"{name}={_text(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({', '.join(told)})"
    if isinstance(node, list):
        return "[" + ", ".join(map(_text, node)) + "]"
    return repr(node)
