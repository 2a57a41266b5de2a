"""Where a CSV or JSON Lines file can be cut, found in one pass over it, and whether it can be read at all."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from toolkit.errors import InvalidInput
from toolkit.rules.records import (
    DECLARED_DELIMITER,
    SAVE_AS_UTF_8,
    CsvFault,
    Encoding,
    Format,
    csv_rows,
    delimiter_of,
    undecodable,
)

LONGEST_ROW = 1_000_000  # characters

_MARKS: dict[bytes, Encoding] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LONGEST_MARK = max(map(len, _MARKS))
# A field in quotes up to its last one, or up to the end where that is still to come.
_QUOTED_FIELD = re.compile(r'(^|[,;\t])"(?:[^"]|"")*(?:"|\Z)')
_LONE_CARRIAGE_RETURN = re.compile(r"\r[^\r\n]")


async def split(
    blocks: AsyncIterator[bytes], kind: Literal["csv", "jsonl"], *, rows: int
) -> tuple[Format, list[tuple[int, int, int]]]:
    """Cut a file after every ``rows`` rows: where each chunk starts, ends, and the number of its first line.

    A line break inside quotes ends no row of a CSV file. The header of a CSV file belongs to no chunk.

    Raises:
        InvalidInput: the file is not UTF-8 (or UTF-16 with a byte order mark), a row is longer than ``LONGEST_ROW``,
            a quote is never closed, or a CSV file has no header that makes sense.
    """
    cut = _Cut(kind, rows)
    async for block in blocks:
        cut.feed(block)
    cut.feed(b"", is_last=True)
    return cut.format, cut.chunks


class _Cut:
    def __init__(self, kind: Literal["csv", "jsonl"], rows: int) -> None:
        self.format = Format(kind=kind)
        self.rows = rows
        self.chunks: list[tuple[int, int, int]] = []
        self.is_in_header = kind == "csv"
        self.delimiter: str | None = None  # as a line above the header says
        self.position = self.start = 0  # bytes
        self.line, self.first_line = 1, 1
        self.count = 0
        self.head = b""
        self.decoder: codecs.IncrementalDecoder | None = None
        self.pending = ""  # from ``line`` on: a row that has no end yet

    def feed(self, block: bytes, *, is_last: bool = False) -> None:
        text = self.pending + self._decoded(block, is_last=is_last)
        end = len(text) if is_last else text.rfind("\n") + 1
        lines = list(io.StringIO(text[:end], newline="\n"))
        if self.is_in_header:
            lines = self._past_header(lines, text, is_last=is_last)
        ends = [] if self.is_in_header else self._row_ends(lines, is_last=is_last)
        done = 0
        for nth in range(self.rows - self.count - 1, len(ends), self.rows):
            self._advance(lines[done : ends[nth]])
            done = ends[nth]
            self._end_chunk()
        self.count = (self.count + len(ends)) % self.rows
        taken = ends[-1] if ends else 0
        self._advance(lines[done:taken])
        self.pending = "".join(lines[taken:]) + text[end:]
        if len(self.pending) > LONGEST_ROW:
            why = "; is a quote in it never closed?" if '"' in self.pending else ""
            raise InvalidInput(f"the row at line {self.line} is longer than {LONGEST_ROW:,} characters{why}")
        if is_last and self.is_in_header:
            raise InvalidInput("the CSV file is empty; expected a header with the names of the fields")
        if is_last and self.position > self.start:
            self._end_chunk()

    def _decoded(self, block: bytes, *, is_last: bool) -> str:
        if self.decoder is None:
            self.head += block
            if len(self.head) < _LONGEST_MARK and not is_last:
                return ""
            mark = next((mark for mark in _MARKS if self.head.startswith(mark)), b"")
            self.format = self.format.model_copy(update={"encoding": _MARKS.get(mark, "utf-8")})
            self.decoder = codecs.getincrementaldecoder(self.format.encoding)()
            self.position = self.start = len(mark)
            block = self.head[len(mark) :]
        try:
            return self.decoder.decode(block, is_last)
        except UnicodeDecodeError as error:
            raise undecodable(error, self.format.encoding, line=self.line + self.pending.count("\n")) from None

    def _past_header(self, lines: list[str], text: str, *, is_last: bool) -> list[str]:
        """The lines below the header, all of them while the end of it is still to come."""
        if self.delimiter is None and (declared := DECLARED_DELIMITER.match(text)) is not None:
            self.delimiter = declared[1]
            self._advance(lines[:1])
            lines, text = lines[1:], text[declared.end() :]
        bare = _QUOTED_FIELD.sub(r"\1", text)
        header, line_feed, _ = bare.partition("\n")
        if _LONE_CARRIAGE_RETURN.search(header):
            raise InvalidInput(
                f"line 1 ends with a carriage return alone, as on old Macintoshes; expected line feeds: {SAVE_AS_UTF_8}"
            )
        if not text or not (line_feed or is_last):
            return lines
        if "\0" in header:
            raise InvalidInput(f"line 1 has NUL characters, as UTF-16 without a byte order mark has; {SAVE_AS_UTF_8}")
        delimiter = self.delimiter or delimiter_of(header)
        taken, names, is_open = next(csv_rows(lines, delimiter))
        if isinstance(names, CsvFault):
            raise InvalidInput(f"the header is no CSV: {names.reason}")
        if is_open:
            if is_last:
                raise _unclosed(1)
            return lines
        columns = _checked([name.strip() for name in names])
        self.format = self.format.model_copy(update={"columns": columns, "delimiter": delimiter})
        self._advance(lines[:taken])
        self._begin()
        self.is_in_header = False
        return lines[taken:]

    def _row_ends(self, lines: Sequence[str], *, is_last: bool) -> Sequence[int]:
        """How many of ``lines`` lie before the end of each row; a row whose end is still to come has none."""
        if self.format.kind == "jsonl" or not any('"' in line for line in lines):
            return range(1, len(lines) + 1)  # for a file of millions, reading each would take seconds
        ends: list[int] = []
        at = 0
        for taken, values, is_open in csv_rows(lines, self.format.delimiter):
            row = lines[at : at + taken]
            if isinstance(values, CsvFault) and values.is_torn and any('"' in line for line in row):
                # Where such a row ends nobody knows: what comes next may be its text, and would be read as rows.
                raise InvalidInput(f"the row at line {self.line + at}: {values.reason}; is a quote in it never closed?")
            if is_open:
                if is_last:
                    raise _unclosed(self.line + at)
                break
            at += taken
            ends.append(at)
        return ends

    def _advance(self, lines: Sequence[str]) -> None:
        self.position += len("".join(lines).encode(self.format.encoding))
        self.line += len(lines)

    def _end_chunk(self) -> None:
        self.chunks.append((self.start, self.position, self.first_line))
        self._begin()

    def _begin(self) -> None:
        self.start, self.first_line = self.position, self.line


def _unclosed(line: int) -> InvalidInput:
    return InvalidInput(f"a quote opens in the row at line {line} and is never closed: all rows below are its text")


def _checked(columns: list[str]) -> list[str]:
    if not any(columns):
        raise InvalidInput("the CSV file has an empty first line; expected a header with the names of the fields")
    named: set[str] = set()
    for name in filter(None, columns):  # a column without a name is what a spreadsheet leaves at the edge
        if name in named:
            raise InvalidInput(f"the header names {name!r} twice; expected each field once")
        if not all(name.split(".")):
            raise InvalidInput(f"the header names {name!r}; expected a name on both sides of a dot")
        named.add(name)
    for name in named:
        parent = name
        while parent := parent.rpartition(".")[0]:
            if parent in named:
                raise InvalidInput(
                    f"the header names both {parent!r} and {name!r}; a field has a value or fields of its own, not both"
                )
    return columns
