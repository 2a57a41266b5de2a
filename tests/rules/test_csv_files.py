"""CSV files as people have them: every row is read as `csv` reads the whole file, or the file is refused by line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidInput
from toolkit.rules.chunks import LONGEST_ROW, split
from toolkit.rules.records import read_records


async def blocks_of(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def rows_of(
    content: bytes, *, rows: int = 2, size: int = 1000, kind: Literal["csv", "jsonl"] = "csv"
) -> list[tuple[int, Any]]:
    """Each row with its line: the input, or why it is none."""
    written_as, chunks = await split(blocks_of(content, size), kind, rows=rows)
    return [
        (record.line, record.error or json.loads(record.text))
        for start, end, line in chunks
        for record in read_records(content[start:end], written_as, line=line)
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_quote_within_a_value_is_a_character(size: int) -> None:
    content = b'item,amount\n19" rack,5\n"a\nb",6\nc,7\nd,8\n"x\ny",9\n'

    assert await rows_of(content, size=size) == [
        (2, {"item": '19" rack', "amount": "5"}),
        (3, {"item": "a\nb", "amount": "6"}),
        (5, {"item": "c", "amount": "7"}),
        (6, {"item": "d", "amount": "8"}),
        (7, {"item": "x\ny", "amount": "9"}),
    ]


@given(
    text=st.text(st.sampled_from('"";\n\raä'), max_size=60),
    rows=st.integers(1, 3),
    size=st.integers(1, 9),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
async def test_the_rows_of_the_chunks_are_those_of_the_whole_file(
    text: str, rows: int, size: int, encoding: str
) -> None:
    whole = csv.reader(io.StringIO(text, newline="\n"), delimiter=";")
    expected: list[dict[str, str] | None] = []
    while True:
        try:
            row = next(whole)
        except StopIteration:
            break
        except csv.Error:
            expected.append(None)
        else:
            expected += [{n: v for n, v in zip("xy", row, strict=True) if v} if len(row) == 2 else None] if row else []

    try:
        found = await rows_of(f"x;y\n{text}".encode(encoding), rows=rows, size=size)
    except InvalidInput as error:
        assert "is never closed" in str(error)  # noqa: PT017  # only some of the texts are refused
        assert text.count('"')
    else:
        assert [one if isinstance(one, dict) else None for _, one in found] == expected


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_a_file_of_another_encoding_is_refused_with_the_line_and_what_to_do(
    kind: Literal["csv", "jsonl"], size: int
) -> None:
    content = '{"vendor": "a"}\n{"vendor": "Müller"}\n' if kind == "jsonl" else "vendor;amount\nMüller;5\n"

    with pytest.raises(InvalidInput) as error:
        await rows_of(content.encode("cp1252"), size=size, kind=kind)
    assert str(error.value) == (
        "line 2 is not UTF-8: found the byte 0xFC ('ü' in Windows-1252); save the file as UTF-8 ('CSV UTF-8' in Excel)"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_utf_8_and_marked_utf_16_are_read_letter_by_letter(encoding: str, size: int) -> None:
    content = 'Händler;amount\nMüller;5\n"Ø\n😀";6\nz;7\n'.encode(encoding)

    assert await rows_of(content, size=size) == [
        (2, {"Händler": "Müller", "amount": "5"}),
        (3, {"Händler": "Ø\n😀", "amount": "6"}),
        (5, {"Händler": "z", "amount": "7"}),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("vendor;amount\nMeier;5\n".encode("utf-16-le"), "NUL"),
        ("vendor;amount\nMüller;5".encode("utf-16")[:-1], "line 2 is not UTF-16-LE"),
        (b"vendor\nM\xc3", "line 2 is not UTF-8: found the byte 0xC3"),
        (b"vendor,vendor.name,amount\nx,y,5\n", "names both 'vendor' and 'vendor.name'"),
        (b"a.b.c,a\n1,2\n", "names both 'a' and 'a.b.c'"),
        (b"amount,vendor,amount\n1,x,2\n", "names 'amount' twice"),
        (b"vendor.,amount\n1,2\n", "names 'vendor.'; expected a name on both sides of a dot"),
        (b"vendor,amount\rx,5\r", "line 1 ends with a carriage return alone"),
        (b"\nvendor\n", "empty first line"),
        (b'vendor,"amount\n1,2\n', "opens in the row at line 1 and is never closed"),
        (b'vendor,amount\nx,5\ny,"6\nz,7\n', "opens in the row at line 3 and is never closed"),
        (
            b'vendor,amount\nx,5\n"' + b"y,6\n" * 50_000,
            "row at line 3: a field is longer than 131,072 characters; is a",
        ),
        (b"vendor\n" + b"x" * (LONGEST_ROW + 1), "row at line 2 is longer than 1,000,000 characters"),
    ],
)
@pytest.mark.parametrize("size", [1000, 10_000_000])
async def test_a_file_that_would_be_misread_is_refused(content: bytes, says: str, size: int) -> None:
    with pytest.raises(InvalidInput, match=says):
        await rows_of(content, size=size)


@pytest.mark.parametrize(
    ("header", "columns", "delimiter"),
    [
        ('"a";"b, c"', ["a", "b, c"], ";"),
        ('"a, b, c";d', ["a, b, c", "d"], ";"),
        ('"a;b\n;c",d', ["a;b\n;c", "d"], ","),
        ('size 19",name', ['size 19"', "name"], ","),
        ("a\tb, c\td", ["a", "b, c", "d"], "\t"),
        ("a;b;;", ["a", "b", "", ""], ";"),
        ("alone", ["alone"], ","),
    ],
)
async def test_the_delimiter_is_the_one_between_the_names(header: str, columns: list[str], delimiter: str) -> None:
    written_as, _ = await split(blocks_of(f"{header}\n1\n".encode(), 3), "csv", rows=2)

    assert (written_as.columns, written_as.delimiter) == (columns, delimiter)


async def test_a_row_that_is_no_csv_fails_alone() -> None:
    long = "x" * 131_073

    assert await rows_of(f"a,b\n1,2\n3\r,4\n{long},6\n7,8\n".encode()) == [
        (2, {"a": "1", "b": "2"}),
        (3, "the row is no CSV: a carriage return alone ends no row; expected a line feed"),
        (4, "the row is no CSV: a field is longer than 131,072 characters"),
        (5, {"a": "7", "b": "8"}),
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_line_above_the_header_may_say_what_separates_the_values(size: int, end: str) -> None:
    content = end.join(["sep=;", "a,b;c", "1,5;2", "x;y", ""]).encode()

    assert await rows_of(content, size=size) == [(3, {"a,b": "1,5", "c": "2"}), (4, {"a,b": "x", "c": "y"})]


async def test_a_file_with_nothing_below_such_a_line_is_empty() -> None:
    with pytest.raises(InvalidInput, match="the CSV file is empty"):
        await rows_of(b"sep=;\n")
