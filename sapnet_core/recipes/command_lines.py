"""Arguments of `sapnet recipe NAME`, for each module of this subpackage that makes a file of the repository anew or
writes a simulated dataset.

They are separate from the recipes, so that the command line can check them before PyTorch is loaded.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from sapnet_core.experiments.profiles import DATASETS, PROFILES
from sapnet_core.recipes.tuning_space import CANDIDATES, SPACES
from sapnet_core.runtime.arguments import Parser, count, existing_folder, one_of, output_file, seed_number

__all__ = ["BACKBONES", "LOOKS", "RECIPES", "SETTINGS"]

BACKBONES = ("i3d", "c3d", "swin")  # the keys of `pretrain_backbones.RECIPES`
LOOKS = (  # the keys of `look_at_core.CANDIDATES`, and its controls
    "as in the tables",
    "exemplars drawn as in the source",
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


def _jobs(parser: Parser) -> None:
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per core)")


def _pretrain_backbones(parser: Parser) -> None:
    parser.add_argument("backbone", choices=BACKBONES)
    parser.add_argument("out", type=output_file, help="file to write")
    parser.add_argument("--jobs", type=count, help="processes that render (default: one per core)")


def _train_detector(parser: Parser) -> None:
    parser.add_argument("--out", type=output_file, help="file to write (default: the weights in the package)")
    parser.add_argument(
        "--epochs", type=count, help="passes over the frames (default: as for the weights in the package)"
    )
    parser.add_argument("--jobs", type=count, help="processes that render (default: one per core)")


def _calibrate_simulator(parser: Parser) -> None:
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("change", nargs="*", type=_change, help="field=value, on top of the values in calibration.json")
    parser.add_argument("--train", type=count, help="training videos (default: the official number)")
    parser.add_argument("--test", type=count, help="test videos (default: the official number)")
    parser.add_argument("--twin-seed", type=seed_number, help="seed of the twins (default: one that nothing else uses)")
    _jobs(parser)


def _look_at_core(parser: Parser) -> None:
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(LOOKS), choices=LOOKS)
    _jobs(parser)


def _measure_rounding(parser: Parser) -> None:
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--trials", type=count, default=20, help="trials of each dataset and method (default: 20)")
    parser.add_argument(
        "--older",
        action="store_true",
        help="use the kernels of an older processor, to measure also trials that this kind of processor stored",
    )
    _jobs(parser)


def _measure_people(parser: Parser) -> None:
    parser.add_argument("folder", type=existing_folder, help="folder that holds UI-PRMD")
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    _jobs(parser)


def _tune_methods(parser: Parser) -> None:
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument(
        "--search", nargs="+", metavar="SYSTEM", choices=SPACES, help="all candidates of these compared systems"
    )
    parser.add_argument("--missing", action="store_true", help="of these, only candidates that the table does not hold")
    _jobs(parser)


def _export_twins(parser: Parser) -> None:
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("dir", type=Path, help="folder in which the dataset's folder is created")
    parser.add_argument(
        "--count", type=_pair, default=8, help="number of records, a quarter of them for testing (default: 8)"
    )
    parser.add_argument(
        "--size", type=count, default=112, help="height and width of the frames in pixels (default: 112)"
    )
    parser.add_argument("--seed", type=seed_number, default=0)


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


def _pair(text: str) -> int:
    number = count(text)
    if number < 2:
        raise ArgumentTypeError(f"{text!r} is too small: give at least 2 records, one for training and one for testing")
    return number


def _measure_cost(parser: Parser) -> None:
    parser.add_argument("--videos", type=count, default=64, help="videos whose features are timed (default: 64)")
    _jobs(parser)


# module of this subpackage -> what it makes, and the function that adds its arguments to a parser
RECIPES: dict[str, tuple[str, Callable[[Parser], None]]] = {
    "pretrain_backbones": ("Train a backbone on simulated dives, as those in weights/ were.", _pretrain_backbones),
    "train_detector": ("Train the detector on simulated people, as the one in weights/ was.", _train_detector),
    "calibrate_simulator": (
        "Measure I3D+MLP on twins of one difficulty: a row of simulator/calibration_search.csv.",
        _calibrate_simulator,
    ),
    "choose_training_length": (
        "Train the simplest systems for several numbers of steps: experiments/training_length.csv.",
        _jobs,
    ),
    "choose_confidence": (
        "Compare measures of the teacher's confidence with its errors: sapnet/confidence.csv.",
        _jobs,
    ),
    "tune_methods": (
        "Score candidate settings on validation parts of other twins: methods/tuning.csv.",
        _tune_methods,
    ),
    "look_at_core": ("Change one thing of CoRe at a time, on other twins: methods/looked_at.csv.", _look_at_core),
    "look_at_failed_dives": (
        "Score failed dives of other twins with the systems of Figure 14: experiments/failed_dives.csv.",
        _jobs,
    ),
    "measure_rounding": (
        "Train stored trials of another kind of processor again, and tell how far they move: study/rounding.csv.",
        _measure_rounding,
    ),
    "measure_cost": ("Measure the memory of trainings and the time of features: study/cost.csv.", _measure_cost),
    "measure_people": (
        "Train the trials on UI-PRMD, people left out, and store their results: study/measured/.",
        _measure_people,
    ),
    "store_small": ("Train the two small trials that every run of the tests trains again: study/small/.", _jobs),
    "export_twins": (
        "Write simulated videos and their drawn annotations in a dataset's official layout.",
        _export_twins,
    ),
}
