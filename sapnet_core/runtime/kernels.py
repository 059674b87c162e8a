"""What a notebook's kernel finds around it: this project's settings and nothing of the person's own.

A shell, an IPython profile or a matplotlibrc can take the pictures from a notebook, or turn its outputs into others.
Whoever starts a kernel here (the runner, the refresh of stored outputs, nbval) does so within `clean_environment`; a
notebook that somebody opens in JupyterLab runs in a kernel that was started otherwise, and calls `show_inline`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sapnet_core.runtime import environment

__all__ = ["INLINE", "clean_environment", "kernel_environment", "show_inline"]

INLINE = "module://matplotlib_inline.backend_inline"
# A kernel's own log tells of its transport as it starts, and of the interrupt by which it is shut down; what goes wrong
# in a cell comes as an exception.
QUIET = "c.IPKernelApp.log_level = 50\n"
# beginnings of names that change what Python, IPython, Jupyter, matplotlib, tqdm or OpenMP do
DROPPED = (
    "PYTHON",
    "IPYTHON",
    "JUPYTER_",
    "JPY_",
    "MPLBACKEND",
    "MATPLOTLIBRC",
    "TQDM_",
    "OMP_",
    "SOURCE_DATE_EPOCH",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "PAGER",
)


def kernel_environment(empty: Path) -> dict[str, str]:
    """The environment of a kernel: that of this process without what is the person's own.

    Libraries that compute with several threads have one: sums then have one order, whatever else runs.

    Args:
        empty: the folder, with nothing of the person's, where profiles and settings are then looked for.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return kept | {
        "MPLBACKEND": INLINE,
        "MATPLOTLIBRC": os.devnull,
        "IPYTHONDIR": str(empty / "ipython"),
        "JUPYTER_DATA_DIR": str(empty / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(empty / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": str(environment.root()),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    }


@contextmanager
def clean_environment(**more: str) -> Iterator[None]:
    """Within, this process has the environment of a kernel, and `more`; a kernel that it starts takes it over."""
    before = dict(os.environ)
    with TemporaryDirectory(prefix="sapnet-kernel-", ignore_cleanup_errors=True) as empty:
        profile = Path(empty) / "ipython" / "profile_default"
        profile.mkdir(parents=True)
        (profile / "ipython_kernel_config.py").write_text(QUIET, encoding="utf-8")
        inside = kernel_environment(Path(empty)) | more
        os.environ.clear()
        os.environ.update(inside)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def show_inline() -> None:
    """In a kernel, let pictures appear below the cells that draw them, as matplotlib draws them without any settings of
    the person's own. Elsewhere nothing happens."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        return
    import matplotlib as mpl  # here: it refuses to be read where the variables above say what it does not know
    from matplotlib_inline.config import InlineBackend

    shell.enable_matplotlib("inline")
    backend = InlineBackend.instance(parent=shell)
    for name in ("figure_formats", "print_figure_kwargs", "close_figures"):
        setattr(backend, name, InlineBackend.class_traits()[name].default(backend))
    mpl.rcdefaults()
