"""Reader of the kinematics of JIGSAWS (Gao et al., M2CAI 2014): surgical training tasks on a da Vinci robot.

Johns Hopkins University gives the dataset on request; nothing of it is shipped here. Its published layout:

    Suturing/meta_file_Suturing.txt                   a line a trial: name, self-declared skill, score, six items
    Suturing/kinematics/AllGestures/Suturing_B001.txt 76 numbers a line, 30 lines a second, separated by spaces

and the same for Needle_Passing and Knot_Tying. A line holds the left and the right master manipulator (columns 0 to 37)
and the left and the right instrument (38 to 75); each has position (3), rotation (9), linear and angular velocity (3
each) and the angle of its gripper. The score is the global rating score (GRS), 6 to 30, the sum of the six items.

The letter in a name is the surgeon, the number the trial. Folds are supertrials (the i-th trial of every surgeon); to
leave surgeons out, make folds by subject.
"""

import os
import re
from pathlib import Path

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.fields import shown
from sapnet_core.datasets.sequence_files import sequence_shape
from sapnet_core.datasets.sequence_record import SequenceRecord

__all__ = ["CHANNELS", "FOLDER", "INSTRUMENTS", "ITEMS", "MARK", "SOURCE", "TASKS", "read_jigsaws"]

FOLDER = "JIGSAWS"
SOURCE = "cirl.lcsr.jhu.edu/research/hmm/datasets/jigsaws_release"
TASKS = {"Suturing": 39, "Needle_Passing": 28, "Knot_Tying": 36}  # task -> published number of trials with kinematics
MARK = "*/meta_file_*.txt"
CHANNELS = 76
INSTRUMENTS = tuple(range(38, 76))  # columns of the instruments, which the teacher sees alone
ITEMS = (
    "respect_for_tissue",
    "suture_handling",
    "time_and_motion",
    "flow_of_operation",
    "overall_performance",
    "quality_of_product",
)
RATE = 30.0  # lines per second
LARGEST = 2**20  # maximum bytes of a list of trials; the published ones have two thousand


def read_jigsaws(root: Path | str) -> list[SequenceRecord]:
    """Records of all trials that are listed and whose kinematics are there. `group` is the task, `subject` the surgeon,
    `fold` the supertrial, and the items of the rating are sub-scores. The first supertrial is the test part.

    Args:
        root: a folder that holds `JIGSAWS`, or the folders of the tasks themselves.

    Raises:
        AnnotationError: no task is there; a list of trials cannot be read, or a line in it has another form, a trial
            twice, or a score other than the sum of its items; no trial of a task has kinematics; or these have another
            number of columns.
    """
    root = Path(root)
    home = FOLDER if (root / FOLDER).is_dir() else ""
    tasks = [task for task in TASKS if (root / home / task).is_dir()]
    if not tasks:
        where = root / home
        raise AnnotationError(f"{where}: no folder {', '.join(TASKS)}: unpack the tasks of {SOURCE} there")
    return [record for task in tasks for record in _task(root, home, task)]


def _task(root: Path, home: str, task: str) -> list[SequenceRecord]:
    folder = root / home / task
    file, kinematics = folder / f"meta_file_{task}.txt", folder / "kinematics" / "AllGestures"
    records: dict[str, SequenceRecord] = {}
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not (words := line.split()):
            continue
        name, score, items = _listed(file, number, words, task)
        if name in records:
            raise AnnotationError(f"{file}: line {number}: trial {name} is listed twice: remove one line")
        path = kinematics / f"{name}.txt"
        if not os.path.isfile(path):  # a few listed trials have no kinematics
            continue
        steps, columns = sequence_shape(path)
        if columns != CHANNELS:
            has = f"has {columns} columns, and a line of kinematics has {CHANNELS}"
            raise AnnotationError(f"{path}: {has}: unpack it again")
        person, trial = name[-4], str(int(name[-3:]))
        records[name] = SequenceRecord(
            dataset="jigsaws",
            key=name,
            event="",
            path=path.relative_to(root).as_posix(),
            start=0,
            end=steps,
            score=score,
            difficulty=1.0,
            action="",
            judges=(),
            transitions=(),
            subactions=(),
            split="test" if trial == "1" else "train",
            group=task,
            sub_scores=tuple(zip(ITEMS, items, strict=True)),
            rate=RATE,
            channels_teacher=INSTRUMENTS,
            fold=trial,
            subject=person,
        )
    if not records:
        raise AnnotationError(f"{kinematics}: holds no trial of {file.name}: unpack the kinematics of the task there")
    return list(records.values())


def _listed(file: Path, number: int, words: list[str], task: str) -> tuple[str, float, list[float]]:
    """Name, score and items of a line. Raises AnnotationError."""
    where = f"{file}: line {number}"
    if len(words) != 3 + len(ITEMS) or not re.fullmatch(rf"{task}_[A-Z]\d\d\d", words[0], re.ASCII):
        form = f"{task}_B001, skill, score and {len(ITEMS)} items"
        raise AnnotationError(f"{where}: is {shown(' '.join(words))}, not {form}: use the published file")
    if not all(re.fullmatch(r"\d{1,2}", word, re.ASCII) for word in words[2:]):
        raise AnnotationError(f"{where}: a score is not a whole number of points: use the published file")
    score, *items = map(float, words[2:])
    if score != sum(items):
        fault = f"score {score:g} is not the sum of its items, {sum(items):g}"
        raise AnnotationError(f"{where}: {fault}: use the published file")
    return words[0], score, items


def _text(file: Path) -> str:
    try:
        if not file.is_file():
            raise AnnotationError(f"{file}: no such file: unpack the task again")
        if (size := file.stat().st_size) > LARGEST:
            raise AnnotationError(f"{file}: has {size >> 10} KiB, the limit is {LARGEST >> 10}: use the published file")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{file}: cannot be read ({error.strerror}): check its permissions") from None
    except UnicodeDecodeError:
        raise AnnotationError(f"{file}: is not text: use the published file") from None
