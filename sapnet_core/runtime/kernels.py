"""The environment of a notebook's kernel, with the settings of this project instead of the user's own.

Settings of a shell, an IPython profile or a matplotlibrc can suppress the figures of a notebook or change its outputs.
All code that starts a kernel (the runner, the refresh of stored outputs, nbval) therefore does so within
`clean_environment`. The kernel of a notebook that a user opens in JupyterLab starts without it and calls `show_inline`.
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
# The log of a kernel only reports its transport at the start and the interrupt that shuts it down; errors in a cell
# arrive as exceptions.
QUIET = "c.IPKernelApp.log_level = 50\n"
# prefixes of variables that change the behavior of Python, IPython, Jupyter, matplotlib, tqdm or OpenMP
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
    """The environment variables of a kernel: those of this process without the user's own settings.

    Numerical libraries get a single thread, so that sums are always computed in the same order.

    Args:
        empty: folder, free of the user's files, in which IPython and Jupyter look for profiles and settings.
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
    """Give this process the environment of a kernel, plus `more`, within the block; a kernel started there inherits
    it."""
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
    """In a kernel, show figures below the cells that draw them, with matplotlib's default settings instead of the
    user's. Does nothing elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        return
    import matplotlib as mpl  # here, since the import fails where MPLBACKEND has an unknown value
    from matplotlib_inline.config import InlineBackend

    shell.enable_matplotlib("inline")
    backend = InlineBackend.instance(parent=shell)
    for name in ("figure_formats", "print_figure_kwargs", "close_figures"):
        setattr(backend, name, InlineBackend.class_traits()[name].default(backend))
    mpl.rcdefaults()
