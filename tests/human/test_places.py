"""A question may stand anywhere in a workflow: in a loop, in a child, side by side; and many may be answered at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from pydantic import BaseModel

from tests.human.office import (
    MORE,
    Office,
    Verdict,
    ask_by_name,
    ask_in_a_loop_and_side_by_side,
    person,
    until,
)
from toolkit.access import Permission, acting_as
from toolkit.errors import Conflict
from toolkit.human import Group, Human, Task, TaskState
from toolkit.workflows import RetryPolicy, gather, step, workflow

YES = '{"approved": true}'
_MANAGES = (Permission.TASKS_MANAGE,)


async def test_in_loops_children_and_side_by_side(office: Office) -> None:
    run = await office.engine.start(ask_in_a_loop_and_side_by_side, ["mine", "nobodys", "mine"])

    for _ in range(3):

        async def both_open() -> Sequence[Task] | None:
            tasks = await office.tasks.list(state=TaskState.OPEN)
            return tasks if len(tasks) == 2 else None

        for task in await until(both_open):
            await office.restart()
            await office.tasks.complete(task.id, YES)

    assert await office.result_of(run.id) == ["completed by manager True []", "manager"] * 3


seen: list[str] = []


@step(max_retries=3, retry=RetryPolicy(max_retries=3, first_delay=0.001))
async def stumble(place: str) -> str:
    """Fails twice before it works."""
    seen.append(place)
    if seen.count(place) < 3:
        raise ConnectionError(place)
    return place


@workflow()
async def stumble_around_a_question() -> list[str]:
    before = await stumble("before")
    beside, answer = await gather(stumble("beside"), MORE["mine"]())
    return [before, beside, answer.completed_by or "", await stumble("after")]


async def test_steps_that_are_tried_again_do_not_ask_again(office: Office) -> None:
    seen.clear()
    await office.deploy(stumble_around_a_question)
    run = await office.engine.start(stumble_around_a_question)
    task_id = await office.open_task(run.id)

    await office.restart()
    await office.tasks.complete(task_id, YES)

    assert await office.result_of(run.id) == ["before", "beside", "manager", "after"]
    assert {place: seen.count(place) for place in ("before", "after")} == {"before": 3, "after": 3}
    assert [task.id for task in await office.tasks.list(run_id=run.id)] == [task_id]


first_form = Human("settle", title="Settle the claim", output_type=Verdict, assign_to="ada")
second_form = Human(
    "settle", title="Settle it, please", output_type=Verdict, candidates=[Group("finance")], timeout=timedelta(days=9)
)
later_question = Human("book", title="Book it", output_type=Verdict, assign_to="ada")


@workflow(name="settle_claim")
async def settle_claim(amount: int) -> str:
    answer = await first_form(amount)
    return f"settled by {answer.completed_by}"


@workflow(name="settle_claim")
async def settle_claim_anew(amount: int) -> str:
    answer = await second_form(amount)
    booked = await later_question(amount)
    return f"settled by {answer.completed_by}, booked by {booked.completed_by}"


async def test_a_question_is_answered_after_the_code_has_been_upgraded(office: Office) -> None:
    """The answer given to the old code reaches the new one, which goes on with steps that the old one had not."""
    await office.deploy(settle_claim, humans=[first_form])
    run = await office.engine.start(settle_claim, 7)
    task_id = await office.open_task(run.id)

    await office.deploy(settle_claim_anew, humans=[second_form, later_question])
    task = await office.tasks.get(task_id)
    with acting_as(person("ada")):
        await office.tasks.complete(task_id, YES, version=task.version, seen=task.seen)
        await office.tasks.complete(await office.open_task(run.id), YES)

    assert (task.title, task.assigned_to, task.due_at) == ("Settle the claim", "ada", None)  # as it was asked
    assert await office.result_of(run.id) == "settled by ada, booked by ada"
    assert [one.name for one in await office.tasks.list(run_id=run.id)] == ["book", "settle"]


async def test_an_answer_given_while_nothing_ran_reaches_the_upgraded_code(office: Office) -> None:
    await office.deploy(settle_claim, humans=[first_form, second_form, later_question])
    run = await office.engine.start(settle_claim, 7)
    task_id = await office.open_task(run.id)
    await office.engine.close()  # the workers are down; people go on answering
    with acting_as(person("ada")):
        await office.tasks.complete(task_id, YES)

    await office.deploy(settle_claim_anew)
    with acting_as(person("ada")):
        await office.tasks.complete(await office.open_task(run.id), YES)

    assert await office.result_of(run.id) == "settled by ada, booked by ada"


@pytest.mark.timeout(300)
async def test_of_many_answers_to_many_tasks_one_wins_each_over_restarts(office: Office) -> None:
    """Forty tasks, each answered ten times at once, the process gone and back in between."""
    runs = [await office.engine.start(ask_by_name, "claimable", []) for _ in range(40)]
    tasks = {run.id: await office.open_task(run.id) for run in runs}
    winners: dict[str, list[str]] = {task_id: [] for task_id in tasks.values()}

    async def answer(task_id: str, who: str) -> None:
        with acting_as(person(who, *_MANAGES)):
            try:
                await office.tasks.complete(task_id, YES)
            except Conflict:
                return
            winners[task_id].append(who)

    for batch in range(4):
        chosen = list(tasks.values())[batch * 10 : batch * 10 + 10]
        await asyncio.gather(*(answer(task_id, f"p{n}") for task_id in chosen for n in range(10)))
        await office.restart()

    assert {len(found) for found in winners.values()} == {1}
    for run_id, task_id in tasks.items():
        assert await office.result_of(run_id) == f"completed by {winners[task_id][0]} True []"


async def test_the_form_may_change_while_a_question_is_open(office: Office) -> None:
    class NewVerdict(BaseModel):
        approved: bool
        ticket: str

    run = await office.engine.start(ask_by_name, "mine", [])
    task_id = await office.open_task(run.id)
    office.humans["mine"] = Human("mine", title="For Ada, anew", output_type=NewVerdict, assign_to="ada")
    await office.restart()

    detail = await office.tasks.get(task_id)
    with acting_as(person("ada")):
        done = await office.tasks.complete(task_id, '{"approved": true, "ticket": "T-1"}')

    assert detail.is_form_changed
    assert done.state is TaskState.COMPLETED
    assert (await office.tasks.verify(task_id)).is_unchanged
