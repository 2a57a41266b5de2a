"""The tables at start: ours as the code needs them, and those of an author's entities, by migrations or made anew.

An application without migrations gets the tables that are missing, and a table that exists is never changed. One with
migrations gets them at the start in ``dev``; otherwise it starts only when ``toolkit db upgrade`` has been run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConfigurationError, SchemaOutdated

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

    from toolkit.app.definitions import Definitions
    from toolkit.config import Settings
    from toolkit.storage import Database, migrations


async def open_database(database: Database, *, upgrades: bool) -> None:
    """Open ``database``; one that an older toolkit made is migrated if it ``upgrades``.

    Raises:
        SchemaOutdated: it holds the tables of another toolkit, and may or can not be migrated.
    """
    try:
        await database.open()
    except SchemaOutdated:
        await database.close()
        if not upgrades:
            raise
        from toolkit.storage import migrations

        await migrations.upgrade(database.url, migrations.OUR_LINE)
        await database.open()


async def prepare_tables(
    database: Database, entities: Collection[type[Any]], *, folder: Path | None, upgrades: bool
) -> None:
    """See that the tables of ``entities`` are as their classes say; ``folder`` is where migrations may be.

    Raises:
        SchemaOutdated: migrations are waiting, and it does not ``upgrade``.
        ConfigurationError: a table lacks columns that its class has.
    """
    if not entities:
        return
    if folder is not None and has_migrations(folder):
        await _follow_migrations(database, line_of(folder, entities), upgrades=upgrades)
    else:
        await create_missing_tables(database, entities)
    async with database.session() as session:
        connection = await session.connection()
        await connection.run_sync(_check_columns, list(entities))


async def create_missing_tables(database: Database, entities: Iterable[type[Any]]) -> None:
    """Make the tables of ``entities`` in one transaction; of several processes that start together one does it."""
    from sqlalchemy import Table, text

    tables: dict[MetaData, list[Table]] = defaultdict(list)
    for entity in entities:
        tables[entity.__table__.metadata].append(entity.__table__)
    if not tables:
        return
    async with database.session() as session:
        connection = await session.connection()
        # A write to the schema's one row is a lock in both dialects, so that looking and making are one.
        await connection.execute(text("UPDATE toolkit_schema SET version_num = version_num"))
        for metadata, wanted in tables.items():
            await connection.run_sync(metadata.create_all, tables=wanted, checkfirst=True)


async def upgrade_tables(settings: Settings, definitions: Definitions) -> list[str]:
    """Bring our tables and those of an application to what the code needs; what was done, a sentence each."""
    from toolkit.storage import Database, migrations

    url = settings.database.url.get_secret_value()
    if (path := settings.sqlite_path) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    applied = await migrations.upgrade(url, migrations.OUR_LINE)
    done = [f"the toolkit's tables: applied {', '.join(applied)}" if applied else "the toolkit's tables: as needed"]
    entities, folder = definitions.entities.values(), definitions.folder
    if folder is not None and has_migrations(folder):
        applied = await migrations.upgrade(url, line_of(folder, entities))
        done.append(f"the application's tables: {'applied ' + ', '.join(applied) if applied else 'as needed'}")
    elif entities:
        database = Database(url)
        await database.open()
        try:
            await create_missing_tables(database, entities)
        finally:
            await database.close()
        done.append("the application's tables: there are no migrations; made what was missing")
    return done


async def find_table_differences(settings: Settings, definitions: Definitions) -> list[str]:
    """How the database differs from what the code declares, a sentence each."""
    from toolkit.storage import migrations

    url = settings.database.url.get_secret_value()
    if (path := settings.sqlite_path) is not None and not path.exists():
        return [f"there is no database {str(path)!r}; run `toolkit db upgrade`"]
    differences = []
    found, needed = await migrations.find_revision(url, migrations.OUR_LINE), migrations.OUR_LINE.head
    if found != needed:
        differences.append(f"the toolkit's tables are in revision {found or 'none'}, the code needs {needed}")
    if definitions.entities:
        line = line_of(definitions.folder or Path(), definitions.entities.values())
        differences += await migrations.find_differences(url, line)
    return differences


def has_migrations(folder: Path) -> bool:
    """Whether an application has revisions of its own."""
    return any(path.name != "__init__.py" for path in (folder / "migrations").glob("*.py"))


def line_of(folder: Path, entities: Iterable[type[Any]]) -> migrations.Line:
    """The revisions in ``folder/migrations`` that lead to the tables of ``entities``."""
    from toolkit.storage import migrations

    return migrations.application_line(folder / "migrations", _tables_of(entities))


def _tables_of(entities: Iterable[type[Any]]) -> MetaData:
    """The tables of ``entities``, and those that they refer to, apart from whatever else their metadata holds."""
    from sqlalchemy import MetaData

    metadata = MetaData()
    waiting = [entity.__table__ for entity in entities]
    while waiting:
        table = waiting.pop()
        if table.name not in metadata.tables:
            table.to_metadata(metadata)
            waiting += [key.column.table for key in table.foreign_keys]
    return metadata


async def _follow_migrations(database: Database, line: migrations.Line, *, upgrades: bool) -> None:
    from toolkit.storage import migrations

    if upgrades:
        await migrations.upgrade(database.url, line)
        return
    found = await migrations.find_revision(database.url, line)
    if found != line.head:
        raise SchemaOutdated(found=found or "none", needed=str(line.head), whose=line.owner)


def _check_columns(connection: Connection, entities: Iterable[type[Any]]) -> None:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    for entity in entities:
        table = entity.__table__
        there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        missing = [column.name for column in table.columns if column.name not in there]
        if missing:
            raise ConfigurationError(
                f"the table {table.name!r} lacks the column(s) {', '.join(missing)} that {entity.__name__} has by now; "
                "write a migration: `toolkit db revision -m 'what changed'`, then `toolkit db upgrade`",
                key="database.url",
            )
