"""The command line: `sapnet COMMAND`, the same as `python -m sapnet_core COMMAND`, which `./runall.sh` calls.

Parsing is separate from the work. Arguments are checked first, with Python's standard library alone; PyTorch and the
modules that do the work are loaded only for a valid command.
"""

import os
import sys
import time
from argparse import Namespace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sapnet_core.experiments.names import KNOWN, STUDY
from sapnet_core.experiments.profiles import DATASETS, MEASURED, PROFILES, SECOND_LOOK
from sapnet_core.recipes.command_lines import RECIPES
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import (
    Parser,
    check_environment,
    cluster_address,
    count,
    device_name,
    existing_folder,
    given,
    label_shares,
    one_of,
    output_file,
    seed_number,
    unwritable,
)
from sapnet_core.runtime.command_line import one_line_errors

__all__ = ["main", "parse"]

VERIFIED = 5  # stored trials that `verify` trains again, where no number is given
CHECKED = (*DATASETS, *MEASURED, "folder")  # what the command `check` can examine; "folder" stands for own videos


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Its exit code: 0, 1 if something failed or differs, 2 for an error that is reported in one line on standard
        error, 130 after Ctrl-C (`one_line_errors`).
    """
    asked = parse(arguments)
    return one_line_errors(partial(asked.work, asked), asked.program)()


def parse(arguments: list[str] | None = None) -> Namespace:
    """Parse arguments, those of the process if None.

    Returns:
        The arguments, with `work`, the function of this module that runs the command, and `program`, the command's name
        in messages.

    Raises:
        SystemExit: the arguments are wrong (2), or --help is among them (0).
    """
    parser = Parser("sapnet", description="SAP-Net, rebuilt: everything that this suite can do.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, work, text: str, program: str | None = None) -> Parser:
        added = commands.add_parser(name, prog=program, help=text, description=text)
        added.set_defaults(work=work, program=added.prog)
        return added

    run = command("run", _run, "Run the notebooks in order; only what is missing.", "runall.sh")
    run.add_argument(
        "--profile",
        choices=sorted(PROFILES),
        help="size of all tables and figures (default: the one that each notebook names); quick trains Tables I to III "
        "anew and takes the others from the study",
    )
    run.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        type=given,
        help="only notebooks whose name starts with NAME, such as 03",
    )
    run.add_argument("--data", metavar="DIR", type=given, help="folder of datasets, or of own videos (as SAPNET_DATA)")
    run.add_argument("--split", choices=environment.SPLITS, help="how FineFS is split (as SAPNET_SPLIT)")
    run.add_argument(
        "--recompute", action="store_true", help="train anew what the repository stores (as SAPNET_RECOMPUTE)"
    )
    run.add_argument(
        "--share",
        metavar="SHARES",
        type=label_shares,
        help="label shares of own data between commas, such as 0.1,0.5,1, for a curve over them (default: 1)",
    )
    run.add_argument("--skip-bad", action="store_true", help="leave out videos that cannot be read")
    _add_workers(run)

    lab = command("lab", _lab, "Open copies of the notebooks in JupyterLab; the originals stay clean.", "runall.sh lab")
    lab.add_argument("name", nargs="?", default="00", type=given, help="beginning of a notebook's name (default: 00)")
    lab.add_argument("--port", type=count, help="port of the server (default: the first free one from 8888 on)")
    lab.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    lab.add_argument("--copy-only", action="store_true", help="only make the copies, for VS Code or another program")

    test = command("test", _test, "Run ruff, pytest, and the notebooks.", "runall.sh test")
    test.add_argument(
        "--all", action="store_true", help="also run slow tests, measure coverage, and compare every notebook"
    )

    check = command(
        "check", _check, "Check which files of a dataset are present, and whether they are the published ones."
    )
    check.add_argument(
        "folder",
        type=existing_folder,
        help="folder that holds MTL-AQA, FineDiving, RG, FineFS, UI-PRMD, JIGSAWS or records.csv",
    )
    check.add_argument(
        "names", nargs="*", metavar="name", type=_checked, help=f"some of {', '.join(CHECKED)} (default: those found)"
    )
    check.add_argument("--all", action="store_true", help="decode every frame, instead of opening eight videos")

    export = command("export", _export, "Train SAP-Net on data of yours, and write the network to a file for `score`.")
    export.add_argument("--model", required=True, type=output_file, metavar="FILE", help="file to write, .safetensors")
    export.add_argument("--data", metavar="DIR", type=given, help="folder of own data or of datasets (as SAPNET_DATA)")
    export.add_argument("--dataset", type=_checked, help=f"one of {', '.join(CHECKED)} (default: the one in DIR)")
    export.add_argument("--group", default="", help="class that is learned, where the data have several")
    export.add_argument("--target", default="", help="score that is learned: score, execution, or a further one's name")
    export.add_argument(
        "--share", type=label_shares, default="1", help="share of the scores that are used (default: 1)"
    )
    export.add_argument("--seed", type=seed_number, default=0, help="seed of weights and batches (default: 0)")
    export.add_argument("--profile", default="quick", choices=PROFILES)

    score = command("score", _score, "Score films by a network that `export` wrote, with a picture and JSON of each.")
    score.add_argument("films", nargs="+", type=Path, metavar="film", help="film, folder of frames, or sequence")
    score.add_argument("--model", required=True, type=Path, metavar="FILE", help="file that `export` wrote")
    score.add_argument("--difficulty", type=float, help="degree of difficulty, for models of execution")
    score.add_argument("--from", dest="begin", type=float, metavar="SECONDS", help="begin of the part that is meant")
    score.add_argument("--to", dest="end", type=float, metavar="SECONDS", help="end of that part")
    score.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="folder for JSON and picture")

    trials = command("trials", _trials, "Run the trials that tables and figures declare; resumes where it stopped.")
    trials.add_argument("--profile", default="quick", choices=PROFILES)
    trials.add_argument("--tables", nargs="+", default=KNOWN, choices=KNOWN, help="tables and figures, such as I fig07")
    _add_workers(trials)
    trials.add_argument("--device", default="cpu", type=device_name, help="cpu or cuda")

    study = command("study", _study, "Run the trials of a profile in pieces and store their results in the repository.")
    study.add_argument("--profile", default="study", choices=PROFILES)
    study.add_argument(
        "--tables", nargs="+", default=STUDY, choices=KNOWN, help="tables and figures, in the order of their run"
    )
    study.add_argument(
        "--seeds",
        nargs="+",
        type=seed_number,
        help=f"some of the profile's seeds, or {SECOND_LOOK[0]} to {SECOND_LOOK[-1]} for the second look of the study",
    )
    _add_workers(study)

    verify = command("verify", _verify, "Train some stored trials again from nothing, and compare.")
    verify.add_argument("trials", nargs="?", type=count, metavar="N", help=f"how many trials (default: {VERIFIED})")
    verify.add_argument("--seed", type=seed_number, help="seed of the draw (default: the date, such as 20260131)")
    verify.add_argument("--datasets", nargs="+", choices=DATASETS, help="draw from these alone (default: all)")
    verify.add_argument("--small", action="store_true", help="the two small trials that `test` verifies, in place of N")
    verify.add_argument("--jobs", type=count, help="worker processes (default: one per available core)")

    claims = command("claims", _claims, "Count the verdicts on the paper's claims; runs what they need.")
    claims.add_argument("--profile", default="study", choices=PROFILES)
    claims.add_argument("--jobs", type=count, help="worker processes (default: one per core)")

    stability = command("stability", _stability, "Judge claims with trials that this kind of processor trains again.")
    stability.add_argument("claims", nargs="+", metavar="CLAIM", help="ids of claims, as in reporting/claims.toml")
    stability.add_argument("--jobs", type=count, help="worker processes (default: one per available core)")

    provenance = command(
        "provenance", _provenance, "Say where a figure or table comes from, and whether it is current."
    )
    provenance.add_argument("files", nargs="+", type=Path, help=".png, .svg, .md or .csv in figures/")

    benchmark = command("benchmark", _benchmark, "Time the performance-critical code and its alternatives.")
    benchmark.add_argument("--device", default="cpu", type=device_name, help="cpu or cuda")
    benchmark.add_argument("--rounds", type=count, default=5)
    benchmark.add_argument("--threads", type=count, help="PyTorch's threads on the CPU (default: PyTorch's own number)")

    notebooks = command("notebooks", _notebooks, "Run notebooks in place, and store their outputs in the repository.")
    notebooks.add_argument(
        "names", nargs="*", type=given, help="beginnings of notebook names, such as 03 (default: all)"
    )
    notebooks.add_argument(
        "--install-cell", action="store_true", help="run nothing; renew the cell that installs the package elsewhere"
    )

    gallery = command("gallery", _gallery, "Write figures/index.html and the pages that it links to.")
    gallery.add_argument(
        "--profile", choices=sorted(PROFILES), help="what was made at this profile in place of a notebook's own"
    )
    gallery.add_argument("--pages", action="store_true", help="also write a page for each notebook, and link to it")

    recipe = command(
        "recipe", _recipe, "Make a file of the repository anew, such as weights, or write a simulated dataset."
    )
    recipes = recipe.add_subparsers(metavar="NAME", dest="recipe", required=True)
    for name, (text, add_arguments) in RECIPES.items():
        added = recipes.add_parser(name, help=text, description=text)
        added.set_defaults(program=added.prog)
        add_arguments(added)
    return parser.parse_args(arguments)


def _add_workers(parser: Parser) -> None:
    parser.add_argument("--jobs", type=count, help="worker processes (default: one per available core)")
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        type=cluster_address,
        help="scheduler of a Dask cluster whose workers run the trials, such as tcp://host:8786; they share the folder "
        "SAPNET_RUNS (as SAPNET_DASK)",
    )


def _checked(name: str) -> str:
    """Check that a name is in `CHECKED`: a `type` for `argparse`, whose `choices` would refuse an empty list."""
    one_of(name, CHECKED)
    return name


def _load(module: str) -> ModuleType:
    """Import the module that does the work of a command, with a progress line: PyTorch alone takes seconds to load."""
    from sapnet_core.runtime.progress import waiting

    os.environ.pop("MPLBACKEND", None)  # matplotlib refuses to load if the user's own backend is missing here
    with waiting("loading PyTorch and the suite"):
        return import_module(f"sapnet_core.{module}")


def _run(asked: Namespace) -> int:
    if asked.dask:
        os.environ["SAPNET_DASK"] = asked.dask  # kernels read it
    if asked.data:
        os.environ["SAPNET_DATA"] = asked.data if asked.data.startswith("~") else os.path.abspath(asked.data)
    if asked.split:
        os.environ["SAPNET_SPLIT"] = asked.split
    if asked.recompute:
        os.environ["SAPNET_RECOMPUTE"] = "1"
    if asked.skip_bad:
        os.environ["SAPNET_SKIP_BAD"] = "1"
    if asked.jobs:
        os.environ["SAPNET_JOBS"] = str(asked.jobs)
    notebooks = environment.find_notebooks(asked.only)
    check_environment()
    os.environ["SAPNET_JOBS"] = str(environment.jobs())
    return _load("reporting.run_notebooks").run_suite(asked.profile, notebooks, asked.only, asked.split, asked.share)


def _lab(asked: Namespace) -> None:
    from sapnet_core.runtime.lab import open_lab

    check_environment()
    open_lab(asked.name, asked.port, not asked.no_browser, asked.copy_only)


def _test(asked: Namespace) -> int:
    from sapnet_core.runtime.run_tests import run_tests

    return run_tests(asked.all)


def _check(asked: Namespace) -> int:
    return _load("datasets.validate").print_findings(asked.folder, asked.names, asked.all)


def _export(asked: Namespace) -> None:
    if asked.data:
        os.environ["SAPNET_DATA"] = asked.data if asked.data.startswith("~") else os.path.abspath(asked.data)
    check_environment()
    report = _load("reporting.score_report")
    share = float(asked.share.split(",")[-1])
    trial = report.export_trial(asked.dataset or "", asked.group, asked.target, share, asked.seed, asked.profile)
    report.export_to(asked.model, trial)


def _score(asked: Namespace) -> int:
    check_environment()
    if fault := unwritable(asked.out.absolute()):
        raise ValueError(f"--out {asked.out}: {fault}: give a folder that can be written")
    report = _load("reporting.score_report")
    return report.score_films(asked.films, asked.model, asked.out, asked.difficulty, asked.begin, asked.end)


def _trials(asked: Namespace) -> None:
    if asked.dask:
        os.environ["SAPNET_DASK"] = asked.dask
    check_environment()
    _load("experiments.tables").run_tables(asked.profile, asked.tables, asked.jobs or environment.jobs(), asked.device)


def _study(asked: Namespace) -> None:
    if asked.dask:
        os.environ["SAPNET_DASK"] = asked.dask
    check_environment()
    _load("experiments.study").run_study(asked.profile, asked.tables, asked.seeds, asked.jobs or environment.jobs())


def _verify(asked: Namespace) -> int:
    check_environment()
    if asked.small:
        if any(option is not None for option in (asked.trials, asked.seed, asked.datasets)):
            raise ValueError("verify --small takes its own two trials: leave out N, --seed and --datasets")
        return _load("experiments.verify").verify_small(asked.jobs or environment.jobs())
    seed = int(time.strftime("%Y%m%d")) if asked.seed is None else asked.seed
    number, jobs = asked.trials or VERIFIED, asked.jobs or environment.jobs()
    return _load("experiments.verify").verify(number, seed, jobs, asked.datasets or DATASETS)


def _stability(asked: Namespace) -> None:
    check_environment()
    _load("reporting.stability").measure_stability(asked.claims, asked.jobs or environment.jobs())


def _claims(asked: Namespace) -> None:
    check_environment()
    _load("reporting.claims").print_verdicts(asked.profile, asked.jobs or environment.jobs())


def _provenance(asked: Namespace) -> int:
    return _load("reporting.provenance").print_provenance(asked.files)


def _benchmark(asked: Namespace) -> None:
    check_environment()
    _load("recipes.benchmark").print_comparisons(asked.device, asked.rounds, asked.threads)


def _notebooks(asked: Namespace) -> None:
    chosen = environment.find_notebooks(asked.names)
    if asked.install_cell:
        _load("reporting.install_cell").renew_cells(chosen)
    else:
        _load("reporting.notebooks").refresh(chosen)


def _gallery(asked: Namespace) -> None:
    _load("reporting.gallery").write_pages(asked.profile, asked.pages)


def _recipe(asked: Namespace) -> None:
    _load(f"recipes.{asked.recipe}").main(asked)


if __name__ == "__main__":
    sys.exit(main())
