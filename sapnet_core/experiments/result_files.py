"""The five files of a trial's result: their names, their bytes, and the digest that detects damage.

A trial's hash names a folder with `config.json`, `metrics.json`, `predictions.csv`, `curves.csv` and `run.json` (what
the run took and which processor made it, kept apart so that the other files are the same in every run), and a `digest`
of them. A folder that was damaged or edited later does not match its digest.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import in_runs
from sapnet_core.runtime.file_kinds import found_at
from sapnet_core.runtime.fingerprint import bytes_digest, file_digest

__all__ = [
    "DIGEST",
    "FILES",
    "UNSIGNED",
    "damage",
    "digest_text",
    "parse_curves",
    "parse_predictions",
    "result_files",
    "result_name",
    "trial_folder",
]

FILES = ("config.json", "metrics.json", "predictions.csv", "curves.csv", "run.json")
DIGEST = "digest"
UNSIGNED = f"has no file {DIGEST!r}, like results of earlier versions"


def result_name(trial: Trial) -> str:
    """The name of a trial's result: dataset, method and hash, as "rg-mlp-0d1065a8f03ec9d2"."""
    return f"{trial.dataset}-{trial.method}-{trial_hash(trial)}"


def trial_folder(trial: Trial) -> Path:
    """The folder of the trial's result in the folder of runs, whether it exists or not."""
    with in_runs():
        return environment.runs() / "trials" / result_name(trial)


def result_files(
    trial: Trial, metrics: Mapping, predictions: pd.DataFrame, curves: pd.DataFrame, run: Mapping
) -> dict[str, bytes]:
    """The content of each of `FILES`; equal values give equal bytes.

    Args:
        trial: the trial.
        metrics, run: plain values by name.
        predictions: columns key, score and predicted, in points; six decimals are kept.
        curves: loss terms by step; six significant digits are kept.
    """
    values = {"config.json": asdict(trial), "metrics.json": dict(metrics), "run.json": dict(run)}
    texts = {name: json.dumps(value, indent=1) + "\n" for name, value in values.items()}
    texts["predictions.csv"] = predictions.to_csv(index=False, float_format="%.6f")
    texts["curves.csv"] = curves.to_csv(index=False, float_format="%.6g")
    return {name: texts[name].encode() for name in FILES}


def parse_predictions(content: bytes) -> pd.DataFrame:
    """The predictions in `predictions.csv`: columns key, score and predicted, in points."""
    numbers = {"score": float, "predicted": float}
    types, empty = {"key": str} | numbers, dict.fromkeys(numbers, "")
    return pd.read_csv(io.BytesIO(content), dtype=types, keep_default_na=False, na_values=empty)


def parse_curves(content: bytes) -> pd.DataFrame:
    """The loss terms by step in `curves.csv`."""
    return pd.read_csv(io.BytesIO(content))


def digest_text(name: str, sums: Sequence[str]) -> str:
    """The content of the file `digest`: a SHA-256 over the name of the result and the SHA-256 of each of `FILES`
    (`sums`, in hexadecimal digits), then one line per file, which identifies the damaged file."""
    whole = bytes_digest([name.encode(), *map(bytes.fromhex, sums)])
    lines = [f"{one}  {file}" for file, one in zip(FILES, sums, strict=True)]
    return "\n".join([whole, *lines]) + "\n"


def damage(folder: Path) -> str:
    """Describe what is wrong with a trial's folder: a file is missing, or differs from what was written; "" if intact.

    The digest covers the folder's name, so that one trial's result cannot pass for another's.

    Raises:
        OSError: the folder or a file cannot be read at present, for lack of permission, because of too many open files,
            or because the disk fails; the result may be intact.
    """
    if not folder.is_dir():
        return f"is not a folder, but {found_at(folder) or 'absent'}"
    sums = []
    for name in (*FILES, DIGEST):
        try:
            if not (folder / name).is_file():
                found = found_at(folder / name)
                return UNSIGNED if name == DIGEST and not found else f"{name} is {found or 'missing'}"
            if name == DIGEST:
                with open(folder / name, "rb") as file:
                    known = file.read(4096).decode("ascii", "replace")
            else:
                sums.append(file_digest(folder / name))
        except FileNotFoundError:  # another process is discarding it as damaged
            return f"{name} is missing"
    whole, *parts = digest_text(folder.name, sums).splitlines()
    if known.splitlines() in ([whole], [whole, *parts]):
        return ""
    changed = [name for name, part in zip(FILES, parts, strict=True) if part not in known]
    return (
        f"{changed[0]} was damaged or edited"
        if 0 < len(changed) < len(FILES)
        else ("its files belong to another trial or were damaged: they do not match their digest")
    )
