"""Search attributes and tags: small values of the author's by which runs are found again.

A text, a number or a moment under a name, or a tag, which has a name alone. They are given at the start or set by the
run itself, and stand in a table of their own, so that looking for them reads no payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from toolkit.errors import InvalidInput
from toolkit.serialization import storable
from toolkit.storage import for_rows, insert
from toolkit.workflows.marks import find_mark, leave_mark
from toolkit.workflows.operations import AttachedRows
from toolkit.workflows.scopes import require_scope

Attribute: TypeAlias = str | int | float | Decimal | datetime
"""A value that runs are found by."""

AttributeRow: TypeAlias = tuple[str, str, str, float | None]
"""Name, kind, value as text, and its place among others where it has one."""

LONGEST_NAME, LONGEST_TEXT = 100, 500
_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")
_TAG_MARK = "#"  # no attribute begins so
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SET_ATTRIBUTES = insert(
    "toolkit_attribute",
    {"run_id": "text", "name": "text", "kind": "text", "value": "text", "position": "float8"},
    on_conflict=(
        "ON CONFLICT (run_id, name) DO UPDATE SET kind = excluded.kind, value = excluded.value, "
        "position = excluded.position"
    ),
)
INHERIT_ATTRIBUTES = for_rows(
    "inherit attributes",
    {"source": "text", "id": "text"},
    sqlite="""INSERT INTO toolkit_attribute (run_id, name, kind, value, position)
              SELECT ?2, name, kind, value, position FROM toolkit_attribute WHERE run_id = ?1""",
    postgresql="""INSERT INTO toolkit_attribute (run_id, name, kind, value, position)
                  SELECT v.id, a.name, a.kind, a.value, a.position FROM toolkit_attribute AS a
                  JOIN ROWS AS v ON a.run_id = v.source""",
)
_REMOVE_ATTRIBUTES = for_rows(
    "remove attributes",
    {"run_id": "text", "name": "text"},
    sqlite="DELETE FROM toolkit_attribute WHERE run_id = ? AND name = ?",
    postgresql="""DELETE FROM toolkit_attribute AS a USING ROWS AS v
                  WHERE a.run_id = v.run_id AND a.name = v.name""",
)


async def set_attributes(**attributes: Attribute | None) -> None:
    """Set attributes by which this run is found; ``None`` takes one away. It is a step and happens once.

    Names are kept as they are, values as text (up to 500 characters), exact numbers and aware moments.

    Raises:
        InvalidInput: a value is none of these.
        WrongContext: outside a workflow.
    """
    set_now = {name: value for name, value in attributes.items() if value is not None}
    removed = sorted(_checked_name(name) for name in attributes.keys() - set_now.keys())
    await _put_on_record("set_attributes", encode_attributes(set_now), removed=removed)


async def add_tags(*tags: str) -> None:
    """Tag this run; a tag that it has is no second one. It is a step and happens once.

    Raises:
        InvalidInput: a tag is empty or too long.
        WrongContext: outside a workflow.
    """
    await _put_on_record("add_tags", encode_tags(tags))


async def remove_tags(*tags: str) -> None:
    """Take tags from this run. It is a step and happens once.

    Raises:
        WrongContext: outside a workflow.
    """
    await _put_on_record("remove_tags", [], removed=[tag_name(tag) for tag in tags])


async def _put_on_record(verb: str, rows: Sequence[AttributeRow], *, removed: Sequence[str] = ()) -> None:
    scope = require_scope(verb)
    scope.check_session(verb)
    path = scope.next_path(verb)
    if await find_mark(scope, path, name=verb) is not None:
        return
    run_id = scope.execution.run.id
    attached = []
    if rows:
        attached.append(AttachedRows(SET_ATTRIBUTES, [(run_id, *row) for row in rows]))
    if removed:
        attached.append(AttachedRows(_REMOVE_ATTRIBUTES, [(run_id, name) for name in removed]))
    arguments = json.dumps({**{row[0]: row[2] for row in rows}, **dict.fromkeys(removed)})
    await leave_mark(scope, path, name=verb, arguments=arguments, attached=attached)


# How they are kept --------------------------------------------------------------------------------------------------


def check_attributes(attributes: Mapping[str, Attribute]) -> None:
    """Refuse what no run could be found by.

    Raises:
        InvalidInput: a name or a value does not fit.
    """
    encode_attributes(attributes)


def encode_attributes(attributes: Mapping[str, Attribute]) -> list[AttributeRow]:
    """Attributes as rows.

    Raises:
        InvalidInput: a name or a value does not fit.
    """
    return [(_checked_name(name), *_encode(name, value)) for name, value in attributes.items()]


def encode_tags(tags: Iterable[str]) -> list[AttributeRow]:
    """Tags as rows.

    Raises:
        InvalidInput: a tag does not fit.
    """
    return [(tag_name(tag), "tag", "", None) for tag in dict.fromkeys(tags)]


def tag_name(tag: str) -> str:
    """The name under which a tag is kept.

    Raises:
        InvalidInput: it is empty, too long, or holds what no database takes.
    """
    if not isinstance(tag, str) or not tag.strip() or len(tag) > LONGEST_NAME or storable(tag) != tag:
        raise _refusal("tags", f"found the tag {tag!r}; expected 1 to {LONGEST_NAME} characters")
    return _TAG_MARK + tag


def read_attributes(rows: Iterable[AttributeRow]) -> tuple[tuple[str, ...], dict[str, Attribute]]:
    """The tags and the attributes in rows, each in the order of their names."""
    tags: list[str] = []
    attributes: dict[str, Attribute] = {}
    for name, kind, value, _ in sorted(rows):
        match kind:
            case "tag":
                tags.append(name.removeprefix(_TAG_MARK))
            case "number":
                attributes[name] = Decimal(value)
            case "time":
                attributes[name] = datetime.fromisoformat(value)
            case _:
                attributes[name] = value
    return tuple(tags), attributes


def number_text(value: float | Decimal | str) -> str | None:
    """A number as it is kept, so that equal numbers are equal texts; ``None`` if it is none, or too long to be kept."""
    try:
        number = Decimal(str(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    if not number.is_finite() or (number and abs(number.adjusted()) > LONGEST_TEXT):
        return None
    if not number:
        return "0"
    text = format(number, "f")  # every digit; what rounds, such as normalize(), does so to 28
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if len(text) <= LONGEST_TEXT else None


def moment_position(moment: datetime) -> float:
    """A moment among others: microseconds, which a double holds exactly until the year 2255."""
    since = moment - _EPOCH
    return float((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def moment_value(moment: datetime) -> str:
    """An aware moment as it is kept.

    Raises:
        OverflowError: in UTC it lies outside the years 1 to 9999.
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _encode(name: str, value: Any) -> tuple[str, str, float | None]:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT or storable(value) != value:
            raise _refusal(
                name,
                f"found {len(value)} characters; expected at most {LONGEST_TEXT}, without NUL and halves of surrogate "
                "pairs",
            )
        return "text", value, None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _refusal(name, f"found the naive moment {value!r}; give it a time zone")
        try:
            return "time", moment_value(value), moment_position(value)
        except OverflowError:
            raise _refusal(name, f"found {value!r}, which lies outside the years 1 to 9999 in UTC") from None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        text = number_text(value)
        if text is None:
            raise _refusal(name, f"found a number that is not finite, or has more than {LONGEST_TEXT} digits")
        return "number", text, float(text)
    raise _refusal(
        name, f"found {value!r} of type {type(value).__name__}; expected a text, a number or an aware datetime"
    )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise _refusal(
            name[:LONGEST_NAME],
            f"found the name {name[:LONGEST_NAME]!r}; expected a letter, then at most {LONGEST_NAME - 1} letters, "
            "digits, '_', '.' or '-'",
        )
    return name


def _refusal(place: str, message: str) -> InvalidInput:
    return InvalidInput(
        f"search attribute {place!r}: {message}", errors=[{"loc": place, "msg": message, "type": "attribute"}]
    )
