"""Databases for one test: new, empty, and gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from toolkit.clock import Clock
from toolkit.ids import new_id
from toolkit.storage import Database

_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; the folder in it is made by mkdtemp


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="toolkit-test-", dir=_MEMORY if _MEMORY.is_dir() else None))


@asynccontextmanager
async def temporary_url(server: str | None = None) -> AsyncIterator[str]:
    """The URL of a new, empty database that is removed at the end of the block.

    Without ``server`` it is SQLite, in memory where the machine offers a file system there. ``server`` is the URL of a
    database on a PostgreSQL server, on which another one is made beside it.
    """
    if server is None:
        folder = _new_folder()
        try:
            yield f"sqlite:///{folder / 'toolkit.db'}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    import asyncpg

    name = f"toolkit_test_{new_id().replace('-', '')}"
    admin = await asyncpg.connect(server)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


@asynccontextmanager
async def temporary_database(*, server: str | None = None, clock: Clock | None = None) -> AsyncIterator[Database]:
    """Like :func:`temporary_url`: the database itself, open, with the toolkit's tables."""
    async with temporary_url(server) as url:
        database = Database(url, synchronous="NORMAL", clock=clock)
        await database.open()
        try:
            yield database
        finally:
            await database.close()
