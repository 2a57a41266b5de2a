"""Lists of entities: filters by field and operator, an order, and a cursor that stays right while rows come and go.

Names are looked up among the fields, values are bound: nothing of a caller becomes SQL.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from sqlalchemy import BigInteger, ColumnElement, Float, Integer, SmallInteger, and_, cast, false, func, or_, select
from sqlalchemy.orm import aliased
from sqlalchemy.types import DateTime
from sqlmodel.sql import sqltypes

from toolkit.entities.columns import ExactDecimal
from toolkit.entities.descriptions import EntityDescription, EntityField
from toolkit.errors import InvalidInput
from toolkit.storage import UtcDateTime

Dialect = str
Condition = ColumnElement[bool]

_ORDERED: Final = (int, float, Decimal, datetime, date, time, str)
_LONGEST_LIST: Final = 200
# Below what the databases take: SQLite has a limit of 1000 to the depth of a condition, and one of 50,000 bytes to the
# pattern of a LIKE, in which every character may be escaped.
_MOST_FILTERS: Final = 50
_LONGEST_VALUE: Final = 2000
# So a cursor stays shorter than any address may be, however long the texts are.
_MOST_SORTED: Final = 10
_LONGEST_IN_CURSOR: Final = 100

# A plain ``datetime`` is a column of SQLModel's own type, in those of its releases that have one.
_KEEPS_MOMENTS: Final = (UtcDateTime, getattr(sqltypes, "UTCDateTime", UtcDateTime))

_COMPARE: Final[dict[str, Callable[[Any, Any], Condition]]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column != value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "contains": lambda column, value: column.icontains(value, autoescape=True),
    "starts_with": lambda column, value: column.istartswith(value, autoescape=True),
}


def operators_of(field: EntityField) -> list[str]:
    """How a list may be filtered by ``field``; none for values that have no order and no equality of their own."""
    kind = field.value_type
    if not isinstance(kind, type):
        return []
    nulls = ["is_null"] if field.is_nullable else []
    if issubclass(kind, bool | Enum | UUID):
        return ["eq", "ne", "in", *nulls]
    if issubclass(kind, str):
        return ["eq", "ne", "in", "gt", "ge", "lt", "le", "contains", "starts_with", *nulls]
    if issubclass(kind, _ORDERED):
        return ["eq", "ne", "in", "gt", "ge", "lt", "le", *nulls]
    return []


def is_sortable(field: EntityField) -> bool:
    return "lt" in operators_of(field)


def read_filters(
    description: EntityDescription, asked: Iterable[tuple[str, str]], *, dialect: Dialect
) -> list[Condition]:
    """Conditions from ``field=value`` and ``field.operator=value``, such as ``total.gt=100``.

    Raises:
        InvalidInput: with one entry a filter: an unknown field or operator, or a value that does not fit; or there are
            too many of them.
    """
    conditions, errors = [], []
    pairs = list(asked)
    if len(pairs) > _MOST_FILTERS:
        message = f"found {len(pairs)} filters, expected at most {_MOST_FILTERS}; `in` takes {_LONGEST_LIST} values"
        raise InvalidInput(message, errors=[{"loc": "query", "msg": message, "type": "filter"}])
    for name, text in pairs:
        try:
            conditions.append(_condition(description, name, text, dialect=dialect))
        except ValueError as error:
            errors.append({"loc": f"query.{name}", "msg": str(error), "type": "filter"})
    if errors:
        raise InvalidInput(f"{len(errors)} filter(s) do not fit: {errors[0]['msg']}", errors=errors)
    return conditions


def _condition(description: EntityDescription, name: str, text: str, *, dialect: Dialect) -> Condition:
    field_name, _, operator = name.partition(".")
    operator = operator or "eq"
    field = description.fields.get(field_name)
    if field is None:
        raise ValueError(f"{description.name} has no field {field_name!r}; known: {', '.join(description.fields)}")
    known = operators_of(field)
    if operator not in known:
        raise ValueError(
            f"{field_name!r} cannot be filtered by {operator!r}; "
            + (f"known: {', '.join(known)}" if known else "by nothing")
        )
    column = attribute(description, field)
    if operator == "is_null":
        if text not in {"true", "false"}:
            raise ValueError(f"expected true or false, found {text[:40]!r}")
        empty: Condition = column.is_(None) if text == "true" else column.is_not(None)
        return empty
    if operator == "in":
        parts = text.split(",")
        if len(parts) > _LONGEST_LIST:
            raise ValueError(f"expected at most {_LONGEST_LIST} values, found {len(parts)}")
        values = [_value(field, part) for part in parts]
        return or_(false(), *[_compare("eq", column, field, value, dialect) for value in values])
    return _compare(operator, column, field, _value(field, text), dialect)


def _compare(operator: str, column: Any, field: EntityField, value: Any, dialect: Dialect) -> Condition:
    is_exact = operator in {"eq", "ne"} and isinstance(field.column.type, ExactDecimal)  # equal to the last digit
    if is_exact or operator in {"contains", "starts_with"}:
        return _COMPARE[operator](column, value)
    return _COMPARE[operator](*comparable(column, field, value, dialect))


def comparable(column: Any, field: EntityField, value: Any, dialect: Dialect) -> tuple[Any, Any]:
    """``column`` and ``value`` such that the database orders them by size.

    SQLite keeps exact decimals as text, which sorts 99 above 100: there they are compared as numbers.
    """
    if dialect == "sqlite" and isinstance(field.value_type, type) and issubclass(field.value_type, Decimal):
        return cast(column, Float), None if value is None else float(value)
    return column, value


def attribute(description: EntityDescription, field: EntityField) -> Any:
    return getattr(description.entity, field.name)


def _value(field: EntityField, text: str) -> Any:
    if len(text) > _LONGEST_VALUE:
        raise ValueError(f"expected a value of at most {_LONGEST_VALUE} characters, found {len(text)}")
    try:
        value = field.adapter.validate_strings(text)
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['msg']}, found {text[:40]!r}") from error
    return fit(field, value)


def fit(field: EntityField, value: Any) -> Any:
    """``value`` as the column takes it in both dialects.

    Raises:
        ValueError: the column cannot hold it, whatever its type says.
    """
    kind = field.column.type
    if isinstance(value, str):
        if "\x00" in value or (not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value)):
            raise ValueError("the text holds a character that no database keeps")
    elif isinstance(value, int) and not isinstance(value, bool) and isinstance(kind, Integer):
        bits = 64 if isinstance(kind, BigInteger) else 16 if isinstance(kind, SmallInteger) else 32
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError(f"the number does not fit {bits} bits")
    elif isinstance(value, float | Decimal) and not Decimal(value).is_finite():
        raise ValueError("expected a finite number")
    elif isinstance(value, Decimal) and abs(value.adjusted()) > 40:
        raise ValueError("the number has too many digits")
    elif isinstance(value, Decimal) and isinstance(kind, ExactDecimal):
        kind.process_bind_param(value, _ANY_DIALECT)
    elif isinstance(value, datetime) and isinstance(kind, _KEEPS_MOMENTS):
        if value.tzinfo is None:
            raise ValueError("expected a moment with its offset, such as 2026-01-31T12:00:00Z")
        return _in_utc(value)
    elif isinstance(value, datetime) and isinstance(kind, DateTime) and value.tzinfo:
        moment = _in_utc(value)  # SQLite forgets the offset, so there is only one
        return moment if kind.timezone else moment.replace(tzinfo=None)
    elif isinstance(value, time) and value.tzinfo is not None:
        # SQLite forgets it, and without a day it says nothing of when that is in UTC.
        raise ValueError("expected a time of day without an offset, such as 10:00:00")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the moment lies outside of the years 1 to 9999 in UTC") from error


class _AnyDialect:
    name = "any"


_ANY_DIALECT: Any = _AnyDialect()


@dataclass(frozen=True)
class Order:
    """One field that a list is sorted by."""

    field: EntityField
    is_descending: bool


def read_order(description: EntityDescription, asked: str | None) -> list[Order]:
    """``"-total,number"`` as an order that ends with the key, so that no two rows share a place; newest first if empty.

    Raises:
        InvalidInput: a field is unknown or has no order, or there are too many of them.
    """
    orders: list[Order] = []
    parts = (asked or f"-{description.key.name}").split(",")
    if len(parts) > _MOST_SORTED:
        message = f"cannot sort by {len(parts)} fields, expected at most {_MOST_SORTED}"
        raise InvalidInput(message, errors=[{"loc": "query.sort", "msg": message, "type": "sort"}])
    for part in parts:
        name = part.strip().removeprefix("-")
        field = description.fields.get(name)
        is_key = field is description.key
        if field is None or not (is_sortable(field) or is_key) or any(order.field is field for order in orders):
            known = ", ".join(each.name for each in description.fields.values() if is_sortable(each))
            message = (
                f"cannot sort by {name[:40]!r}; expected some of {known}, each once, a minus before it to reverse it"
            )
            raise InvalidInput(message, errors=[{"loc": "query.sort", "msg": message, "type": "sort"}])
        orders.append(Order(field, part.strip().startswith("-")))
        if is_key:
            return orders
    return [*orders, Order(description.key, orders[-1].is_descending)]


def sorting(description: EntityDescription, orders: Sequence[Order], *, dialect: Dialect) -> list[Any]:
    """The ORDER BY of ``orders``; rows without a value come last either way."""
    parts: list[Any] = []
    for order in orders:
        column = attribute(description, order.field)
        if order.field.is_nullable:
            parts.append(column.is_(None))
        expression, _ = comparable(column, order.field, None, dialect)
        parts.append(expression.desc() if order.is_descending else expression.asc())
    return parts


def cursor_after(description: EntityDescription, orders: Sequence[Order], row: Any) -> str:
    """Where a list goes on after ``row``; short enough for an address, whatever the row says."""
    *values, key = [to_jsonable_python(getattr(row, order.field.name)) for order in orders]
    kept = [*(_LongText.of(value).pair if _is_long(value) else value for value in values), key]
    text = json.dumps([_signature(orders), kept], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@dataclass(frozen=True)
class _LongText:
    """A text that a cursor has only the beginning of; the row that it stands at has the rest."""

    first: str
    length: int

    @classmethod
    def of(cls, text: str) -> _LongText:
        return cls(text[:_LONGEST_IN_CURSOR], len(text))

    @property
    def pair(self) -> list[Any]:
        return [self.first, self.length]

    def whole(self, description: EntityDescription, field: EntityField, key: Any) -> Any:
        """The text, as the database has it; NULL if the row is gone or says something else by now."""
        row = aliased(description.entity)
        text = getattr(row, field.name)
        unchanged = (func.substr(text, 1, _LONGEST_IN_CURSOR) == self.first, func.length(text) == self.length)
        return select(text).where(getattr(row, description.key.name) == key, *unchanged).scalar_subquery()

    def may_be_beyond(self, column: Any, whole: Any, *, is_descending: bool) -> Condition:
        """With the whole text lost, what begins alike is shown again: better twice than never."""
        beginning = func.substr(column, 1, _LONGEST_IN_CURSOR)
        reached: Condition = beginning <= self.first if is_descending else beginning >= self.first
        return and_(whole.is_(None), reached)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > _LONGEST_IN_CURSOR


def beyond(description: EntityDescription, orders: Sequence[Order], cursor: str, *, dialect: Dialect) -> Condition:
    """The condition that a row comes after ``cursor`` in the order.

    Raises:
        InvalidInput: the cursor is not one of this list in this order.
    """
    values = _read_cursor(orders, cursor)
    alternatives: list[Condition] = []
    same: list[Condition] = []
    for order, value in zip(orders, values, strict=True):
        column = attribute(description, order.field)
        expression, bound = comparable(column, order.field, value, dialect)
        if isinstance(value, _LongText):
            expression, bound = column, value.whole(description, order.field, values[-1])
        if value is None:
            further: Condition = false()
            same_here: Condition = column.is_(None)
        else:
            further = expression < bound if order.is_descending else expression > bound
            if isinstance(value, _LongText):
                further = or_(further, value.may_be_beyond(column, bound, is_descending=order.is_descending))
            further = or_(further, column.is_(None)) if order.field.is_nullable else further
            same_here = expression == bound
        alternatives.append(and_(*same, further))
        same.append(same_here)
    return or_(*alternatives)


def _read_cursor(orders: Sequence[Order], cursor: str) -> list[Any]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, values = json.loads(text)
        if signature == _signature(orders):
            return [_cursor_value(order.field, value) for order, value in zip(orders, values, strict=True)]
        cause: Exception | None = None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        cause = error
    message = "the cursor is not the `next` of a page of this list in this order"
    raise InvalidInput(message, errors=[{"loc": "query.after", "msg": message, "type": "cursor"}]) from cause


def _cursor_value(field: EntityField, value: Any) -> Any:
    if value is None and field.is_nullable:
        return None
    if isinstance(value, list):
        return _LongText(fit(field, _text.validate_python(value[0])), _length.validate_python(value[1]))
    return fit(field, field.adapter.validate_json(json.dumps(value)))


_text = TypeAdapter(Annotated[str, Field(strict=True, max_length=_LONGEST_IN_CURSOR)])
_length = TypeAdapter(Annotated[int, Field(strict=True, gt=_LONGEST_IN_CURSOR, lt=2**31)])


def _signature(orders: Sequence[Order]) -> str:
    return ",".join(("-" if order.is_descending else "") + order.field.name for order in orders)


def documented_filters(description: EntityDescription) -> Mapping[str, EntityField]:
    """Every filter of a list by its name in an address, such as ``total.gt``."""
    return {
        field.name if operator == "eq" else f"{field.name}.{operator}": field
        for field in description.fields.values()
        for operator in operators_of(field)
    }
