"""Checks of command-line arguments and environment variables, before any work begins.

An error is one line that names the option or the variable, its fault, and what to give instead.
"""

import argparse
import difflib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sapnet_core.runtime import environment
from sapnet_core.runtime.file_kinds import found_at, printable

__all__ = [
    "VARIABLES",
    "Parser",
    "check_environment",
    "cluster_address",
    "count",
    "device_name",
    "existing_folder",
    "given",
    "one_of",
    "seed_number",
    "output_file",
    "unwritable",
]

VARIABLES = (
    "SAPNET_RUNS",
    "SAPNET_FIGURES",
    "SAPNET_DATA",
    "SAPNET_SPLIT",
    "SAPNET_SKIP_BAD",
    "SAPNET_RECOMPUTE",
    "SAPNET_NUMBERS",
    "SAPNET_DETECTOR",
    "SAPNET_I3D",
    "SAPNET_C3D",
    "SAPNET_SWIN",
    "SAPNET_JOBS",
    "SAPNET_DASK",
    "SAPNET_CHECKPOINT",
    "SAPNET_TRACEBACK",
)
OURS = "SAPNET_TEST_"  # prefix of the tests' own variables
MANY = 30  # maximum number of names that are listed beside the nearest one


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line that suggests the nearest known word, with exit code 2.

    Options must be spelled out, here and in sub-commands: argparse by itself would take "--page" for "--pages".
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> None:
        line = printable(" ".join(message.split()))
        self.exit(2, f"{self.prog}: {line} (see --help)\n")

    def parse_known_args(self, args=None, namespace=None):
        """Parse as `argparse` does, but report unknown arguments here, from the parser of the sub-command that received
        them, since it knows the options that may have been meant."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [word for word in unknown if word.startswith("-")]
            near = [suggestion(word.partition("=")[0], self._option_string_actions) for word in options]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{next(filter(None, near), '')}")
        return namespace, unknown

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None:
            try:
                one_of(value, action.choices)
            except argparse.ArgumentTypeError as error:
                raise argparse.ArgumentError(action, str(error)) from None


def suggestion(word: str, known: Iterable[str]) -> str:
    """ " (did you mean ...?)" with the known word of the most similar spelling; "" where none is similar."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def one_of(value: object, known: Iterable[object]) -> None:
    """Check that a value is among the known ones.

    Raises:
        argparse.ArgumentTypeError: it is not. The message names the nearest known value; all known values are listed
            where there are at most `MANY`, or none is near.
    """
    if value not in (known := list(known)):
        names = [str(name) for name in known]
        near = suggestion(str(value), names)
        listed = "" if near and len(names) > MANY else f": choose one of {', '.join(names)}"
        raise argparse.ArgumentTypeError(f"{value!r} is unknown{near}{listed}")


def count(text: str) -> int:
    """A whole number of at least 1: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: the text is not such a number.
    """
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed_number(text: str) -> int:
    """A whole number of at least 0: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: the text is not such a number.
    """
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def label_shares(text: str) -> str:
    """Label shares between commas, such as "0.1,0.5,1", in order and once each: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: a part of the text is not a number above 0 and up to 1.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"(0?\.[0-9]{1,6}|1(\.0*)?)", word, re.ASCII) and float(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(
            f"{text!r} are no label shares: give numbers above 0 and up to 1, as 0.1,0.5,1"
        )
    return ",".join(f"{share:g}" for share in sorted(set(map(float, words))))


def given(text: str) -> str:
    """A text that is not blank, for options whose value may be an unset shell variable: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: the text is blank.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the value is empty: give one, or leave the option out")
    return text


def cluster_address(text: str) -> str:
    """The address of a Dask scheduler: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: the text does not have the form of such an address.
    """
    if not re.fullmatch(r"([a-z]+://)?[^\s/]+:\d+", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the address of a Dask scheduler: write it like tcp://host:8786"
        )
    return text


def device_name(text: str) -> str:
    """The name of a supported device, whether or not this machine has it: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: the device is not supported.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a supported device: choose cpu or cuda")
    return text


def existing_folder(text: str) -> Path:
    """An existing folder, as an absolute path: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: there is no such folder.
    """
    if not os.path.isdir(text):
        found = found_at(Path(text))
        raise argparse.ArgumentTypeError(f"{text} is not a folder{found and f', but {found}'}: give an existing folder")
    return Path(text).resolve()


def output_file(text: str) -> Path:
    """The path of a file that can be written, whether or not it exists: a `type` for `argparse`.

    Raises:
        argparse.ArgumentTypeError: the text is empty or names a folder, or the file cannot be written.
    """
    path = Path(text)
    if not text or os.path.isdir(path):  # unlike `Path.is_dir`, no error where a name is too long
        raise argparse.ArgumentTypeError(f"{text!r} is empty or names a folder: give the name of a file to write")
    if fault := unwritable(path.absolute().parent):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {fault}")
    return path


def unwritable(folder: Path) -> str:
    """The reason why nothing can be written into a folder, which need not exist yet; "" where it can be."""
    for place in (folder, *folder.parents):
        try:
            if not stat.S_ISDIR(os.stat(place).st_mode):
                return f"{place} is not a folder"
            os.rmdir(tempfile.mkdtemp(prefix=".sapnet-", dir=place))  # permission bits alone do not decide
            return ""
        except OSError as error:  # also where a name is too long, a parent is a file, or a link leads to itself
            if os.path.isdir(place) or not isinstance(error, FileNotFoundError):
                return f"folder {place} is not writable ({error.strerror})"
    return f"no parent folder of {folder} exists"


def check_environment() -> None:
    """Check the environment variables of this package; a misspelled name is reported on standard error.

    Raises:
        ValueError: a variable has an invalid value.
        FileNotFoundError: a variable names data or weights that do not exist.
    """
    for name in sorted(os.environ):
        if name.startswith("SAPNET_") and name not in VARIABLES and not name.startswith(OURS):
            near = difflib.get_close_matches(name, VARIABLES, 1)
            meant = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(VARIABLES)}"
            print(f"environment variable {name} is unknown and has no effect: {meant}", file=sys.stderr, flush=True)
    environment.jobs(), environment.finefs_split(), environment.numbers()
    environment.data_root(), environment.detector(), environment.i3d(), environment.c3d(), environment.swin()
    for name, folder in (("SAPNET_RUNS", environment.runs()), ("SAPNET_FIGURES", environment.figures())):
        if fault := unwritable(folder.absolute()):
            raise ValueError(f"{name}: {fault}: set {name} to a writable folder")
    for name in ("SAPNET_SKIP_BAD", "SAPNET_RECOMPUTE"):
        if (choice := os.environ.get(name, "")) not in ("", "0", "1"):
            raise ValueError(f"{name}={choice!r} is invalid: give 1 or 0")
    if (seconds := os.environ.get("SAPNET_CHECKPOINT")) and not re.fullmatch(r"\d+\.?\d*|\.\d+", seconds, re.ASCII):
        raise ValueError(
            f"SAPNET_CHECKPOINT={seconds!r} is not a number of seconds: unset it, or give a number such as 60"
        )
    if address := os.environ.get("SAPNET_DASK"):
        try:
            cluster_address(address)
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"SAPNET_DASK: {error}") from None
