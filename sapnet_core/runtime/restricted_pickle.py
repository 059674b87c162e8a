"""A restricted reader of untrusted pickles: it builds plain containers, and calls only what its caller allows.

A pickle is a program for a small stack machine. Python's own machine calls whatever the program names; this one knows
the instructions that plain data need, and its caller gives the names that a program may use. A program may run for
`STEPS` instructions, and its result, expanded, may have at most as many parts. A short file may still ask for much
memory: the memory of results of calls is bounded by the size of the file.
"""

import pickle
import struct
import sys
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["Machine", "Refused", "key", "word"]

STEPS = 1_000_000  # the largest official file takes 290,000; a million empty sets, the largest container, take 0.2 GB
DEPTH = 64  # maximum nesting of containers; official files have 4
PART = 128  # bytes of a text or an array that count as one part; shorter values count as one
LINE = 1000  # maximum bytes of a number or a name that takes a line
# A file could choose many keys of equal hash, which makes dicts slow: integers from 2^61 on have the hashes of smaller
# ones, -1 that of -2, and colliding tuples are easy to find. Keys are therefore limited in bits and in parts.
KEY_BITS, KEY_PARTS, PART_BITS = 60, 4, 32


class Refused(ValueError):
    """A pickle asks for something that is not allowed; the message continues a sentence that begins with "it"."""


def word(value: object) -> str:
    """A text from the file in printable form for a message, or the type of a value that is no text."""
    return ascii(value[:60])[1:-1] if isinstance(value, str) else f"(a {type(value).__name__})"


def key(value: object) -> object:
    """Check a dict key or a set member: only plain values, whose hashes are cheap and cannot be made to collide."""
    parts, bits = (value, PART_BITS) if isinstance(value, tuple) else ((value,), KEY_BITS)
    if len(parts) > KEY_PARTS:
        raise Refused(f"has a key of {len(parts)} parts, but at most {KEY_PARTS} are allowed")
    for part in parts:
        if isinstance(part, int | np.integer):
            if int(part).bit_length() > bits:
                raise Refused("has a number with too many digits as a key")
        elif not (isinstance(part, str | bytes | None) or (bits == KEY_BITS and isinstance(part, NUMBERS))):
            raise Refused(f"has a {type(part).__name__} as a key, but keys must be text or numbers")
    return value


class Machine:
    """Runs one pickle, with a stack, a memo of numbered values, and the content, which is read from front to back.

    Args:
        content: content of the file, with the pickle at `place`; after `run`, `place` is behind it.
        names: maps (module, name) to the value or function that it stands for.
        states: maps a class of results to the function that sets the state of one.
        leaves: classes allowed in the result, beside plain values and containers.
        persistent: function that gives the value of a persistent id; without it such ids are refused.
    """

    def __init__(
        self,
        content: bytes,
        names: Mapping[tuple[str, str], object],
        states: Mapping[type, Callable[[object, object], None]] | None = None,
        leaves: tuple[type, ...] = (),
        persistent: Callable[[object], object] | None = None,
        place: int = 0,
    ):
        self.content, self.place, self.stack, self.memo = content, place, [], {}
        self.names, self.states, self.persistent = names, states or {}, persistent
        self.callable = [function for function in names.values() if callable(function)]
        self.leaves = (bool, int, float, *leaves)
        self.budget = 2 * len(content) + 2**20  # remaining bytes for arrays and sets

    def run(self) -> object:
        """The object that the pickle builds. Raises Refused, or other errors where the pickle is damaged."""
        steps = 0
        while True:
            code = self.take(1)
            if code == pickle.STOP:
                return self.checked(self.pop())
            if code not in CODES:
                raise Refused(f"has the pickle instruction {code!r}, which such files do not need")
            steps += 1
            if steps > STEPS:
                raise Refused(f"takes more than {STEPS:,} steps to read")
            CODES[code](self)

    def take(self, size: int) -> bytes:
        """The next `size` bytes of the content."""
        end = self.place + size
        if size < 0 or end > len(self.content):
            raise EOFError("cut short")
        part = self.content[self.place : end]
        self.place = end
        return part

    def number(self, form: str) -> int | float:
        """The next number, in the `struct` format given."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self, most: int = LINE) -> bytes:
        """The bytes before the next line end."""
        end = self.content.index(b"\n", self.place, self.place + most + 1)
        return self.take(end + 1 - self.place)[:-1]

    def text(self, part: bytes, code: str = "utf-8") -> str:
        text = part.decode(code, "surrogatepass" if code == "utf-8" else "strict")
        if not text.isascii():
            self.spend(sys.getsizeof(text) - 100 - len(part))  # one wide character widens all others
        return text

    def spend(self, size: int) -> None:
        """Count memory that exceeds the size of the content itself."""
        self.budget -= max(size, 0)
        if self.budget < 0:
            raise Refused("needs more memory than a file of its size may")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack or self.stack[-1] is STACK_MARK:
            raise EOFError("an instruction lacks its operand")
        return self.stack.pop()

    def top(self, kind: type) -> object:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise Refused(f"adds items to something that is not a {kind.__name__}")
        return self.stack[-1]

    def since_mark(self) -> list:
        """Remove the last mark and return the stack's entries above it."""
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not STACK_MARK:
            place -= 1
        if place < 0:
            raise EOFError("an instruction lacks its mark")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def fill(self, pairs: list) -> None:
        """Add alternating keys and values to the dict on top of the stack."""
        if len(pairs) % 2:
            raise EOFError("a key lacks its value")
        target = self.top(dict)
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[key(name)] = value

    def dict_of(self, pairs: list) -> None:
        self.push({})
        self.fill(pairs)

    def extend(self, values: list) -> None:
        self.top(list).extend(values)

    def join(self, members: list) -> None:
        self.top(set).update(map(key, members))

    def last(self, count: int) -> list:
        return [self.pop() for _ in range(count)][::-1]

    def name(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str) and (module, name) in self.names):
            raise Refused(f"wants to load {word(module)}.{word(name)}, and needs only arrays and builtin containers")
        self.push(self.names[module, name])

    def call(self) -> None:
        function, arguments = self.last(2)
        if not any(function is known for known in self.callable) or not isinstance(arguments, tuple):
            raise Refused("calls something other than the functions that such files need")
        # the length of the arguments bounds the time of the call
        self.spend(len(arguments) + sum(len(part) for part in arguments if isinstance(part, list | tuple)))
        self.push(self.account(function(*arguments)))

    def build(self) -> None:
        target, state = self.last(2)
        if type(target) not in self.states:
            raise Refused(f"sets the state of a {type(target).__name__}, which such files do not need")
        self.states[type(target)](target, state)
        self.push(self.account(target))

    def from_outside(self, name: object) -> object:
        """The value of a persistent id."""
        if self.persistent is None:
            raise Refused("refers to an object outside of the file")
        return self.persistent(name)

    def account(self, made: object) -> object:
        """Count the memory of a call's result, whose content other results may share."""
        self.spend(getattr(made, "nbytes", 0))
        if isinstance(made, dict | set | frozenset):
            self.spend(100 * len(made))
        elif isinstance(made, bytes):
            self.spend(len(made))
        return made

    def remember(self, number: int) -> None:
        if not self.stack or not 0 <= number < 2**32:
            raise EOFError("nothing to store in the memo")
        self.memo[number] = self.stack[-1]

    def checked(self, result: object) -> object:
        """Check that a result has only plain values, does not contain itself, and has a bounded size when expanded.

        Parts may be shared: nested lists that each contain the next one twice are small in memory and exponentially
        large when expanded. Each container is therefore visited once, after its parts, and its size is the sum of
        theirs.
        """
        known: dict[int, tuple[int, int]] = {}  # container id -> number of parts in total, and depth
        todo, open_ = [[result]], set()
        while todo:
            value = todo[-1]
            size, depth, missing = 1, 0, []
            for part in parts_of(value) if id(value) not in known else ():
                if type(part) in PLAIN or isinstance(part, self.leaves):
                    size += 1
                elif isinstance(part, LONG) and not has_objects(part):
                    size += 1 + (part.nbytes if isinstance(part, np.generic | np.ndarray) else len(part)) // PART
                elif found := known.get(id(part)):
                    size, depth = size + found[0], max(depth, found[1])
                else:
                    missing.append(part)
            if missing and id(value) in open_:
                raise Refused("has a container that contains itself")
            if size > STEPS or depth > DEPTH:
                raise Refused("has containers that are nested too deeply, or become too large when expanded")
            if missing:
                open_.add(id(value))
                todo += missing
            else:
                known.setdefault(id(value), (size, depth + 1))
                todo.pop()
        return result

    def text_number(self) -> None:
        text = self.line().decode()
        self.push({"00": False, "01": True}.get(text) if text in ("00", "01") else int(text.removesuffix("L")))


PLAIN = frozenset({bool, int, float, type(None), np.int64, np.float64})  # types of most values, as a shortcut
LONG = (str, bytes, np.generic, np.ndarray)  # types whose values may count as several parts, by their length (`PART`)
NUMBERS = (float, np.floating, np.bool)
STACK_MARK = object()  # lies on the stack where the program marks a place
CODES = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.push(STACK_MARK),
    pickle.POP: lambda m: m.stack.pop(),
    pickle.POP_MARK: lambda m: m.since_mark(),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.INT: Machine.text_number,
    pickle.LONG: Machine.text_number,
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
    pickle.UNICODE: lambda m: m.push(m.text(m.line(len(m.content)), "raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.text(m.take(m.number("<B")))),
    pickle.BINUNICODE: lambda m: m.push(m.text(m.take(m.number("<I")))),
    pickle.BINUNICODE8: lambda m: m.push(m.text(m.take(m.number("<Q")))),
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
    pickle.FROZENSET: lambda m: m.push(frozenset(map(key, m.since_mark()))),
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
    pickle.GLOBAL: lambda m: m.name(m.line().decode(), m.line().decode()),
    pickle.STACK_GLOBAL: lambda m: m.name(*m.last(2)),
    pickle.REDUCE: Machine.call,
    pickle.BUILD: Machine.build,
    pickle.BINPERSID: lambda m: m.push(m.from_outside(m.pop())),
}


def has_objects(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def parts_of(value: object) -> list:
    """The direct parts of a container."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if has_objects(value):
        return list(value.flat)
    raise Refused(f"holds a {type(value).__name__}, which is not a plain value")
