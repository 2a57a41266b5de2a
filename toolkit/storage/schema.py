"""The toolkit's tables, made from checked-in SQL: a first run in a new process needs neither ORM nor Alembic to begin.

``scripts/schema.py`` writes the SQL from the tables that the rooms declare. A new database is made from it and stamped
as what Alembic would have made of it, revision by revision (:mod:`toolkit.storage.migrations`); tests hold the three
together.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from toolkit.errors import SchemaOutdated
from toolkit.storage.connections import Connection
from toolkit.storage.statements import Query, Script, Statement

if TYPE_CHECKING:
    from toolkit.storage.database import Dialect

# The last revision in `migrations/versions`; until there is a second one, the first is the checked-in schema itself.
HEAD = "0001"

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
    "read schema", sqlite="SELECT version_num FROM toolkit_schema", postgresql="SELECT version_num FROM toolkit_schema"
)
# As Alembic would make the table in which it keeps the revision.
_CREATE = (
    "CREATE TABLE toolkit_schema "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT toolkit_schema_pkc PRIMARY KEY (version_num))"
)
_STAMP = f"INSERT INTO toolkit_schema (version_num) VALUES ('{HEAD}')"  # noqa: S608 - a name of our own


def statements_of(dialect: Dialect) -> list[str]:
    """The statements of the checked-in schema, in order."""
    text = files("toolkit.storage").joinpath("schema_sql", f"{dialect}.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";\n") if statement.strip()]


async def create(connection: Connection, dialect: Dialect) -> None:
    """Make the tables if there are none. Any number of processes may try at once; one does it.

    Raises:
        SchemaOutdated: the tables are of another revision than this toolkit needs.
    """
    if dialect == "sqlite" and await _found(connection) == HEAD:
        return  # the usual case needs no write lock
    found = await connection.run(_create(dialect))
    if found != HEAD:
        raise SchemaOutdated(found=found, needed=HEAD)


async def _found(connection: Connection) -> str | None:
    if not await connection.read(Query(_EXISTS)):
        return None
    rows = await connection.read(Query(_READ))
    return str(rows[0][0]) if rows else None


def _create(dialect: Dialect) -> Script[str]:
    yield Query(_LOCK)
    if (yield Query(_EXISTS)):
        rows = yield Query(_READ)
        return str(rows[0][0]) if rows else "none"
    for text in [_CREATE, *statements_of(dialect), _STAMP]:
        yield Query(Statement("create", sqlite=text, postgresql=text))
    return HEAD
