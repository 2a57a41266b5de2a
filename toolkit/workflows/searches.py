"""Finding runs: which ones are meant, as conditions on the run's row and on its attributes; never on a payload."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from toolkit.errors import InvalidInput
from toolkit.ids import uuid7
from toolkit.serialization import check_keys
from toolkit.workflows.attributes import LONGEST_TEXT, moment_position, moment_value, number_text, tag_name
from toolkit.workflows.states import RunState

_CONDITION = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,99})\s*(>=|<=|>|<|=)\s*(.*)", re.DOTALL)
# Ids are made by the processes that start runs; their clocks may differ from the database's, but not by this much.
_CLOCK_SLACK = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FEW = 100  # more values than this are one parameter: PostgreSQL takes 32,767 of them


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are meant: those for which all of it is so. An empty one means all runs.

    ``attributes`` are conditions such as ``customer=ACME``, ``total>=1000`` or ``due<2026-01-31T00:00:00Z``; a range
    compares numbers (as doubles) or moments. ``error`` is a text in the error's type or first line, in any case.
    Moments are aware; ``*_from`` includes the moment, ``*_until`` does not.
    """

    workflows: Sequence[str] = ()
    states: Sequence[RunState] = ()
    created_from: datetime | None = None
    created_until: datetime | None = None
    finished_from: datetime | None = None
    finished_until: datetime | None = None
    tags: Sequence[str] = ()
    attributes: Sequence[str] = ()
    error: str | None = None
    is_paused: bool | None = None
    started_by: str | None = None
    parent_id: str | None = None
    forked_from: str | None = None
    ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """A WHERE clause of both dialects, and its parameters; it goes on with ``$n`` after the last of them."""

    sqlite: str
    postgresql: str
    values: Sequence[Any]


def conditions_of(where: RunFilter, *, after: str | None = None, but_not: Sequence[str] = ()) -> Conditions:
    """The clause for ``where``, for the rows of ``toolkit_run``, below the id ``after``.

    ``but_not`` are workflows that are never meant.

    Raises:
        InvalidInput: a condition on an attribute cannot be read, a moment is naive or outside the years 1 to 9999 in
            UTC, or a text holds characters that no database keeps.
    """
    _check_texts(where, after=after)
    clause = _Clause()
    clause.among("workflow", where.workflows)
    clause.among("state", [RunState(state).value for state in where.states])
    clause.among("id", where.ids)
    for workflow in but_not:
        clause.add("workflow <> {}", workflow)
    for column in ("created", "finished"):
        clause.between(f"{column}_at", getattr(where, f"{column}_from"), getattr(where, f"{column}_until"))
    # Ids are in the order of time: a range of creation is a range of the primary key.
    for comparison, moment, slack in (
        (">=", where.created_from, -_CLOCK_SLACK),
        ("<", where.created_until, _CLOCK_SLACK),
    ):
        bound = _id_at(moment, slack)
        if bound is not None:
            clause.add(f"id {comparison} {{}}", bound)
    for column in ("started_by", "parent_id", "forked_from"):
        if getattr(where, column) is not None:
            clause.add(f"{column} = {{}}", getattr(where, column))
    if where.is_paused is not None:
        clause.add(f"paused_at IS {'NOT ' if where.is_paused else ''}NULL")
    if where.error is not None:
        clause.add("error_summary IS NOT NULL")  # lets the partial index be used
        clause.containing("error_summary", where.error)
    for tag in where.tags:
        clause.having("a.name = {}", tag_name(tag))
    for condition in where.attributes:
        clause.having(*_attribute(condition))
    if after is not None:
        clause.add("id < {}", after)
    return clause.conditions


class _Clause:
    """Collects conditions; ``{}`` in a text stands for the next parameter."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, str]] = []
        self._values: list[Any] = []

    @property
    def conditions(self) -> Conditions:
        if not self._texts:
            return Conditions("", "", [])
        sqlite, postgresql = (" AND ".join(texts) for texts in zip(*self._texts, strict=True))
        return Conditions(f"WHERE {sqlite}", f"WHERE {postgresql}", self._values)

    def add(self, text: str, *values: Any) -> None:
        first = len(self._values) + 1
        marks = range(first, first + len(values))
        self._values += values
        self._texts.append((text.format(*(f"?{mark}" for mark in marks)), text.format(*(f"${mark}" for mark in marks))))

    def among(self, column: str, values: Sequence[Any]) -> None:
        if 0 < len(values) <= _FEW:
            self.add(f"{column} IN ({', '.join('{}' for _ in values)})", *values)
        elif values:
            self._values.append(list(values))
            at = len(self._values)
            sqlite = f"{column} IN (SELECT value FROM json_each(?{at}))"  # noqa: S608 - a column of ours
            self._texts.append((sqlite, f"{column} = ANY(${at}::text[])"))

    def between(self, column: str, begin: datetime | None, end: datetime | None) -> None:
        for comparison, moment in ((">=", begin), ("<", end)):
            if moment is not None:
                self.add(f"{column} {comparison} {{}}", _in_utc(column, moment))

    def containing(self, column: str, text: str) -> None:
        pattern = re.sub(r"([\\%_])", r"\\\1", text)
        self._values.append(f"%{pattern}%")
        at = len(self._values)
        # SQLite itself knows the case of ASCII letters only.
        sqlite = f"toolkit_lower({column}) LIKE toolkit_lower(?{at}) ESCAPE '\\'"
        self._texts.append((sqlite, f"{column} ILIKE ${at} ESCAPE '\\'"))

    def having(self, text: str, *values: Any) -> None:
        """The run has an attribute ``a`` for which ``text`` holds: its index is asked first, not every run."""
        self.add(f"id IN (SELECT a.run_id FROM toolkit_attribute AS a WHERE {text})", *values)  # noqa: S608 - our own


def _attribute(condition: str) -> tuple[Any, ...]:
    """The clause of one condition, and its parameters."""
    found = _CONDITION.fullmatch(condition.strip())
    if found is None:
        raise _refusal(condition, "expected a name, one of = >= <= > <, and a value, such as total>=1000")
    name, comparison, value = found.groups()
    number, moment = number_text(value), _moment(value)
    if comparison == "=":
        same: list[tuple[str, str]] = [("text", value)]
        same += [("number", number)] if number is not None else []
        same += [("time", moment_value(moment))] if moment is not None else []
        either = " OR ".join(f"(a.kind = '{kind}' AND a.value = {{}})" for kind, _ in same)
        return f"a.name = {{}} AND ({either})", name, *(text for _, text in same)
    if number is None and moment is None:
        raise _refusal(
            condition,
            f"{comparison} compares numbers of up to {LONGEST_TEXT} digits and aware moments of the years 1 to 9999, "
            f"and {value!r} is neither",
        )
    kind, position = ("number", float(number)) if number is not None else ("time", moment_position(moment))  # type: ignore[arg-type]  # one of the two is there
    return f"a.name = {{}} AND a.kind = '{kind}' AND a.position {comparison} {{}}", name, position


def _moment(value: str) -> datetime | None:
    """An aware moment, or ``None``; one without a time zone is not guessed at."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _in_utc(column: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidInput(
            f"the moment for {column} is naive: {moment!r}; give it a time zone",
            errors=[{"loc": column, "msg": "expected a time zone", "type": "timezone"}],
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(
            f"the moment for {column} is {moment.isoformat()}, which lies outside the years 1 to 9999 in UTC",
            errors=[{"loc": column, "msg": "expected a moment in the years 1 to 9999", "type": "moment"}],
        ) from None


def _id_at(moment: datetime | None, slack: timedelta) -> str | None:
    """The id that a run of that moment, give or take, would have; ``None`` where ids tell nothing."""
    if moment is None:
        return None
    try:
        return uuid7(moment + slack, 0) if moment + slack >= _EPOCH else None
    except OverflowError:
        return None


def _check_texts(where: RunFilter, *, after: str | None) -> None:
    check_keys(after=after)
    for field in fields(where):
        given = getattr(where, field.name)
        for each in [given] if isinstance(given, str) else given if isinstance(given, Sequence) else ():
            check_keys(**{field.name: each})
    if where.error is not None and len(where.error) > LONGEST_TEXT:
        message = f"expected at most {LONGEST_TEXT} characters"
        raise InvalidInput(
            f"the text to look for in errors has {len(where.error)} characters; {message}",
            errors=[{"loc": "error", "msg": message, "type": "string_too_long"}],
        )


def _refusal(condition: str, message: str) -> InvalidInput:
    return InvalidInput(
        f"the condition {condition!r} cannot be used: {message}",
        errors=[{"loc": "attributes", "msg": message, "type": "attribute"}],
    )
