"""What ends a task locks its wait before the task, as the engine does; so an answer and an end never block each other."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from tests.human.office import Office, ask_by_name, ask_for_an_hour, person, until
from toolkit.access import acting_as
from toolkit.errors import Conflict
from toolkit.human import TaskState

YES = '{"approved": true}'


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    """PostgreSQL alone locks rows; SQLite has one writer at a time."""
    return postgresql_url


@pytest.fixture
async def engine_side(postgresql_url: str) -> asyncpg.Connection:
    """A connection that locks what the engine locks, by hand and as slowly as a test wants."""
    connection = await asyncpg.connect(postgresql_url)
    yield connection
    await connection.close()


async def blocked(connection: asyncpg.Connection, *, unless: asyncio.Task[object]) -> bool | None:
    """Whether another session waits for a lock of ours; ``unless`` it was not held up at all."""
    if unless.done():
        raise AssertionError(f"nothing was held up: {unless!r}")
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return await connection.fetchval(query) > 0 or None


@pytest.mark.parametrize("act", ["complete", "vote", "cancel", "expire"])
async def test_an_end_waits_at_the_wait_and_holds_no_task_meanwhile(
    office: Office, engine_side: asyncpg.Connection, act: str
) -> None:
    name = {"vote": "two_of_three", "expire": "climbing"}.get(act, "mine")
    task_id = await office.asked(name)
    await office.watch.close()
    if act == "vote":
        with acting_as(person("bob")):
            await office.tasks.complete(task_id, YES)
    if act == "expire":  # after escalations, which touch the task, in the same look
        office.clock.ahead += timedelta(days=400)
    transaction = engine_side.transaction()
    await transaction.start()
    await engine_side.execute("UPDATE toolkit_wait SET state = 'cancelled' WHERE id = $1", task_id)

    async def end() -> object:
        with acting_as(person("ada")):
            if act in {"complete", "vote"}:
                return await office.tasks.complete(task_id, YES)
        return await (office.tasks.cancel(task_id) if act == "cancel" else office.watch.look())

    ending = asyncio.create_task(end())
    await until(lambda: blocked(engine_side, unless=ending))
    await engine_side.execute("SET LOCAL lock_timeout = '2s'")
    await engine_side.execute(
        "UPDATE toolkit_task SET state = 'cancelled', ended_at = now(), next_at = NULL WHERE id = $1", task_id
    )
    await transaction.commit()

    if act == "expire":
        await ending
    else:
        with pytest.raises(Conflict, match=r"its run is ending|was cancelled with its run"):
            await ending
    assert (await office.tasks.get(task_id)).state is TaskState.CANCELLED
    await office.watch.open()


async def test_answers_in_the_moment_of_the_end_are_kept_or_refused_and_never_lost(office: Office) -> None:
    """Twelve runs are cancelled, and twelve expire, while each of their tasks is answered."""
    cancelled = [await office.engine.start(ask_by_name, "mine", []) for _ in range(12)]
    expiring = [await office.engine.start(ask_for_an_hour) for _ in range(12)]
    tasks = {run.id: await office.open_task(run.id) for run in [*cancelled, *expiring]}

    async def answer(task_id: str) -> bool:
        try:
            await office.tasks.complete(task_id, YES)
        except Conflict:
            return False
        return True

    office.clock.ahead += timedelta(hours=2)
    answers = asyncio.gather(*(answer(task_id) for task_id in tasks.values()))
    ends = asyncio.gather(*(office.engine.cancel(run.id) for run in cancelled), office.watch.look())
    kept, _ = await asyncio.gather(answers, ends)

    for task_id, is_kept in zip(tasks.values(), kept, strict=True):
        task = await office.ended_task(task_id)
        assert (task.state is TaskState.COMPLETED) is is_kept
