"""What a person saw is on record beside the answer."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlmodel import col, update

from tests.human.office import Invoice, Office, approve
from toolkit.errors import Conflict
from toolkit.human.tables import TaskRow

YES = '{"approved": true}'


async def answered(office: Office) -> str:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(5)))
    task_id = await office.open_task(run.id)
    await office.tasks.complete(task_id, YES, seen=(await office.tasks.get(task_id)).seen)
    return task_id


async def test_an_untouched_record_is_what_was_seen(office: Office) -> None:
    task_id = await answered(office)

    verification = await office.tasks.verify(task_id)

    assert verification.is_unchanged
    assert verification.answers == 1


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("input", '{"number":"R-1","total":"5000"}', "input"),
        ("message", "Something else", "text"),
        ("suggested_data", '{"approved": false}', "suggested_data"),
        ("output", '{"approved":true,"amount":"9"}', "output"),
        ("files", '[{"id": "x", "sha256": "00"}]', "files"),
        ("evidence", None, ""),
    ],
)
async def test_a_changed_record_names_what_changed(office: Office, column: str, value: str | None, part: str) -> None:
    task_id = await answered(office)
    async with office.database.session() as session:
        await session.exec(update(TaskRow).where(col(TaskRow.id) == task_id).values({column: value}))

    if value is None:
        with pytest.raises(Conflict, match="has no answer to verify"):
            await office.tasks.verify(task_id)
        return
    verification = await office.tasks.verify(task_id)

    assert not verification.is_unchanged
    assert verification.changed == [part]


async def test_an_answer_to_something_else_is_refused(office: Office) -> None:
    run = await office.engine.start(approve, Invoice(number="R-1", total=Decimal(5)))
    task_id = await office.open_task(run.id)
    seen = (await office.tasks.get(task_id)).seen
    async with office.database.session() as session:
        changed = {"input": '{"number":"R-1","total":"5000"}'}
        await session.exec(update(TaskRow).where(col(TaskRow.id) == task_id).values(changed))

    with pytest.raises(Conflict, match="does not show what the answer was given to"):
        await office.tasks.complete(task_id, YES, seen=seen)
