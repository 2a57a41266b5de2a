"""Rows of a CSV or JSON Lines file, by line; :mod:`toolkit.rules.chunks` cuts the file, Parquet is read elsewhere."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from toolkit.errors import InvalidInput
from toolkit.files import File

Kind: TypeAlias = Literal["csv", "jsonl", "parquet"]

Encoding: TypeAlias = Literal["utf-8", "utf-16-le", "utf-16-be"]

SAVE_AS_UTF_8 = "save the file as UTF-8 ('CSV UTF-8' in Excel)"

_KINDS: dict[str, Kind] = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}


class Format(BaseModel):
    """How the file is written; ``columns`` and ``delimiter`` are those of a CSV file."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    encoding: Encoding = "utf-8"
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


def read_records(content: bytes, format: Format, *, line: int) -> Iterator[Record]:
    """The rows in ``content``, which begins at ``line`` of the file. Empty lines are none.

    Raises:
        InvalidInput: a byte is not of the encoding.
    """
    try:
        text = content.decode(format.encoding)
    except UnicodeDecodeError as error:
        raise undecodable(error, format.encoding, line=line) from None
    lines = io.StringIO(text, newline="\n")
    if format.kind == "jsonl":
        yield from (Record(number, row.strip()) for number, row in enumerate(lines, start=line) if row.strip())
        return
    for taken, values, _ in csv_rows(lines, format.delimiter):
        at, line = line, line + taken
        if isinstance(values, CsvFault):
            yield Record(at, error=f"the row is no CSV: {values.reason}")
        elif not values:
            continue
        elif len(values) != len(format.columns):
            yield Record(at, error=f"the row has {len(values)} values; the header names {len(format.columns)}")
        else:
            yield Record(at, to_json(_nested(format.columns, values)).decode())


@dataclass(frozen=True, slots=True)
class CsvFault:
    """Why lines are no row. Where ``is_torn``, it was given up before its end, so what is below may be part of it."""

    reason: str
    is_torn: bool


# What Excel takes as "the values are between these", above the header.
DECLARED_DELIMITER = re.compile(r"sep=([,;\t])\r?\n")


def delimiter_of(header: str) -> str:
    """What stands between the values of a file whose first line is ``header``, fields in quotes left out."""
    return max(",;\t", key=header.count)


def csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str] | CsvFault, bool]]:
    """The rows in ``lines``: how many lines each takes, its values, and whether a quote in it is still open at the end.

    Lines come with their line feeds. Who cuts a file and who reads it both ask here where a row ends: a quote opens
    text only at the start of a field, so counting quotes finds other ends.
    """
    is_at_end = False

    def given() -> Iterator[str]:
        nonlocal is_at_end
        yield from lines
        is_at_end = True

    reader = csv.reader(given(), delimiter=delimiter)
    before = 0
    while True:
        values: list[str] | CsvFault
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            values = _fault(error)
        taken, before = reader.line_num - before, reader.line_num
        yield taken, values, is_at_end  # a row asks for a line below its last one only where a quote is open


def _fault(error: csv.Error) -> CsvFault:
    if "new-line" in str(error):  # a carriage return outside of quotes, and something behind it
        return CsvFault("a carriage return alone ends no row; expected a line feed", is_torn=False)
    return CsvFault(f"a field is longer than {csv.field_size_limit():,} characters", is_torn=True)


def undecodable(error: UnicodeDecodeError, encoding: Encoding, *, line: int) -> InvalidInput:
    """What to tell about bytes that are no text in ``encoding``; ``line`` is the one at which they begin."""
    byte = error.object[error.start : error.start + 1]
    line += error.object[: error.start].decode(encoding).count("\n")
    # Nearly always an older Excel wrote the file, and the letter tells which word to look at.
    letter = byte.decode("cp1252", "ignore") if encoding == "utf-8" else ""
    meant = f" ({letter!r} in Windows-1252)" if letter.isprintable() and letter else ""
    return InvalidInput(
        f"line {line} is not {encoding.upper()}: found the byte 0x{byte.hex().upper()}{meant}; {SAVE_AS_UTF_8}"
    )


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
