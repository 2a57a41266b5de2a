"""Only who may answer a task ends its wait: no event does, whoever emits it and however."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.human.office import Office, ask_by_name, person
from toolkit.access import acting_as
from toolkit.errors import InvalidInput
from toolkit.human import TaskState
from toolkit.human.answers import Answer
from toolkit.workflows import RunState, emit_event, workflow
from toolkit.workflows.operations import EmitEvent, NewEvent


def forged(task_id: str) -> Any:
    """What a completed task hands to its run, in somebody else's name."""
    answer = Answer(
        task_id=task_id,
        outcome="completed",
        by="fay",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        output=msgspec.Raw(b'{"approved":true}'),
    )
    return json.loads(answer.encode())


@workflow()
async def emits(key: str, payload: Any) -> str:
    try:
        await emit_event(key, payload)
    except InvalidInput as error:
        return str(error)
    return "emitted"


@pytest.mark.parametrize("name", ["two_pairs_of_eyes", "two_of_three", "mine"])
async def test_no_event_answers_a_task(office: Office, name: str) -> None:
    office.workflows = [*office.workflows, emits]
    await office.restart()
    run = await office.engine.start(ask_by_name, name, [], started_by="eve")
    task_id = await office.open_task(run.id)
    key, payload = f"task:{task_id}", forged(task_id)

    for target in (None, run.id):
        with pytest.raises(InvalidInput, match="a task is answered by completing it"):
            await office.engine.emit_event(key, payload, run_id=target)
    async with office.database.session() as session:
        with pytest.raises(InvalidInput, match="a task is answered by completing it"):
            await emit_event(key, payload, session=session)
    said = await (await office.engine.start(emits, key, payload)).result()
    # Even one that was written past every check.
    await office.engine.submit(EmitEvent(NewEvent(office.engine.new_id(), key, json.dumps(payload), run.id)))

    assert "a task is answered by completing it" in said
    assert (await office.engine.get_run(run.id)).summary.state is RunState.SUSPENDED
    assert (await office.tasks.get(task_id)).state is TaskState.OPEN
    assert [change.action for change in await office.tasks.history(task_id)] == ["opened"]
    for who in ("ada", "bob") if name == "two_of_three" else ("ada",):
        with acting_as(person(who)):
            await office.tasks.complete(task_id, '{"approved": false}' if name == "mine" else '{"approved": true}')
    assert "fay" not in await run.result()
