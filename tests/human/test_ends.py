"""A task that nobody answers ends with its wait: by time, by a person, or with its run."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.human.office import Invoice, Office, approve, ask_for_an_hour, go_on_after_an_hour, person, take_first
from toolkit.access import Permission, acting_as, list_audit
from toolkit.errors import Conflict, PermissionDenied, RunFailed
from toolkit.human import TaskState


async def test_a_task_expires_with_an_error_that_an_author_may_catch(office: Office) -> None:
    run = await office.engine.start(ask_for_an_hour)
    task_id = await office.open_task(run.id)
    due_at = (await office.tasks.get(task_id)).due_at

    await office.turn(timedelta(hours=1, seconds=1))
    result = await run.result()
    task = await office.tasks.get(task_id)

    assert result == f"expired: {task_id}"
    assert task.state is TaskState.EXPIRED
    assert due_at is not None
    assert due_at == task.due_at == task.created_at + timedelta(hours=1)
    assert task.ended_at is not None
    assert task.ended_at >= due_at
    assert task.completed_by is None


async def test_a_run_may_go_on_with_a_given_value_when_time_is_up(office: Office) -> None:
    run = await office.engine.start(go_on_after_an_hour)
    task_id = await office.open_task(run.id)

    await office.turn(timedelta(hours=2))

    assert await run.result() == f"{task_id} timed_out None False"
    assert (await office.tasks.get(task_id)).state is TaskState.EXPIRED


async def test_a_task_that_came_due_while_everything_was_down_expires_afterwards(office: Office) -> None:
    run = await office.engine.start(ask_for_an_hour)
    task_id = await office.open_task(run.id)

    await office.restart(later_by=timedelta(days=400))

    assert await office.result_of(run.id) == f"expired: {task_id}"
    assert (await office.tasks.get(task_id)).state is TaskState.EXPIRED


async def test_an_expired_task_says_so_to_who_comes_late(office: Office) -> None:
    run = await office.engine.start(ask_for_an_hour)
    task_id = await office.open_task(run.id)
    await office.turn(timedelta(hours=2))
    await run.result()

    with pytest.raises(Conflict, match="expired at") as caught:
        await office.tasks.complete(task_id, '{"approved": true}')

    assert caught.value.details["state"] == "expired"


async def test_an_answer_in_time_stops_the_clock(office: Office) -> None:
    run = await office.engine.start(ask_for_an_hour)
    task_id = await office.open_task(run.id)

    await office.tasks.complete(task_id, '{"approved": true}')
    await run.result()
    await office.turn(timedelta(hours=2))

    assert (await office.tasks.get(task_id)).state is TaskState.COMPLETED


async def test_a_cancelled_task_is_a_typed_error_in_its_run(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)

    with acting_as(person("mallory")), pytest.raises(PermissionDenied, match="tasks:cancel"):
        await office.tasks.cancel(task_id)
    with acting_as(person("grace", Permission.TASKS_CANCEL)):
        task = await office.tasks.cancel(task_id, reason="duplicate")
    audit = await list_audit(office.database, object_id=task_id)

    assert await run.result() == f"{task_id} cancelled by grace: duplicate"
    assert task.state is TaskState.CANCELLED
    assert (task.ended_by, task.end_reason, task.completed_by) == ("grace", "duplicate", None)
    assert [(entry.action, entry.actor, entry.details["reason"]) for entry in audit] == [
        ("task.cancelled", "grace", "duplicate")
    ]


async def test_the_tasks_of_a_cancelled_run_are_cancelled(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)

    await office.engine.cancel(run.id)
    task = await office.ended_task(task_id)

    assert task.state is TaskState.CANCELLED
    last = (await office.tasks.history(task_id))[-1]
    assert (last.action, last.actor, last.at) == ("cancelled", "system", task.ended_at)
    assert last.note == "its run was cancelled or no longer asks"
    with pytest.raises(Conflict, match="was cancelled with its run"):
        await office.tasks.complete(task_id, '{"approved": true}')


async def test_a_question_that_is_no_longer_needed_is_withdrawn(office: Office) -> None:
    run = await office.engine.start(take_first)
    first, second = await office.open_tasks(run.id, count=2)

    await office.tasks.cancel(first.id)

    with pytest.raises(RunFailed):
        await run.result()
    assert (await office.ended_task(second.id)).state is TaskState.CANCELLED
