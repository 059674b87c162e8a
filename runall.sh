#!/usr/bin/env bash
# The whole suite in one command: sets up what is missing, then runs every notebook, or every test.
set -euo pipefail
# what a person's shell, or a module of a cluster, has set for other programs
for name in ${!PYTHON@} ${!TQDM_@} MPLBACKEND MATPLOTLIBRC; do unset "$name"; done
export PYTHONUTF8=1 PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1   # texts in UTF-8, and no module of the working folder
for name in SAPNET_RUNS SAPNET_FIGURES SAPNET_DATA SAPNET_DETECTOR SAPNET_I3D SAPNET_C3D SAPNET_SWIN; do # kernels run in another folder: make these absolute
    case "${!name:-/}" in /* | "~"*) ;; *) export "$name=$PWD/${!name}" ;; esac
done
here="$PWD"
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
./runall.sh [options]   set up what is missing, run every notebook, regenerate every table and figure
./runall.sh test        set up what is missing, run ruff, pytest and strict nbval

options:
  --profile quick|paper  size of the run (default quick)
  --only 03              only notebooks whose name starts so; may be repeated
  --data DIR             folder of datasets, or of own videos with a records.csv (same as SAPNET_DATA=DIR)
  --split RULE           how FineFS is split: random (default), ordered, interleaved, files (same as SAPNET_SPLIT)
  --skip-bad             leave out videos that cannot be read (same as SAPNET_SKIP_BAD=1)
  --jobs N               worker processes (default: one for each core that may be used)
  --dask ADDRESS         trials run on the workers of a Dask cluster, as tcp://host:8786 (same as SAPNET_DASK=ADDRESS)
  --help                 this text

An active conda or virtual environment that has the packages is used; else .venv is made here.
Run again, it does only what is missing. SAPNET_RUNS moves runs/, SAPNET_FIGURES moves figures/.
TEXT
}

refuse() { echo "runall.sh: $1 (--help lists what can be asked for)" >&2; exit 2; }

stopped() { # one line, unless what ran has said it
    [ "$?,${says_it:-}" = 130,yes ] || printf '\nstopped; run the same command again to go on\n' >&2
    exit 130
}

case " $* " in *" --help "* | *" -h "*) usage; exit 0 ;; esac
case "${1:-}" in
    test) [ $# = 1 ] || refuse "'test' takes no options, and got: ${*:2}" ;;
    "" | -*) ;;
    *) refuse "'$1' is no command: give options, or test alone" ;;
esac
trap stopped INT TERM

has_packages() { # has this interpreter everything that pyproject.toml asks for?
    "$1" - <<'PYTHON' 2>/dev/null
import sys
import tomllib
from importlib.metadata import version
from packaging.requirements import Requirement
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
for line in project["dependencies"] + extras["notebooks"] + extras["test"]:
    requirement = Requirement(line)
    if version(requirement.name) not in requirement.specifier:
        sys.exit(1)
PYTHON
}

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1; }

find_python() {
    for name in python3.11 python3.12 python3 python; do
        if supported "$name"; then echo "$name"; return; fi
    done
    echo "runall.sh: Python 3.11 or 3.12 is needed and none was found on PATH: install one, or run" >&2
    echo "  conda env create -f environment.yml && conda activate sapnet" >&2
    exit 1
}

set_up() { # prints nothing but progress; leaves the interpreter in PYTHON
    local active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
    if [ -n "$active" ] && supported "$active/bin/python" && has_packages "$active/bin/python"; then
        PYTHON="$active/bin/python"
        return
    fi
    [ -z "$active" ] || echo "The active environment lacks packages of pyproject.toml: using .venv instead."
    PYTHON="$PWD/.venv/bin/python"
    local stamp
    stamp="$(cat pyproject.toml tests/constraints.txt | cksum)"
    if [ "$(cat .venv/installed 2>/dev/null)" = "$stamp" ] && supported "$PYTHON"; then return; fi
    if ! supported "$PYTHON" || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then # not there, or left half made
        local base
        base="$(find_python)"
        echo "Making .venv with $("$base" --version) ..."
        "$base" -m venv --clear .venv || { echo "runall.sh: venv failed: install Python's venv module" >&2; exit 1; }
    fi
    echo "Installing into .venv (once; PyTorch is large, this takes minutes) ..."
    unset PIP_TARGET PIP_PREFIX PIP_ROOT # into .venv, whatever a person's pip does else
    PIP_USER=0 "$PYTHON" -m pip install --quiet --disable-pip-version-check -c tests/constraints.txt -e ".[notebooks,test]"
    echo "$stamp" >.venv/installed
}

run_tests() { # every part runs, whichever fails; one status for all
    local status=0 jobs="${SAPNET_JOBS:-2}"
    case "$jobs" in *[!0-9]* | 0*) refuse "SAPNET_JOBS='$jobs' is no whole number from 1 on" ;; esac
    # stored outputs are those of the default source
    unset SAPNET_DATA SAPNET_SPLIT SAPNET_SKIP_BAD SAPNET_DETECTOR SAPNET_I3D SAPNET_C3D SAPNET_SWIN SAPNET_DASK SAPNET_CHECKPOINT
    unset ${!PYTEST_@} COLUMNS NO_COLOR FORCE_COLOR # and tests those of this project
    unset PYTHONSAFEPATH                            # scripts of theirs find what lies beside them
    export SAPNET_FIGURES="${SAPNET_RUNS:-$PWD/runs}/test-figures"
    export OMP_NUM_THREADS=1 # two workers run side by side
    echo "== ruff" && "$PYTHON" -m ruff check . || status=1
    echo "== pytest" && "$PYTHON" -m pytest -q -n "$jobs" tests || status=1
    echo "== pytest, what is timed, alone" && "$PYTHON" -m pytest -q -n 0 -m speed tests || status=1
    local says_it=yes
    echo "== trials that the notebooks need" && "$PYTHON" -m sapnet_core.experiments.tables --jobs "$jobs" || status=1
    says_it=no
    echo "== nbval" && "$PYTHON" -m pytest -q --nbval --nbval-current-env -n 2 --dist loadscope notebooks || status=1
    [ "$status" = 0 ] && echo "All tests passed." || echo "Some tests failed: see above." >&2
    return "$status"
}

set_up
export PYTHONPATH="$PWD" # kernels find the core of this clone
# glibc then keeps the large buffers of a video instead of asking for new pages: simulation is 1.6 times as fast
export MALLOC_TOP_PAD_=300000000 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=2000000000
if [ "${1:-}" = test ]; then
    run_tests
else
    cd -- "$here" # what options name counts from where they were typed
    exec "$PYTHON" -m sapnet_core.reporting.run_notebooks "$@"
fi
