"""Parquet files read as untrusted: sizes and columns are checked before anything is decoded.

Only pyarrow's own types are read: a file that declares others, or has metadata of its own, is refused. Every fault is
one line that names the file and the remedy.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sapnet_core.runtime.disk import one_line_faults
from sapnet_core.runtime.file_kinds import found_at
from sapnet_core.runtime.sealed import Damaged

__all__ = ["one_line_damage", "opened", "row_group"]

# limits for files that are read: about ten times the sizes of the stored results
BYTES = 128 * 2**20  # of a file, and of a row group when decompressed
GROUPS = 5000
ROWS = 4_000_000  # of a row group
TEXT = 2000  # characters of a text
FOOTER = 16 * 2**20  # bytes of a text in a file's footer, and number of entries in a list
FAULTS = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
    RecursionError,
)


@contextmanager
def one_line_damage(path: Path) -> Iterator[None]:
    """Raise every fault of a table's content as `Damaged`, in one line. Errors of the disk stay OSError."""
    remedy = "restore it with git checkout, or set SAPNET_RECOMPUTE=1 to train its trials again"
    try:
        with one_line_faults(path):
            yield
    except Damaged:
        raise
    except FAULTS as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise
        fault = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(f"{path}: was damaged or edited ({fault}): {remedy}") from None


@contextmanager
def opened(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """A Parquet file with exactly these columns, checked before any of its rows is decoded. Raises Damaged."""
    with one_line_damage(path), _regular(path) as stream:
        limits = {"thrift_string_size_limit": FOOTER, "thrift_container_size_limit": FOOTER}
        texts = [field.name for field in schema if field.type == pa.string()]
        told = pq.ParquetFile(stream, **limits).metadata
        if told.metadata is not None:
            raise ValueError("it has metadata, which these tables do not have")
        if not told.schema.to_arrow_schema().equals(schema):
            raise ValueError(f"its columns are not {', '.join(schema.names)}")
        groups = [told.row_group(i) for i in range(told.num_row_groups)]
        if any(g.total_byte_size > BYTES or not 0 <= g.num_rows <= ROWS for g in groups) or len(groups) > GROUPS:
            raise ValueError("it is larger than such a table can be")
        yield pq.ParquetFile(stream, metadata=told, read_dictionary=texts, page_checksum_verification=True, **limits)


def _regular(path: Path):
    found = found_at(path)
    if not path.is_file():
        raise ValueError(f"it is {found or 'missing'}")
    if path.stat().st_size > BYTES:
        raise ValueError(f"it is larger than {BYTES >> 20} MiB")
    return open(path, "rb")


def row_group(file: pq.ParquetFile, index: int) -> pa.Table:
    """One row group of an `opened` file.

    Texts stay dictionaries, so that a text that is repeated takes no memory. Raises ValueError for a text that is too
    long.
    """
    table = file.read_row_group(index, use_threads=False)
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            if (pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0) > TEXT:
                raise ValueError(f"a text has more than {TEXT} characters")
    return table
