"""Migrations by Alembic, forward only: a line of revisions for our tables, another for those of an application.

Whoever migrates holds a lock from its first look to its commit, so of any number of processes that start together one
does the work and the others find it done. Nothing on the way of a run imports this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from alembic.autogenerate import RevisionContext, compare_metadata
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, event, inspect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from toolkit.errors import StorageError
from toolkit.storage.migrations.rendering import render_item

T = TypeVar("T")

logger = logging.getLogger(__name__)

_PLACE = Path(__file__).parent
# Alembic's environment is one for the process; two migrations at once would take each other's connection.
_one_at_a_time = asyncio.Lock()


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of revisions: where its files are, and in which table a database keeps how far it is."""

    owner: str
    """Whose tables, for messages."""
    folder: Path
    version_table: str
    metadata: MetaData = field(default_factory=MetaData)
    """The tables as the code has them now."""

    @property
    def head(self) -> str | None:
        """The last revision; ``None`` where there is none yet."""
        return _scripts(self).get_current_head() if self.folder.is_dir() else None


OUR_LINE = Line(owner="the toolkit's", folder=_PLACE / "versions", version_table="toolkit_schema")


def application_line(folder: Path, metadata: MetaData) -> Line:
    """The line of an application's own tables, with its revisions in ``folder``."""
    return Line(owner="the application's", folder=folder, version_table="toolkit_application_schema", metadata=metadata)


async def upgrade(url: str, line: Line) -> list[str]:
    """Bring the database to the last revision; the revisions that it took, in order.

    Tables that were made at a start before there were revisions count as what the first of them makes.

    Raises:
        StorageError: the database is at a revision that the files do not know, or a migration leaves rows that
            refer to nothing.
    """
    return await _locked(url, lambda connection: _upgrade(connection, line))


async def find_revision(url: str, line: Line) -> str | None:
    """How far the database is; ``None`` where it has seen no revision."""
    return await _locked(url, lambda connection: _current(connection, line))


async def find_differences(url: str, line: Line) -> list[str]:
    """What the tables of the database say otherwise than the code, one sentence each; nothing if they agree.

    Tables that no code declares are left alone: they may be somebody else's.
    """
    return await _locked(url, lambda connection: _differences(connection, line))


async def write_revision(url: str, line: Line, *, message: str) -> Path | None:
    """Write the revision that leads from the last one to the tables of the code; ``None`` if nothing changed.

    The first one leads from nothing, whatever the database holds.

    Raises:
        StorageError: the database is not at the last revision, so that a comparison with it would mislead.
    """
    line.folder.mkdir(parents=True, exist_ok=True)
    if line.head is None:
        return await _locked("sqlite:///:memory:", lambda connection: _write(connection, line, message))
    found = await find_revision(url, line)
    if found != line.head:
        raise StorageError(
            f"the database is at revision {found or 'none'} and the last one is {line.head}; run `toolkit db upgrade` "
            "first, a new revision is made by comparing with the database"
        )
    return await _locked(url, lambda connection: _write(connection, line, message))


# How, in calls that SQLAlchemy lets look as if they blocked. ---------------------------------------------------------


async def _locked(url: str, work: Callable[[Connection], T]) -> T:
    """Do ``work`` in one transaction, while no other process migrates."""
    engine = _engine(url)
    async with _one_at_a_time:
        try:
            async with engine.connect() as connection:
                if engine.dialect.name == "postgresql":
                    await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7310574010)")
                result = await connection.run_sync(work)
                await connection.commit()
                return result
        finally:
            await engine.dispose()


def _engine(url: str) -> AsyncEngine:
    """Connections of their own: the ones for sessions end a transaction that takes long, and a migration may."""
    if not url.startswith("sqlite"):
        return create_async_engine(
            urlunsplit(urlsplit(url)._replace(scheme="postgresql+asyncpg")),
            poolclass=NullPool,
            connect_args={"server_settings": {"application_name": "toolkit migrations"}},
        )
    engine = create_async_engine(
        url.replace("sqlite://", "sqlite+aiosqlite://", 1),
        poolclass=NullPool,
        connect_args={"isolation_level": None, "timeout": 60},
    )
    # The driver's own beginning is late and no writer's. Foreign keys stay off, as SQLite's way to alter a table wants.
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _config(line: Line) -> Config:
    config = Config()
    options = {
        "script_location": str(_PLACE),
        "version_locations": str(line.folder),
        "path_separator": "newline",
        "file_template": "%(rev)s_%(slug)s",
    }
    for name, value in options.items():
        config.set_main_option(name, value.replace("%", "%%"))
    return config


def _scripts(line: Line) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(line))


def _options(line: Line) -> dict[str, Any]:
    declared = {table.name for table in line.metadata.tables.values()}
    return {
        "target_metadata": line.metadata,
        "version_table": line.version_table,
        "render_as_batch": True,
        "transactional_ddl": True,
        "compare_type": True,
        "render_item": render_item,
        "include_name": lambda name, kind, _: kind != "table" or name in declared,
    }


def _current(connection: Connection, line: Line) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": line.version_table})
    return context.get_current_revision()


def _upgrade(connection: Connection, line: Line) -> list[str]:
    scripts = _scripts(line)
    found = _current(connection, line)
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise StorageError(
            f"the database holds {line.owner} tables in revision {found!r}, which {str(line.folder)!r} does not have; "
            "use the code that made them"
        )
    if found is None and _was_made_without(connection, line):
        found = scripts.get_base()
        MigrationContext.configure(connection, opts={"version_table": line.version_table}).stamp(
            scripts, found or "base"
        )
        logger.info(
            "Tables that were there before the first migration are taken as its result",
            extra={"event": "migration.adopted", "revision": found},
        )
    applied: list[str] = []

    def plan(revision: Any, _: MigrationContext) -> list[Any]:
        steps = scripts._upgrade_revs("head", revision)  # noqa: SLF001 - as `alembic upgrade` does; it has no other name
        applied.extend(str(step.revision.revision) for step in steps)
        return list(steps)

    with EnvironmentContext(_config(line), scripts, fn=plan, destination_rev="head") as environment:
        environment.configure(connection=connection, **_options(line))
        with environment.begin_transaction():
            environment.run_migrations()
    if applied:
        _check_references(connection)
        logger.info("The database was migrated", extra={"event": "migration.applied", "revisions": applied})
    return applied


def _was_made_without(connection: Connection, line: Line) -> bool:
    """Whether tables of the line are there although no revision made them."""
    names = set(inspect(connection).get_table_names())
    return any(table.name in names for table in line.metadata.tables.values())


def _check_references(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            tables = ", ".join(sorted({str(row[0]) for row in broken}))
            raise StorageError(f"after the migration rows of {tables} would refer to rows that are not there")


def _differences(connection: Connection, line: Line) -> list[str]:
    context = MigrationContext.configure(connection, opts=_options(line))
    return [_sentence(found) for found in _flattened(compare_metadata(context, line.metadata))]


def _flattened(found: Sequence[Any]) -> list[Any]:
    """Changes of one column come as a list within the list."""
    return [each for entry in found for each in (entry if isinstance(entry, list) else [entry])]


def _sentence(difference: Sequence[Any]) -> str:
    kind, *rest = difference
    if kind == "add_table":
        return f"the table {rest[0].name!r} is missing"
    if kind in {"add_column", "remove_column"}:
        place = f"{rest[1]}.{rest[2].name}"
        return (
            f"the column {place!r} is missing" if kind == "add_column" else f"the column {place!r} is declared nowhere"
        )
    if kind.startswith("modify_"):
        return (
            f"the column {f'{rest[1]}.{rest[2]}'!r} has {kind.removeprefix('modify_')} {rest[4]}, declared is {rest[5]}"
        )
    verb, _, what = kind.partition("_")
    name = getattr(rest[0], "name", None) or "without a name"
    table = getattr(getattr(rest[0], "table", None), "name", "")
    state = "missing" if verb == "add" else "declared nowhere"
    return f"the {what.replace('fk', 'foreign key')} {name!r} of {table!r} is {state}"


def _write(connection: Connection, line: Line, message: str) -> Path | None:
    config, scripts = _config(line), _scripts(line)
    number = f"{len(list(scripts.walk_revisions())) + 1:04d}"
    revision = RevisionContext(
        config,
        scripts,
        {
            "message": message,
            "autogenerate": True,
            "sql": False,
            "head": "head",
            "splice": False,
            "branch_label": None,
            "version_path": str(line.folder),
            "rev_id": number,
            "depends_on": None,
        },
    )

    def compare(found: Any, context: MigrationContext) -> list[Any]:
        revision.run_autogenerate(found, context)
        return []

    with EnvironmentContext(config, scripts, fn=compare) as environment:
        environment.configure(connection=connection, **_options(line))
        environment.run_migrations()
    (made,) = revision.generated_revisions
    assert isinstance(made, MigrationScript)
    if made.upgrade_ops is None or made.upgrade_ops.is_empty():
        return None
    (script,) = revision.generate_scripts()
    assert script is not None, "a revision that is not empty is written"
    return Path(script.path)
