"""Where a figure or table comes from: data, profile, seeds, trials, commit, versions, and how to make it again."""

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version

from sapnet_core import paths

__all__ = ["provenance", "provenance_rows", "provenance_table"]

PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib")
SOURCES = ("sapnet_core", "pyproject.toml")  # what every number hangs on; storing outputs does not touch them


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=paths.root(), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _commit() -> str:
    """The last commit that touched the core, "+" where the working tree differs from it: committing a figure or a
    notebook's outputs does not change it."""
    try:
        commit = _git("log", "-1", "--format=%h", "--abbrev=10", "--", *SOURCES)
        return commit + "+" * bool(_git("status", "--porcelain", "--", *SOURCES)) if commit else "unknown"
    except FileNotFoundError:  # no git on this machine
        return "unknown"


def provenance(
    profile: str, source: str, seeds: Sequence[int] = (), trials: Sequence[str] = (), notebook: str = ""
) -> dict[str, object]:
    """What a figure or table was made from.

    Args:
        profile: "quick" or "paper".
        source: where the videos come from, as in "twins of drawn annotations".
        seeds: seeds of the trials behind it.
        trials: hashes of those trials, or the trials themselves; their number and one digest are kept.
        notebook: name of the notebook that makes it, for the command.

    Returns:
        A dict of plain values, in the order to show. It holds no time and no path: equal runs give equal provenance.
    """
    command = "./runall.sh" + ("" if profile == "quick" else f" --profile {profile}")
    command += " --data DIR" if paths.data_root() else ""
    command += f" --only {notebook.partition('_')[0]}" if notebook else ""
    given = {"I3D": paths.i3d(), "detector": paths.detector()}
    weights = {name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for name, file in given.items() if file}
    names = sorted({str(trial) for trial in trials})
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    return {
        "source": source,
        "profile": profile,
        "seeds": ", ".join(map(str, seeds)) or "none",
        "trials": f"{len(names)} ({digest})" if names else "none",
        **({"weights": weights} if weights else {}),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "command": command,
    }


def provenance_rows(record: dict[str, object]) -> list[tuple[str, str]]:
    """(name, text) of each part of a provenance."""
    return [(key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
            for key, value in record.items()]  # fmt: skip


def provenance_table(record: dict[str, object]):
    """The provenance as a small table for the last cell of a notebook (tag it `nbval-ignore-output`)."""
    from IPython.display import Markdown

    rows = "\n".join(f"| {key} | {text} |" for key, text in provenance_rows(record))
    return Markdown(f"| provenance | |\n|---|---|\n{rows}")
