"""The values of one column, cut where a cell begins or ceases to match: within a region no cell changes its mind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from toolkit.rules.expressions import Alternatives, Literals, Test
from toolkit.rules.fields import ValueType


@dataclass(frozen=True, slots=True)
class Region:
    """Some values that no cell of the column tells apart. ``sure`` and ``maybe`` have a bit for each row that matches.

    A cell that is more than literals may match anything, so its row is in ``maybe`` only.
    """

    sample: Any
    sure: int
    maybe: int


def regions_of(
    cells: Sequence[Alternatives | bool | None],
    expected: ValueType,
    *,
    is_integer: bool = False,
    is_nullable: bool = False,
    low: Decimal | None = None,
    high: Decimal | None = None,
) -> list[Region]:
    """The regions of a column with one entry a row: its tests, ``True`` where it is empty, ``None`` where unknown.

    Regions that match alike are one. ``low`` and ``high`` are what the model allows, both included.
    """
    constants = {test.value for cell in cells if isinstance(cell, list) for tests in cell for test in tests}
    found: dict[tuple[int, int], Any] = {}
    for sample in _samples(constants, expected, is_integer=is_integer, is_nullable=is_nullable, low=low, high=high):
        sure = maybe = 0
        for row, cell in enumerate(cells):
            if cell is None:
                maybe |= 1 << row
            elif cell is True or (isinstance(cell, list) and _matches(cell, sample)):
                sure |= 1 << row
                maybe |= 1 << row
        found.setdefault((sure, maybe), sample)
    if not found:  # lists and objects: nothing is known of their values
        return [Region(None, sum(1 << row for row, cell in enumerate(cells) if cell is True), (1 << len(cells)) - 1)]
    return [Region(sample, *masks) for masks, sample in found.items()]


def _samples(
    constants: Collection[Literals],
    expected: ValueType,
    *,
    is_integer: bool,
    is_nullable: bool,
    low: Decimal | None,
    high: Decimal | None,
) -> Iterable[Any]:
    if is_nullable or None in constants:
        yield None
    if expected.allowed is not None:
        yield from expected.allowed
        return
    kinds = expected.kinds or frozenset(map(_kind, constants)) or frozenset({"text"})
    if "boolean" in kinds:
        yield from (True, False)
    if "text" in kinds:
        texts = [value for value in constants if isinstance(value, str)]
        yield from texts
        yield next(text for text in ("other", *(f"other {n}" for n in range(len(texts) + 1))) if text not in texts)
    if "number" in kinds:
        numbers = [value for value in constants if isinstance(value, Decimal)]
        for number in _numbers(sorted(numbers), is_integer=is_integer):
            if (low is None or number >= low) and (high is None or number <= high):
                yield number
        yield from (limit for limit in (low, high) if limit is not None)


def _kind(value: Literals) -> str:
    return "boolean" if isinstance(value, bool) else "number" if isinstance(value, Decimal) else "text"


def _numbers(limits: Sequence[Decimal], *, is_integer: bool) -> Iterable[Decimal]:
    """Every limit, a number between each two, and one beyond either end."""
    if not limits:
        yield Decimal(0)
        return
    yield (limits[0] - 1).to_integral_value(ROUND_FLOOR)
    for limit, following in zip(limits, [*limits[1:], None], strict=True):
        if not is_integer or limit == limit.to_integral_value():
            yield limit
        if following is None:
            yield limit.to_integral_value(ROUND_FLOOR) + 1
            continue
        between = limit.to_integral_value(ROUND_FLOOR) + 1
        if between < following:
            yield between
        elif not is_integer:
            yield (limit + following) / 2


def _matches(alternatives: Alternatives, value: Any) -> bool:
    return any(all(holds(test, value) for test in tests) for tests in alternatives)


def holds(test: Test, value: Any) -> bool:
    """Whether ``value`` passes; as the engine has it, other kinds are never equal and an empty value passes nothing."""
    wanted = test.value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = Decimal(str(value))
    is_alike = type(value) is type(wanted)
    if test.operator == "==":
        return bool(is_alike and value == wanted)
    if test.operator == "!=":
        return not is_alike or bool(value != wanted)
    if not is_alike or not isinstance(value, Decimal) or not isinstance(wanted, Decimal):
        return False
    return {
        ">": value > wanted,
        ">=": value >= wanted,
        "<": value < wanted,
        "<=": value <= wanted,
    }[test.operator]
