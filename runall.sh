#!/usr/bin/env bash
# Runs the whole suite in one command: sets up what is missing, then runs every notebook, or every test.
set -euo pipefail
# unset what the user's shell, or an environment module of a cluster, has set for other programs
for name in ${!PYTHON@} ${!TQDM_@} MPLBACKEND MATPLOTLIBRC; do unset "$name"; done
export PYTHONUTF8=1 PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1   # UTF-8 text, and modules of the environment alone
# make these paths absolute, since kernels run in another folder
for name in SAPNET_RUNS SAPNET_FIGURES SAPNET_DATA SAPNET_DETECTOR SAPNET_I3D SAPNET_C3D SAPNET_SWIN; do
    case "${!name:-/}" in /* | "~"*) ;; *) export "$name=$PWD/${!name}" ;; esac
done
here="$PWD"
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
./runall.sh [options]   set up what is missing, run every notebook, regenerate every table and figure
./runall.sh lab [NAME]  set up what is missing, open copies of the notebooks in JupyterLab; the originals stay clean
./runall.sh test        set up what is missing, run ruff, pytest and every notebook: 15 minutes, 30 on old processors
./runall.sh test --all  the slow tests too, coverage, and every notebook against its stored outputs: over an hour
./runall.sh verify [N]  set up what is missing, train N stored trials (default 5) again and compare; --seed S draws others

options:
  --profile quick|study  size of all tables and figures (default: the one that each notebook names); quick trains
                         Tables I to III anew and takes the others from the study
  --recompute            train anew what the repository stores (same as SAPNET_RECOMPUTE=1)
  --only 03              only notebooks whose name starts with 03; may be repeated
  --data DIR             folder of datasets, or of own videos with a records.csv (same as SAPNET_DATA=DIR)
  --share 0.1,0.5,1      label shares of own data, for a curve over them (default 1)
  --split RULE           how FineFS is split: random (default), ordered, interleaved, files (same as SAPNET_SPLIT)
  --skip-bad             leave out videos that cannot be read (same as SAPNET_SKIP_BAD=1)
  --jobs N               worker processes (default: one per available core)
  --dask ADDRESS         run trials on the workers of a Dask cluster, such as tcp://host:8786 (same as SAPNET_DASK=ADDRESS)
  --help                 this text

An active conda or virtual environment that has the packages is used; else .venv is made here.
When run again, it does only what is missing. SAPNET_RUNS moves runs/, SAPNET_FIGURES moves figures/.
TEXT
}

refuse() { echo "runall.sh: $1 (see --help)" >&2; exit 2; }

stopped() { # handles Ctrl-C during setup; later the Python commands handle it
    printf '\nstopped; run the same command again to go on\n' >&2
    exit 130
}

case " $* " in *" --help "* | *" -h "*) usage; exit 0 ;; esac
case "${1:-}" in
    test) case "$#,${2:-}" in 1, | 2,--all) ;; *) refuse "'test' takes only the option --all, but got: ${*:2}" ;; esac ;;
    "" | -* | lab | verify) ;;
    *) refuse "unknown command '$1': the commands are lab, test and verify" ;;
esac
trap stopped INT TERM
trap '[ -z "${ticker:-}" ] || kill "$ticker" 2>/dev/null' EXIT
lock=tests/constraints.txt # the package versions to install

has_packages() { # does this interpreter have every package that pyproject.toml requires?
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

set_up() { # finds or makes an environment, and sets PYTHON to its interpreter; prints only progress
    local active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
    if [ -n "$active" ] && supported "$active/bin/python" && has_packages "$active/bin/python"; then
        PYTHON="$active/bin/python"
        return
    fi
    [ -z "$active" ] || echo "The active environment lacks packages of pyproject.toml: using .venv instead."
    PYTHON="$PWD/.venv/bin/python"
    local stamp
    stamp="$(cat pyproject.toml "$lock" tests/without_dependencies.txt | cksum)"
    if [ "$(cat .venv/installed 2>/dev/null)" = "$stamp" ] && supported "$PYTHON"; then return; fi
    local base
    base="$(find_python)"
    PYTHONPATH="$PWD" "$base" -c 'import sys; from sapnet_core.__main__ import parse; parse(sys.argv[1:])' "$@"
    if ! supported "$PYTHON" || ! "$PYTHON" -m pip --version >/dev/null 2>&1; then # missing or incomplete
        echo "Making .venv with $("$base" --version) ..."
        "$base" -m venv --clear .venv || { echo "runall.sh: venv failed: install Python's venv module" >&2; exit 1; }
    fi
    echo "Installing into .venv (once; PyTorch is large, this takes minutes) ..."
    tick & ticker=$!
    install_packages
    kill "$ticker" && { wait "$ticker" 2>/dev/null || ticker=; }
    [ ! -t 2 ] || printf '\r\033[K' >&2
    echo "$stamp" >.venv/installed
}

install_packages() { # shows errors only: pip's warnings concern the user's own settings and are harmless here
    # nothing is compiled ahead: Python compiles a module when it is first imported
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$PYTHON" --constraint "$lock" -e ".[notebooks,test]"
        uv pip install --quiet --python "$PYTHON" --no-deps -r tests/without_dependencies.txt
    else
        unset PIP_TARGET PIP_PREFIX PIP_ROOT # install into .venv, whatever the user's pip settings say
        local pip=("$PYTHON" -m pip install -qq --no-compile --disable-pip-version-check)
        PIP_USER=0 "${pip[@]}" -c "$lock" -e ".[notebooks,test]"
        PIP_USER=0 "${pip[@]}" --no-deps -r tests/without_dependencies.txt
    fi
}

tick() { # prints the elapsed seconds: on one line of a terminal, elsewhere every half minute
    local seconds=0
    while sleep 1; do
        seconds=$((seconds + 1))
        if [ -t 2 ]; then
            printf '\rinstalling: %d s ' "$seconds" >&2
        elif [ $((seconds % 30)) = 0 ]; then
            echo "installing: $seconds s" >&2
        fi
    done
}

command=run
case "${1:-}" in lab | test | verify) command="$1" && shift ;; esac
set_up "$command" "$@"
export PYTHONPATH="$PWD" # kernels import the package of this clone
# glibc then reuses the large buffers of videos instead of requesting new pages: simulation is 1.6 times as fast
export MALLOC_TOP_PAD_=300000000 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=2000000000
cd -- "$here" # paths in options are relative to the caller's folder
exec "$PYTHON" -m sapnet_core "$command" "$@"
