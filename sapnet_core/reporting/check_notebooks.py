"""Check every notebook, as strictly as the results at hand allow.

    python -m sapnet_core.reporting.check_notebooks [--all]

- A notebook that trains no trial is run by nbval, and so is one whose results are stored in the repository or lie in
  `runs/trials`: every cell has to print what is stored.
- Any other notebook is run by Papermill at the smoke profile, which has smaller sizes, fewer seeds and steps: no cell
  may fail, and together these notebooks have to write their files in `figures/`. Their printed numbers differ from the
  stored ones and are not compared.

`--all` first runs the trials that are missing, so that nbval can compare every notebook.
"""

import re
import subprocess
import sys
from pathlib import Path

from sapnet_core.experiments.results import has_result, trial_folder
from sapnet_core.experiments.run import run_trials
from sapnet_core.reporting.notebook_trials import notebook_trials
from sapnet_core.reporting.notebooks import find, load
from sapnet_core.reporting.parts import parts
from sapnet_core.reporting.run_notebooks import Outcome, run_all, summary
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import Parser, check_environment
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.runtime.variables import variables

__all__ = ["check_notebooks", "missing_figures", "needs_trials"]

SMOKE = "smoke"
RUNS_TRIALS = re.compile(r"\b(run_trials|trial_data)\(")
READS_MEASURED = re.compile(r"\bstored_people\(")  # results on data of real people, which are stored
READS_FEATURES = re.compile(r"\.features\b|\b(training_task|train_set|fit_trial|predict_all)\(")


def needs_trials(notebook: Path) -> bool:
    """Whether a notebook trains or computes features of a whole dataset: minutes, if no results are on disk."""
    return any(RUNS_TRIALS.search(cell.source) for cell in load(notebook).cells if cell.cell_type == "code")


def check_notebooks(jobs: int = 1, every: bool = False) -> bool:
    """Check all notebooks with `jobs` processes, and say which were compared and which were run at the smoke profile.

    Args:
        every: first run the trials that are missing, so that every notebook is compared.

    Returns:
        Whether all notebooks passed.
    """
    notebooks = find()
    if every:
        with trial_bars() as bars:
            run_trials(notebook_trials(notebooks), jobs, **bars)
    smoked = [notebook for notebook in notebooks if needs_trials(notebook) and not _at_hand(notebook)]
    compared = [notebook for notebook in notebooks if notebook not in smoked]
    _say(f"{len(compared)} of {len(notebooks)} notebooks are compared with their stored outputs: {_stems(compared)}")
    if smoked:
        _say(
            f"{len(smoked)} are run at the smoke profile and not compared, since some of their results are neither "
            f"stored nor in {environment.runs() / 'trials'} (./runall.sh or ./runall.sh test --all makes them): "
            f"{_stems(smoked)}"
        )
    # pytest in a process of its own, and before the smoke runs, so that its failures are reported early; here and there
    # one worker more than there are processes, since kernels are waited for while they start and end
    workers = str(min(jobs + 1, len(compared)))
    strict = ["-q", "--nbval", "--nbval-current-env", "-n", workers, "--dist", "loadscope"]
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *strict, *map(str, compared)], cwd=environment.root(), check=False
    )
    return process.returncode == 0 and (not smoked or _smoke(smoked, jobs))


def _smoke(notebooks: list[Path], jobs: int) -> bool:
    """Whether the notebooks run at the smoke profile and write all figures; their files go to `runs/smoke`."""
    base = environment.runs().absolute() / "smoke"
    with variables(SAPNET_RUNS=str(base), SAPNET_FIGURES=str(base / "figures"), SAPNET_JOBS="1"):
        with trial_bars() as bars:
            run_trials(notebook_trials(notebooks, SMOKE), jobs, **bars)
        outcomes = run_all(notebooks, {"profile": SMOKE}, base / "notebooks", _say, jobs + 1)
    _say("\n" + summary(outcomes))
    absent = missing_figures(outcomes)
    if absent:
        _say(f"no notebook wrote these files of figures/: {', '.join(absent)}")
    return not absent and all(outcome.state != "failed" for outcome in outcomes)


def missing_figures(outcomes: list[Outcome], folder: Path | None = None) -> list[str]:
    """Names of the files in `folder` (by default `figures/`) that are made by the notebooks of these outcomes, as their
    provenance says, and that none of them wrote."""
    made = {Path(name).name for outcome in outcomes for name in outcome.made}
    ran = {outcome.name for outcome in outcomes}
    found = parts(folder or environment.root() / "figures")
    theirs = [part for part in found if part.notebook is None or part.notebook.stem in ran]
    return sorted({name for part in theirs for name in part.files} - made)


def _at_hand(notebook: Path) -> bool:
    """Whether all that a notebook reads is stored or lies in the folder of runs, at the profiles that notebooks name.

    A notebook that shows no table reads features of the same videos as those that show one. Features are not stored,
    but are there where a trial that learned from them was run here. Results on data of real people are stored, and are
    what such a notebook reads where the data are absent.
    """
    sources = [cell.source for cell in load(notebook).cells if cell.cell_type == "code"]
    if any(map(READS_MEASURED.search, sources)):
        return environment.data_root() is None
    trials = notebook_trials([notebook]) or notebook_trials(find())
    features = any(map(READS_FEATURES.search, sources))
    return all(trial_folder(trial).is_dir() if features else has_result(trial) for trial in trials)


def _stems(notebooks: list[Path]) -> str:
    return ", ".join(notebook.stem for notebook in notebooks)


def _say(text: str) -> None:
    print(text, flush=True)


@one_line_errors
def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 1 if a notebook failed its check."""
    parser = Parser("python -m sapnet_core.reporting.check_notebooks", description="Check every notebook.")
    parser.add_argument("--all", action="store_true", help="run the trials first, and compare every notebook")
    asked = parser.parse_args(arguments)
    check_environment()
    return int(not check_notebooks(environment.jobs(), asked.all))


# started as a program by `run_tests` alone, in a process of its own; people call `./runall.sh test`
if __name__ == "__main__":
    sys.exit(main())
