"""Randomly drawn annotation sets, written under the official file names and in the official schema.

They serve users who do not have the published annotations. Dives are drawn here, routines in
`simulator.draw_routines`. Dive numbers are as frequent as in competitions, degrees of difficulty come from the
published tables, execution scores and frame counts have the distributions of the real sets, judges agree as well as
real ones, and scores follow from their marks by the rules of the sport. No real dive is in these sets.
"""

import contextlib
import pickle
import shutil
import uuid
from pathlib import Path

import numpy as np

from sapnet_core.datasets import finediving, finefs, mtl_aqa, rhythmic_gymnastics
from sapnet_core.datasets.dive_numbers import DIVES, Dive, parse_dive, subaction_ids
from sapnet_core.simulator.draw_routines import draw_finefs, draw_rhythmic

__all__ = ["write_annotations"]

# mean quality (execution / 30) by degree of difficulty: highest for simple dives and for the hardest, lowest in between
DEGREES = (1.6, 2.0, 2.4, 2.9, 3.05, 3.3, 3.6, 4.1)
QUALITY = {
    "mtl-aqa": (0.73, 0.74, 0.66, 0.65, 0.715, 0.73, 0.74, 0.76),
    "finediving": (0.75, 0.79, 0.67, 0.67, 0.70, 0.71, 0.715, 0.70),
}
SPREAD = {"mtl-aqa": 0.145, "finediving": 0.118}  # sd of the quality around that mean
SIMPLE = 2.1, 0.7  # up to degree 2.1, dives seldom fail: `SPREAD` is multiplied by 0.7
# quantiles of the standardized quality at the probabilities `RANKS`: it has a long lower tail of failed dives and a
# short upper tail
RANKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
TAIL = (-4, -2.9, -2, -1.4, -0.5, 0.2, 0.72, 1.05, 1.25, 1.5, 1.7)
FAILED = {"mtl-aqa": 2 / 1412, "finediving": 2 / 3000}  # fraction of dives with a score of 0, as in the official sets
JUDGE_NOISE = 0.33  # points; after rounding to halves, judges deviate from their mean by 0.32, as real ones do
FRAMES = (4.64, 0.21, 54, 273)  # mean and standard deviation of the log frame count, minimum, maximum
TRIMMED = 0.54, 101  # fraction of FineDiving's dives that are trimmed to the same length, and that length in frames
# fraction of the dive that each subaction takes, for two, three and four transitions
SHARES = {2: (0.29, 0.35, 0.36), 3: (0.28, 0.19, 0.17, 0.36), 4: (0.37, 0.1, 0.15, 0.1, 0.28)}
WOBBLE = 0.3  # relative sd of these fractions
EVENTS = 16  # number of videos (MTL-AQA) or events (FineDiving) among which the dives are divided
POSITIONS = {"D": 0, "B": 1, "C": 2, "A": 3}  # MTL-AQA's codes of dive positions
ROTATIONS = {"back": 0, "forward": 1, "inward": 2, "reverse": 3}  # MTL-AQA's codes of rotation types


def write_annotations(name: str, root: Path | str, n_train: int, n_test: int, seed: int) -> Path:
    """Draw an annotation set and write it below `root`, in the dataset's own folder, completely or not at all.

    Args:
        name: "mtl-aqa", "finediving", "rg" or "finefs".
        root: the folder to give to `load_records(name, root)` afterwards.
        n_train, n_test: number of dives or routines in each split; "rg" spreads them evenly over the apparatus,
            "finefs" divides them between short programs and free skatings in the proportion of the official set.
        seed: seed of all draws; equal seeds and sizes give equal files.

    Returns: the folder written, such as `root/MTL-AQA`.

    Raises:
        ValueError: the name is unknown, a size is below 1 or above the official one of "finefs", or the folder holds
            other annotations with further files, which would be lost.
    """
    if name not in DRAWN:
        raise ValueError(f"dataset {name!r} is unknown: choose one of {', '.join(DRAWN)}")
    if min(n_train, n_test) < 1:
        raise ValueError(f"{n_train} training and {n_test} test records: both need at least 1")
    reader, draw = DRAWN[name]
    files = draw(np.random.default_rng((seed, *name.encode())), n_train, n_test)

    root = Path(root).resolve()
    folder = root / reader.FOLDER
    kept = [path for path in folder.rglob("*") if path.is_file() and str(path.relative_to(folder)) not in files]
    if kept and not _same_files(folder, files):
        raise ValueError(
            f"{folder}: holds {kept[0].name}, which is not a simulated annotation file: choose another folder"
        )
    # not `files.atomic_folder`: this code enters the hash of every result on drawn records
    beside = root.with_name(f".{root.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        for file, content in files.items():
            (beside / folder.name / file).parent.mkdir(parents=True, exist_ok=True)
            (beside / folder.name / file).write_bytes(content)
        if not root.exists():  # rename the whole root at once: it appears with all its files
            with contextlib.suppress(OSError):  # another process may have created the root meanwhile
                beside.rename(root)
        if beside.exists() and not _same_files(folder, files):
            shutil.rmtree(folder, ignore_errors=True)
            (beside / folder.name).rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _same_files(folder: Path, files: dict[str, bytes]) -> bool:
    return all((folder / name).is_file() and (folder / name).read_bytes() == files[name] for name in files)


def _draw_mtl_aqa(rng: np.random.Generator, n_train: int, n_test: int) -> dict[str, bytes]:
    return _pickled(rng, mtl_aqa, _mtl_aqa(rng, n_train + n_test), n_train)


def _draw_finediving(rng: np.random.Generator, n_train: int, n_test: int) -> dict[str, bytes]:
    return _pickled(rng, finediving, _finediving(rng, n_train + n_test), n_train)


DRAWN = {
    "mtl-aqa": (mtl_aqa, _draw_mtl_aqa),
    "finediving": (finediving, _draw_finediving),
    "rg": (rhythmic_gymnastics, draw_rhythmic),
    "finefs": (finefs, draw_finefs),
}


def _pickled(rng: np.random.Generator, reader, files: dict, n_train: int) -> dict[str, bytes]:
    """Annotation files and split lists of a diving set, as bytes."""
    keys = list(files[reader.ANNOTATIONS])
    order = [keys[i] for i in rng.permutation(len(keys))]
    files = files | {reader.SPLITS["train"]: order[:n_train], reader.SPLITS["test"]: order[n_train:]}
    return {name: pickle.dumps(content, protocol=4) for name, content in files.items()}


def _mtl_aqa(rng: np.random.Generator, count: int) -> dict:
    """Content of the annotation file, (video, clip) -> dict; the clips of a video follow one another in time."""
    facts, quality = _dives(rng, "mtl-aqa", count)
    frames = _frame_counts(rng, count)
    gaps = rng.integers(800, 1800, count)
    entries, ends = {}, {}
    for i, (fact, judges) in enumerate(zip(facts, _judges(rng, quality, 7), strict=True)):
        video, clip = i % EVENTS + 1, i // EVENTS + 1
        start = ends.get(video, 5000) + int(gaps[i])
        ends[video] = start + int(frames[i])
        dive = parse_dive(fact.number)
        entries[video, clip] = {
            "primary_view": 0,
            "start_frame": start,
            "end_frame": ends[video],
            "position": POSITIONS[dive.position],
            "difficulty": fact.difficulty,
            "armstand": int(dive.armstand),
            "rotation_type": ROTATIONS[dive.direction],
            "ss_no": dive.half_somersaults,
            "tw_no": dive.half_twists,
            "final_score": _score(judges, fact.difficulty),
            "judge_scores": judges,
            "dive_number": fact.number,
        }
    return {mtl_aqa.ANNOTATIONS: entries}


def _finediving(rng: np.random.Generator, count: int) -> dict:
    """Content of the fine-grained annotation file, (event, id) -> list, and of the coarse one, (event, id) -> dict."""
    facts, quality = _dives(rng, "finediving", count)
    frames = np.where(rng.random(count) < TRIMMED[0], TRIMMED[1], _frame_counts(rng, count))
    panel = rng.random(count)
    starts = 1 + rng.integers(0, 20000, count)
    fine, coarse = {}, {}
    for i, (fact, judges) in enumerate(zip(facts, _judges(rng, quality, 7), strict=True)):
        number = 5 if fact.synchronized or panel[i] < 0.15 else 7 if panel[i] < 0.6 else 3
        judges = judges if number == 7 else np.sort(judges)[1:6] if number == 5 else np.sort(judges)[2:5]
        score = _score(judges, fact.difficulty)
        key = (f"DrawnEvent{i % EVENTS + 1:02d}", i // EVENTS + 1)
        labels = _frame_labels(rng, parse_dive(fact.number), int(frames[i]))
        action = fact.number.lower()
        fine[key] = [action, score, fact.difficulty, np.flatnonzero(np.diff(labels)), labels]
        coarse[key] = {
            "action_type": action,
            "start_frame": int(starts[i]),
            "end_frame": int(starts[i]) + len(labels) - 1,  # counted from 1, both ends included
            "dive_score": score,
            "difficulty": fact.difficulty,
            "judge_scores": judges.tolist(),
        }
    return {finediving.ANNOTATIONS: fine, finediving.COARSE: coarse}


def _dives(rng: np.random.Generator, name: str, count: int) -> tuple[list, np.ndarray]:
    """Dives drawn by their frequency in competitions, and their true quality (count,) in [0, 1]."""
    weights = np.array([getattr(fact, name.replace("-", "_")) for fact in DIVES], dtype=float)
    facts = [DIVES[i] for i in rng.choice(len(DIVES), count, p=weights / weights.sum())]
    degree = np.array([fact.difficulty for fact in facts])
    spread = SPREAD[name] * np.where(degree <= SIMPLE[0], SIMPLE[1], 1.0)
    quality = np.interp(degree, DEGREES, QUALITY[name]) + spread * np.interp(rng.random(count), RANKS, TAIL)
    return facts, np.where(rng.random(count) < FAILED[name], 0.0, quality.clip(0.05, 0.97))


def _judges(rng: np.random.Generator, quality: np.ndarray, panel: int) -> np.ndarray:
    """Marks (count, panel) in half points from 0 to 10; a failed dive gets 0 from every judge."""
    points = 10 * quality[:, None] + JUDGE_NOISE * rng.standard_normal((len(quality), panel))
    return np.where(quality[:, None] > 0, (points * 2).round() / 2, 0.0).clip(0, 10)


def _score(judges: np.ndarray, degree: float) -> float:
    """Final score: the sum of the middle three of seven marks, or three times the mean of fewer, times difficulty."""
    counting = np.sort(judges)[2:5] if len(judges) == 7 else judges
    return round(float(counting.sum() * 3 / len(counting) * degree), 2)


def _frame_counts(rng: np.random.Generator, count: int) -> np.ndarray:
    mean, spread, least, most = FRAMES
    return np.exp(mean + spread * rng.standard_normal(count)).round().clip(least, most).astype(np.int64)


def _frame_labels(rng: np.random.Generator, dive: Dive, frames: int) -> np.ndarray:
    """Subaction number of every frame, (frames,) int64; each subaction lasts at least two frames."""
    numbers = subaction_ids(dive)
    shares = np.array(SHARES[len(numbers) - 1]) * (1 + WOBBLE * rng.standard_normal(len(numbers))).clip(0.2, 2)
    lengths = 2 + np.floor(shares / shares.sum() * (frames - 2 * len(numbers))).astype(np.int64)
    lengths[0] += frames - lengths.sum()
    return np.repeat(np.array(numbers, dtype=np.int64), lengths)
