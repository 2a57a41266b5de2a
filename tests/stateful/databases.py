"""Databases for the machine, which has an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from toolkit.testing import temporary_url


@contextmanager
def new_postgresql(server: str) -> Iterator[str]:
    """The URL of a new, empty database on ``server``."""
    with asyncio.Runner() as runner:
        database = temporary_url(server)
        url = runner.run(database.__aenter__())
        runner.run(_hurry(url))
        yield url
        runner.run(database.__aexit__(None, None, None))


@contextmanager
def new_sqlite() -> Iterator[str]:
    """The URL of a new, empty database in memory."""
    with asyncio.Runner() as runner:
        database = temporary_url()
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


async def _hurry(url: str) -> None:
    """Have nobody wait for the disk: these examples end processes, not the server."""
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await connection.close()
