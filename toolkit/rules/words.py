"""Cells and rows in words, for people who never open the graph."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from toolkit.rules.expressions import Literals, Test, read_tests
from toolkit.rules.graphs import DecisionTable, Row

_COMPARISONS = {">": "above", ">=": "at least", "<": "below", "<=": "at most", "!=": "other than", "==": ""}


def row_in_words(table: DecisionTable, row: Row) -> str:
    """What ``row`` asks for, as in ``amount above 1,000 and category Travel``; ``always`` where it asks for nothing."""
    asked = [
        cell_in_words(column.field and column.name, row.cells[column.id])
        for column in table.inputs
        if column.id in row.cells
    ]
    return " and ".join(asked) or "always"


def cell_in_words(column: str | None, text: str) -> str:
    """One cell under its column, or a whole condition where the column reads no field."""
    if column is None:
        return f"`{text.strip()}`"
    label = column[:1].lower() + column[1:] if column[:2] != column[:2].upper() else column
    alternatives = read_tests(text)
    if alternatives is None:
        return f"{label} `{text.strip()}`"
    return f"{label} {' or '.join(_together(tests) for tests in alternatives)}"


def value_in_words(value: Any) -> str:
    """A plain value: numbers with separators, texts as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "empty"
    if isinstance(value, (int, float, Decimal)):
        return f"{value:,}"
    if isinstance(value, str):
        return value or "empty text"
    return str(value)


def _together(tests: Sequence[Test]) -> str:
    bounds = {test.operator: test.value for test in tests}
    if len(tests) == 2 and set(bounds) == {">=", "<="}:
        return f"from {value_in_words(bounds['>='])} to {value_in_words(bounds['<='])}"
    return " and ".join(_test(test.operator, test.value) for test in tests)


def _test(operator: str, value: Literals) -> str:
    return f"{_COMPARISONS[operator]} {value_in_words(value)}".strip()
