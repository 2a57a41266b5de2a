"""The database goes away or fills up: the process says so, loses nothing and goes on by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import text

from tests.kills.__main__ import database_in
from tests.kills.storm import stopper
from tests.workflows.conftest import until
from toolkit.storage import Database, StorageUnavailable
from toolkit.workflows import Engine, EngineOptions, get_session, step, wait_for_event, workflow

pytestmark = pytest.mark.timeout(180)


@step()
async def book(page: int) -> int:
    connection = await get_session().connection()
    await connection.execute(
        text("INSERT INTO pages (number, words) VALUES (:page, :words)"), {"page": page, "words": "x" * 5000}
    )
    return page


@step()
async def think(page: int) -> int:
    return page


@workflow()
async def write_pages(pages: int) -> int:
    await wait_for_event("go")
    for page in range(pages):
        await book(page)
        await think(page)
    return pages


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Database, Engine]]:
    database = Database(url)
    await database.open()
    async with database.session() as session:
        await (await session.connection()).execute(text("CREATE TABLE pages (number INTEGER, words TEXT)"))
    engine = Engine(database, workflows=[write_pages], options=EngineOptions(lease_seconds=1.5, poll_seconds=0.1))
    await engine.open()
    await until(lambda: engine.is_healthy)
    try:
        yield database, engine
    finally:
        await engine.close()
        await database.close()


async def pages_of(database: Database) -> list[int]:
    async with database.session() as session:
        rows = await (await session.connection()).execute(text("SELECT number FROM pages ORDER BY number"))
        return list(rows.scalars())


async def test_a_full_disk_holds_runs_up_and_fails_none(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'full.db'}") as (database, engine):
        run = await engine.start(write_pages, 20)
        with full(tmp_path / "full.db", database):
            emitting = asyncio.ensure_future(engine.emit_event("go", "x" * 20_000))

            await until(lambda: not engine.is_healthy)

        await emitting
        assert await asyncio.wait_for(run.result(), 60) == 20
        assert await pages_of(database) == list(range(20))
        await until(lambda: engine.is_healthy)


@pytest.fixture
def short_patience() -> Iterator[None]:
    """SQLite gives up waiting for another process's lock after a moment, not after half a minute."""
    with patch("toolkit.storage.sqlite._BUSY_SECONDS", 0.2):
        yield


@pytest.mark.usefixtures("short_patience")
async def test_a_database_that_another_process_holds_on_to_is_waited_for(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'held.db'}") as (database, engine):
        run = await engine.start(write_pages, 5)
        holder = sqlite3.connect(tmp_path / "held.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        emitting = asyncio.ensure_future(engine.emit_event("go"))
        await until(lambda: not engine.is_healthy)

        holder.execute("ROLLBACK")
        holder.close()

        await emitting
        assert await asyncio.wait_for(run.result(), 60) == 5
        assert await pages_of(database) == list(range(5))


class full:
    """A disk without room for another page, as SQLite sees it on the connection that writes."""

    def __init__(self, path: Path, database: Database) -> None:
        writer: Any = database.writer
        self.writer: sqlite3.Connection = writer._connection

    def __enter__(self) -> None:
        (pages,) = self.writer.execute("PRAGMA page_count").fetchone()
        self.writer.execute(f"PRAGMA max_page_count={pages}")

    def __exit__(self, *_: object) -> None:
        self.writer.execute("PRAGMA max_page_count=1000000")


@pytest.mark.postgresql
async def test_a_server_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")  # put back at the end; the server's user may not enter pytest's own folders
    with (
        tempfile.TemporaryDirectory(prefix="outage-", dir="/tmp") as folder,
        database_in(Path(folder), "postgresql") as url,
    ):
        stop, start = stopper(Path(folder) / "postgresql")
        await _be_away(url, stop, start)


async def _be_away(url: str, stop: Callable[[], None], start: Callable[[], None]) -> None:
    async with opened(url) as (database, engine):
        runs = [await engine.start(write_pages, 10) for _ in range(3)]
        await asyncio.to_thread(stop)
        emitting = asyncio.ensure_future(engine.emit_event("go"))
        await until(lambda: not engine.is_healthy)

        await asyncio.to_thread(start)

        await emitting
        assert [await asyncio.wait_for(run.result(), 60) for run in runs] == [10, 10, 10]
        assert await pages_of(database) == sorted([*range(10)] * 3)
        await until(lambda: engine.is_healthy)


@pytest.mark.postgresql
async def test_a_server_that_goes_away_while_a_session_reaches_for_it_fails_no_run(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asyncpg import Connection, InterfaceError

    set_type_codec, refusals = Connection.set_type_codec, 3

    async def be_cut_off(self: Any, *args: Any, **more: Any) -> None:
        nonlocal refusals
        if refusals > 0:
            refusals -= 1
            raise InterfaceError("connection is closed")
        await set_type_codec(self, *args, **more)

    async with opened(postgresql_url) as (database, engine):
        await database.sessions.engine.dispose()
        monkeypatch.setattr(Connection, "set_type_codec", be_cut_off)
        with pytest.raises(StorageUnavailable, match="connection is closed"):
            await pages_of(database)

        run = await engine.start(write_pages, 2)
        await engine.emit_event("go")

        assert await asyncio.wait_for(run.result(), 60) == 2
        assert refusals == 0
        assert await pages_of(database) == [0, 1]
