"""A question may stand anywhere in a workflow: in a loop, in a child, side by side; and many may be answered at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.human.office import Office, ask_by_name, ask_in_a_loop_and_side_by_side, person, until
from toolkit.access import Permission, acting_as
from toolkit.errors import Conflict
from toolkit.human import Task, TaskState

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
    from pydantic import BaseModel

    from toolkit.human import Human

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
