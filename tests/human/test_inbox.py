"""What stands in front of a person is found without looking at what does not, however much that is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.human.office import Office, person
from toolkit.access import acting_as
from toolkit.human import TaskState
from toolkit.human.queries import Filter, inbox_query

COUNT = 100_000
FIRST = datetime(2030, 1, 1, tzinfo=UTC)


async def fill(office: Office) -> None:
    """A hundred thousand open tasks: most for one big group, some for Ada."""
    for first in range(1, COUNT, COUNT // 10):  # a transaction may not hold up others for long
        await fill_some(office, first, first + COUNT // 10 - 1)
    async with office.database.session() as session:
        await (await session.connection()).execute(text("ANALYZE"))


async def fill_some(office: Office, first: int, last: int) -> None:
    """The tasks of these numbers, each due as many minutes after the year 2030 has begun."""
    if office.database.dialect == "sqlite":
        numbers = (
            f"(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c)"
        )
        identity = "printf('%036d', n)"
        due = "strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', '2030-01-01', '+' || n || ' minutes')"
    else:
        numbers = f"generate_series({first}, {last}) AS s(n)"
        identity = "lpad(n::text, 36, '0')"
        due = "timestamptz '2030-01-01T00:00:00Z' + n * interval '1 minute'"
    actor = "CASE WHEN n % 1000 = 0 THEN 'user:ada' ELSE 'group:finance' END"
    async with office.database.session() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO toolkit_task (id, name, title, workflow, run_id, state, input, files, "
                "output_schema_digest, candidates, prepared_by, four_eyes, priority, due_at, due_order, ladder, "
                f"created_at, version) SELECT {identity}, 'claimable', 'T', 'w', 'r', 'open', 'null', '[]', 'd', '[]', "
                f"'[]', 0, 0, {due}, {due}, '[]', {due}, 1 FROM {numbers}"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO toolkit_task_inbox (task_id, actor, due_order) "
                f"SELECT {identity}, {actor}, {due} FROM {numbers}"
            )
        )


@pytest.mark.timeout(300)
async def test_the_first_page_of_a_hundred_thousand_takes_no_search(office: Office) -> None:
    await office.staff()
    await fill(office)

    with acting_as(person("bob")):
        await office.tasks.list(mine=True, limit=50)
        took = []
        for _ in range(40):
            began = time.perf_counter()
            page = await office.tasks.list(mine=True, limit=50)
            took.append(time.perf_counter() - began)
        second = await office.tasks.list(mine=True, limit=50, after=page[-1].id)
    with acting_as(person("ada")):
        hers = await office.tasks.list(mine=True, limit=50, state=TaskState.OPEN)

    assert [int(task.id) for task in page] == list(range(1, 51))
    assert [int(task.id) for task in second] == list(range(51, 101))
    assert [int(task.id) for task in hers[:2]] == [1000, 2000]
    assert min(took) < 0.05, took  # the least of many: other work on this machine is not ours


@pytest.mark.parametrize("is_later", [False, True])
async def test_a_page_of_an_inbox_reads_an_index_in_order(office: Office, is_later: bool) -> None:
    after = (FIRST, "x") if is_later else None
    query = inbox_query("group:finance", Filter(), after=after, limit=50)
    is_sqlite = office.database.dialect == "sqlite"

    async with office.database.session() as session:
        connection = await session.connection()
        compiled = query.compile(connection.engine.sync_engine, compile_kwargs={"literal_binds": True})
        for way in () if is_sqlite else ("seqscan", "bitmapscan", "sort"):  # the planner reads an empty table whole
            await connection.execute(text(f"SET LOCAL enable_{way} = off"))
        explain = text(("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + str(compiled).replace(":", r"\:"))
        plan = "\n".join(str(row[-1]) for row in await connection.execute(explain))

    assert "ix_toolkit_task_inbox_actor" in plan
    assert not [word for word in ("TEMP B-TREE", "Seq Scan", "Sort", "SCAN") if word in plan], plan


@pytest.mark.timeout(300)
async def test_completing_one_of_many_does_not_search(office: Office) -> None:
    await office.staff()
    await fill(office)
    task_id = await office.asked("mine")
    executed: list[tuple[str, Any]] = []
    engine = office.database.sessions.engine.sync_engine

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "toolkit_task" in statement and not statement.startswith("INSERT"):
            executed.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    with acting_as(person("ada")):
        await office.tasks.complete(task_id, '{"approved": true}')
    event.remove(engine, "before_cursor_execute", note)

    explain = "EXPLAIN QUERY PLAN " if office.database.dialect == "sqlite" else "EXPLAIN "
    plans = []
    async with office.database.sessions.engine.connect() as connection:
        for statement, parameters in executed:
            rows = await connection.exec_driver_sql(explain + statement, parameters)
            plans.append("\n".join(str(row[-1]) for row in rows))
    assert len(plans) >= 4
    assert [plan for plan in plans if "SCAN toolkit_task" in plan or "Seq Scan on toolkit_task " in plan] == []
    assert [plan for plan in plans if "Seq Scan on toolkit_task_inbox" in plan] == []


async def test_lists_are_narrowed_and_counted(office: Office) -> None:
    await office.staff()
    claimed, urgent, other = [await office.asked(name) for name in ("claimable", "mine", "climbing")]
    now = office.clock.now()
    await office.tasks.edit(urgent, due_at=now - timedelta(days=1))
    with acting_as(person("bob")):
        await office.tasks.claim(claimed)

    async def found(**wanted: object) -> list[str]:
        return [task.id for task in await office.tasks.list(**wanted)]  # type: ignore[arg-type]

    assert await found(order="due") == [urgent, other, claimed]
    assert await found(order="due", after=urgent) == [other, claimed]
    assert await found(due_before=now) == [urgent]
    assert await found(workflow="ask_by_name", state=TaskState.CLAIMED) == [claimed]
    assert await found(text="FOR ada") == [urgent]
    assert await found(text="%") == []
    assert await found(candidate="user:ada") == [urgent, other]
    with acting_as(person("ada")):
        counts = await office.tasks.counts()
        assert await found(mine=True, due_before=now) == [urgent]
    assert counts.model_dump() == {"open": 2, "claimed": 1, "overdue": 1, "mine": 2}
