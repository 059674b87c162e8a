"""Check that each back-ticked name in the README, the notebooks, and the package's docstrings and comments exists.

A name may be a file or folder, an environment variable, an option, a command, a module, an attribute of a module or a
class, or an identifier or string of the code around the text. `python tests/names_in_prose.py` lists the names that
are none of these.
"""

import ast
import builtins
import importlib.util
import io
import json
import keyword
import re
import shlex
import sys
import tokenize
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sapnet_core.__main__ import parse

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sapnet_core"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OF_OTHERS = re.compile(r"\([\w-]+/[\w.-]+(?:,\s+`[^`]+`)+\)")  # (owner/repository, `file`): files of other repositories
TICKED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
FILE = re.compile(r"\.(py|csv|json|toml|cfg|ipynb|png|svg|md|html|css|sh|yml|txt|pkl|npy|npz|mp4|jpg|safetensors)$")
OPTION = re.compile(r"--[a-z][a-z-]*")


@dataclass
class Code:
    """The names in Python source: identifiers, string constants other than docstrings, and definitions."""

    words: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)  # at module level
    members: dict[str, set[str]] = field(default_factory=dict)  # class -> its attributes
    libraries: set[str] = field(default_factory=set)  # third-party and standard modules that it imports from


def docstrings(tree: ast.Module) -> dict[ast.Constant, str]:
    """Node -> text of every docstring of a module, its classes and functions; strings below attributes are left out."""
    nodes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                nodes[first.value] = str(first.value.value)
    return nodes


def read_code(source: str) -> Code:
    """Collect the names in Python source."""
    tree, code = ast.parse(source), Code()
    texts = docstrings(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                code.words.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                code.words.add(name)
            case ast.ImportFrom(module=str(module)) if not module.startswith(("sapnet_core", "__")):
                code.libraries.add(module)
            case ast.alias(name=name, asname=other):
                code.words |= {other or name.rpartition(".")[2]}
            case ast.Constant(value=str(text)) if node not in texts:
                code.strings.add(text)
    for node in tree.body:
        code.defined |= _bound(node)
        if isinstance(node, ast.ClassDef):
            own = set().union(*map(_bound, node.body))
            own |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
            code.members[node.name] = own
    return code


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement defines or assigns."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.If() | ast.Try():
            return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()


@cache
def modules() -> dict[str, Code]:
    """Modules and subpackages, by their names without the package's, such as "features.store"."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = read_code(file.read_text(encoding="utf-8"))
    return found


@cache
def short_names() -> dict[str, list[str]]:
    """Last part of a module's name -> all modules with that last part."""
    found: dict[str, list[str]] = {}
    for name in modules():
        found.setdefault(name.rpartition(".")[2], []).append(name)
    return found


@cache
def everything() -> Code:
    """The names in the whole package, without the tests."""
    whole = Code()
    for code in modules().values():
        whole.words |= code.words
        whole.strings |= code.strings
        whole.defined |= code.defined
        whole.libraries |= code.libraries
        for name, members in code.members.items():
            whole.members.setdefault(name, set()).update(members)
    return whole


@cache
def settings() -> tuple[str, frozenset[str]]:
    """Names outside Python code: the text of runall.sh, and the extras and packages in pyproject.toml."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(project)["project"]["optional-dependencies"]
    packages = {re.split(r"[<>=\[]", line)[0] for lines in extras.values() for line in lines}
    return (ROOT / "runall.sh").read_text(encoding="utf-8"), frozenset({*extras, *packages})


def in_libraries(name: str, own: Code) -> bool:
    """Whether a library that the code imports from has an attribute of this name."""
    return any(hasattr(importlib.import_module(library), name) for library in own.libraries)


@cache
def in_strings(part: str) -> bool:
    """Whether a string of the package's code, or runall.sh, contains this text as a whole word."""
    whole = re.compile(rf"(?<![\w-]){re.escape(part)}(?![\w-])")
    return any(whole.search(text) for text in everything().strings) or bool(whole.search(settings()[0]))


def is_path(name: str, beside: Path) -> bool:
    """Whether a file or folder exists, or (outside this repository's folders) each part of its path is in the code."""
    places = (
        ROOT,
        PACKAGE,
        beside,
        *(p for p in PACKAGE.iterdir() if p.is_dir()),
        ROOT / "figures",
        ROOT / "notebooks",
    )
    pattern = re.sub(r"\.\.\.|…|\{[^}]*\}|<[^>]*>", "*", name.strip("/").removeprefix("./"))
    pattern = re.sub(r"\b(DIR|NAME)\b", "*", pattern)  # placeholders in the usage lines of commands
    if any(next(place.glob(pattern), None) for place in places if pattern):
        return True
    parts = [part.strip(".") for part in re.split(r"[/*]", pattern) if part.strip(".")]
    ours = parts[:1] in (["sapnet_core"], ["tests"], ["notebooks"])  # these paths have to exist
    return bool(parts) and not ours and all(in_strings(part) or part in everything().words for part in parts)


def is_dotted(name: str, own: Code, room: str) -> bool:
    """Whether a dotted name resolves: from a module, a class, or an identifier of the code around the text."""
    parts = name.split(".")
    if parts[0] == "sapnet_core":
        parts = parts[1:]
        if not parts:
            return True
    for length in range(len(parts), 0, -1):
        first = ".".join(parts[:length])
        candidates = [n for n in (first, f"{room}.{first}") if n in modules()]
        candidates += short_names().get(first, [])
        for module in candidates:
            if _below(modules()[module], parts[length:], module):
                return True
    if name.startswith("sapnet_core."):
        return False
    head, *rest = parts
    classes = own.members if head in own.members else everything().members
    if head in classes:
        return not rest or rest[0] in classes[head] or rest[0] in everything().words
    if head not in own.words and head not in own.defined and not hasattr(builtins, head):
        return importlib.util.find_spec(head) is not None
    member = any(rest[-1] in members for members in everything().members.values())
    return bool(rest) and (member or head in own.defined or rest[-1] not in everything().defined)


def _below(code: Code, rest: list[str], module: str) -> bool:
    if not rest:
        return True
    if rest[0] in code.members and rest[1:]:
        return rest[1] in code.members[rest[0]] or rest[1] in code.words
    return rest[0] in code.defined or (len(rest) == 1 and f"{module}.{rest[0]}" in modules())


def is_word(name: str, own: Code) -> bool:
    """Whether a word is in the code around the text, or a name of the package, the project, a library or Python."""
    return (
        name in own.words
        or name in own.strings
        or name in everything().defined
        or name in short_names()
        or name in everything().strings
        or (ROOT / "notebooks" / f"{name}.ipynb").is_file()
        or in_libraries(name, own)
        or name in settings()[1]
        or keyword.iskeyword(name)
        or hasattr(builtins, name)
        or any(name in members for members in everything().members.values())
    )


def is_known(text: str, own: Code, room: str, beside: Path) -> bool:
    """Whether a back-ticked text is the name of something that exists; True for formulas and sentences.

    `own` is the code around the text, `room` the subpackage and `beside` the folder that relative names start from.
    """
    text = text.strip().removesuffix("()")
    if "/" not in text and (ROOT / text).is_file():  # a file at the top of the repository, such as LICENSE
        return True
    if text.endswith((".pt", ".pth", ".weight", ".bias")):  # published weights, and tensors in them
        return True
    if re.fullmatch(r"SAPNET_\w+(=.*)?", text):
        return in_strings(text.partition("=")[0])
    if re.match(r"(python -m|sapnet(?= |$)|\./runall\.sh|runall\.sh|pip install|conda|source)\b|\.venv/|--", text):
        return _is_command(text)
    if (
        re.fullmatch(r"[\w.*{},<>…/-]+", text)
        and (FILE.search(text) or "/" in text)
        and not text.replace("/", "").isdigit()
    ):
        return is_path(text, beside)
    if DOTTED.fullmatch(text):
        return is_dotted(text, own, room) if "." in text else is_word(text, own)
    if match := re.match(r"([A-Za-z_][\w.]*)(?:\(|\s*=[^=])", text):
        name = match[1]
        known = is_dotted(name, own, room) if "." in name else is_word(name, own)
        return known or name in everything().words
    return True


def _is_command(text: str) -> bool:
    words = shlex.split(text.replace("…", ""))
    program = ["sapnet_core", *words[1:]] if words[0] == "sapnet" else words[2:] * (words[:2] == ["python", "-m"])
    if program[:1] and program[0].startswith("sapnet_core") and not _is_program(*program):
        return False
    extras = re.findall(r"\.\[([\w,-]+)\]", text)
    if not {extra for group in extras for extra in group.split(",")} <= settings()[1]:
        return False
    ours = words[0].startswith("--") or words[0] == "sapnet" or "sapnet_core" in text or "runall.sh" in text
    return not ours or all(in_strings(option) for option in OPTION.findall(text))


def _is_program(module: str, *arguments: str) -> bool:
    """Whether `python -m` can start this: a command of the package, or a module that is a program of its own."""
    if module != "sapnet_core":
        name = module.removeprefix("sapnet_core.")
        return name in modules() and "__main__" in modules()[name].strings
    command = [word for word in arguments if not word.startswith("-")][: 2 if arguments[:1] == ("recipe",) else 1]
    return any(word.isupper() for word in command) or _has_help(*command)


@cache
def _has_help(*command: str) -> bool:
    """Whether the command line knows this command."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            parse([*command, "--help"])
    except SystemExit as left:
        return not left.code
    return True


def texts_of_module(file: Path) -> list[tuple[int, str]]:
    """(line, text) of every docstring and comment."""
    source = file.read_text(encoding="utf-8")
    found = [(node.lineno, text) for node, text in docstrings(ast.parse(source)).items()]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            found.append((token.start[0], token.string))
    return found


def unknown_in(file: Path) -> list[str]:
    """The back-ticked names in a module, a notebook or a text file that do not exist, each with its location."""
    if file.suffix == ".py":
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        room, own = name.rpartition(".")[0], modules()[name]
        texts = [(f":{line}", text) for line, text in texts_of_module(file)]
    elif file.suffix == ".ipynb":
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
        room, own = "", read_code(re.sub(r"^%.*$", "", code, flags=re.MULTILINE))
        own.words |= everything().words
        texts = [(f", cell {c.get('id')}", "".join(c["source"])) for c in cells if c["cell_type"] == "markdown"]
    else:
        room, own, texts = "", everything(), [("", file.read_text(encoding="utf-8"))]
    return [
        f"{file.relative_to(ROOT)}{place}: `{name}`"
        for place, text in texts
        for name in _names(text)
        if not is_known(name, own, room, file.parent)
    ]


def _names(text: str) -> list[str]:
    return TICKED.findall(OF_OTHERS.sub("", _without_fences(text)))


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    every = [ROOT / "README.md", *NOTEBOOKS, *sorted(PACKAGE.rglob("*.py"))]
    print(*(lines := [line for file in every for line in unknown_in(file)]), sep="\n")
    sys.exit(bool(lines))
