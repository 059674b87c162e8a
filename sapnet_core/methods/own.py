"""A method of a reader's own: one function, and the text of the notebook cell or the file that defines it.

The text makes the method. Those of its imports, functions, classes and constants that the function needs are run in a
module of their own, here and in each worker process, which gets the text with its task. All else in the text is left
out, such as a call or a `print`. So a cell that is copied into a file of this folder is the same method, with the same
results.

Whatever the function does wrong, in its training or in its predictions, is one line that names the method and the line
of its text. The function runs with all rights of this process, so run no text of a stranger.
"""

import ast
import builtins
import inspect
import json
import linecache
import symtable
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FunctionType

import torch
from torch import Tensor

from sapnet_core.methods.base import Fitted, Method, Training
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.runtime.workers import Ended

__all__ = ["OwnMethod", "discovered", "own_method_of"]

# definitions, whose own statements give no name of the text a value
BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
CALL = "own_method"  # the call by which a text registers its method
LONGEST = 60  # characters of a name, which is a row's name, too


class OwnMethod:
    """A method (`base.Method`) that is known by its text.

    A trial's hash knows it by `definitions`. It can be sent to another process, and its text runs when the method is
    first called, with names of its own.

    Args:
        name: name of the method and of its row in the tables.
        text: text that defines the method.
        function: name of the method's function in the text.
        settings: settings of the row, which are the method's overrides.

    Raises:
        ValueError: the name, the text or a setting cannot be used; one line says why.
    """

    def __init__(self, name: str, text: str, function: str, settings: Mapping[str, object] | None = None):
        if not isinstance(name, str) or not name.isprintable() or name != name.strip() or not 0 < len(name) <= LONGEST:
            raise ValueError(f"own method {name!r}: give a name of 1 to {LONGEST} printable characters")
        self.name, self.text, self.function, self.settings = name, text, function, dict(settings or {})
        tree = _parsed(name, text)
        tree.body = _needed(tree.body, function)
        if function not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            raise ValueError(f"own method {name!r}: no {function!r} is defined with `def` at the left of its text")
        self.definitions = ast.unparse(tree)
        if missing := _missing(self.definitions):
            raise ValueError(
                f"own method {name!r}: its text uses {', '.join(missing)} and neither defines nor imports this: write "
                "all imports and functions that the method needs into the cell that defines it"
            )
        for key, value in self.settings.items():
            try:
                hash(value), json.dumps(value)
            except TypeError:
                raise ValueError(f"own method {name!r}: {key}={value!r}: give a number, a text or a tuple") from None
        self._tree, self._file, self._names = tree, f"<own method {name}>", {"__name__": name}
        linecache.cache[self._file] = len(text), None, text.splitlines(keepends=True), self._file  # for `_line_of`

    def __reduce__(self):
        return OwnMethod, (self.name, self.text, self.function, self.settings)

    def __repr__(self) -> str:
        return f"own method {self.name!r}"

    def __call__(self, train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training | Fitted:
        with self._in_one_line():
            made = self._method()(train, settings, generator)
        if isinstance(made, Fitted):
            return replace(made, predict=self._scores(made.predict))
        if isinstance(made, Training):
            return replace(made, loss=self._terms(made.loss), score=self._scores(made.score))
        raise TypeError(f"{self} returned {type(made).__name__}: return a Training, or a Fitted in closed form")

    def _method(self) -> Method:
        """The function, after the text was run once."""
        if self.function not in self._names:
            exec(compile(self._tree, self._file, "exec"), self._names)
        return self._names[self.function]

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """Turn every error of the text into one line, a ValueError if it was one and else a RuntimeError."""
        try:
            yield
        except Ended:
            raise
        except (Exception, SystemExit) as error:
            kind = ValueError if isinstance(error, ValueError) else RuntimeError
            raise kind(f"{self} failed{self._line_of(error)}: {_first_line(error)}") from error

    def _line_of(self, error: BaseException) -> str:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self._file]
        return f" in line {own[-1].lineno}, `{own[-1].line}`" if own else ""

    def _scores(self, predict: Callable[[VideoBatch], Tensor]) -> Callable[[VideoBatch], Tensor]:
        """The prediction, checked: one finite score for each video."""

        def checked(videos: VideoBatch) -> Tensor:
            with self._in_one_line():
                found = predict(videos)
            if not isinstance(found, Tensor) or not found.is_floating_point() or found.shape != (len(videos),):
                what = f"{type(found).__name__} {tuple(getattr(found, 'shape', ()))}"
                raise ValueError(f"{self} predicts {what}: give a tensor of {len(videos)} numbers, one for each video")
            if not found.isfinite().all():
                raise ValueError(f"{self} predicts numbers that are not finite")
            return found

        return checked

    def _terms(self, loss: Callable[[int], Mapping[str, Tensor]]) -> Callable[[int], Mapping[str, Tensor]]:
        """The loss, checked: named terms, and "L_all" a number with a gradient."""

        def checked(step: int) -> Mapping[str, Tensor]:
            with self._in_one_line():
                terms = loss(step)
            whole = terms.get("L_all") if isinstance(terms, Mapping) else None
            if not isinstance(whole, Tensor) or whole.numel() != 1 or not whole.requires_grad:
                raise ValueError(f'{self}: its loss gives no term "L_all": return {{"L_all": one number to minimize}}')
            return terms

        return checked


def own_method_of(name: str, function: Callable, settings: Mapping[str, object]) -> OwnMethod:
    """The own method of a function that a notebook cell or a file defines.

    Raises:
        ValueError: it is no such function, or `OwnMethod` refuses it.
    """
    if not isinstance(function, FunctionType):
        raise ValueError(f"own method {name!r}: give the function that fits it, not {type(function).__name__}")
    function = inspect.unwrap(function)
    text = "".join(linecache.getlines(function.__code__.co_filename))
    if not text:
        raise ValueError(f"own method {name!r}: its text cannot be read: define it in a notebook cell or in a file")
    return OwnMethod(name, text, function.__name__, settings)


def discovered(folder: Path) -> list[OwnMethod]:
    """The own methods of the files in a folder: those that call `own_method` at the left of their text.

    No file is run. Raises ValueError, which names the file, where such a call or file cannot be read.
    """
    found = []
    for file in sorted(folder.glob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        if not any(line.startswith(f"{CALL}(") for line in text.splitlines()):
            continue
        for node in _parsed(file.name, text).body:
            if not isinstance(node, ast.Expr) or not isinstance(call := node.value, ast.Call):
                continue
            if not isinstance(call.func, ast.Name) or call.func.id != CALL:
                continue
            try:
                name, function = call.args
                settings = {part.arg: ast.literal_eval(part.value) for part in call.keywords}
                found.append(OwnMethod(ast.literal_eval(name), text, function.id, settings))
            except (ValueError, TypeError, AttributeError) as error:
                shape = f'{CALL}("name", function, setting=value, ...)'
                reason = str(error) if str(error).startswith("own method") else f"write {shape} with plain values"
                raise ValueError(f"{file}, line {node.lineno}: {reason}") from None
    return found


def _parsed(name: str, text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f", line {error.lineno}" if getattr(error, "lineno", None) else ""
        what = error.msg if isinstance(error, SyntaxError) else "it is no text of Python"
        raise ValueError(f"own method {name!r}{where}: {what}") from None


def _defined(node: ast.stmt) -> set[str]:
    """The global names that a statement of a text defines, in whatever form, or of which it changes an item or an
    attribute. "*" stands for all names of a module."""
    changed = set() if isinstance(node, BLOCKS) else {name for part in ast.walk(node) for name in _changed(part)}
    every = {"*"} if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" else set()
    return _globals(ast.unparse(node))[1] | changed | every


def _changed(node: ast.AST) -> set[str]:
    """The names of what an assignment or a deletion changes a part of."""
    if not isinstance(node, (ast.Attribute, ast.Subscript)) or isinstance(node.ctx, ast.Load):
        return set()
    return {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}


def _needed(body: list[ast.stmt], function: str) -> list[ast.stmt]:
    """The statements of a text that a function needs, directly or through others, in their order."""
    left, needed, kept = {function, "*", "annotations"}, set(), set()
    while left:
        needed |= left
        new = {i for i, node in enumerate(body) if _defined(node) & left} - kept
        kept |= new
        left = {name for i in new for name in _globals(ast.unparse(body[i]))[0]} - needed
    return [body[i] for i in sorted(kept)]


def _missing(definitions: str) -> list[str]:
    """Names that a text reads and that neither it nor Python defines. None where it imports all names of a module."""
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(ast.parse(definitions))):
        return []
    used, known = _globals(definitions)
    return sorted(used - known - {*dir(builtins), "__name__"})


def _globals(text: str) -> tuple[set[str], set[str]]:
    """The global names that a text reads, and those that it defines."""
    whole = symtable.symtable(text, "<own method>", "exec")
    used, known, left = set(), set(), [whole]
    while left:
        part = left.pop()
        left += part.get_children()
        for symbol in part.get_symbols():
            at_top = part is whole or symbol.is_declared_global()
            if at_top and (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()):
                known.add(symbol.get_name())
            if symbol.is_referenced() and (part is whole or symbol.is_global()):
                used.add(symbol.get_name())
    return used, known


def _first_line(error: BaseException) -> str:
    """An error in one line of at most 200 characters."""
    try:
        said = str(error).strip().splitlines() or [""]
    except Exception:  # the text's own error may fail here, too
        said = [""]
    return f"{type(error).__name__}{': ' * bool(said[0])}{said[0][:200]}"
