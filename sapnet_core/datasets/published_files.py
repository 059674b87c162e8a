"""The published annotation files of each dataset: which there are, and whether those in a folder are equal to them."""

import os
from pathlib import Path

from sapnet_core.datasets import finediving, finefs, jigsaws, mtl_aqa, rhythmic_gymnastics, ui_prmd
from sapnet_core.datasets.known import MARKS, PLACES, holds
from sapnet_core.datasets.names import Names
from sapnet_core.datasets.own_videos import NAME
from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.runtime.file_kinds import found_at
from sapnet_core.runtime.fingerprint import file_digest

__all__ = ["NAMED_TYPES", "SUMS", "annotation_files"]

NAMED_TYPES = "FineDiving_fine-grained_annotation.pkl"  # the same annotation with the names of subactions
SUMS = {  # SHA-256 of the published annotation files, for the datasets whose files are compared with these
    "mtl-aqa": {
        mtl_aqa.ANNOTATIONS: "2e1e06b33ce3570036cd193912a68ffee0da08cc74cee8397309c5ab302ab8c4",
        mtl_aqa.SPLITS["train"]: "87d5dd2fe704af5ae1130b8d3ab66d2d4287346363fa37f52cee27dfb6730e52",
        mtl_aqa.SPLITS["test"]: "c25d6619e0044182ab303b64f4c0386510c2e17d302aad28f08c5e461319904a",
    },
    "finediving": {
        finediving.ANNOTATIONS: "919b1ff8e63676b51508bf340b8a92f870571d5281ec34d3b70dcf56f51b3482",
        finediving.COARSE: "8dc211a35c2b1ec1dc6f5c9f7e93774b627d812b8ea41d012a85bc1e0e49240e",
        finediving.SPLITS["train"]: "a8a1cdcbdef430429fbbd7539d90939982a0c5588a1a1c79117a07372609a4d8",
        finediving.SPLITS["test"]: "bcb1f407ad190a68f464c5aa70658e72d34b683a89deccf3ecc9119019896594",
        NAMED_TYPES: "643e1bdeab2b2727136c543fcd5fe907b69f32803a0ff1bed4b9c36889dfa765",
        "Sub_action_Types_Table.pkl": "868aba445dd36e8206778b46547c5662657e0c7e776169f1a8e9a0a3ef9aed75",
    },
    "rg": {
        rhythmic_gymnastics.SPLITS["train"]: "1f54d40d6a3caaaaa86ea085d7f5d53498b86cda3222a8f3dc6887ee5bef17e7",
        rhythmic_gymnastics.SPLITS["test"]: "f56a103c365a1ab2f5f5d7f19e1cf1ffbf2f220f01b27c46ef39ed9dbb0d0bbb",
    },
}
OPTIONAL = (finediving.COARSE, NAMED_TYPES, "Sub_action_Types_Table.pkl")  # a dataset can be read without them
PUBLISHERS = {  # where the files can be downloaded
    "mtl-aqa": mtl_aqa.SOURCE,
    "finediving": finediving.SOURCE,
    "rg": rhythmic_gymnastics.SOURCE,
    "finefs": finefs.SOURCE,
    "ui-prmd": ui_prmd.SOURCE,
    "jigsaws": jigsaws.SOURCE,
}


def annotation_files(name: str, root: Path) -> list[tuple]:
    """Findings about the annotation files of a dataset: whether each is present, and equal to the published one.

    Args:
        name: "mtl-aqa", "finediving", "rg", "finefs", "ui-prmd", "jigsaws" or "folder".
        root: folder from which `load_records` reads the dataset.

    Returns:
        Rows (item, state, found, expected, remedy), as `validate.check_dataset` lists them.
    """
    if name == "finefs":
        folder = finefs.annotation_folder(root)
        found, all_of = len(list(folder.glob("*.json"))), sum(OFFICIAL_SIZES[name])
        state = "missing" if not found else "ok" if found == all_of else "differs"
        return [
            (
                "annotation files",
                state,
                f"{found} in {folder.name}/",
                f"{all_of} (sums not published)",
                "" if state == "ok" else f"download them from {finefs.SOURCE}",
            )
        ]
    if name == "folder":
        if os.path.isfile(root / NAME):
            return [(NAME, "ok", "there", "there", "")]
        near = found_at(root / NAME) or Names(root).near([NAME])
        return [(NAME, "missing", near, "there", "write this table")]
    if name not in SUMS:
        there = holds(name, root)
        state, found = ("ok", "there") if there else ("missing", "not there")
        return [(MARKS[name], state, found, "there", "" if there else f"get the dataset from {PUBLISHERS[name]}")]
    folders = [root / place for place in PLACES[name]]
    first = next(iter(SUMS[name]))
    folder = next((folder for folder in folders if os.path.isfile(folder / first)), folders[0])
    rows = []
    for file, known in SUMS[name].items():
        path = folder / file
        if not os.path.isfile(path):
            state = "warning" if file in OPTIONAL else "missing"
            remedy = "optional" if file in OPTIONAL else f"download it from {PUBLISHERS[name]}"
            rows.append((file, state, "not there", f"SHA-256 {known[:12]}", remedy))
            continue
        try:
            mine = file_digest(path)
        except OSError as error:
            rows.append((file, "differs", error.strerror, "readable", "check its permissions, or download it again"))
            continue
        same = mine == known
        remedy = (
            ""
            if same
            else f"the file is another edition or was simulated; download the published one from {PUBLISHERS[name]}"
        )
        rows.append((file, "ok" if same else "differs", f"SHA-256 {mine[:12]}", f"SHA-256 {known[:12]}", remedy))
    return rows
