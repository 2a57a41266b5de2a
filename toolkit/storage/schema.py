"""The toolkit's tables, made from checked-in SQL: a first run in a new process needs no ORM to begin.

``scripts/schema.py`` writes the SQL from the tables that the rooms declare, and a test holds the two together.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from toolkit.errors import StorageError
from toolkit.storage.connections import Connection
from toolkit.storage.statements import Query, Script, Statement

if TYPE_CHECKING:
    from toolkit.storage.database import Dialect

# Raised with every change of the checked-in schema.
VERSION = 1

_LOCK = Statement("lock schema", sqlite="SELECT 1", postgresql="SELECT pg_advisory_xact_lock(7310574010)::text")
_EXISTS = Statement(
    "find schema",
    sqlite="SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'toolkit_schema'",
    postgresql=(
        "SELECT table_name::text FROM information_schema.tables "
        "WHERE table_schema = current_schema() AND table_name = 'toolkit_schema'"
    ),
)
_READ = Statement(
    "read schema", sqlite="SELECT version FROM toolkit_schema", postgresql="SELECT version FROM toolkit_schema"
)
_CREATE = "CREATE TABLE toolkit_schema (version INTEGER NOT NULL PRIMARY KEY)"
_STAMP = f"INSERT INTO toolkit_schema (version) VALUES ({VERSION})"  # noqa: S608 - a number of our own


def statements_of(dialect: Dialect) -> list[str]:
    """The statements of the checked-in schema, in order."""
    text = files("toolkit.storage").joinpath("schema_sql", f"{dialect}.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";\n") if statement.strip()]


async def create(connection: Connection, dialect: Dialect) -> None:
    """Make the tables if there are none. Any number of processes may try at once; one does it.

    Raises:
        StorageError: the tables are of another version of the toolkit.
    """
    if dialect == "sqlite" and await _found(connection) == VERSION:
        return  # the usual case needs no write lock
    found = await connection.run(_create(dialect))
    if found != VERSION:
        raise StorageError(
            f"the database holds the toolkit's tables in version {found}, this toolkit needs version {VERSION}; "
            "use the toolkit that made them, or another database"
        )


async def _found(connection: Connection) -> int | None:
    if not await connection.read(Query(_EXISTS)):
        return None
    ((version,),) = await connection.read(Query(_READ))
    return int(version)


def _create(dialect: Dialect) -> Script[int]:
    yield Query(_LOCK)
    if (yield Query(_EXISTS)):
        ((version,),) = yield Query(_READ)
        return int(version)
    for text in [_CREATE, *statements_of(dialect), _STAMP]:
        yield Query(Statement("create", sqlite=text, postgresql=text))
    return VERSION
