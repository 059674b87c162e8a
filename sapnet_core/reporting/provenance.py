"""Provenance: where a figure or table comes from, how to make it again, and whether the suite still makes the same.

python -m sapnet_core provenance figures/fig07.png     # exit code 0: current or not decided, 1: stale, 2: unreadable
"""

import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sapnet_core.experiments import tables
from sapnet_core.experiments.profiles import PROFILES, get_profile
from sapnet_core.experiments.stored import SHELVES, stored_names
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features.source import source_name
from sapnet_core.reporting.embedded import LISTS, RecordError, read_record
from sapnet_core.reporting.notebooks import own_profile
from sapnet_core.runtime import environment
from sapnet_core.runtime.fingerprint import file_digest, fingerprint
from sapnet_core.runtime.progress import waiting

__all__ = [
    "provenance",
    "provenance_rows",
    "with_declaration",
    "declared_names",
    "Status",
    "status",
    "print_provenance",
]

PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib")
CODE_PATHS = ("sapnet_core", "pyproject.toml")  # every number depends on these; storing outputs leaves them as they are
ORDER = ("source", "profile", "seeds", "trials", "weights", "commit", "versions", "command")  # the order of display
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")
SEVERAL = {"tables_differences": ("I", "II")}  # stems that show the trials of more than one table


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=environment.root(), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _commit() -> str:
    """The last commit that changed `CODE_PATHS`, with "+" if the working tree differs from it. Committing a figure or a
    notebook's outputs does not change it."""
    try:
        commit = _git("log", "-1", "--format=%h", "--abbrev=10", "--", *CODE_PATHS)
        return commit + "+" * bool(_git("status", "--porcelain", "--", *CODE_PATHS)) if commit else "unknown"
    except FileNotFoundError:  # no git on this machine
        return "unknown"


def _weights() -> dict[str, str]:
    given = {
        "I3D": environment.i3d(),
        "C3D": environment.c3d(),
        "Video Swin": environment.swin(),
        "detector": environment.detector(),
    }
    return {name: file_digest(file)[:12] for name, file in given.items() if file}


def provenance(
    profile: str,
    source: str,
    seeds: Sequence[int] = (),
    trials: Iterable[str | Trial] = (),
    notebook: str = "",
    run: str = "",
) -> dict[str, object]:
    """Record what a figure or table is made from.

    Args:
        profile: name of the profile, such as "quick"; the command names it where it is not the notebook's own.
        source: where the videos come from, such as "twins of drawn annotations".
        seeds: seeds of the trials behind it.
        trials: hashes of those trials, or the trials themselves.
        notebook: name of the notebook that makes it, for the command.
        run: the profile at which the notebook is run, where `profile` stands in for it; the command names this one.

    Returns:
        A dict of plain values in the order of display; "hashes" is stored in files, but not shown (`provenance_rows`).
        It holds no time and no path, so that equal runs give equal provenance.
    """
    command = "./runall.sh" + ("" if (run or profile) == own_profile(notebook) else f" --profile {run or profile}")
    command += " --data DIR" if environment.data_root() else ""
    command += f" --only {notebook.partition('_')[0]}" if notebook else ""
    hashes = sorted({trial_hash(t) if isinstance(t, Trial) else str(t) for t in trials})
    digest = fingerprint(hashes, digits=12)
    weights = _weights()
    return {
        "source": source,
        "profile": profile,
        "seeds": ", ".join(map(str, seeds)) or "none",
        "trials": f"{len(hashes)} ({digest})" if hashes else "none",
        **({"hashes": hashes} if hashes else {}),
        **({"weights": weights} if weights else {}),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "command": command,
    }


def provenance_rows(record: dict[str, object]) -> list[tuple[str, str]]:
    """Format a provenance for display as (name, text) rows; its trials appear as their number and one digest."""
    keys = dict.fromkeys([*(key for key in ORDER if key in record), *record])
    return [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
        for key, value in ((key, record[key]) for key in keys)
        if key not in LISTS
    ]


def declared_names(stem: str) -> tuple[str, ...]:
    """The tables and figures of `experiments` whose trials a stem shows: "table01_curves" -> ("I",), "fig07" ->
    ("fig07",)."""
    number = re.fullmatch(r"table0([1-7])", stem.partition("_")[0])
    names = SEVERAL.get(stem) or ((ROMAN[int(number[1]) - 1],) if number else (stem, stem.partition("_")[0]))
    known = {*tables.TABLES, *tables.CLASS_TABLES, *tables.FIGURES}
    return tuple(name for name in dict.fromkeys(names) if name in known)


def _declared(stem: str, profile: str) -> list[Trial]:
    names, size = declared_names(stem), get_profile(profile)
    return list(dict.fromkeys(t for name in names for t in tables.declared_trials(name, size).values()))


def with_declaration(record: dict[str, object], stem: str) -> dict[str, object]:
    """Complete a record for storing in a file: add the trials that its stem declares but the file does not show
    ("undrawn"), and those that the file shows but its stem does not declare ("undeclared")."""
    if not record.get("hashes") or not declared_names(stem):
        return record
    mine, declared = set(record["hashes"]), {trial_hash(t) for t in _declared(stem, record["profile"])}
    parts = {"undrawn": sorted(declared - mine), "undeclared": sorted(mine - declared)}
    return {**record, **{name: hashes for name, hashes in parts.items() if hashes}}


@dataclass(frozen=True)
class Status:
    """Whether a file is up to date: `state` is "current", "stale" or "not decided", and `why` gives the reason."""

    state: str
    why: str

    def __str__(self) -> str:
        return f"{self.state} ({self.why})"


def _compare(record: dict, declared: set[str]) -> Status:
    mine, undrawn, undeclared = (set(record.get(name, ())) for name in LISTS)
    checked = mine - undeclared
    lost, fresh = checked - declared, declared - mine - undrawn
    added = max(0, len(fresh) - len(undrawn - declared))  # `fresh` also has the new hashes of changed undrawn trials
    changed = min(len(lost), added)
    if lost or added:
        text = f"{changed} of {len(checked)} trials changed, {added - changed} new, {len(lost) - changed} gone"
        return Status("stale", text)
    more = f"; {len(undeclared)} more are not declared anywhere and not checked" * bool(undeclared)
    return Status("current", f"{len(checked)} trials are as declared{more}")


def status(record: dict[str, object], stem: str, hashed: Callable[[Trial], str] | None = None) -> Status:
    """Whether the trials behind a file are still those that its stem declares for the record's profile.

    Only hashes decide; they cover settings, records, videos and backbone, and are the same on every machine. The state
    is "not decided" where nothing can be compared: no declared or no listed trials, an unknown profile, or other data
    or weights than those in use.

    Args:
        hashed: replaces `trial_hash`, for example by a cached version.
    """
    if not declared_names(stem):
        return Status("not decided", f"no trials are declared for {stem!r}")
    if not record.get("hashes"):
        return Status("not decided", "its record lists no trials")
    if record["profile"] not in PROFILES:
        return Status("not decided", f"profile {record['profile']!r} is unknown here")
    if record.get("weights", {}) != _weights():
        return Status("not decided", "made with other weights than those in use")
    trials, data = _declared(stem, record["profile"]), environment.data_root()
    today = [source_name(data), source_name(data, *sorted({t.dataset for t in trials}))]
    if record["source"] not in today:
        return Status("not decided", f"made from {record['source']}, but this machine uses {today[1]}")
    hashed = hashed or trial_hash
    return _compare(record, {hashed(trial) for trial in trials})


def _report(path: Path, record: dict, verdict: Status) -> str:
    """Format everything in a record, one part per line; unprintable characters of a foreign file are left out."""
    rows, folder = provenance_rows(record), environment.runs() / "trials"
    hashes = record.get("hashes", [])
    if hashes:
        done = {place.name.rpartition("-")[2] for place in folder.glob("*-*")}
        rows.append(("hashes", " ".join(hashes)))
        rows.append(("results", f"{len(done & set(hashes))} of {len(hashes)} are in runs/trials"))
        done = {name.rpartition("-")[2] for shelf in SHELVES for name in stored_names(shelf)}
        rows.append(("stored", f"{len(done & set(hashes))} of {len(hashes)} are in the repository"))
    lines = [path.name]
    for key, text in [*rows, ("status", str(verdict))]:
        text = "".join(c for c in f"{key:<9} {text}" if c.isprintable())
        lines += textwrap.wrap(text, 118, initial_indent="  ", subsequent_indent=" " * 12, break_on_hyphens=False)
    return "\n".join(lines)


def print_provenance(files: Sequence[Path]) -> int:
    """Print where files come from.

    Returns:
        The exit code: 2 if a file cannot be read (an error names it), else 1 if one is stale, else 0.
    """
    worst = 0
    for path in files:
        try:
            record = read_record(path)
            with waiting(f"comparing {path.name} with what is declared"):
                verdict = status(record, path.stem)
        except (RecordError, FileNotFoundError) as error:
            print(f"provenance: {error}", file=sys.stderr)
            worst = 2
            continue
        print(_report(path, record, verdict))
        worst = max(worst, int(verdict.state == "stale"))
    return worst
