"""Reader of files of `torch.save`, in its zip format and in its format of 2017, and of plain pickles with tensors in
them, without running code from them.

`torch.load(weights_only=True)` runs no foreign code, but it allocates the memory that a file claims, which is unbounded
for a compressed archive, a bytearray of any size, or a tensor that repeats one number. Here memory is bounded by the
size of the file.
"""

import math
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.runtime.archives import opened_archive
from sapnet_core.runtime.restricted_pickle import Machine, Refused, key

__all__ = ["read_torch_file"]

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # first two values in a file of the format of 2017
AXES = 16  # maximum dimensions of a tensor; no weight has more than 6
STORED_IN_2017 = 5  # number of pickles before the data: magic, protocol, system, content, names of storages
DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}


class _Numbers:
    """A storage before its content is read: its name in the file, dtype, and number of elements."""

    def __init__(self, name: str, dtype: torch.dtype, count: int):
        self.name, self.dtype, self.count, self.content = name, dtype, count, None


class _View:
    """A tensor before its storage is read: storage, offset, shape and strides."""

    def __init__(self, numbers: _Numbers, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.numbers, self.offset, self.shape, self.strides = numbers, offset, shape, strides

    def tensor(self) -> Tensor:
        return self.numbers.content.as_strided(self.shape, self.strides, self.offset)


class _Reader:
    """Handlers for the names in a file of tensors; they record storages and views, to be filled after all checks.

    `names`, `states` and `leaves` are further ones of the pickle machine.
    """

    def __init__(
        self,
        size: int,
        names: Mapping[tuple[str, str], object] = {},
        states: Mapping[type, Callable[[object, object], None]] = {},
        leaves: tuple[type, ...] = (),
    ):
        self.storages: dict[str, _Numbers] = {}
        self.stored = self.viewed = size  # remaining bytes for storages, and remaining elements for tensors
        kinds = {("torch", f"{name}Storage"): dtype for name, dtype in DTYPES.items()}
        self.names = {
            ("collections", "OrderedDict"): _ordered,
            ("torch._utils", "_rebuild_tensor"): self.view,
            ("torch._utils", "_rebuild_tensor_v2"): self.view,
            ("torch._utils", "_rebuild_parameter"): lambda view, *_: view,
            ("torch", "Size"): _sizes,
            **kinds,
            **names,
        }
        self.states = {dict: lambda *_: None, **states}  # PyTorch's OrderedDict carries versions, which are unused here
        self.leaves = (_View, torch.dtype, *leaves)

    def load(self, content: bytes, place: int = 0) -> tuple[object, int]:
        """The object that the pickle at `place` of the content builds, and the position of its end."""
        machine = Machine(content, self.names, self.states, self.leaves, self.storage, place)
        return machine.run(), machine.place

    def storage(self, told: object) -> _Numbers:
        """The storage of a persistent id ("storage", type, name, device, count), to which files of 2017 add a view.

        Raises:
            Refused: the id has another form, contradicts an earlier one, or claims more bytes than the file has.
        """
        known = isinstance(told, tuple) and len(told) in (5, 6) and told[0] == "storage"
        known = known and isinstance(told[1], torch.dtype) and isinstance(told[2], str)
        if not known or any(part is not None for part in told[5:]):
            raise Refused("refers to something that is not a storage of numbers")
        _, dtype, name, _, count = told[:5]
        if type(count) is not int or count < 0:
            raise Refused("has a storage with an invalid size")
        if name not in self.storages:
            self.stored -= count * dtype.itemsize
            if self.stored < 0:
                raise Refused("claims more numbers than the file can hold")
            self.storages[name] = _Numbers(name, dtype, count)
        found = self.storages[name]
        if (found.dtype, found.count) != (dtype, count):
            raise Refused(f"gives two different types or sizes for the storage {name[:20]!r}")
        return found

    def view(self, numbers: object, offset: object, shape: object, strides: object, *_: object) -> _View:
        """A tensor as a view of a storage. Raises Refused where an element lies outside of the storage."""
        fits = isinstance(numbers, _Numbers) and isinstance(shape, tuple) and isinstance(strides, tuple)
        sizes = (offset, *shape, *strides) if fits else ()
        fits = fits and len(shape) == len(strides) <= AXES
        if not fits or not all(type(n) is int and 0 <= n < 2**40 for n in sizes):
            raise Refused("has a tensor with an invalid shape")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if math.prod(shape) and last >= numbers.count:
            raise Refused("has a tensor with more numbers than its storage holds")
        return _View(numbers, offset, shape, strides)

    def filled(self, value: object) -> object:
        """The value with tensors in place of views, which together have at most as many elements as the file has bytes;
        the pickle machine has already bounded the number of containers."""
        if isinstance(value, _View):
            self.viewed -= math.prod(value.shape)
            if self.viewed < 0:
                raise Refused("has tensors with more numbers than the file holds")
            return value.tensor()
        if isinstance(value, dict):
            return {name: self.filled(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.filled(part) for part in value)
        return value


def _ordered(pairs: object = ()) -> dict:
    """An OrderedDict as a dict: its content follows later, or is given in pairs where Python 2 wrote the file."""
    if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise Refused("makes a dict from something other than pairs")
    return {key(name): value for name, value in pairs}


def _sizes(sizes: object = ()) -> tuple:
    if not isinstance(sizes, tuple):
        raise Refused("makes a shape from something other than a tuple")
    return sizes


def _nested(content: object) -> _Numbers:
    """The storage in a pickle of a tensor: there it is a whole file of 2017 inside a bytes object."""
    if not isinstance(content, bytes):
        raise Refused("has a storage that is not bytes")
    found = _read_2017(content, _Reader(len(content), leaves=(_Numbers,)))
    if not isinstance(found, _Numbers):
        raise Refused("has a storage that is none")
    return found


def read_torch_file(
    path: Path,
    plain: bool = False,
    names: Mapping[tuple[str, str], object] = {},
    states: Mapping[type, Callable[[object, object], None]] = {},
    leaves: tuple[type, ...] = (),
) -> object:
    """The content of a file of `torch.save`: plain values, containers, and tensors on the CPU.

    Args:
        path: the file.
        plain: also read a pickle that `pickle.dump` wrote, with or without tensors in it.
        names, states, leaves: what the file may use beside tensors, as for `restricted_pickle.Machine`.

    Raises:
        ValueError: the file has other content, is damaged, or claims more than it has. The message does not name the
            file; the caller does.
        OSError: the file cannot be read.
    """
    reader = _Reader(path.stat().st_size, names, states, leaves)
    if zipfile.is_zipfile(path):
        return reader.filled(_read_archive(path, reader))
    content = path.read_bytes()
    if plain:
        reader.names["torch.storage", "_load_from_bytes"] = _nested
        found, place = reader.load(content)
        if type(found) is not int or found != MAGIC:
            if place < len(content) or reader.storages:
                raise Refused("is a pickle with something else behind or outside of it")
            return reader.filled(found)
    return reader.filled(_read_2017(content, reader))


def _read_archive(path: Path, reader: _Reader) -> object:
    with opened_archive(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        claimed = sum(entry.file_size for entry in archive.infolist())
        plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        if not plain or claimed > path.stat().st_size:
            raise Refused("is a compressed archive, which torch.save never writes")
        program = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(program) != 1:
            raise Refused("is an archive without exactly one data.pkl")
        folder = program[0].removesuffix("data.pkl")
        if folder + "byteorder" in entries and archive.read(folder + "byteorder") != sys.byteorder.encode():
            raise Refused("was written on a machine with another byte order")
        found, _ = reader.load(archive.read(program[0]))
        for numbers in reader.storages.values():
            name = f"{folder}data/{numbers.name}"
            if name not in entries:
                raise Refused(f"lacks the storage {numbers.name[:20]!r}")
            _fill(numbers, archive.read(name))
    return found


def _read_2017(content: bytes, reader: _Reader) -> object:
    parts, place = [], 0
    for _ in range(STORED_IN_2017):
        part, place = reader.load(content, place)
        parts.append(part)
        if len(parts) == 1 and part != MAGIC:
            raise Refused("was not written by torch.save")
    _, protocol, system, found, names = parts
    little = isinstance(system, dict) and system.get("little_endian", True) == (sys.byteorder == "little")
    if protocol != PROTOCOL or not little or not isinstance(names, list) or set(names) != set(reader.storages):
        raise Refused("was written by an unknown version of torch.save")
    for name in names:
        numbers = reader.storages[name]
        (count,) = struct.unpack_from("<q", content, place)
        end = place + 8 + numbers.count * numbers.dtype.itemsize
        if count != numbers.count or end > len(content):
            raise Refused("is cut short")
        _fill(numbers, content[place + 8 : end])
        place = end
    return found


def _fill(numbers: _Numbers, content: bytes) -> None:
    if len(content) != numbers.count * numbers.dtype.itemsize:
        raise Refused(f"has a storage {numbers.name[:20]!r} whose size is not the stated one")
    whole = bytearray(content)  # PyTorch needs writable memory
    numbers.content = torch.frombuffer(whole, dtype=numbers.dtype) if content else torch.empty(0, dtype=numbers.dtype)
