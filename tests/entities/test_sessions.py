"""Sessions outside of steps: in scripts, and those that only read."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlmodel import select

from tests.entities.shop import Note, Order, make_shop
from toolkit import Toolkit
from toolkit.config import Settings
from toolkit.errors import RunFailed, SessionError, WrongContext
from toolkit.files import File
from toolkit.workflows import get_session, step, workflow


@step()
async def commit_note() -> None:
    get_session().add(Note(text="hello"))
    await get_session().commit()


@workflow()
async def commit_early() -> None:
    await commit_note()


async def make_order(app: Toolkit) -> str:
    async with app.session() as session:
        order = Order(number="A-1")
        session.add(order)
    return order.id


async def test_a_session_that_only_reads_reads(shop: Toolkit) -> None:
    key = await make_order(shop)

    async with shop.session(is_read_only=True) as session:
        (order,) = await session.exec(select(Order))
        again = (await session.exec(text("WITH x AS (SELECT id FROM shop_order) SELECT id FROM x"))).one()  # type: ignore[call-overload]

    assert order.id == again[0] == key


@pytest.mark.parametrize(
    "statement",
    [
        "-- what it says\nSELECT 1",
        "/* 'a' */ SELECT 1",
        "WITH x AS (SELECT replace('a', 'b', 'c') AS y) SELECT y FROM x",
        "WITH x AS (SELECT 'delete' AS y) SELECT y FROM x",
    ],
)
async def test_a_session_that_only_reads_takes_what_reads(shop: Toolkit, statement: str) -> None:
    async with shop.session(is_read_only=True) as session:
        assert len((await session.exec(text(statement))).all()) == 1  # type: ignore[call-overload]


async def test_a_session_that_only_reads_takes_what_only_one_database_knows(shop: Toolkit) -> None:
    is_sqlite = shop.services.database.dialect == "sqlite"

    async with shop.session(is_read_only=True) as session:
        for statement in ("PRAGMA user_version", "PRAGMA table_info('shop_order')") if is_sqlite else ("(SELECT 1)",):
            assert (await session.exec(text(statement))).all() != []  # type: ignore[call-overload]


async def test_a_session_that_only_reads_refuses_a_change(shop: Toolkit) -> None:
    key = await make_order(shop)

    with pytest.raises(SessionError, match="only reads"):
        async with shop.session(is_read_only=True) as session:
            order = await session.get(Order, key)
            assert order is not None
            order.pieces = 7
    with pytest.raises(SessionError, match="changes to flush"):
        async with shop.session(is_read_only=True) as session:
            session.add(Note(text="hello"))
            await session.commit()

    async with shop.session() as session:
        found = await session.get(Order, key)
        assert found is not None
        assert (found.pieces, found.version) == (1, 1)
        assert (await session.exec(select(Note))).all() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shop_order SET pieces = 7",
        "  delete from shop_order",
        "WITH x AS (SELECT 1) DELETE FROM shop_order",
        "CREATE TABLE t (a int)",
        "/* SELECT */ UPDATE shop_order SET pieces = 7",
        "WITH x AS (SELECT ' -- ') DELETE FROM shop_order",
        "WITH x AS (SELECT 1 AS [a'b]) DELETE FROM shop_order WHERE '' = ''",
        "WITH x AS (SELECT 1) REPLACE INTO shop_order (id) SELECT 1",
        "PRAGMA user_version = 7",
        "PRAGMA user_version(7)",
        "pragma main.user_version=7",
        "-- nothing",
    ],
)
async def test_a_session_that_only_reads_refuses_a_statement_that_writes(shop: Toolkit, statement: str) -> None:
    await make_order(shop)

    with pytest.raises(SessionError, match="only reads"):
        async with shop.session(is_read_only=True) as session:
            await session.commit()  # a new transaction is no way around it
            await session.exec(text(statement))  # type: ignore[call-overload]

    async with shop.session() as session:  # and whoever gets the connection next may write
        (order,) = await session.exec(select(Order))
        order.pieces = 3


async def test_a_step_that_commits_is_told_what_to_do(settings: Settings) -> None:
    async with make_shop().register_workflow(commit_early).running(settings=settings) as app:
        with pytest.raises(RunFailed, match="leave out the commit"):
            await (await app.start(commit_early)).result()
        async with app.session(is_read_only=True) as session:
            assert (await session.exec(select(Note))).all() == []


def test_a_script_works_in_an_installation_of_its_own(settings: Settings) -> None:
    app = make_shop()

    async def work() -> tuple[str, File]:
        return await make_order(app), await File.upload(content=b"hello", filename="a.txt")

    async def look(key: str, file: File) -> tuple[str, bytes]:
        async with app.session(is_read_only=True) as session:
            order = await session.get(Order, key)
            assert order is not None
            return order.number, await file.read()

    key, file = app.run_standalone(work, settings=settings)

    assert app.run_standalone(lambda: look(key, file), settings=settings) == ("A-1", b"hello")
    with pytest.raises(WrongContext):
        app.session()


def test_a_script_that_fails_leaves_nothing_running(settings: Settings) -> None:
    app = make_shop()

    async def work() -> None:
        async with app.session() as session:
            session.add(Note(text="hello"))
            await session.flush()
            raise ZeroDivisionError

    async def count() -> int:
        async with app.session(is_read_only=True) as session:
            return len((await session.exec(select(Note))).all())

    with pytest.raises(ZeroDivisionError):
        app.run_standalone(work, settings=settings)
    assert app.run_standalone(count, settings=settings) == 0
