"""Decision tables leave as CSV and Excel files and come back as they were, or as somebody changed them."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rules.policies import LIMITS, approval, chain, encode, issues_of, table_node
from toolkit.errors import InvalidInput, NotFound
from toolkit.rules import RuleService, Sandbox, SpreadsheetFormat, read_spreadsheet, write_spreadsheet

openpyxl = pytest.importorskip("openpyxl")

FORMATS: list[SpreadsheetFormat] = ["csv", "xlsx"]
TWO = chain(
    table_node([["> 5", "x > 1", "'a'"]], inputs=["total", ""], outputs=["size"]),
    table_node([["'a'", "true"], ["", "false"]], inputs=["size"], outputs=["approved"]),
)


def with_notes(graph: dict[str, Any]) -> dict[str, Any]:
    graph = read_spreadsheet(write_spreadsheet(graph, "csv"), "csv", graph)
    for row, note in zip(
        graph["nodes"][2]["content"]["rules"], ["=HYPERLINK(1)", "it's, quoted; \u20ac", "-5"], strict=True
    ):
        row["_description"] = note
    return graph


def rules_of(graph: dict[str, Any], node: int = 2) -> list[dict[str, str]]:
    """The rows of a table, without empty cells."""
    found = graph["nodes"][node]["content"]["rules"]
    return [{key: text for key, text in row.items() if text} for row in found]


@pytest.mark.parametrize("format", FORMATS)
def test_a_table_comes_back_as_it_was(format: SpreadsheetFormat) -> None:
    graph = with_notes(LIMITS)

    again = read_spreadsheet(write_spreadsheet(graph, format), format, graph)

    assert rules_of(again) == rules_of(graph)
    assert again["nodes"][2]["content"]["inputs"] == graph["nodes"][2]["content"]["inputs"]
    assert again["nodes"][2]["content"]["outputs"] == graph["nodes"][2]["content"]["outputs"]


def test_every_table_is_a_sheet_and_one_of_them_a_csv_file() -> None:
    again = read_spreadsheet(write_spreadsheet(TWO, "xlsx"), "xlsx", TWO)
    one = read_spreadsheet(write_spreadsheet(TWO, "csv", table="node2"), "csv", TWO, table="node2")

    assert [rules_of(again, node) for node in (2, 3)] == [rules_of(TWO, node) for node in (2, 3)]
    assert rules_of(one, 3) == rules_of(TWO, 3)
    with pytest.raises(InvalidInput, match=r"2 tables \('node1', 'node2'\)"):
        write_spreadsheet(TWO, "csv")
    with pytest.raises(NotFound):
        write_spreadsheet(TWO, "xlsx", table="node3")


def test_what_a_person_types_into_excel_becomes_expressions(sandbox: Sandbox) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.append(["if total", "if due", "if is_known", "then approved", "then limit", "note"])
    sheet.append(["<= 100", "< d('2026-01-01')", True, True, 12.5, "small"])
    sheet.append([None, None, None, None, None, None])
    sheet.append([500, datetime(2026, 3, 1), None, False, 1e3, None])  # noqa: DTZ001  # Excel knows no zones
    content = io.BytesIO()
    workbook.save(content)

    graph = read_spreadsheet(content.getvalue(), "xlsx", approval.starter_graph())

    first, second = rules_of(graph, 1)
    assert [column["field"] for column in graph["nodes"][1]["content"]["inputs"]] == ["total", "due", "is_known"]
    assert first == {
        "_id": "row-1",
        "in-total": "<= 100",
        "in-due": "< d('2026-01-01')",
        "in-is_known": "true",
        "out-approved": "true",
        "out-limit": "12.5",
        "_description": "small",
    }
    assert (second["in-total"], second["in-due"], second["out-limit"]) == ("500", "d('2026-03-01')", "1000")
    assert ("error", "cell_cannot_match") not in issues_of(graph, sandbox)


def test_excel_does_not_eat_quotes_or_run_cells() -> None:
    graph = with_notes(LIMITS)

    sheet = openpyxl.load_workbook(io.BytesIO(write_spreadsheet(graph, "xlsx")))["node1"]

    cells = {cell.value: cell for row in sheet.iter_rows() for cell in row}
    assert cells["'travel'"].quotePrefix
    assert cells["=HYPERLINK(1)"].data_type == "s"
    assert b"'=HYPERLINK(1)" in write_spreadsheet(graph, "csv")


@pytest.mark.parametrize("above", [b"", b"sep=;\r\n"])
def test_a_new_column_and_new_rows_get_ids_of_their_own(above: bytes) -> None:
    sheet = (
        above
        + b"row;if total;if vendor;then approved;then reason\nr3;> 9;;true;''\n;;'ACME';false;'no'\nrow-3;;;false;''\n"
    )

    graph = read_spreadsheet(sheet, "csv", LIMITS)

    content = graph["nodes"][2]["content"]
    assert [(column["id"], column["field"]) for column in content["inputs"]] == [
        ("i0", "total"),
        ("if-vendor", "vendor"),
    ]
    assert [row["_id"] for row in content["rules"]] == ["r3", "row-2", "row-3"]


def workbook_with(value: Any) -> bytes:
    workbook = openpyxl.Workbook()
    workbook.active.append(["if total", "then approved"])
    workbook.active.append([value, "true"])
    content = io.BytesIO()
    workbook.save(content)
    return content.getvalue()


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("xl/worksheets/sheet1.xml", b" " * 150_000_000)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "format", "told"),
    [
        (b"", "csv", "the sheet is empty"),
        (b"\xff\xfe", "csv", "not UTF-8"),
        (b'"a', "csv", "is no CSV"),
        (b"total,approved\n1,2\n", "csv", "expected 'row', 'note', 'if'"),
        (b"if total,then\n1,2\n", "csv", "expected 'row', 'note', 'if'"),
        (b"if total,if total,then approved\n", "csv", "two columns are called 'if total'"),
        (b"row,if total\na,1\na,2\n", "csv", "two rows have the id 'a'"),
        (b"if total\n1,2\n", "csv", "beyond the 1 columns"),
        (b"if total\n" + b"1\n" * 5_001, "csv", "at most 5000 rows"),
        (b"if total\n", "xlsx", "no Excel file"),
        (workbook_with("=1+1"), "xlsx", "Sheet!A2 is a formula"),
        (workbook_with(datetime(2026, 1, 1, tzinfo=UTC).time()), "xlsx", "Sheet!A2 is a time"),
        (bomb(), "xlsx", "unpacks to"),
        (bomb()[:50_000], "xlsx", "no Excel file"),
        (b" " * 10_000_001, "csv", "at most 10000000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_table_is_refused_with_its_place(content: bytes, format: SpreadsheetFormat, told: str) -> None:
    with pytest.raises(InvalidInput, match=told.replace("(", r"\(")):
        read_spreadsheet(content, format, LIMITS)


async def test_a_spreadsheet_is_the_way_from_one_version_to_the_next(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))
    sheet = (await service.workbench.export_tables("approval", "csv")).replace(b"<= 100", b"<= 200")

    graph = await service.workbench.graph_with_tables("approval", sheet, "csv")
    version = await service.upload("approval", graph)

    (change,) = await service.workbench.diff("approval", version.number, against=1)
    assert change.text == "node1, row 2, total: was `<= 100`, is `<= 200`"


def test_without_openpyxl_excel_files_say_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["openpyxl"] = None
from tests.rules.policies import LIMITS
from toolkit.rules import read_spreadsheet, write_spreadsheet
assert read_spreadsheet(write_spreadsheet(LIMITS, "csv"), "csv", LIMITS)
for call in (lambda: write_spreadsheet(LIMITS, "xlsx"), lambda: read_spreadsheet(b"x", "xlsx", LIMITS)):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )

    assert done.stdout.count("ConfigurationError Excel files need openpyxl") == 2
    assert "pip install 'process-toolkit[rules]'" in done.stdout
