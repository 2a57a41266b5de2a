"""Rows of a Parquet file. Needs pyarrow, which the extra ``parquet`` installs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from toolkit.errors import ConfigurationError, InvalidInput
from toolkit.rules.records import Record

LARGEST_ROW_GROUP = 200_000_000  # bytes, unpacked
_ROWS_AT_ONCE = 1_000


def split_parquet(path: Path, *, rows: int) -> list[tuple[int, int, int]]:
    """The rows of a file in chunks: the first row of each, the one after its last, and its number in the file from 1.

    Raises:
        InvalidInput: it is no Parquet file, or would unpack to more memory than a worker has to spare.
        ConfigurationError: pyarrow is not installed.
    """
    file = _open(path)
    for number in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(number).total_byte_size
        if size > LARGEST_ROW_GROUP:
            raise InvalidInput(
                f"row group {number + 1} unpacks to {size:,} bytes; at most {LARGEST_ROW_GROUP:,} are taken: write the "
                "file with smaller row groups"
            )
    total = file.metadata.num_rows
    return [(start, min(start + rows, total), start + 1) for start in range(0, total, rows)]


def read_parquet(path: Path, *, start: int, end: int) -> Iterator[Record]:
    """Rows ``start`` to before ``end``; the line of a row is its number in the file, from 1.

    Raises:
        InvalidInput: the rows cannot be read.
    """
    file = _open(path)
    groups, first = [], 0
    before = 0  # rows of the file before the first group that is read
    for number in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(number).num_rows
        if first + count <= start:
            before = first + count
        elif first < end:
            groups.append(number)
        first += count
    at = before
    try:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, row_groups=groups):
            here, at = at, at + batch.num_rows
            if at > start:
                low, high = max(start - here, 0), min(end - here, batch.num_rows)
                for number, row in enumerate(batch.slice(low, high - low).to_pylist(), start=here + low + 1):
                    yield _record(number, row)
            if at >= end:
                return
    except (ValueError, OSError, OverflowError) as error:  # what pyarrow raises derives from these
        raise InvalidInput(f"the rows after {at} of the Parquet file cannot be read: {error}") from error


def _record(number: int, row: dict[str, Any]) -> Record:
    try:
        return Record(number, to_json(row).decode())
    except (PydanticSerializationError, ValueError) as error:
        return Record(number, error=f"the row has no JSON form: {error}")


def _open(path: Path) -> Any:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            "Parquet files need pyarrow, which is not installed here: pip install 'process-toolkit[parquet]'; CSV and "
            "JSON Lines files need nothing"
        ) from error
    try:
        return parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        raise InvalidInput(f"the file is no Parquet file: {str(error).partition(chr(10))[0]}") from error
