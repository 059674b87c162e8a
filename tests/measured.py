"""Small datasets of real people's movements in the layouts in which they are published."""

from pathlib import Path

import numpy as np

from sapnet_core.datasets import jigsaws, ui_prmd


def write_ui_prmd(root: Path, movements=("m01", "m07"), people=5, repetitions=2, seed=0) -> Path:
    """Write drawn joint angles: an incorrect repetition is shifted in the limb that performs the movement."""
    draw = np.random.default_rng(seed)
    for part, end in ui_prmd.PARTS.items():
        folder = root / ui_prmd.FOLDER / part
        folder.mkdir(parents=True)
        for movement in movements:
            for person in range(1, people + 1):
                for repetition in range(1, repetitions + 1):
                    x = draw.normal(size=(int(draw.integers(28, 60)), ui_prmd.CHANNELS)) * 10
                    if end:
                        x[:, list(ui_prmd.MOVEMENTS[movement][1])] += 15
                    name = f"{movement}_s{person:02d}_e{repetition:02d}_angles{end}.txt"
                    np.savetxt(folder / name, x, fmt="%.4f", delimiter=",")
    return root


def write_jigsaws(root: Path, people="BCDE", trials=3, seed=0) -> Path:
    """Write drawn kinematics of two tasks: a better surgeon is faster."""
    draw = np.random.default_rng(seed)
    for task in ("Suturing", "Knot_Tying"):
        folder = root / jigsaws.FOLDER / task
        (folder / "kinematics" / "AllGestures").mkdir(parents=True)
        lines = []
        for person in people:
            for trial in range(1, trials + 1):
                name = f"{task}_{person}{trial:03d}"
                items = draw.integers(1, 6, 6)
                lines.append("\t".join([name, "NIE"[trial % 3], str(items.sum()), *map(str, items)]))
                x = draw.normal(size=(300 - 8 * int(items.sum()), jigsaws.CHANNELS))
                np.savetxt(folder / "kinematics" / "AllGestures" / f"{name}.txt", x, fmt="%12.6f")
        (folder / f"meta_file_{task}.txt").write_text("\n".join(lines) + "\n\n")
    return root


def pose_text(joints: np.ndarray, count: int | None = None) -> str:
    """The text of a pose track: joints (T, 33, 3), NaN for a frame without a person; `count` is the first line."""
    lines = [] if count is None else [str(count)]
    for frame in joints:
        if np.isnan(frame).any():
            lines.append("0")
            continue
        lines += ["1", "33", " ".join(["-1"] * 10)]
        lines += [" ".join([f"{x:.6f}", f"{y:.6f}", f"{seen:.6f}", *["-1"] * 9]) for x, y, seen in frame]
    return "\n".join(lines) + "\n"
