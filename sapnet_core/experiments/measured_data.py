"""Digests of the data of real people behind stored results, so that these results are found where the data are absent.

A result is found by its trial's hash, and this hash includes the content of the data (`trial_hash`). For each dataset
with stored results, `study/measured/data.json` holds the digests of this content, and the digest of the code that read
it. After a change of that code the stored results are no longer found, as after a change of any other code that they
rest on.
"""

from pathlib import Path

from sapnet_core.datasets.known import holds
from sapnet_core.experiments.profiles import MEASURED
from sapnet_core.features.sequences import sequence_code
from sapnet_core.runtime import environment
from sapnet_core.runtime.files import read_json, write_json

__all__ = ["FILE", "is_absent", "store_digests", "stored_digests"]

FILE = Path(__file__).parent.parent / "study" / "measured" / "data.json"


def is_absent(dataset: str) -> bool:
    """Whether a dataset of real people's measurements is not in the user's folder."""
    data = environment.data_root()
    return dataset in MEASURED and (data is None or not holds(dataset, data))


def stored_digests(dataset: str) -> list[str]:
    """The digests of the records and of the sequences that the stored results of a dataset were computed from; others,
    which belong to no result, where the code that reads sequences has changed since.

    Raises:
        FileNotFoundError: no results of this dataset are stored.
        ValueError: the file was damaged.
    """
    known = read_json(FILE) if FILE.is_file() else {}
    if dataset not in known:
        raise FileNotFoundError(f"{dataset} is not in the folder of the data, and no results of it are stored")
    try:
        one = known[dataset]
        same = one["code"] == sequence_code()
        return [str(one["records"]), str(one["sequences"]) if same else sequence_code()]
    except (KeyError, TypeError):
        raise ValueError(f"{FILE}: was damaged: restore it with git checkout") from None


def store_digests(dataset: str, records: str, sequences: str) -> None:
    """Store the digests of a dataset whose results are stored. Raises OSError."""
    known = read_json(FILE) if FILE.is_file() else {}
    write_json(FILE, known | {dataset: {"records": records, "sequences": sequences, "code": sequence_code()}})
