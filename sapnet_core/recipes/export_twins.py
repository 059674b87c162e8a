"""Export a small simulated dataset: drawn annotations and their twins, in the official layout of a dataset.

python -m sapnet_core recipe export_twins rg DIR
"""

from argparse import Namespace

from sapnet_core.datasets import load_records
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.runtime.progress import progress_bar
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.export import write_layout

__all__ = ["main"]


def main(asked: Namespace) -> None:
    """Draw a small dataset, write its annotations and twins, and print where they lie."""
    folder = asked.dir / FOLDERS[asked.dataset]
    if folder.exists() and not (folder / "truth").is_dir():
        raise ValueError(f"{folder}: was not written by this command: choose another folder")
    test = max(1, asked.count // 4)
    (folder / "truth").mkdir(parents=True, exist_ok=True)  # marks the folder as ours, should this run be interrupted
    write_annotations(asked.dataset, asked.dir, asked.count - test, test, asked.seed)
    records = load_records(asked.dataset, asked.dir)
    report = progress_bar("exporting", "videos")
    report(0, len(records))
    write_layout(records, asked.dir, seed=asked.seed, size=asked.size, progress=report)
    print(f"{len(records)} twins with annotations are in {folder}: load_records({asked.dataset!r}, {str(asked.dir)!r})")
