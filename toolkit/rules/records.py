"""Rows of a CSV or JSON Lines file, and where in the file they stand; those of Parquet are read elsewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from toolkit.errors import InvalidInput
from toolkit.files import File

LONGEST_ROW = 1_000_000  # bytes


Kind: TypeAlias = Literal["csv", "jsonl", "parquet"]

_KINDS: dict[str, Kind] = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}


class Format(BaseModel):
    """How the file is written; ``columns`` and ``delimiter`` are those of a CSV file."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    columns: list[str] = []
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class Record:
    """One row as JSON text, or why it is none. ``line`` is where it begins."""

    line: int
    text: str = ""
    error: str | None = None


def kind_of(file: File) -> Kind:
    """How ``file`` is written, by its name.

    Raises:
        InvalidInput: none of the kinds that can be read.
    """
    suffix = file.filename.rpartition(".")[2].lower()
    if suffix not in _KINDS:
        raise InvalidInput(f"{file.filename!r} ends with {suffix!r}; expected .csv, .jsonl, .ndjson or .parquet")
    return _KINDS[suffix]


async def split(
    blocks: AsyncIterator[bytes], kind: Literal["csv", "jsonl"], *, rows: int
) -> tuple[Format, list[tuple[int, int, int]]]:
    """Cut a file after every ``rows`` rows: where each chunk starts, ends, and the number of its first line.

    A line break inside quotes ends no row of a CSV file. The header of a CSV file belongs to no chunk.

    Raises:
        InvalidInput: a row is longer than ``LONGEST_ROW``, or a CSV file has no header.
    """
    cut = _Cut(kind, rows)
    async for block in blocks:
        cut.feed(block)
    return cut.finish()


class _Cut:
    def __init__(self, kind: Literal["csv", "jsonl"], rows: int) -> None:
        self.kind, self.rows = kind, rows
        self.chunks: list[tuple[int, int, int]] = []
        self.header = b""
        self.is_in_header = kind == "csv"
        self.position = self.start = 0
        self.line, self.first_line = 1, 1
        self.count = 0
        self.pending = b""
        self.is_quoted = False

    def feed(self, block: bytes) -> None:
        data = self.pending + block
        lines = data.split(b"\n")
        self.pending = lines.pop()
        if len(self.pending) > LONGEST_ROW:
            raise InvalidInput(f"line {self.line} is longer than {LONGEST_ROW:,} bytes")
        has_quotes = self.kind == "csv" and b'"' in data
        at = 0
        while at < len(lines):
            if has_quotes or self.is_quoted or self.is_in_header:
                self._line(lines[at] + b"\n")
                at += 1
            else:  # rows, each a line: many at once, for a file of millions would take seconds otherwise
                taken = lines[at : at + self.rows - self.count]
                self.position += sum(map(len, taken)) + len(taken)
                self.line += len(taken)
                at += len(taken)
                self._add_rows(len(taken))

    def _line(self, line: bytes) -> None:
        self.position += len(line)
        self.line += 1
        if self.kind == "csv" and line.count(b'"') % 2:
            self.is_quoted = not self.is_quoted
        if self.is_in_header:
            self.header += line
            if not self.is_quoted:
                self.is_in_header = False
                self._begin()
            return
        if self.is_quoted:
            return
        self._add_rows(1)

    def _add_rows(self, rows: int) -> None:
        self.count += rows
        if self.count == self.rows:
            self.chunks.append((self.start, self.position, self.first_line))
            self._begin()

    def _begin(self) -> None:
        self.start, self.first_line, self.count = self.position, self.line, 0

    def finish(self) -> tuple[Format, list[tuple[int, int, int]]]:
        if self.pending:
            self._line(self.pending)
        if self.position > self.start:
            self.chunks.append((self.start, self.position, self.first_line))
        if self.kind == "jsonl":
            return Format(kind="jsonl"), self.chunks
        header = self.header.decode("utf-8-sig", "replace").strip()
        if not header:
            raise InvalidInput("the CSV file is empty; expected a header with the names of the fields")
        delimiter = max(",;\t", key=header.count)
        columns = next(csv.reader([header], delimiter=delimiter))
        return Format(kind="csv", columns=[name.strip() for name in columns], delimiter=delimiter), self.chunks


def read_records(content: bytes, format: Format, *, line: int) -> Iterator[Record]:
    """The rows in ``content``, which begins at ``line`` of the file. Empty lines are none."""
    text = content.decode("utf-8-sig", "replace")
    if format.kind == "jsonl":
        for number, row in enumerate(text.split("\n"), start=line):
            if row.strip():
                yield Record(number, row)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=format.delimiter)
    before = 0
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(line + before, error=f"the row is no CSV: {error}")
            before = reader.line_num
            continue
        at, before = line + before, reader.line_num
        if not values:
            continue
        if len(values) != len(format.columns):
            yield Record(at, error=f"the row has {len(values)} values; the header names {len(format.columns)}")
        else:
            yield Record(at, to_json(_nested(format.columns, values)).decode())


def _nested(columns: list[str], row: list[str]) -> dict[str, Any]:
    """The row as an input: an empty value is left out, a dotted name is a field of a field."""
    found: dict[str, Any] = {}
    for name, value in zip(columns, row, strict=True):
        if value != "":
            *parents, last = name.split(".")
            place = found
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
    return found
