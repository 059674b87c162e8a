"""A reader for annotation pickles that builds numpy arrays, numpy scalars and plain containers, and nothing else.

A pickle is a program for a small machine with a stack. Python's own machine calls whatever the program names, and numpy
fills types and arrays with whatever bytes the program holds; a forged type turns these bytes into pointers. So this
module has a machine of its own. It knows the instructions that label files need, calls only the functions in
`FUNCTIONS`, builds each numpy type from a short plain name, and checks each array before numpy sees it. A program may
run for `STEPS` instructions, and what it leaves may not hold more than that many parts when it is written out in full.
A file may be short and still ask for much memory: what is made is counted against the size of the file.
"""

import math
import pickle
import re
import stat
import struct
from pathlib import Path

import numpy as np

__all__ = ["AnnotationError", "read_pickle"]

STEPS = 2_000_000  # the largest official file takes 290,000; so many empty sets, the largest container, are 0.5 GB
LARGEST = 128 * 2**20  # bytes of a file; the largest official one has 3.5 million
DEPTH = 64  # containers inside one another; official files have 4
KEY_BITS = 61  # Python hashes a larger integer to a smaller one, so a file could choose many keys with equal hashes
PLAIN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8)|c(?:8|16)|[SU][1-9]\d{0,6}|O8?|\?|[bBhHiIlLqQefdFD])")


class AnnotationError(ValueError):
    """An annotation file is missing, torn, hostile or not of the official schema. One line: file, key, remedy."""


class _Refused(ValueError):
    """What a pickle wants and does not get; the message goes on from "it"."""


# ---- what a pickle may name, and what that does here ----------------------------------------------------------------
def _word(value: object) -> str:
    """A text of the file for a message, or what stands in its place."""
    return ascii(value[:60])[1:-1] if isinstance(value, str) else f"(a {type(value).__name__})"


class _Type:
    """A numpy type as a pickle describes it: a plain name, and a byte order that may come later."""

    def __init__(self, name: str):
        self.name, self.order = name, ""

    def dtype(self) -> np.dtype:
        kind = np.dtype(self.name)
        return kind.newbyteorder(self.order) if self.order else kind


def _plain_type(name: object, align: object = False, copy: object = True) -> _Type:
    """`numpy.dtype(name, align, copy)` for a type of numbers, text of fixed width, or objects."""
    if not (isinstance(name, str) and PLAIN_TYPE.fullmatch(name)):
        raise _Refused(f"holds a numpy type {_word(name)}, and labels need numbers and text")
    return _Type(name)


def _set_type(kind: _Type, state: object) -> None:
    """What follows a numpy type in a pickle: of all that numpy would take from it, the byte order alone is taken."""
    order = state[1] if isinstance(state, tuple) and len(state) >= 2 else None
    if not (isinstance(order, str) and order in ("<", ">", "|", "=")):
        raise _Refused("holds a numpy type with a state that is none")
    if any(part is not None for part in state[2:5]):
        raise _Refused("holds a numpy type with fields or parts, and labels need numbers and text")
    kind.order = "" if order in "|=" else order


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    """`numpy._reconstruct`: an array that its state fills later."""
    if kind is not NDARRAY:
        raise _Refused("wants an array of another class than numpy's own")
    return np.empty(0, np.int8)


def _sized(shape: object, kind: object) -> tuple[tuple[int, ...], np.dtype, int]:
    """A checked shape, the type, and how many values there are."""
    if not (isinstance(kind, _Type) and isinstance(shape, tuple) and len(shape) <= 32):
        raise _Refused("holds an array without a type or a shape")
    if not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise _Refused("holds an array whose shape is none")
    return shape, kind.dtype(), math.prod(shape)


def _set_array(array: np.ndarray, state: object) -> None:
    """What follows `_empty_array`: shape, type, order and content, which must fit each other exactly."""
    if not (isinstance(state, tuple) and len(state) == 5):
        raise _Refused("holds an array without content")
    _, shape, kind, fortran, content = state
    shape, dtype, count = _sized(shape, kind)
    if dtype.hasobject:
        fits = isinstance(content, list) and len(content) == count
        content = list(content) if fits else content
    else:
        fits = isinstance(content, bytes) and len(content) == count * dtype.itemsize
    if not fits:
        raise _Refused("holds an array with content of another size")
    array.__setstate__((1, shape, dtype, bool(fortran), content))


def _scalar(kind: object, content: object) -> np.generic:
    _, dtype, _ = _sized((), kind)
    if dtype.hasobject or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise _Refused("holds a numpy number with content of another size")
    return np.frombuffer(content, dtype)[0]


def _from_buffer(content: object, kind: object, shape: object, order: object) -> np.ndarray:
    shape, dtype, count = _sized(shape, kind)
    fits = isinstance(content, bytes | bytearray) and len(content) == count * dtype.itemsize
    if dtype.hasobject or not fits or order not in ("C", "F"):
        raise _Refused("holds an array with content of another size")
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order)


def _set(members: object = ()) -> set:
    if not isinstance(members, list | tuple):
        raise _Refused("makes a set of something else than a list")
    return {_key(member) for member in members}


def _bytearray(content: object = b"") -> bytearray:
    if not isinstance(content, bytes):
        raise _Refused("makes a bytearray of something else than bytes")
    return bytearray(content)


def _complex(real: object, imaginary: object) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise _Refused("makes a complex number of something else than two numbers")
    return complex(real, imaginary)


NDARRAY = object()  # stands for the class numpy.ndarray, which nothing here may call
FUNCTIONS = {("numpy", "dtype"): _plain_type, ("numpy", "ndarray"): NDARRAY}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2
    FUNCTIONS[f"{_core}.multiarray", "_reconstruct"] = _empty_array
    FUNCTIONS[f"{_core}.multiarray", "scalar"] = _scalar
    FUNCTIONS[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _module in ("builtins", "__builtin__"):
    FUNCTIONS[_module, "set"] = _set
    FUNCTIONS[_module, "frozenset"] = lambda members=(): frozenset(_set(members))
    FUNCTIONS[_module, "bytearray"] = _bytearray
    FUNCTIONS[_module, "complex"] = _complex
CALLABLE = [function for function in FUNCTIONS.values() if function is not NDARRAY]


def _key(key: object) -> object:
    """A key of a dict or a member of a set: plain, so that its hash costs little and many cannot be made to clash."""
    for part in key if isinstance(key, tuple) else (key,):
        if not isinstance(part, str | bytes | int | float | complex | np.number | np.bool | np.str_ | None):
            raise _Refused(f"has a {type(part).__name__} as a key, and keys of labels are text and numbers")
        if isinstance(part, int) and part.bit_length() >= KEY_BITS:
            raise _Refused("has a number of more than 18 digits as a key")
    return key


# ---- the machine ----------------------------------------------------------------------------------------------------
class _Machine:
    """Runs one pickle: a stack, a memory of numbered values, and the content that is read from front to back."""

    def __init__(self, content: bytes):
        self.content, self.place, self.stack, self.memo = content, 0, [], {}
        self.room = 2 * len(content) + 2**20  # bytes that arrays and sets may still take

    def run(self) -> object:
        steps = 0
        while True:
            code = self.take(1)
            if code == pickle.STOP:
                return self.pop()
            if code not in CODES:
                raise _Refused(f"has the instruction {code!r}, which labels do not need")
            steps += 1
            if steps > STEPS:
                raise _Refused(f"takes more than {STEPS:,} steps to read")
            CODES[code](self)

    def take(self, size: int) -> bytes:
        """The next bytes of the content."""
        end = self.place + size
        if size < 0 or end > len(self.content):
            raise EOFError("cut short")
        part = self.content[self.place : end]
        self.place = end
        return part

    def number(self, form: str) -> int | float:
        """The next number, in the `struct` format given."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.content.index(b"\n", self.place)
        return self.take(end + 1 - self.place)[:-1].decode()

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack or self.stack[-1] is MARK:
            raise EOFError("an instruction lacks its operand")
        return self.stack.pop()

    def top(self, kind: type) -> object:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise _Refused(f"fills a {kind.__name__} that is none")
        return self.stack[-1]

    def since_mark(self) -> list:
        """What lies above the last mark, which goes."""
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not MARK:
            place -= 1
        if place < 0:
            raise EOFError("an instruction lacks its mark")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def fill(self, pairs: list) -> None:
        """Put keys and values, in turn, into the dict on top."""
        if len(pairs) % 2:
            raise EOFError("a key lacks its value")
        target = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_key(key)] = value

    def dict_of(self, pairs: list) -> None:
        self.push({})
        self.fill(pairs)

    def extend(self, values: list) -> None:
        self.top(list).extend(values)

    def join(self, members: list) -> None:
        self.top(set).update(map(_key, members))

    def last(self, count: int) -> list:
        return [self.pop() for _ in range(count)][::-1]

    def name(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str) and (module, name) in FUNCTIONS):
            raise _Refused(f"wants to load {_word(module)}.{_word(name)}, and labels need only numpy arrays and "
                           "builtin containers")  # fmt: skip
        self.push(FUNCTIONS[module, name])

    def call(self) -> None:
        function, arguments = self.last(2)
        if not any(function is known for known in CALLABLE) or not isinstance(arguments, tuple):
            raise _Refused("calls something that is no function of labels")
        made = function(*arguments)
        self.account(made)
        self.push(made)

    def build(self) -> None:
        target, state = self.last(2)
        if isinstance(target, _Type):
            _set_type(target, state)
        elif type(target) is np.ndarray:
            _set_array(target, state)
            self.account(target)
        else:
            raise _Refused(f"gives a state to a {type(target).__name__}")
        self.push(target)

    def account(self, made: object) -> None:
        """Count what a call made: it may have made it of a content that other calls use too."""
        if isinstance(made, np.ndarray | np.generic):
            self.room -= made.nbytes
        elif isinstance(made, set | frozenset | bytearray):
            self.room -= len(made) * (1 if isinstance(made, bytearray) else 64)
        if self.room < 0:
            raise _Refused("makes more of its content than the content is")

    def remember(self, number: int) -> None:
        if not self.stack or number < 0:
            raise EOFError("nothing to remember")
        self.memo[number] = self.stack[-1]

    def text_number(self) -> None:
        text = self.line()
        self.push({"00": False, "01": True}.get(text) if text in ("00", "01") else int(text.removesuffix("L")))


MARK = object()
CODES = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.push(MARK),
    pickle.POP: lambda m: m.stack.pop(),
    pickle.POP_MARK: lambda m: m.since_mark(),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.INT: _Machine.text_number,
    pickle.LONG: _Machine.text_number,
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("<B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.LONG1: lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    pickle.FLOAT: lambda m: m.push(float(m.line())),
    pickle.BINFLOAT: lambda m: m.push(m.number(">d")),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.take(m.number("<B"))),
    pickle.BINBYTES: lambda m: m.push(m.take(m.number("<I"))),
    pickle.BINBYTES8: lambda m: m.push(m.take(m.number("<Q"))),
    pickle.BYTEARRAY8: lambda m: m.push(bytearray(m.take(m.number("<Q")))),
    pickle.UNICODE: lambda m: m.push(m.line().encode().decode("raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.take(m.number("<B")).decode("utf-8", "surrogatepass")),
    pickle.BINUNICODE: lambda m: m.push(m.take(m.number("<I")).decode("utf-8", "surrogatepass")),
    pickle.BINUNICODE8: lambda m: m.push(m.take(m.number("<Q")).decode("utf-8", "surrogatepass")),
    pickle.SHORT_BINSTRING: lambda m: m.push(m.take(m.number("<B")).decode("ascii")),
    pickle.BINSTRING: lambda m: m.push(m.take(m.number("<i")).decode("ascii")),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.EMPTY_SET: lambda m: m.push(set()),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.LIST: lambda m: m.push(m.since_mark()),
    pickle.DICT: lambda m: m.dict_of(m.since_mark()),
    pickle.TUPLE: lambda m: m.push(tuple(m.since_mark())),
    pickle.TUPLE1: lambda m: m.push(tuple(m.last(1))),
    pickle.TUPLE2: lambda m: m.push(tuple(m.last(2))),
    pickle.TUPLE3: lambda m: m.push(tuple(m.last(3))),
    pickle.FROZENSET: lambda m: m.push(frozenset(map(_key, m.since_mark()))),
    pickle.APPEND: lambda m: m.extend(m.last(1)),
    pickle.APPENDS: lambda m: m.extend(m.since_mark()),
    pickle.SETITEM: lambda m: m.fill(m.last(2)),
    pickle.SETITEMS: lambda m: m.fill(m.since_mark()),
    pickle.ADDITEMS: lambda m: m.join(m.since_mark()),
    pickle.GET: lambda m: m.push(m.memo[int(m.line())]),
    pickle.BINGET: lambda m: m.push(m.memo[m.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number("<I")]),
    pickle.PUT: lambda m: m.remember(int(m.line())),
    pickle.BINPUT: lambda m: m.remember(m.number("<B")),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.name(*m.last(2)),
    pickle.REDUCE: _Machine.call,
    pickle.BUILD: _Machine.build,
}  # fmt: skip
LEAVES = (str, bytes, bytearray, bool, int, float, complex, type(None), np.generic)


def _checked(result: object) -> object:
    """That a result holds values of labels alone, not itself, and not so much that walking through it has no end.

    Parts may be shared: a list of two lists of two lists ... is small in memory and endless on paper. So each container
    is visited once, when all its parts are known, and its size is the sum of theirs.
    """
    sizes: dict[int, tuple[int, int]] = {}  # of a container: parts, depth
    todo, open_ = [(result, False)], set()
    while todo:
        value, parts_are_known = todo.pop()
        if isinstance(value, LEAVES) or id(value) in sizes:
            continue
        parts = _parts(value)
        if parts_are_known:
            inner = [sizes.get(id(part), (1, 0)) for part in parts]
            size, depth = 1 + sum(s for s, _ in inner), 1 + max((d for _, d in inner), default=0)
            if size > STEPS or depth > DEPTH:
                raise _Refused("holds containers that share their parts over and over, or lie too deep in each other")
            sizes[id(value)] = size, depth
            open_.discard(id(value))
        elif id(value) in open_:
            raise _Refused("holds a container inside itself")
        else:
            open_.add(id(value))
            todo.append((value, True))
            todo += [(part, False) for part in parts]
    return result


def _parts(value: object) -> list:
    """What lies directly in a container."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, np.ndarray):
        return list(value.flat) if value.dtype.hasobject else []
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    raise _Refused("leaves something that is no value of labels")


def read_pickle(path: Path | str, source: str = "where it was published"):
    """The object in a pickle of numpy arrays, numpy scalars and builtin containers.

    Memory in use stays below four times the file, or below 1 GB.

    Args:
        path: the file.
        source: where the user gets a good copy; named in the error.

    Raises:
        AnnotationError: the file is missing or no regular file, is no whole pickle, or wants anything that labels do
            not need.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AnnotationError(f"{path}: no regular file: download it from {source}")
        if path.stat().st_size > LARGEST:
            raise AnnotationError(f"{path}: larger than {LARGEST >> 20} MiB: download the file anew from {source}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file: download it from {source}") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}): download it anew from {source}") from None
    try:
        return _checked(_Machine(content).run())
    except _Refused as error:
        raise AnnotationError(f"{path}: refused, it {error}: download the file anew from {source}") from None
    except Exception as error:  # a damaged pickle can fail in any way that Python knows
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise AnnotationError(f"{path}: no whole pickle ({reason}): download it anew from {source}") from None
