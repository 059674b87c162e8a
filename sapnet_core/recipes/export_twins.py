"""Export a small simulated dataset: drawn annotations and their twins, in the official layout of a dataset.

python -m sapnet_core.recipes.export_twins rg DIR
"""

import sys

from sapnet_core.datasets import load_records
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.recipes import command_lines
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.export import write_layout

__all__ = ["main"]


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Command line: draw a small dataset, write its annotations and twins, and print where they lie."""
    given = command_lines.export_twins().parse_args(arguments)
    folder = given.dir / FOLDERS[given.dataset]
    if folder.exists() and not (folder / "truth").is_dir():
        raise ValueError(f"{folder}: was not written by this command: choose another folder")
    test = max(1, given.count // 4)
    (folder / "truth").mkdir(parents=True, exist_ok=True)  # marks the folder as ours, should this run be interrupted
    write_annotations(given.dataset, given.dir, given.count - test, test, given.seed)
    records = load_records(given.dataset, given.dir)
    write_layout(
        records,
        given.dir,
        seed=given.seed,
        size=given.size,
        progress=lambda done, total: print(f"{done} of {total}: {records[done - 1].path}", flush=True),
    )
    print(f"{len(records)} twins with annotations are in {folder}: load_records({given.dataset!r}, {str(given.dir)!r})")


if __name__ == "__main__":
    sys.exit(main())
