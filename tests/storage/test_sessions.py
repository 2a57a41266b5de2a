"""Sessions commit at the end of their block, take turns on SQLite, and never see "database is locked"."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, SQLModel, col, func, select, update

from toolkit.storage import Database, Query, Script, both, sessions

READ = both("read", "SELECT value FROM tally WHERE name = $1")
RAISE = both(
    "raise", "INSERT INTO tally (name, value) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = tally.value + 1"
)
CREATE = both("create", "CREATE TABLE tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")


class Tally(SQLModel, table=True):
    name: str = Field(primary_key=True)
    value: int


@pytest.fixture
async def database(database: Database) -> Database:  # the common one, with a table to count in
    await database.writer.run(create())
    return database


def create() -> Script[None]:
    yield Query(CREATE)


def bump(name: str) -> Script[None]:
    yield Query(RAISE, [name])


async def test_a_session_commits_when_its_block_ends(database: Database) -> None:
    async with database.session() as session:
        session.add(Tally(name="a", value=7))

    assert await database.reader.read(Query(READ, ["a"])) == [(7,)]


async def test_a_session_rolls_back_when_its_block_fails(database: Database) -> None:
    with pytest.raises(RuntimeError, match="no"):
        async with database.session() as session:
            session.add(Tally(name="a", value=7))
            await session.flush()
            raise RuntimeError("no")

    assert await database.reader.read(Query(READ, ["a"])) == []
    assert not database.ticket.locked()


async def raise_by_session(database: Database) -> None:
    async with database.session() as session:
        await session.exec(select(func.count()).select_from(Tally))
        await session.exec(update(Tally).where(col(Tally.name) == "a").values(value=col(Tally.value) + 1))


async def test_sixty_sessions_that_read_and_then_write_all_succeed(database: Database) -> None:
    await database.writer.run(bump("a"))

    await asyncio.gather(*(raise_by_session(database) for _ in range(60)))

    assert await database.reader.read(Query(READ, ["a"])) == [(61,)]


async def test_scripts_and_sessions_do_not_disturb_each_other(database: Database) -> None:
    await database.writer.run(bump("a"))

    await asyncio.gather(
        *(raise_by_session(database) for _ in range(20)), *(database.writer.run(bump("a")) for _ in range(20))
    )

    assert await database.reader.read(Query(READ, ["a"])) == [(41,)]


CREATE_OWNED = both(
    "create owned",
    "CREATE TABLE owned (owner TEXT REFERENCES tally (name) DEFERRABLE INITIALLY DEFERRED)",
)


async def test_a_commit_that_is_refused_leaves_nothing_behind(database: Database) -> None:
    def create_owned() -> Script[None]:
        yield Query(CREATE_OWNED)

    await database.writer.run(create_owned())
    with pytest.raises(IntegrityError):
        async with database.session() as session:
            await (await session.connection()).execute(text("INSERT INTO owned (owner) VALUES ('nobody')"))

    assert not database.ticket.locked()
    async with asyncio.timeout(2), database.session() as session:
        session.add(Tally(name="a", value=7))
    assert await database.reader.read(Query(READ, ["a"])) == [(7,)]


async def test_a_process_that_stood_still_takes_no_turn_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_REPORT_SECONDS", 0.05)
    monkeypatch.setattr(sessions, "_LONGEST_SECONDS", 0.1)
    async with database.session() as session:
        session.add(Tally(name="a", value=7))
        await session.flush()
        time.sleep(0.3)  # noqa: ASYNC251 - the whole process is stopped, or the machine sleeps
        await asyncio.sleep(0)  # what was due meanwhile comes now

    assert await database.reader.read(Query(READ, ["a"])) == [(7,)]
