"""Tasks are found by state, person, name and run, a page at a time, without their payloads."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import event, text

from tests.human.office import Invoice, Office, approve, review_all
from toolkit.human import TaskState


async def test_tasks_are_listed_newest_first_from_a_cursor(office: Office) -> None:
    run = await office.engine.start(review_all, ["a", "b", "c"])
    tasks = await office.open_tasks(run.id, count=3)

    first = await office.tasks.list(limit=2)
    second = await office.tasks.list(limit=2, after=first[-1].id)

    assert [task.id for task in [*first, *second]] == sorted((task.id for task in tasks), reverse=True)


async def test_tasks_are_listed_by_what_they_are(office: Office) -> None:
    one = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    two = await office.engine.start(review_all, ["a"])
    done = await office.open_task(one.id)
    left = await office.open_task(two.id)
    await office.tasks.complete(done, '{"approved": true}')

    async def found(**wanted: object) -> set[str]:
        return {task.id for task in await office.tasks.list(**wanted)}  # type: ignore[arg-type]

    assert await found(state=TaskState.OPEN) == {left}
    assert await found(state=TaskState.COMPLETED) == {done}
    assert await found(run_id=one.id) == {done}
    assert await found(assigned_to="finance") == {done}
    assert await found(name="review") == {done, left}
    assert await found(name="review", state=TaskState.OPEN, assigned_to="finance") == set()


async def test_a_list_reads_no_payload(office: Office) -> None:
    run = await office.engine.start(review_all, ["a"])
    await office.open_task(run.id)
    statements: list[str] = []
    engine = office.database.sessions.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    await office.tasks.list()

    (statement,) = [text for text in statements if "toolkit_task.title" in text]  # not the watch's own look
    assert not [column for column in ("input", "output,", "files", "suggested_data") if f".{column}" in statement]


@pytest.mark.parametrize(
    "condition",
    [
        "state = 'open'",
        "assigned_to = 'finance' AND state = 'open'",
        "run_id = 'r1'",
        "name = 'review' AND state = 'open'",
        "1 = 1",
    ],
)
async def test_each_list_has_an_index(office: Office, condition: str) -> None:
    is_sqlite = office.database.dialect == "sqlite"
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
    query = f"{explain} SELECT id FROM toolkit_task WHERE {condition} AND id < 'x' ORDER BY id DESC LIMIT 50"

    async with office.database.session() as session:
        connection = await session.connection()
        for way in () if is_sqlite else ("seqscan", "bitmapscan", "sort"):  # the planner reads an empty table whole
            await connection.execute(text(f"SET LOCAL enable_{way} = off"))
        plan = "\n".join(str(row[-1]) for row in await connection.execute(text(query)))

    assert "index" in plan.lower(), plan
    assert not [word for word in ("TEMP B-TREE", "Seq Scan", "Sort") if word in plan], plan
