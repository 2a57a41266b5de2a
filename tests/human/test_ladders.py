"""What nobody answers is brought to mind, then to somebody else, then to an end: in office hours, once, in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import col, select, update

from tests.human.office import Office, Verdict, ask_by_name, ask_for_an_hour, person, until
from toolkit.access import acting_as
from toolkit.errors import Conflict, DefinitionError
from toolkit.human import Escalate, Human, TaskState, Timeout, WorkingTime
from toolkit.human.tables import TaskRow
from toolkit.storage.payloads import MARK
from toolkit.workflows.tables import WaitRow

# A Friday, 15:00 in Munich. Summer time ends on Sunday, and Monday is All Saints'.
FRIDAY = datetime(2027, 10, 29, 13, 0, tzinfo=UTC)
RUNGS = [
    ("reminded", datetime(2027, 11, 2, 10, 0, tzinfo=UTC)),  # four working hours: two on Friday, two on Tuesday
    ("reminded", datetime(2027, 11, 2, 14, 0, tzinfo=UTC)),  # a working day: Tuesday, 15:00 winter time
    ("escalated", datetime(2027, 11, 3, 14, 0, tzinfo=UTC)),
    ("escalated", datetime(2027, 11, 4, 14, 0, tzinfo=UTC)),  # the limit of three days passes
    ("expired", datetime(2027, 11, 9, 14, 0, tzinfo=UTC)),  # and passes again
]


async def actions(office: Office, task_id: str) -> list[str]:
    opened, *rest = [change.action for change in await office.tasks.history(task_id)]
    assert opened == "opened"
    return rest


async def reach(office: Office, moment: datetime) -> None:
    office.clock.ahead += moment - office.clock.now()
    office.engine.poke()


async def open_on_friday(office: Office) -> tuple[str, str]:
    await office.restart(later_by=FRIDAY - office.clock.now())
    run = await office.engine.start(ask_by_name, "climbing", [])
    return run.id, await office.open_task(run.id)


async def test_a_ladder_is_climbed_in_working_time(office: Office) -> None:
    run_id, task_id = await open_on_friday(office)

    for at, (_, moment) in enumerate(RUNGS):
        await reach(office, moment - timedelta(seconds=30))
        await office.watch.look()
        assert len(await actions(office, task_id)) == at

        await reach(office, moment + timedelta(seconds=30))

        async def climbed(expected: int = at + 1) -> bool | None:
            return len(await actions(office, task_id)) == expected or None

        await until(climbed)
        task = await office.tasks.get(task_id)
        assert task.assigned_to == ("ada" if at < 2 else "bob" if at == 2 else None)

    _, *history = await office.tasks.history(task_id)
    assert [change.action for change in history] == [action for action, _ in RUNGS]
    assert {change.actor for change in history} == {"system"}
    assert [change.details.get("to") for change in history[2:4]] == ["user:bob", "group:finance"]
    assert (await office.tasks.get(task_id)).state is TaskState.EXPIRED
    assert await office.result_of(run_id) == "expired"


async def test_after_400_days_of_downtime_everything_happens_once_and_in_order(office: Office) -> None:
    run_id, task_id = await open_on_friday(office)

    await office.restart(later_by=timedelta(days=400))

    assert await office.result_of(run_id) == "expired"
    await office.watch.look()
    assert await actions(office, task_id) == [action for action, _ in RUNGS]


async def test_a_ladder_that_cannot_be_read_holds_up_no_other(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    _, broken = await open_on_friday(office)
    run = await office.engine.start(ask_by_name, "climbing", [])
    task_id = await office.open_task(run.id)
    await office.watch.close()  # only this test looks
    async with office.database.session() as session:
        row = (await session.exec(select(TaskRow).where(TaskRow.id == broken))).one()
        row.ladder = "[{"  # as code of another version might have written it
        session.add(row)
    await reach(office, RUNGS[0][1] + timedelta(minutes=1))

    assert await office.watch.look() == 1
    assert await office.watch.look() == 0

    assert await actions(office, task_id) == ["reminded"]
    assert [vars(record)["task_id"] for record in caplog.records if record.message.startswith("What is due")] == [
        broken
    ]


async def test_an_answer_after_the_time_is_refused_also_before_anybody_has_looked(office: Office) -> None:
    await office.watch.close()
    run = await office.engine.start(ask_for_an_hour)
    extended = await office.engine.start(ask_for_an_hour)
    task_id, other = await office.open_task(run.id), await office.open_task(extended.id)

    await office.turn(timedelta(hours=1))
    with pytest.raises(Conflict, match="expired at"):
        await office.tasks.complete(task_id, '{"approved": true}')
    due_at = (await office.tasks.get(other)).due_at
    assert due_at is not None
    await office.tasks.edit(other, due_at=due_at + timedelta(hours=1))
    await office.tasks.complete(other, '{"approved": true}')
    await office.watch.look()

    assert (await office.tasks.get(task_id)).state is TaskState.EXPIRED
    assert await run.result() == f"expired: {task_id}"
    assert await extended.result() == "answered"


async def test_a_task_whose_ladder_cannot_be_read_is_still_answered(office: Office) -> None:
    await office.watch.close()
    run = await office.engine.start(ask_for_an_hour)
    task_id = await office.open_task(run.id)
    async with office.database.session() as session:
        await session.exec(update(TaskRow).where(col(TaskRow.id) == task_id).values(ladder='[{"do":"dance"}]'))

    await office.turn(timedelta(hours=1))
    await office.tasks.complete(task_id, '{"approved": true}')

    assert await run.result() == "answered"


async def test_a_task_that_this_process_cannot_decode_holds_up_no_other(office: Office) -> None:
    await office.watch.close()
    encoded = await office.engine.start(ask_for_an_hour)
    task_id = await office.open_task(encoded.id)
    run = await office.engine.start(ask_for_an_hour)
    other = await office.open_task(run.id)
    async with office.database.session() as session:
        statement = text("UPDATE toolkit_task SET input = :input WHERE id = :id")
        await (await session.connection()).execute(statement, {"input": f"{MARK}x", "id": task_id})

    await office.turn(timedelta(hours=1))

    assert [await office.watch.look() for _ in range(2)] == [1, 0]
    assert await run.result() == f"expired: {other}"


async def test_a_task_whose_wait_is_gone_is_looked_at_once_a_look_and_holds_up_no_other(office: Office) -> None:
    await office.watch.close()
    gone = await office.engine.start(ask_for_an_hour)
    run = await office.engine.start(ask_for_an_hour)
    task_id, other = await office.open_task(gone.id), await office.open_task(run.id)
    async with office.database.session() as session:
        await session.exec(update(WaitRow).where(col(WaitRow.id) == task_id).values(state="delivered"))

    await office.turn(timedelta(hours=1))
    climbed = [await office.watch.look() for _ in range(2)]

    assert climbed == [1, 0]
    assert (await office.tasks.get(task_id)).state is TaskState.OPEN
    assert await run.result() == f"expired: {other}"


async def test_two_watches_climb_a_rung_once(office: Office) -> None:
    import asyncio

    from toolkit.human import TaskWatch

    _, task_id = await open_on_friday(office)
    office.clock.ahead += RUNGS[0][1] + timedelta(minutes=1) - office.clock.now()

    watches = [TaskWatch(office.tasks, office.database) for _ in range(8)]
    await asyncio.gather(*(watch.look() for watch in watches))

    assert await actions(office, task_id) == ["reminded"]


async def test_whom_it_was_escalated_to_answers(office: Office) -> None:
    run_id, task_id = await open_on_friday(office)
    await reach(office, RUNGS[2][1] + timedelta(minutes=1))

    async def at_bob() -> bool | None:
        return (await office.tasks.get(task_id)).assigned_to == "bob" or None

    await until(at_bob)
    with acting_as(person("bob")):
        await office.tasks.complete(task_id, '{"approved": true}')

    assert await office.result_of(run_id) == "completed by bob True []"
    assert (await office.tasks.get(task_id)).next_at is None


def human(**given: object) -> Human[None, Verdict]:
    return Human("a", title="A", output_type=Verdict, **given)  # type: ignore[arg-type]


def test_a_ladder_that_cannot_be_climbed_is_refused() -> None:
    day = timedelta(days=1)
    with pytest.raises(DefinitionError, match="needs a calendar"):
        human(reminders=[WorkingTime(days=1)])
    with pytest.raises(DefinitionError, match="longer than nothing"):
        human(reminders=[timedelta(0)])
    with pytest.raises(DefinitionError, match="has no timeout"):
        human(escalation=[Escalate("bob")])
    with pytest.raises(DefinitionError, match="no step of escalation"):
        human(timeout=Timeout(day, on_timeout="escalate"))
    with pytest.raises(DefinitionError, match="some days or some hours"):
        WorkingTime(days=1, hours=1)
