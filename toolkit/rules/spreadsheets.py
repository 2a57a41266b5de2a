"""Decision tables as CSV and Excel files. Excel needs openpyxl, which the extra ``rules`` installs."""

from __future__ import annotations

import copy
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any, Literal, TypeAlias

from toolkit.errors import ConfigurationError, InvalidInput
from toolkit.rules.documents import MOST_ROWS
from toolkit.rules.records import DECLARED_DELIMITER, delimiter_of
from toolkit.rules.sheets import NOTE, Sheet, find_table, from_sheet, tables_in, to_sheet

SpreadsheetFormat: TypeAlias = Literal["csv", "xlsx"]

LARGEST_SPREADSHEET = 10_000_000  # bytes
_LARGEST_UNPACKED = 100_000_000
_MOST_COLUMNS = 200
_LONGEST_TITLE = 31  # of a sheet, in Excel
_NOT_IN_TITLES = re.compile(r"[\[\]:*?/\\]")
_RUNS_IN_EXCEL = ("=", "+", "-", "@", "\t", "\r")


def write_spreadsheet(document: Mapping[str, Any], format: SpreadsheetFormat, *, table: str | None = None) -> bytes:
    """A table of a graph as a file; an Excel file has a sheet for every table, where none is named.

    Raises:
        NotFound, InvalidInput: no such table, or it is not clear which.
        ConfigurationError: openpyxl is not installed.
    """
    if format == "csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows(_disarmed(to_sheet(find_table(document, table)[1])))
        return text.getvalue().encode("utf-8-sig")  # by which Excel knows that it is UTF-8
    named = tables_in(document) if table is None else dict([find_table(document, table)])
    return _write_workbook({name: to_sheet(content) for name, content in named.items()})


def read_spreadsheet(
    content: bytes, format: SpreadsheetFormat, document: Mapping[str, Any], *, table: str | None = None
) -> dict[str, Any]:
    """A copy of the graph ``document`` whose tables are as the file says; other tables and nodes stay.

    Raises:
        NotFound, InvalidInput: no such table, it is not clear which, or the file is not as it must be.
        ConfigurationError: openpyxl is not installed.
    """
    if len(content) > LARGEST_SPREADSHEET:
        raise InvalidInput(f"the file has {len(content)} bytes; at most {LARGEST_SPREADSHEET} are allowed")
    changed = copy.deepcopy(dict(document))
    if format == "csv":
        _replace(changed, find_table(changed, table)[0], _armed(_read_csv(content)))
        return changed
    sheets = _read_workbook(content)
    if table is not None or len(tables_in(changed)) == 1:
        name, _ = find_table(changed, table)
        _replace(changed, name, sheets.get(_title(name)) or next(iter(sheets.values())))
        return changed
    by_title = {_title(name): name for name in tables_in(changed)}
    if unknown := sheets.keys() - by_title.keys():
        expected = ", ".join(map(repr, by_title))
        raise InvalidInput(f"the sheet {min(unknown)!r} is named after no table; expected {expected}")
    for title, sheet in sheets.items():
        _replace(changed, by_title[title], sheet)
    return changed


def _replace(document: Mapping[str, Any], table: str, sheet: Sheet) -> None:
    content = tables_in(document)[table]
    content.update(from_sheet(sheet, content))


# CSV --------------------------------------------------------------------------------------------------------------


def _read_csv(content: bytes) -> Sheet:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the file is not UTF-8: {error}; save it as 'CSV UTF-8'") from error
    declared = DECLARED_DELIMITER.match(text)
    delimiter = declared[1] if declared is not None else delimiter_of(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(reader)[0 if declared is None else 1 :]
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num} is no CSV: {error}") from error


def _disarmed(sheet: Sheet) -> Sheet:
    """With an apostrophe before notes that a spreadsheet would run as a formula; cells are expressions and stay."""
    return [
        sheet[0],
        *([*row[:-1], f"'{row[-1]}" if row[-1].startswith(_RUNS_IN_EXCEL) else row[-1]] for row in sheet[1:]),
    ]


def _armed(sheet: Sheet) -> Sheet:
    if not sheet or NOTE not in sheet[0]:
        return sheet
    at = sheet[0].index(NOTE)
    return [
        [
            cell[1:] if n == at and cell[:1] == "'" and cell[1:].startswith(_RUNS_IN_EXCEL) else cell
            for n, cell in enumerate(row)
        ]
        for row in sheet
    ]


# Excel ------------------------------------------------------------------------------------------------------------


def _openpyxl() -> Any:
    try:
        return import_module("openpyxl")
    except ImportError as error:
        raise ConfigurationError(
            "Excel files need openpyxl, which is not installed here: pip install 'process-toolkit[rules]'; CSV files "
            "need nothing"
        ) from error


def _write_workbook(sheets: Mapping[str, Sheet]) -> bytes:
    openpyxl = _openpyxl()
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(_title(name))
        sheet.freeze_panes = "A2"
        for number, row in enumerate(rows, start=1):
            for column, text in enumerate(row, start=1):
                _write_cell(sheet.cell(number, column), text, is_header=number == 1)
        for column, title in enumerate(rows[0], start=1):
            sheet.column_dimensions[openpyxl.utils.get_column_letter(column)].width = max(12, len(title) + 4)
    content = io.BytesIO()
    workbook.save(content)
    return content.getvalue()


def _write_cell(cell: Any, text: str, *, is_header: bool) -> None:
    if not text:
        return
    try:
        cell.value = text
    except ValueError as error:  # a control character
        raise InvalidInput(f"the cell {text!r} has no form in Excel: {error}") from error
    cell.data_type = "s"  # text, also where it begins as a formula does
    # Excel takes the first quote of 'travel' for a sign of its own as soon as somebody edits the cell.
    cell.quotePrefix = text.startswith("'")
    if is_header:
        cell.font = import_module("openpyxl.styles").Font(bold=True)


def _read_workbook(content: bytes) -> dict[str, Sheet]:
    openpyxl = _openpyxl()
    _check_package(content)
    try:
        workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, keep_links=False)
        sheets = {sheet.title: list(_rows_of(sheet)) for sheet in workbook.worksheets}
    except (InvalidInput, ConfigurationError):
        raise
    except Exception as error:  # a library that reads other people's files raises what it pleases
        raise InvalidInput(f"the file cannot be read as an Excel file: {type(error).__name__}") from error
    filled = {title: rows for title, rows in sheets.items() if any(any(row) for row in rows)}
    if not filled:
        raise InvalidInput("the Excel file has no sheet with cells in it")
    return filled


def _check_package(content: bytes) -> None:
    """Refuse what unpacks to a multiple of what anybody writes by hand."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            unpacked = sum(entry.file_size for entry in package.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise InvalidInput("the file is no Excel file (.xlsx)") from error
    if unpacked > _LARGEST_UNPACKED:
        raise InvalidInput(f"the Excel file unpacks to {unpacked} bytes; at most {_LARGEST_UNPACKED} are allowed")


def _rows_of(sheet: Any) -> Iterator[list[str]]:
    for number, row in enumerate(sheet.iter_rows(max_col=_MOST_COLUMNS + 1), start=1):
        if len(row) > _MOST_COLUMNS and row[-1].value is not None:
            raise InvalidInput(f"the sheet {sheet.title!r} has more than {_MOST_COLUMNS} columns")
        if number > 2 * MOST_ROWS:  # empty rows count too: a sheet may claim to have a million
            raise InvalidInput(f"the sheet {sheet.title!r} has more than {2 * MOST_ROWS} rows")
        yield [_text_of(cell, sheet.title) for cell in row]


def _text_of(cell: Any, sheet: str) -> str:
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        raise InvalidInput(f"{sheet}!{cell.coordinate} is a formula; enter its value")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        number = Decimal(str(value))
        return str(int(number)) if number == number.to_integral_value() else f"{number:f}"
    if isinstance(value, datetime):
        is_day = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return f"d('{value.date() if is_day else value.isoformat()}')"
    if isinstance(value, date):
        return f"d('{value}')"
    if isinstance(value, str):
        return value
    raise InvalidInput(f"{sheet}!{cell.coordinate} is a {type(value).__name__}; write it as text")


def _title(name: str) -> str:
    return _NOT_IN_TITLES.sub(" ", name).strip("'")[:_LONGEST_TITLE] or "table"
