"""What a step writes through its session, when the word of the commit is lost or comes twice."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import delete, table, text
from sqlalchemy.exc import OperationalError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from tests.workflows.conftest import StartEngine, until
from toolkit.errors import RunFailed
from toolkit.workflows import get_session, step, workflow

attempts: list[int] = []


@step(max_retries=3)
async def write_a_line() -> str:
    attempts.append(1)
    connection = await get_session().connection()
    await connection.execute(text("INSERT INTO ledger (amount) VALUES (1)"))
    return "written"


@workflow()
async def write() -> str:
    return await write_a_line()


@pytest.mark.parametrize("was_kept", [True, False])
async def test_a_commit_of_unknown_outcome_is_looked_up_and_never_written_twice(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, *, was_kept: bool
) -> None:
    attempts.clear()
    engine = await start_engine(write, lease_seconds=0.6)
    async with engine.database.session() as session:
        await (await session.connection()).execute(text("CREATE TABLE ledger (amount INTEGER)"))
    commit = AsyncSession.commit
    broken: list[object] = []

    async def break_once(self: AsyncSession) -> None:
        if was_kept or broken:
            await commit(self)
        if not broken:
            broken.append(True)
            raise OperationalError("COMMIT", {}, Exception("the connection broke"))

    monkeypatch.setattr(AsyncSession, "commit", break_once)

    run = await engine.start(write)

    assert await asyncio.wait_for(run.result(), 20) == "written"
    assert len(attempts) == (1 if was_kept else 2)
    async with engine.database.session() as session:
        assert (await (await session.connection()).execute(text("SELECT count(*) FROM ledger"))).one() == (1,)
    await until(lambda: engine.active_runs == 0)


@step()
async def reads_only() -> str:
    session = get_session(is_read_only=True)
    assert (await session.exec(select(1))).one() == 1
    await session.exec(delete(table("toolkit_event")))
    return "written"


@workflow()
async def writes_in_a_session_that_only_reads() -> str:
    return await reads_only()


async def test_a_session_that_only_reads_refuses_to_write(start_engine: StartEngine) -> None:
    engine = await start_engine(writes_in_a_session_that_only_reads)

    with pytest.raises(RunFailed, match="only reads"):
        await asyncio.wait_for((await engine.start(writes_in_a_session_that_only_reads)).result(), 10)
