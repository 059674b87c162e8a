"""Reader of UI-PRMD (Vakanski et al., Data 3(1):2, 2018): ten rehabilitation movements of ten people, as joint angles.

The published folders hold one file for each repetition, one line a time step, numbers separated by commas:

    Segmented Movements/Kinect/Angles/m01_s01_e01_angles.txt                    done correctly
    Incorrect Segmented Movements/Kinect/Angles/m01_s01_e01_angles_inc.txt      not done correctly

A line has the angles of 22 joints about three axes in degrees: waist, spine, chest, neck, head, tip of the head; then
collar, upper arm, forearm and hand of the left and of the right; then upper leg, lower leg, foot and toes of the left
and of the right. The only label is whether the movement was done correctly: the score is 1 or 0. A binary label bounds
rho, since it ties half of the records with each other.

The data are in the public domain (PDDL 1.0) at webpages.uidaho.edu/ui-prmd; the folder is named UI-PRMD here.
"""

import os
import re
from pathlib import Path

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.folds import with_test_fold
from sapnet_core.datasets.sequence_files import sequence_shape
from sapnet_core.datasets.sequence_record import SequenceRecord

__all__ = ["CHANNELS", "FOLDER", "MARK", "MOVEMENTS", "PARTS", "SIZE", "SOURCE", "read_ui_prmd"]

FOLDER = "UI-PRMD"
SOURCE = "webpages.uidaho.edu/ui-prmd"
PARTS = {"Segmented Movements/Kinect/Angles": "", "Incorrect Segmented Movements/Kinect/Angles": "_inc"}
MARK = f"{next(iter(PARTS))}/m*_s*_e*_angles.txt"
NAME = re.compile(r"(m\d\d)_(s\d\d)_(e\d\d)_angles(_inc)?\.txt", re.ASCII | re.IGNORECASE)
SIZE = 2000  # published repetitions: ten movements, ten people, ten repetitions, done correctly and not
CHANNELS = 66
RATE = 30.0  # frames per second of the Kinect
ARMS, LEGS = tuple(range(18, 42)), tuple(range(42, 66))  # columns of the limbs, three for each joint
# movement -> its name, and the columns of the limbs that perform it, which the teacher sees alone
MOVEMENTS = {
    "m01": ("deep squat", LEGS),
    "m02": ("hurdle step", LEGS),
    "m03": ("inline lunge", LEGS),
    "m04": ("side lunge", LEGS),
    "m05": ("sit to stand", LEGS),
    "m06": ("standing active straight leg raise", LEGS),
    "m07": ("standing shoulder abduction", ARMS),
    "m08": ("standing shoulder extension", ARMS),
    "m09": ("standing shoulder internal-external rotation", ARMS),
    "m10": ("standing shoulder scaption", ARMS),
}


def read_ui_prmd(root: Path | str) -> list[SequenceRecord]:
    """Records of all repetitions that are there. `group` is the movement, `subject` the person, and the score 1 where
    the movement was done correctly, else 0. The people of the first of five folds are the test part.

    Args:
        root: a folder that holds `UI-PRMD`, or the published folders themselves.

    Raises:
        AnnotationError: there is no such file, one of the two published folders has none, or a file cannot be read or
            has another number of columns.
    """
    root = Path(root)
    home = FOLDER if (root / FOLDER).is_dir() else ""
    records = []
    for part, end in PARTS.items():
        folder = root / home / part
        names = sorted(filter(NAME.fullmatch, os.listdir(folder))) if folder.is_dir() else []
        if not names:
            remedy = f"unpack the segmented movements of {SOURCE} there"
            raise AnnotationError(f"{folder}: no file such as m01_s01_e01_angles{end}.txt: {remedy}")
        for name in names:
            movement, person, repetition, incorrect = NAME.fullmatch(name).groups()
            if movement not in MOVEMENTS or bool(incorrect) != bool(end):
                raise AnnotationError(f"{folder / name}: is not a file of this folder: see {SOURCE}")
            steps, columns = sequence_shape(folder / name)
            if columns != CHANNELS:
                has = f"has {columns} columns, and a step has {CHANNELS} angles"
                raise AnnotationError(f"{folder / name}: {has}: download it again from {SOURCE}")
            records.append(
                SequenceRecord(
                    dataset="ui-prmd",
                    key=f"{movement}_{person}_{repetition}{end}",
                    event="",
                    path=(Path(home) / part / name).as_posix(),
                    start=0,
                    end=steps,
                    score=0.0 if incorrect else 1.0,
                    difficulty=1.0,
                    action="",
                    judges=(),
                    transitions=(),
                    subactions=(),
                    split="train",
                    group=movement,
                    rate=RATE,
                    channels_teacher=MOVEMENTS[movement][1],
                    subject=person,
                )
            )
    return with_test_fold(records)
