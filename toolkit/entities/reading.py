"""Sessions that only read: for reports and look-ups that must not change anything by accident."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from sqlalchemy import Connection, event
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.errors import SessionError
from toolkit.storage import Database

_READING = re.compile(r"[\s(]*(SELECT|VALUES|EXPLAIN|SHOW|PRAGMA|SAVEPOINT|RELEASE|ROLLBACK|WITH)\b", re.IGNORECASE)
# ``replace(...)`` is a function.
_WRITING = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE(?=\s+INTO\b)|MERGE)\b(?!\s+OF\b)", re.IGNORECASE)
# With a value a PRAGMA is a setting, whichever way the value is written; these are told what to look at.
_PRAGMA_THAT_READS = re.compile(
    r"\s*PRAGMA\s+(\w+\s*\.\s*)?(\w+|(table_x?info|table_list|index_x?info|index_list|foreign_key_list|"
    r"foreign_key_check|integrity_check|quick_check)\s*\([^)]*\))[\s;]*",
    re.IGNORECASE,
)
# In this order, as a database reads: a quote in a comment begins no text, nor does one in a name.
_NO_CODE = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]""", re.DOTALL
)


@asynccontextmanager
async def read_session(database: Database) -> AsyncIterator[AsyncSession]:
    """A session that refuses to write. It holds nobody up: on SQLite it never waits for the writer.

    Raises:
        SessionError: at the flush of a change, or at a statement that writes.
    """
    async with database.sessions.open() as session:
        event.listen(session.sync_session, "before_flush", _refuse_flush)
        event.listen(session.sync_session, "after_begin", _guard)
        yield session
        if session.new or session.dirty or session.deleted:
            _refuse("there are changes in it")


def _guard(_session: Any, _transaction: Any, connection: Connection) -> None:
    """Guard one transaction; PostgreSQL guards it too, functions that write included."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    event.listen(connection, "before_cursor_execute", _refuse_statement)


def _refuse_flush(*_: Any) -> NoReturn:
    _refuse("there are changes to flush")


def _refuse_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    code = _NO_CODE.sub(" ", statement)
    begins = _READING.match(code)
    if begins is None:
        _refuse(f"the statement begins with {''.join(code.split(maxsplit=1)[:1])[:20]!r}")
    verb = begins[1].upper()
    if verb == "WITH" and (writes := _WRITING.search(code)):
        _refuse(f"the statement has {writes[0]!r} in it")
    if verb == "PRAGMA" and not _PRAGMA_THAT_READS.fullmatch(code):
        _refuse("the PRAGMA sets something")


def _refuse(found: str) -> NoReturn:
    raise SessionError(f"this session only reads, and {found}; to write, use a session without is_read_only")
