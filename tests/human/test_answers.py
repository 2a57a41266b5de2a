"""A person's answer reaches the run: once, whole, and in that person's name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.human.office import Invoice, Office, Verdict, approve, ask_twice, review_all, upload_note
from toolkit.access import Permission, Principal, acting_as, list_audit
from toolkit.errors import Conflict, InvalidInput, NotFound
from toolkit.human import TaskState

GRACE = Principal(id="grace", kind="person", permissions=frozenset({Permission.TASKS_MANAGE}))


async def test_a_task_carries_what_a_form_needs(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal("12.50")), started_by="ada")

    task = await office.tasks.get(await office.open_task(run.id))

    assert (task.name, task.title, task.message) == ("review", "Review invoice", "Is R-1 right?")
    assert (task.workflow, task.run_id, task.created_by) == ("approve", run.id, "ada")
    assert task.state is TaskState.OPEN
    assert task.assigned_to == "finance"
    assert task.input == {"number": "R-1", "total": "12.50"}
    assert task.suggested_data == {"approved": True}
    assert task.output_schema == approve_schema()
    assert not task.is_form_changed


def approve_schema() -> dict[str, Any]:
    return Verdict.model_json_schema()


async def test_an_answer_is_the_result_of_the_wait(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)

    with acting_as(GRACE):
        done = await office.tasks.complete(task_id, '{"approved": true, "amount": "1000000000000000.01"}')
    result = await run.result()

    assert done.state is TaskState.COMPLETED
    assert (done.completed_by, done.completed_at) == ("grace", done.ended_at)
    assert done.output == {"approved": True, "amount": "1000000000000000.01"}
    assert result == f"{task_id} completed by grace at {done.completed_at}: True 1000000000000000.01"


@pytest.mark.parametrize(
    ("answer", "loc"),
    [
        ("{}", "approved"),
        ('{"approved": null}', "approved"),
        ('{"approved": "perhaps"}', "approved"),
        ('{"approved": 2}', "approved"),
        ('{"approved": true, "amount": "much"}', "amount"),
        ('{"approved": true, "amount": [1]}', "amount"),
        ('{"approved": true, "amount": NaN}', "amount"),
        ('{"approved": true, "state": "completed"}', "state"),
        ("null", ""),
        ("[]", ""),
        ('"yes"', ""),
        ("", ""),
        ('{"approved": true', ""),
    ],
)
async def test_an_answer_that_does_not_fit_leaves_the_task_open(office: Office, answer: str, loc: str) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)

    with pytest.raises(InvalidInput) as caught:
        await office.tasks.complete(task_id, answer)

    assert [error["loc"] for error in caught.value.errors] == [loc]
    assert (await office.tasks.get(task_id)).state is TaskState.OPEN
    await office.tasks.complete(task_id, '{"approved": true}')
    assert "completed" in await run.result()


async def test_exactly_one_of_fifty_answers_wins(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)

    async def answer(number: int) -> str | Conflict:
        with acting_as(replace(GRACE, id=f"person-{number}")):
            try:
                await office.tasks.complete(task_id, f'{{"approved": true, "amount": {number}}}')
            except Conflict as error:
                return error
            return f"person-{number}"

    answers = await asyncio.gather(*(answer(number) for number in range(50)))
    task = await office.tasks.get(task_id)
    audit = await list_audit(office.database, object_id=task_id)

    (winner,) = [answer for answer in answers if isinstance(answer, str)]
    losers = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(losers) == 49
    assert {loser.details["ended_by"] for loser in losers} == {winner}
    assert all(f"was completed by '{winner}'" in str(loser) for loser in losers)
    assert task.completed_by == winner
    assert f"completed by {winner} " in await run.result()
    assert [(entry.action, entry.actor) for entry in audit] == [("task.completed", winner)]


async def test_nobody_answers_a_task_that_is_not_there(office: Office) -> None:
    for call in (office.tasks.get("t1"), office.tasks.complete("t1", "{}"), office.tasks.cancel("t1")):
        with pytest.raises(NotFound, match="'t1'"):
            await call


async def test_an_answer_outlives_the_process_that_asked(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)

    await office.restart()
    with acting_as(GRACE):
        await office.tasks.complete(task_id, '{"approved": false}')

    assert f"{task_id} completed by grace" in await office.result_of(run.id)
    assert len(await office.tasks.list(run_id=run.id)) == 1


async def test_a_finished_question_is_not_asked_again_after_a_restart(office: Office) -> None:
    run = await office.engine.start(ask_twice)
    await office.tasks.complete(await office.open_task(run.id), '{"approved": true}')
    second = await office.open_task(run.id)

    await office.restart()
    await office.tasks.complete(second, '{"approved": false}')

    assert await office.result_of(run.id) == "True False"
    assert len(await office.tasks.list(run_id=run.id)) == 2


async def test_people_answer_side_by_side(office: Office) -> None:
    run = await office.engine.start(review_all, ["a", "b", "c"])
    open_tasks = await office.open_tasks(run.id, count=3)

    for task in open_tasks:  # newest first, so the answers come in another order than the questions
        number = (await office.tasks.get(task.id)).input["number"]
        await office.tasks.complete(task.id, f'{{"approved": {str(number == "b").lower()}}}')

    assert await run.result() == [False, True, False]


async def test_a_message_with_what_no_database_keeps_is_still_asked(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="a\x00b", total=Decimal(1)))

    task = await office.tasks.get(await office.open_task(run.id))

    assert task.message == "Is a\ufffdb right?"


async def test_files_are_shown_with_the_task(office: Office) -> None:
    run = await office.engine.start(upload_note)

    (file,) = (await office.tasks.get(await office.open_task(run.id))).files

    assert (file.filename, file.size) == ("note.txt", 5)


async def test_a_task_whose_definition_is_gone_can_only_be_cancelled(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(1)))
    task_id = await office.open_task(run.id)
    office.humans.clear()

    task = await office.tasks.get(task_id)
    assert task.output_schema is None
    assert task.is_form_changed
    with pytest.raises(Conflict, match="does not define"):
        await office.tasks.complete(task_id, '{"approved": true}')
    assert (await office.tasks.cancel(task_id)).state is TaskState.CANCELLED
