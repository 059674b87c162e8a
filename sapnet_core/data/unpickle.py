"""A reader for annotation pickles that can build numpy arrays and builtin containers, and nothing else.

A pickle is a program: loading one the ordinary way runs whatever it names. The official label files need four numpy
constructors; a file that names anything else is refused before the thing it names is even looked up.
"""

import pickle
from pathlib import Path

import numpy as np

__all__ = ["AnnotationError", "read_pickle"]


class AnnotationError(ValueError):
    """An annotation file is missing, torn, hostile or not of the official schema. One line: file, key, remedy."""


# numpy names its own constructors: what they are called differs between numpy 1 (numpy.core) and 2 (numpy._core)
CONSTRUCTORS = {
    "_reconstruct": np.empty(0).__reduce__()[0],
    "_frombuffer": np.empty(0).__reduce_ex__(5)[0],
    "scalar": np.float64(0).__reduce__()[0],
}
ALLOWED = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
for core in ("numpy.core", "numpy._core"):
    ALLOWED[f"{core}.multiarray", "_reconstruct"] = CONSTRUCTORS["_reconstruct"]
    ALLOWED[f"{core}.multiarray", "scalar"] = CONSTRUCTORS["scalar"]
    ALLOWED[f"{core}.numeric", "_frombuffer"] = CONSTRUCTORS["_frombuffer"]
for kind in (list, dict, set, frozenset, tuple, int, float, complex, bool, str, bytes, bytearray):
    for module in ("builtins", "__builtin__"):
        ALLOWED[module, kind.__name__] = kind


class _Forbidden(pickle.UnpicklingError):
    pass


class _Restricted(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise _Forbidden(f"{module}.{name}")
        return ALLOWED[module, name]


def read_pickle(path: Path | str, source: str = "where it was published"):
    """The object in a pickle of numpy arrays, dtypes, scalars and builtin containers.

    Args:
        path: the file.
        source: where the user gets a good copy; named in the error.

    Raises:
        AnnotationError: the file is missing, is no whole pickle, or names anything outside the allowed list.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"{path}: no such file: download it from {source}")
    try:
        with path.open("rb") as file:
            return _Restricted(file).load()
    except _Forbidden as error:
        raise AnnotationError(
            f"{path}: refused, it wants to load {error}, and labels need only numpy arrays and builtin containers: "
            f"download the file anew from {source}"
        ) from None
    except Exception as error:  # a damaged pickle can fail in any way that Python knows
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise AnnotationError(f"{path}: no whole pickle ({reason}): download it anew from {source}") from error
