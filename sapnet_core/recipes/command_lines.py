"""Argument parsers of the programs that are started as modules, such as `python -m sapnet_core.recipes.tune_methods`.

They are separate from the programs, so that `refuse_wrong_arguments` can check the arguments before PyTorch is loaded.
"""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from sapnet_core.experiments.profiles import DATASETS, PROFILES
from sapnet_core.recipes.tuning_space import CANDIDATES, SPACES
from sapnet_core.runtime.arguments import Parser, count, existing_folder, given, one_of, output_file

__all__ = [
    "PARSERS",
    "BACKBONES",
    "LOOKS",
    "SETTINGS",
    "calibrate_simulator",
    "choose_confidence",
    "choose_training_length",
    "export_twins",
    "gallery",
    "look_at_core",
    "measure_people",
    "measure_rounding",
    "notebooks",
    "pretrain_backbones",
    "refuse_wrong_arguments",
    "store_small",
    "train_detector",
    "tune_methods",
]

BACKBONES = ("i3d", "c3d", "swin")  # the keys of `pretrain_backbones.RECIPES`
LOOKS = (  # the keys of `look_at_core.CANDIDATES`, and its controls
    "as in the tables",
    "place weighed as in the source",
    "edges mirrored as in the source",
    "exemplars drawn as in the source",
    "all three as in the source",
    "5 times as many passes, as in the source",
    "exemplars = 1",
    "exemplars = 5",
    "exemplars = 20",
    "exemplars = 50",
    "Ridge on the mean feature",
    "I3D+MLP (searched)",
)
# field of `SimSettings` -> its type
SETTINGS = dict.fromkeys(
    (
        "visibility",
        "part_spread",
        "factor_spread",
        "judge_noise",
        "nuisance",
        "bystanders",
        "sensor_noise",
        "texture",
        "camera",
        "lead_in",
        "flight",
        "timing",
    ),
    float,
) | {"bystanders": int}


def refuse_wrong_arguments() -> None:
    """End the process at once, with one line and exit code 2, if `python -m` is starting a program of `PARSERS` with
    wrong arguments. Must be called while the package is being imported; does nothing for other programs."""
    program = sys.orig_argv[-len(sys.argv)].removeprefix("-m")  # `sys.argv` is still ["-m", *arguments]
    if program in PARSERS:
        PARSERS[program]().parse_args(sys.argv[1:])


def pretrain_backbones() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.pretrain_backbones",
        description="Train a backbone on simulated dives, as those in the package were.",
    )
    parser.add_argument("backbone", choices=BACKBONES)
    parser.add_argument("out", type=output_file, help="file to write")
    parser.add_argument("--jobs", type=count, help="processes that render (default: one per core)")
    return parser


def train_detector() -> Parser:
    parser = Parser("python -m sapnet_core.recipes.train_detector", description="Train the detector.")
    parser.add_argument("--out", type=output_file, help="file to write (default: the weights in the package)")
    parser.add_argument(
        "--epochs", type=count, help="passes over the frames (default: as for the weights in the package)"
    )
    parser.add_argument("--jobs", type=count, help="processes that render (default: one per core)")
    return parser


def calibrate_simulator() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.calibrate_simulator", description="Measure I3D+MLP on twins of one difficulty."
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("change", nargs="*", type=_change, help="field=value, on top of the values in calibration.json")
    parser.add_argument("--train", type=count, help="training videos (default: the official number)")
    parser.add_argument("--test", type=count, help="test videos (default: the official number)")
    parser.add_argument("--twin-seed", type=_seed, help="seed of the twins (default: one that nothing else uses)")
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def choose_training_length() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.choose_training_length",
        description="Train the simplest systems for several numbers of steps, on validation parts of other twins.",
    )
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def choose_confidence() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.choose_confidence",
        description="Compare measures of the teacher's confidence with its errors, on unlabeled videos of other twins.",
    )
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def look_at_core() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.look_at_core",
        description="Change one thing of CoRe at a time, and score it on validation parts of other twins.",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(LOOKS), choices=LOOKS)
    return parser


def measure_rounding() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.measure_rounding",
        description="Train stored trials again with another order of sums, and store how far each system moves.",
    )
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--trials", type=count, default=20, help="trials of each dataset and method (default: 20)")
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def store_small() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.store_small",
        description="Train the two small trials that the tests train again, and store their results.",
    )
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def measure_people() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.measure_people",
        description="Train the trials on UI-PRMD, people left out, and store their results in the repository.",
    )
    parser.add_argument("folder", type=existing_folder, help="folder that holds UI-PRMD")
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def tune_methods() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.tune_methods",
        description="Score candidate settings on validation parts of other twins.",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument(
        "--search", nargs="+", metavar="SYSTEM", choices=SPACES, help="all candidates of these compared systems"
    )
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")
    return parser


def export_twins() -> Parser:
    parser = Parser(
        "python -m sapnet_core.recipes.export_twins",
        description="Write simulated twins and their drawn annotations in a dataset's official layout.",
    )
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("dir", type=Path, help="folder in which the dataset's folder is created")
    parser.add_argument(
        "--count", type=_pair, default=8, help="number of records, a quarter of them for testing (default: 8)"
    )
    parser.add_argument(
        "--size", type=count, default=112, help="height and width of the frames in pixels (default: 112)"
    )
    parser.add_argument("--seed", type=_seed, default=0)
    return parser


def gallery() -> Parser:
    parser = Parser("python -m sapnet_core.reporting.gallery", description="Write the gallery.")
    parser.add_argument(
        "--profile", choices=sorted(PROFILES), help="what was made at this profile in place of a notebook's own"
    )
    parser.add_argument("--pages", action="store_true", help="also write a page for each notebook, and link to it")
    return parser


def notebooks() -> Parser:
    parser = Parser("python -m sapnet_core.reporting.notebooks", description="Refresh stored outputs.")
    parser.add_argument("names", nargs="*", type=given, help="beginnings of notebook names, such as 03 (default: all)")
    return parser


def _change(text: str) -> tuple[str, float]:
    """Parse a field of `SimSettings` and its value, such as "visibility=0.6": a `type` for `argparse`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r} is not of the form field=value: the fields are {', '.join(SETTINGS)}")
    one_of(name, SETTINGS)
    try:
        return name, SETTINGS[name](value)
    except ValueError:
        kind = "whole number" if SETTINGS[name] is int else "number"
        raise ArgumentTypeError(f"{text!r}: {value!r} is not a {kind}") from None


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not a seed: give a whole number of at least 0")
    return int(text)


def _pair(text: str) -> int:
    number = count(text)
    if number < 2:
        raise ArgumentTypeError(f"{text!r} is too small: give at least 2 records, one for training and one for testing")
    return number


PARSERS: dict[str, Callable[[], Parser]] = {
    "sapnet_core.recipes.pretrain_backbones": pretrain_backbones,
    "sapnet_core.recipes.train_detector": train_detector,
    "sapnet_core.recipes.calibrate_simulator": calibrate_simulator,
    "sapnet_core.recipes.choose_training_length": choose_training_length,
    "sapnet_core.recipes.choose_confidence": choose_confidence,
    "sapnet_core.recipes.look_at_core": look_at_core,
    "sapnet_core.recipes.measure_people": measure_people,
    "sapnet_core.recipes.measure_rounding": measure_rounding,
    "sapnet_core.recipes.store_small": store_small,
    "sapnet_core.recipes.tune_methods": tune_methods,
    "sapnet_core.recipes.export_twins": export_twins,
    "sapnet_core.reporting.gallery": gallery,
    "sapnet_core.reporting.notebooks": notebooks,
}
