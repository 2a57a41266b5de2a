"""What stands in front of a person is found without looking at what does not, however much that is."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import select

from tests.human.inbox_load import fill
from tests.human.office import Office, person
from toolkit.access import acting_as
from toolkit.errors import InvalidInput
from toolkit.human import TaskState, cursor_after
from toolkit.human.queries import Filter, inbox_query
from toolkit.human.tables import TaskRow

FIRST = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("is_later", [False, True])
async def test_a_page_of_an_inbox_reads_an_index_in_order(office: Office, is_later: bool) -> None:
    after = (FIRST, 0, "x") if is_later else None
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


async def test_the_pages_of_an_inbox_are_those_of_all_its_actors(office: Office) -> None:
    await office.staff()
    await fill(office, 3000)

    with acting_as(person("bob")):
        first = await office.tasks.list(mine=True, limit=50)
        second = await office.tasks.list(mine=True, limit=50, after=cursor_after(first[-1], order="due"))
    with acting_as(person("ada")):
        hers = await office.tasks.list(mine=True, limit=50, state=TaskState.OPEN)

    assert [int(task.id) for task in [*first, *second]] == list(range(1, 101))
    assert [int(task.id) for task in hers] == [1000, 2000, 3000]


@pytest.mark.parametrize("wanted", [{"mine": True}, {"order": "due"}, {"candidate": "user:ada"}])
async def test_of_tasks_due_at_one_time_the_one_of_higher_priority_comes_first(
    office: Office, wanted: dict[str, Any]
) -> None:
    whenever = [await office.asked("mine") for _ in range(4)]
    urgent = await office.asked("mine")
    await office.tasks.edit(urgent, due_at=FIRST, priority=-5)
    for task_id, priority in zip(whenever, (0, 7, -7, 7), strict=True):
        await office.tasks.edit(task_id, priority=priority)

    found: list[str] = []
    after = None
    with acting_as(person("ada")):
        while page := await office.tasks.list(limit=2, after=after, **wanted):
            found += [task.id for task in page]
            after = cursor_after(page[-1], order="due")

    assert found == [urgent, whenever[1], whenever[3], whenever[0], whenever[2]]


@pytest.mark.parametrize("wanted", [{"mine": True}, {"order": "due"}, {"candidate": "user:ada"}])
async def test_a_page_loses_no_task_when_the_last_one_of_the_page_before_is_edited(
    office: Office, wanted: dict[str, Any]
) -> None:
    tasks = [await office.asked("mine") for _ in range(6)]
    for day, task_id in enumerate(tasks):
        await office.tasks.edit(task_id, due_at=FIRST + timedelta(days=day))

    with acting_as(person("ada")):
        first = await office.tasks.list(limit=2, **wanted)
    after = cursor_after(first[-1], order="due")
    await office.tasks.edit(first[-1].id, due_at=FIRST + timedelta(days=365))
    with acting_as(person("ada")):
        rest = await office.tasks.list(limit=50, after=after, **wanted)

    assert [task.id for task in first] == tasks[:2]
    assert [task.id for task in rest] == [*tasks[2:], tasks[1]]  # the edited one comes once more, where it is now


ID = "019b78c9-0a80-7024-816f-50f9639b4437"
UNREADABLE = [
    base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    for content in (
        None,
        ["x"],
        ["2030-01-01", 0, ID],
        ["9999-12-31T23:59:59-23:00", 0, ID],
        ["2030-01-01T00:00:00Z", "high", ID],
        ["2030-01-01T00:00:00Z", 2**31, ID],
        ["2030-01-01T00:00:00Z", 0, 7],
        ["2030-01-01T00:00:00Z", 0, "x"],
    )
]


@pytest.mark.parametrize("cursor", ["", "x", "é", ID, *UNREADABLE])
async def test_a_cursor_that_is_none_of_the_list_is_refused(office: Office, cursor: str) -> None:
    task = await office.tasks.get(await office.asked("mine"))

    for wanted in ({"mine": True}, {"order": "due"}, {"candidate": "user:ada"}):
        with pytest.raises(InvalidInput, match="not the `next` of a page of this list"):
            await office.tasks.list(after=cursor, **wanted)
    for other in (cursor[:30] + "!", cursor_after(task, order="due")):
        with pytest.raises(InvalidInput, match="not the `next` of a page of this list"):
            await office.tasks.list(after=other)


async def test_completing_a_task_reads_no_table_whole(office: Office) -> None:
    await office.staff()
    task_id = await office.asked("mine")
    executed: list[tuple[str, Any]] = []
    engine = office.database.sessions.engine.sync_engine

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "toolkit_" in statement and not statement.startswith("INSERT"):
            executed.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    with acting_as(person("ada")):
        await office.tasks.complete(task_id, '{"approved": true}')
    event.remove(engine, "before_cursor_execute", note)

    is_sqlite = office.database.dialect == "sqlite"
    plans = {}
    async with office.database.sessions.engine.connect() as connection:
        if not is_sqlite:  # the planner reads a small table whole, unless that is made dear
            await connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in executed:
            rows = await connection.exec_driver_sql(
                ("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + statement, parameters
            )
            plans[statement] = "\n".join(str(row[-1]) for row in rows)
    assert len(plans) >= 6
    assert {one: plan for one, plan in plans.items() if "SCAN toolkit" in plan or "Seq Scan" in plan} == {}


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
    after = cursor_after(await office.tasks.get(urgent), order="due")
    assert await found(order="due", after=after) == [other, claimed]
    assert await found(due_before=now) == [urgent]
    assert await found(workflow="ask_by_name", state=TaskState.CLAIMED) == [claimed]
    assert await found(text="FOR ada") == [urgent]
    assert await found(text="%") == []
    async with office.database.session() as session:
        row = (await session.exec(select(TaskRow).where(TaskRow.id == urgent))).one()
        row.title = "Ärger mit Öl"
        session.add(row)
    assert await found(text="Ärger MIT") == [urgent]
    assert await found(candidate="user:ada") == [urgent, other]
    with acting_as(person("ada")):
        counts = await office.tasks.counts()
        assert await found(mine=True, due_before=now) == [urgent]
    assert counts.model_dump() == {"open": 2, "claimed": 1, "overdue": 1, "mine": 2}
