"""Arrays in the files in which features of videos are published, read as untrusted files.

Public code for action quality assessment stores features in these forms, and `named_arrays` reads each of them:

- `.npy`, one array: GDLT, CoFInAl and ACTION-NET write one file a video. PAMFN's hold a pickled dict instead, from the
  name of a video to its array; it is read by the restricted unpickler, which builds arrays and nothing else.
- `.npz` and `.safetensors`, arrays by name.
- files of `torch.save` (`.pt`, `.pth`, `.pkl`), one tensor: the loader of TPT reads one a dive, FineFS publishes one a
  routine.
- `.pkl` of a dict from a key, a text or a tuple such as (event, number), to an array or a tensor: LOGO's loader; or
  from names such as "train_feat" to arrays over all videos: that of continual AQA on MTL-AQA.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors
import torch
from torch import Tensor

from sapnet_core.datasets.annotation_pickles import FUNCTIONS, STATES, AnnotationError
from sapnet_core.datasets.array_files import array_content, array_header, check_file, damage_told, entries_of
from sapnet_core.runtime.archives import opened_archive
from sapnet_core.runtime.restricted_pickle import Machine, Refused
from sapnet_core.runtime.torch_files import read_torch_file

__all__ = ["FORMATS", "Name", "named_arrays"]

FORMATS = (".npy", ".npz", ".safetensors", ".pt", ".pth", ".pkl", ".pickle")
PICKLED = 512 * 2**20  # maximum bytes of a pickle, which is held in memory about three times
TOGETHER = 16 * 2**30  # maximum bytes of arrays in one `.npz` or `.safetensors`, which are read one by one
HEADER = 16 * 2**20  # maximum bytes of a safetensors header
REMEDY = "save arrays of floats with numpy.save or numpy.savez"
Name = str | int | tuple  # a file's name for one of its arrays


def named_arrays(path: Path) -> Iterator[tuple[Name, np.ndarray]]:
    """Yield the arrays of a file one by one, each with its name: in a file of one array, the file's name without its
    ending. Arrays hold numbers, or text.

    Raises:
        AnnotationError: the file is missing, too large, damaged, or holds something else; one line says what.
    """
    ending = path.suffix.lower()
    if ending == ".npz":
        yield from _npz(path)
    elif ending == ".safetensors":
        yield from _safetensors(path)
    elif ending == ".npy":
        yield from _npy(path)
    else:
        check_file(path, PICKLED)
        yield from _of_content(path, _unpickled(path))


def _npy(path: Path) -> Iterator[tuple[Name, np.ndarray]]:
    check_file(path)
    with path.open("rb") as file:
        if _holds_objects(file):
            check_file(path, PICKLED)
            yield from _of_content(path, _objects(path, file.read()))
            return
        file.seek(0)
        header = array_header(path, file, texts=True)
        yield path.stem, array_content(path, file, header)


def _holds_objects(file) -> bool:
    """Whether an open `.npy` file holds a single pickled object, as `numpy.save` writes a dict; the stream is then left
    at its pickle."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, _, kind = read[np.lib.format.read_magic(file)](file)
    except Exception:  # `array_header` meets the same fault again and reports it
        return False
    return shape == () and kind.kind == "O"


def _npz(path: Path) -> Iterator[tuple[Name, np.ndarray]]:
    check_file(path, TOGETHER)
    with damage_told(path, "npz"), opened_archive(path) as archive:
        entries = entries_of(path, archive, TOGETHER)
        if len({entry.filename for entry in entries}) < len(entries) or not entries:
            raise AnnotationError(f"{path}: has no array, or two of one name: {REMEDY}")
        for entry in entries:
            with archive.open(entry) as file:
                header = array_header(path, file, texts=True)
                content = array_content(path, file, header)
            yield entry.filename.removesuffix(".npy"), content


def _safetensors(path: Path) -> Iterator[tuple[Name, np.ndarray]]:
    check_file(path, TOGETHER)
    with damage_told(path, "safetensors"):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > min(HEADER, path.stat().st_size):
                raise AnnotationError(f"{path}: not a safetensors file, or one with too long a header: {REMEDY}")
            told = json.loads(file.read(size)).get("__metadata__", {})
        with safetensors.safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                yield name, _as_array(path, name, file.get_tensor(name))
        if "keys" in told:  # names of rows, which safetensors has no type for
            keys = json.loads(told["keys"])
            if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
                raise AnnotationError(f"{path}: its metadata 'keys' is not a list of names: {REMEDY}")
            yield "keys", np.array(keys, dtype=str)


def _as_array(path: Path, name: Name, value: object) -> np.ndarray:
    """An array or tensor of numbers as an array. Raises AnnotationError for anything else."""
    if isinstance(value, Tensor):
        usual = value.dtype.is_floating_point or not value.dtype.is_complex
        value = value.detach()
        if usual and value.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
            value = value.float()
        value = value.numpy() if usual and value.layout == torch.strided and not value.is_quantized else None
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubUS":
        return value
    raise AnnotationError(f"{path}: {_told(name)} is not an array of numbers: {REMEDY}")


def _told(name: Name) -> str:
    return f"entry {ascii(name)[:60]}"


def _of_content(path: Path, content: object) -> Iterator[tuple[Name, np.ndarray]]:
    """The arrays in the content of a pickle: one array, or a dict of them; lists of text or numbers become arrays."""
    if not isinstance(content, dict):
        yield path.stem, _as_array(path, path.stem, _rows(content))
        return
    for name, value in content.items():
        if not isinstance(name, str | int | tuple):
            raise AnnotationError(f"{path}: {_told(name)} is not named by a text or a number: {REMEDY}")
        yield name, _as_array(path, name, _rows(value))


def _rows(value: object) -> object:
    """A list of plain values, or of tuples of these, as an array of text: names of videos; others as they are."""
    if isinstance(value, list) and value and all(isinstance(part, str | int | tuple) for part in value):
        parts = [" ".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in value]
        return np.array(parts, dtype=str)
    if isinstance(value, list) and value and all(isinstance(part, np.ndarray | Tensor) for part in value):
        parts = [np.asarray(part) for part in value if part.shape == value[0].shape]
        return np.stack(parts) if len(parts) == len(value) else value
    return value


class _Box:
    """An array of a pickle, or the dict in an array of a single object, which stays outside of NumPy."""

    value: object = None

    @property
    def nbytes(self) -> int:
        return self.value.nbytes if isinstance(self.value, np.ndarray) else 0

    def fill(self, state: object) -> None:
        """Set the state of the array, as `annotation_pickles` checks it; of objects, only one dict is taken."""
        single = isinstance(state, tuple) and len(state) == 5 and state[1] == () and isinstance(state[4], list)
        if single and len(state[4]) == 1 and isinstance(state[4][0], dict):
            self.value = state[4][0]
            return
        array = np.empty(0, np.int8)
        STATES[np.ndarray](array, state)
        if array.dtype.hasobject:
            raise Refused("holds an array of objects")
        self.value = array


def _boxed(*arguments: object) -> _Box:
    for name in MADE:
        FUNCTIONS[name](*arguments)  # raises Refused or another error where the arguments are not allowed
    return _Box()


MADE = (("numpy._core.multiarray", "_reconstruct"),)
NAMES = {**FUNCTIONS, **{(f"{core}.multiarray", "_reconstruct"): _boxed for core in ("numpy.core", "numpy._core")}}
BOXED = {**STATES, _Box: _Box.fill}
LEAVES = (_Box, np.ndarray)


def _opened(value: object) -> object:
    """The value with arrays in place of boxes."""
    if isinstance(value, _Box):
        return _opened(value.value)
    if isinstance(value, dict):
        return {name: _opened(part) for name, part in value.items()}
    return [_opened(part) for part in value] if isinstance(value, list) else value


def _unpickled(path: Path) -> object:
    try:
        return _opened(read_torch_file(path, True, NAMES, BOXED, LEAVES))
    except Refused as error:
        raise AnnotationError(f"{path}: refused, it {error}: {REMEDY}") from None
    except Exception as error:  # a damaged pickle can raise any exception
        raise _damaged(path, error) from None


def _objects(path: Path, content: bytes) -> object:
    try:
        return _opened(Machine(content, NAMES, BOXED, LEAVES).run())
    except Refused as error:
        raise AnnotationError(f"{path}: refused, it {error}: {REMEDY}") from None
    except Exception as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> AnnotationError:
    told = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return AnnotationError(f"{path}: incomplete or damaged ({told}): download or save it again")
