"""Statements in both dialects, and transactions as scripts that know neither.

A *script* is a generator: it yields a :class:`Query` or :class:`Rows` and is sent the rows that come back. It runs
unchanged on a thread with ``sqlite3``, on ``asyncpg`` and inline under simulation: the drivers differ, the logic
does not.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement under one name, as each dialect wants it.

    Parameters are positional: ``?1`` on SQLite, ``$1`` on PostgreSQL. A list is a JSON array on SQLite (read it with
    ``json_each``) and an array on PostgreSQL.
    """

    name: str
    sqlite: str
    postgresql: str


@dataclass(frozen=True, slots=True)
class Query:
    """Execute ``statement`` once; the reply is its rows."""

    statement: Statement
    parameters: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """Execute ``statement`` for every row of ``rows``; the reply is the returned rows, if it returns any.

    SQLite executes it row by row. PostgreSQL gets one array a column and takes them apart with ``unnest``.
    """

    statement: Statement
    rows: Sequence[Sequence[Any]]
    is_returning: bool = False


Request = Query | Rows
Script = Generator[Request, list[Row], T]


def both(name: str, sql: str) -> Statement:
    """A statement whose text differs only in its parameter marks; write them as ``$1``."""
    return Statement(name, sqlite=sql.replace("$", "?"), postgresql=sql)


def insert(table: str, columns: Mapping[str, str], *, on_conflict: str = "") -> Statement:
    """Insert many rows into ``table``; ``columns`` maps each column, in order, to its PostgreSQL type."""
    names = ", ".join(columns)
    marks = ", ".join("?" for _ in columns)
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(columns.values(), 1))
    return Statement(
        f"insert {table}",
        sqlite=f"INSERT INTO {table} ({names}) VALUES ({marks}) {on_conflict}",  # noqa: S608 - names are our own
        postgresql=f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) {on_conflict}",  # noqa: S608
    )


def update(
    table: str, columns: Mapping[str, str], *, assign: str, where: str, returning: str = "", name: str = ""
) -> Statement:
    """Update many rows of ``table`` from rows of values.

    ``columns`` names the values of a row and their PostgreSQL types; ``assign`` and ``where`` refer to a value as
    ``v.name`` and to the table as ``t``. SQLite gets the values of one row bound by name position.
    """
    names = ", ".join(columns)
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(columns.values(), 1))
    bound = ", ".join(f"?{at} AS {column}" for at, column in enumerate(columns, 1))
    tail = f" RETURNING {returning}" if returning else ""
    bare = tail.replace("t.", "")  # SQLite returns columns of the table alone and takes no alias for it there
    return Statement(
        name or f"update {table}",
        sqlite=f"UPDATE {table} AS t SET {assign} FROM (SELECT {bound}) AS v WHERE {where}{bare}",  # noqa: S608
        postgresql=f"UPDATE {table} AS t SET {assign} FROM unnest({arrays}) AS v({names}) WHERE {where}{tail}",  # noqa: S608
    )


_PLAIN = frozenset({str, int, float, bytes, bool, type(None)})


def adapt(values: Sequence[Any]) -> list[Any]:
    """Parameters as SQLite takes them: moments as text, lists as JSON."""
    return [value if type(value) in _PLAIN else _adapted(value) for value in values]


def _adapted(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment_text(value)
    return json.dumps(value) if isinstance(value, list | tuple) else value


def moment_text(moment: datetime) -> str:
    """A moment as SQLite keeps it: ISO text of one width, in UTC, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def read_moment(value: Any) -> datetime | None:
    """The aware moment in a row of either dialect, or ``None``."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)
