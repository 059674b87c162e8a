"""Print the statement coverage of each subpackage in the last measured test run, with the processes that tests start.

What a process executed is lost where it was killed or left by `os._exit`.
"""

from collections import Counter
from pathlib import Path

import coverage

PACKAGE = Path(__file__).resolve().parent.parent / "sapnet_core"


def rooms(measured: coverage.Coverage) -> dict[str, tuple[int, int]]:
    """Subpackage -> (statements, statements executed); modules at the package's root count under the package's name."""
    every, reached = Counter(), Counter()
    for name in measured.get_data().measured_files():
        file = Path(name)
        if file.is_file() and PACKAGE in file.parents:
            room = file.relative_to(PACKAGE).parts[0] if file.parent != PACKAGE else PACKAGE.name
            _, statements, _, missing, _ = measured.analysis2(name)
            every[room] += len(statements)
            reached[room] += len(statements) - len(missing)
    return {room: (every[room], reached[room]) for room in sorted(every)}


def main() -> None:
    measured = coverage.Coverage()
    measured.load()
    found = rooms(measured)
    found["all"] = tuple(map(sum, zip(*found.values(), strict=True)))
    print("coverage            statements   reached")
    for room, (every, reached) in found.items():
        print(f"{room:<18} {every:>11} {reached / max(every, 1):>9.1%}")


if __name__ == "__main__":
    main()
