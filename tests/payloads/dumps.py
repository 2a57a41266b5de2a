"""Everything that a database holds, as an intruder would read it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from toolkit.storage.database import sqlite_path


async def cells_of(url: str) -> dict[str, list[str]]:
    """Every cell of every table as text, by ``table.column``."""
    return _sqlite_cells(sqlite_path(url)) if url.startswith("sqlite") else await _postgresql_cells(url)


async def places_of(url: str, *secrets: str) -> set[str]:
    """The columns in which a secret can be read."""
    cells = await cells_of(url)
    return {place for place, texts in cells.items() if any(secret in text for text in texts for secret in secrets)}


def files_with(secret: str, folder: Path) -> list[str]:
    """The names of the files below ``folder`` that hold ``secret`` in their bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files, "there is nothing to look into"
    return [path.name for path in files if secret.encode() in path.read_bytes()]


def checkpoint(url: str) -> None:
    """Have a SQLite database bring its log into its file."""
    with sqlite3.connect(sqlite_path(url)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _sqlite_cells(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: dict[str, list[str]] = {}
        for table in tables:
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            _add(found, table, [column[0] for column in cursor.description], cursor.fetchall())
        return found
    finally:
        connection.close()


async def _postgresql_cells(url: str) -> dict[str, list[str]]:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found: dict[str, list[str]] = {}
        for (table,) in names:
            rows = await connection.fetch(f'SELECT * FROM "{table}"')
            if rows:
                _add(found, table, list(rows[0].keys()), [tuple(row) for row in rows])
        return found
    finally:
        await connection.close()


def _add(found: dict[str, list[str]], table: str, columns: list[str], rows: list[Any]) -> None:
    for at, column in enumerate(columns):
        found[f"{table}.{column}"] = [str(row[at]) for row in rows if row[at] is not None]
