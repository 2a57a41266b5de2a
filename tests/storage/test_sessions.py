"""Sessions commit at the end of their block, take turns on SQLite, and never see "database is locked"."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from toolkit.storage import Database, Query, Script, both

READ = both("read", "SELECT value FROM tally WHERE name = $1")
RAISE = both(
    "raise",
    "INSERT INTO tally (name, value) VALUES ($1, 1) "
    "ON CONFLICT (name) DO UPDATE SET value = tally.value + 1",
)


def bump(name: str) -> Script[None]:
    yield Query(RAISE, [name])


@pytest.fixture
async def database(database: Database) -> Database:  # the common one, with a table to count in
    await database.writer.run(create())
    return database


def create() -> Script[None]:
    yield Query(both("create", "CREATE TABLE tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"))


async def test_a_session_commits_when_its_block_ends(database: Database) -> None:
    async with database.session() as session:
        await session.exec(text("INSERT INTO tally (name, value) VALUES ('a', 7)"))

    assert await database.reader.read(Query(READ, ["a"])) == [(7,)]


async def test_a_session_rolls_back_when_its_block_fails(database: Database) -> None:
    with pytest.raises(RuntimeError, match="no"):
        async with database.session() as session:
            await session.exec(text("INSERT INTO tally (name, value) VALUES ('a', 7)"))
            raise RuntimeError("no")

    assert await database.reader.read(Query(READ, ["a"])) == []
    assert not database.ticket.locked()


async def test_sixty_sessions_that_read_and_then_write_all_succeed(database: Database) -> None:
    async def read_then_write() -> None:
        async with database.session() as session:
            await session.exec(text("SELECT count(*) FROM tally"))
            await session.exec(
                text(
                    "INSERT INTO tally (name, value) VALUES ('a', 1) "
                    "ON CONFLICT (name) DO UPDATE SET value = tally.value + 1"
                )
            )

    await asyncio.gather(*(read_then_write() for _ in range(60)))

    assert await database.reader.read(Query(READ, ["a"])) == [(60,)]


async def test_scripts_and_sessions_do_not_disturb_each_other(database: Database) -> None:
    async def by_session() -> None:
        async with database.session() as session:
            await session.exec(text("UPDATE tally SET value = value + 1 WHERE name = 'a'"))

    async def by_script() -> None:
        await database.writer.run(bump("a"))

    await by_script()
    await asyncio.gather(*(work() for _ in range(20) for work in (by_session, by_script)))

    assert await database.reader.read(Query(READ, ["a"])) == [(41,)]
