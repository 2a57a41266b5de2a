"""Statements in both dialects, and transactions as scripts that know neither.

A *script* is a generator: it yields a :class:`Query` or :class:`Rows` and is sent the rows that come back. It runs
unchanged on a thread with ``sqlite3``, on ``asyncpg`` and inline under simulation: the drivers differ, the logic
does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
_MARK = re.compile(r"\$(\d+)")

# How many rows SQLite gets in one statement. Beginning and ending a statement costs more than a row does: 5.3 instead
# of 8.2 microseconds for a checkpoint, 10 instead of 23 for the state of a run; beyond 25 rows nothing is gained.
ROWS_AT_ONCE = 25

# The type of a column that holds business data as text: an installation's codec encodes it.
PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement under one name, as each dialect wants it.

    Parameters are positional: ``?1`` on SQLite, ``$1`` on PostgreSQL. A list is a JSON array on SQLite (read it with
    ``json_each``) and an array on PostgreSQL. ``sqlite_many`` does the same for :data:`ROWS_AT_ONCE` rows, whose values
    follow one another; ``postgresql_lone`` for a single row, whose values come as they are: sixteen arrays of one value
    take a driver and a server a tenth of a millisecond longer. ``payloads`` are the parameters, counted from 0 and
    named, that an installation's codec encodes; what comes back encoded is known by its mark.
    """

    name: str
    sqlite: str
    postgresql: str
    sqlite_many: str | None = None
    postgresql_lone: str | None = None
    payloads: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class Query:
    """Execute ``statement`` once; the reply is its rows. One that ``is_alone`` is in no transaction, as with rows."""

    statement: Statement
    parameters: Sequence[Any] = ()
    is_alone: bool = False


@dataclass(slots=True)
class Rows:
    """Execute ``statement`` for every row of ``rows``; the reply is the returned rows, if it returns any.

    SQLite executes it a few rows at a time. PostgreSQL gets one array a column and takes them apart with ``unnest``.
    One that ``is_alone`` is a transaction of its own, before the one of whatever the script asks for next: to a server
    that is one journey where begin, lock, write and commit are four.
    """

    statement: Statement
    rows: Sequence[Sequence[Any]]
    is_alone: bool = False


@dataclass(slots=True)
class Together:
    """Execute requests that return nothing and of which none touches a row that another one does.

    PostgreSQL gets them as one statement, so as one journey, and keeps to no order.
    """

    requests: Sequence[Rows]


Request = Query | Rows | Together
Script = Generator[Request, list[Row], T]


def both(name: str, sql: str, *, payloads: tuple[tuple[int, str], ...] = ()) -> Statement:
    """A statement whose text differs only in its parameter marks; write them as ``$1``."""
    return Statement(name, sqlite=sql.replace("$", "?"), postgresql=sql, payloads=payloads)


@cache
def in_one(texts: tuple[str, ...]) -> str:
    """PostgreSQL's text that executes those of several statements, whose parameters follow one another."""
    moved, count = [], 0
    for text in texts:
        moved.append(_MARK.sub(partial(_later_mark, by=count), text))
        count += max(int(number) for number in _MARK.findall(text))
    *first, last = moved
    parts = ", ".join(f"part_{at} AS ({text})" for at, text in enumerate(first))
    return f"WITH {parts} {last}"


def _later_mark(mark: re.Match[str], *, by: int) -> str:
    return f"${int(mark[1]) + by}"


def for_rows(
    name: str,
    columns: Mapping[str, str],
    *,
    sqlite: str,
    postgresql: str,
    sqlite_many: str | None = None,
    postgresql_lone: str | None = None,
) -> Statement:
    """A statement for :class:`Rows` of ``columns``, given with their PostgreSQL types, or as :data:`PAYLOAD`.

    PostgreSQL's text reads ``ROWS AS v``, which have the names of the columns; a text of its own for a lone row has its
    values as ``VALUES_OF_V``.
    """
    names = ", ".join(columns)
    types = ["text" if kind == PAYLOAD else kind for kind in columns.values()]
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(types, 1))
    values = ", ".join(f"${at}::{kind}" for at, kind in enumerate(types, 1))
    text = postgresql.replace("ROWS AS v", f"ROWS AS v({names})")
    return Statement(
        name,
        sqlite=sqlite,
        sqlite_many=sqlite_many,
        postgresql=text.replace("ROWS", f"unnest({arrays})"),
        postgresql_lone=(postgresql_lone or text.replace("ROWS", "(VALUES (VALUES_OF_V))")).replace(
            "VALUES_OF_V", values
        ),
        payloads=tuple((at, name) for at, (name, kind) in enumerate(columns.items()) if kind == PAYLOAD),
    )


def insert(table: str, columns: Mapping[str, str], *, on_conflict: str = "") -> Statement:
    """Insert many rows into ``table``; ``columns`` maps each column, in order, to its PostgreSQL type."""
    names = ", ".join(columns)
    one, many = (f"INSERT INTO {table} ({names}) VALUES {_marks(columns, n)} {on_conflict}" for n in (1, ROWS_AT_ONCE))  # noqa: S608 - names are our own
    return for_rows(
        f"insert {table}",
        columns,
        sqlite=one,
        sqlite_many=many,
        postgresql=f"INSERT INTO {table} ({names}) SELECT * FROM ROWS AS v {on_conflict}",  # noqa: S608
    )


def update(
    table: str, columns: Mapping[str, str], *, assign: str, where: str, returning: str = "", name: str = ""
) -> Statement:
    """Update many rows of ``table`` from rows of values.

    ``columns`` names the values of a row and their PostgreSQL types; ``assign`` and ``where`` refer to a value as
    ``v.name`` and to the table as ``t``.
    """
    positions = {column: at for at, column in enumerate(columns, 1)}
    tail = f" RETURNING {returning}" if returning else ""
    bare = tail.replace("t.", "")  # SQLite returns columns of the table alone and takes no alias for it there

    def bound(text: str) -> str:
        return re.sub(r"\bv\.(\w+)", lambda found: f"?{positions[found[1]]}", text)

    values = ", ".join(f"column{at} AS {column}" for column, at in positions.items())
    rows = f"(SELECT {values} FROM (VALUES {_marks(columns, ROWS_AT_ONCE)}))"  # noqa: S608
    return for_rows(
        name or f"update {table}",
        columns,
        sqlite=f"UPDATE {table} AS t SET {bound(assign)} WHERE {bound(where)}{bare}",  # noqa: S608
        sqlite_many=f"UPDATE {table} AS t SET {assign} FROM {rows} AS v WHERE {where}{bare}",  # noqa: S608
        postgresql=f"UPDATE {table} AS t SET {assign} FROM ROWS AS v WHERE {where}{tail}",  # noqa: S608
    )


def _marks(columns: Mapping[str, str], rows: int) -> str:
    """Parameter marks for the values of ``rows`` rows."""
    row = f"({', '.join('?' * len(columns))})"
    return ", ".join([row] * rows)


_PLAIN = frozenset({str, int, float, bytes, bool, type(None)})


def adapt(values: Sequence[Any]) -> list[Any]:
    """Parameters as SQLite takes them: moments as text, lists as JSON."""
    return [value if type(value) in _PLAIN else _adapted(value) for value in values]


def _adapted(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, str):
        return str(value)  # an enum's: sqlite3 looks for adapters of any class that is not quite ``str``, each time
    return json.dumps(value) if isinstance(value, list | tuple) else value


def moment_text(moment: datetime) -> str:
    """A moment as SQLite keeps it: ISO text of one width, in UTC, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    # What isoformat(timespec="microseconds") gives, in half its time: two of these are in every checkpoint.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00" % (  # noqa: UP031 - an f-string takes three times as long
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
    )


def read_moment(value: Any) -> datetime | None:
    """The aware moment in a row of either dialect, or ``None``."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)
