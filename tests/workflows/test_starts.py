"""A start is one start: under concurrency, and in the transaction of whoever asks for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlmodel import Field, SQLModel, func, select

from tests.workflows.conftest import StartEngine, until
from toolkit.errors import Conflict, WrongContext
from toolkit.storage import Query, both
from toolkit.workflows import Engine, emit_event, get_session, start_in, step, wait_for_event, workflow

ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


class Order(SQLModel, table=True):
    __tablename__ = "starts_order"

    id: int | None = Field(default=None, primary_key=True)
    name: str


@workflow()
async def ship(name: str) -> str:
    ran[name] += 1
    return f"shipped {name}"


@step()
async def order_and_ship(name: str) -> str:
    session = get_session()
    session.add(Order(name=name))
    run = await start_in(session, ship, name)
    ran["attempt"] += 1
    if name == "fails":
        raise ValueError("after the start")
    return run.id


@workflow()
async def shop(name: str) -> str:
    try:
        return await order_and_ship(name)
    except ValueError:
        return "refused"


@workflow()
async def hear_twice() -> list[Any]:
    return [await wait_for_event("news"), await wait_for_event("news")]


@workflow()
async def tell_once(name: str) -> None:
    await emit_event("news", name, idempotency_key="told")


async def with_orders(engine: Engine) -> Engine:
    async with engine.database.session() as session:
        connection = await session.connection()
        await connection.run_sync(SQLModel.metadata.tables["starts_order"].create)
    return engine


async def orders(engine: Engine) -> int:
    async with engine.database.session() as session:
        return (await session.exec(select(func.count()).select_from(Order))).one()


async def test_one_key_starts_one_run_however_many_ask_at_once(start_engine: StartEngine) -> None:
    first, second = await start_engine(ship), await start_engine(ship)

    started = await asyncio.gather(
        *(engine.start(ship, "book", idempotency_key="order 7") for engine in (first, second) * 20)
    )

    assert len({run.id for run in started}) == 1
    assert [run.is_new for run in started].count(True) == 1
    await asyncio.wait_for(started[0].result(), 10)
    assert ran == {"book": 1}


async def test_a_run_that_is_started_in_a_transaction_is_there_when_it_commits(start_engine: StartEngine) -> None:
    engine = await with_orders(await start_engine(ship))

    async with engine.database.session() as session:
        session.add(Order(name="book"))
        run = await start_in(session, ship, "book", started_by="ada", engine=engine)
        before = await engine.list_runs()

    assert before == []
    assert await asyncio.wait_for(run.result(), 10) == "shipped book"
    assert (await engine.get_run(run.id)).summary.started_by == "ada"
    assert await orders(engine) == 1


async def test_a_run_that_is_started_in_a_transaction_that_fails_never_was(start_engine: StartEngine) -> None:
    engine = await with_orders(await start_engine(ship))

    with pytest.raises(ValueError, match="after the start"):
        async with engine.database.session() as session:
            session.add(Order(name="book"))
            await start_in(session, ship, "book", engine=engine)
            raise ValueError("after the start")

    assert await engine.list_runs() == []
    assert await orders(engine) == 0


@pytest.mark.parametrize("name", ["book", "fails"])
async def test_in_a_step_the_run_begins_with_the_checkpoint_or_not_at_all(start_engine: StartEngine, name: str) -> None:
    engine = await with_orders(await start_engine(shop, ship))

    run = await engine.start(shop, name)

    result = await asyncio.wait_for(run.result(), 10)
    if name == "fails":
        assert result == "refused"
        assert await engine.list_runs(workflow="ship") == []
        assert await orders(engine) == 0
    else:
        assert await asyncio.wait_for(engine.wait_for_completion(result), 10) == '"shipped book"'
        assert await orders(engine) == 1
    assert ran["attempt"] == 1


async def test_of_many_transactions_with_one_key_one_starts_the_run(start_engine: StartEngine) -> None:
    engine = await start_engine(ship)

    async def ask() -> str:
        async with engine.database.session() as session:
            return (await start_in(session, ship, "book", idempotency_key="order 7", engine=engine)).id

    async def ask_engine() -> str:
        return (await engine.start(ship, "book", idempotency_key="order 7")).id

    ids = await asyncio.gather(*(each() for each in (ask, ask_engine) * 6))

    assert len(set(ids)) == 1
    await until(lambda: ran["book"])
    assert ran == {"book": 1}


async def test_a_keyed_start_waits_for_a_transaction_with_the_same_key(start_engine: StartEngine) -> None:
    engine = await start_engine(ship)
    async with engine.database.session() as session:
        run = await start_in(session, ship, "book", idempotency_key="order 7", engine=engine)
        waiting = asyncio.create_task(engine.start(ship, "book", idempotency_key="order 7"))
        others = None
        if engine.database.dialect == "postgresql":  # SQLite has one writer: nobody else gets on meanwhile
            others = await engine.start(ship, "pen")
        assert not waiting.done()

    assert (await waiting).id == run.id
    if others is not None:
        assert await asyncio.wait_for(others.result(), 10) == "shipped pen"


async def test_a_key_that_started_something_else_is_refused(start_engine: StartEngine) -> None:
    engine = await start_engine(ship)
    await engine.start(ship, "book", idempotency_key="order 7")

    with pytest.raises(Conflict, match="other arguments"):
        async with engine.database.session() as session:
            await start_in(session, ship, "pen", idempotency_key="order 7", engine=engine)


async def test_without_an_installation_nothing_is_started(start_engine: StartEngine) -> None:
    engine = await start_engine(ship)

    with pytest.raises(WrongContext, match="engine="):
        async with engine.database.session() as session:
            await start_in(session, ship, "book")


async def test_a_start_from_a_process_without_a_worker_reaches_a_worker(start_engine: StartEngine) -> None:
    web = await start_engine(ship, is_worker=False)
    await start_engine(ship, poll_seconds=30.0)

    async with web.database.session() as session:
        run = await start_in(session, ship, "book", engine=web)

    assert await asyncio.wait_for(run.result(), 10) == "shipped book"


async def test_one_idempotency_key_emits_one_event(start_engine: StartEngine) -> None:
    engine = await start_engine(hear_twice)
    run = await engine.start(hear_twice)

    emitted = await asyncio.gather(*(engine.emit_event("news", 1, idempotency_key="a") for _ in range(5)))
    async with engine.database.session() as session:
        await emit_event("news", 1, session=session, idempotency_key="a")
        await emit_event("news", 2, session=session, idempotency_key="b")
    engine.poke()

    assert emitted.count(True) == 1
    assert await asyncio.wait_for(run.result(), 10) == [1, 2]


async def test_an_idempotency_key_with_another_payload_is_refused(start_engine: StartEngine) -> None:
    engine = await start_engine(hear_twice)
    await engine.emit_event("news", 1, idempotency_key="a")

    with pytest.raises(Conflict, match="another payload"):
        await engine.emit_event("news", 2, idempotency_key="a")
    assert await engine.emit_event("other news", 2, idempotency_key="a"), "keys of other events are others"


async def test_runs_that_tell_the_same_tell_it_once(start_engine: StartEngine) -> None:
    engine = await start_engine(hear_twice, tell_once)
    for name in ("ada", "bob"):
        await (await engine.start(tell_once, name)).result()
    run = await engine.start(hear_twice)
    await engine.emit_event("news", "last")

    assert await asyncio.wait_for(engine.wait_for_completion(run.id), 10) == '["ada","last"]'


@workflow()
async def handle(ticket: str, priority: int = 1, started_by: str | None = "nobody", workflow: str = "") -> list[object]:
    return [ticket, priority, started_by, workflow]


_PRIORITY = both("priority", "SELECT priority FROM toolkit_run WHERE id = $1")


async def test_a_parameter_of_the_workflow_comes_before_an_option_of_the_start(start_engine: StartEngine) -> None:
    engine = await start_engine(handle)

    by_name = await engine.start(handle, ticket="a", priority=5, started_by=None, workflow="w", idempotency_key="k")
    by_place = await engine.start(handle, "b", 2, "Ada", priority=7, started_by="Grace")
    without = await engine.start(handle, "c")
    async with engine.database.session() as session:
        in_session = await start_in(session, handle, "d", started_by="Grace", idempotency_key="l", engine=engine)
    with engine.within():
        optional = await handle.with_options(priority=9, started_by="Grace").start("e", priority=3)

    runs = [by_name, by_place, without, in_session, optional]
    assert [await asyncio.wait_for(run.result(), 10) for run in runs] == [
        ["a", 5, None, "w"],
        ["b", 2, "Ada", ""],
        ["c", 1, "nobody", ""],
        ["d", 1, "Grace", ""],
        ["e", 3, "nobody", ""],
    ]
    summaries = [(await engine.get_run(run.id)).summary for run in runs]
    assert [run.started_by for run in summaries] == [None, "Grace", None, None, "Grace"]
    assert [run.idempotency_key for run in summaries] == ["k", None, None, "l", None]
    priorities = [(await engine.read(Query(_PRIORITY, [run.id])))[0][0] for run in runs]
    assert priorities == [0, 7, 0, 0, 9]
