from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlmodel import select

from examples.invoice.demo.rest import Client, Standing
from examples.invoice.make_samples import CHAIRS
from examples.invoice.renderers import write_cii
from tests.invoice.conftest import served
from toolkit.config import Settings
from toolkit.human.ladders import decode_ladder, encode_ladder, moved
from toolkit.human.tables import TaskRow
from toolkit.storage import Database


async def let_two_days_pass(settings: Settings) -> None:
    """What was due is overdue when the application starts again."""
    database = Database(settings.database.url.get_secret_value())
    await database.open()
    try:
        async with database.session() as session:
            for task in (await session.exec(select(TaskRow))).all():
                rungs = moved(decode_ladder(task.ladder), -timedelta(days=2, seconds=1))
                task.ladder, task.next_at = encode_ladder(rungs), rungs[0].at
    finally:
        await database.close()


async def assigned_elsewhere(client: Client, first: Standing) -> Standing:
    """Where the run stands once its task has gone to somebody else."""
    assert first.task is not None
    async with asyncio.timeout(30):
        while True:
            standing = await client.settled(first.run["id"])
            if standing.task is not None and standing.task["assigned_to"] != first.task["assigned_to"]:
                return standing
            await asyncio.sleep(0.05)


async def test_after_two_days_the_head_of_finance_is_asked(settings: Settings) -> None:
    async with served(settings) as client:
        first = await client.send_in("chairs.xml", write_cii(CHAIRS))
        assert first.task is not None

    await let_two_days_pass(settings)

    async with served(settings) as client:
        second = await assigned_elsewhere(client, first)
        assert second.task is not None
        history = await client.call("GET", f"/human-tasks/{second.task['id']}/history")
        ended = await client.answer(second, {"approved": True, "note": "Late, but fine."})

    assert (first.task["assigned_to"], second.task["assigned_to"]) == ("accounting", "head-of-finance")
    assert [change["action"] for change in history["items"]] == ["opened", "reminded", "escalated"]
    assert second.task["id"] == first.task["id"]
    assert second.task["suggested_data"] == first.task["suggested_data"]
    assert ended.run["result"]["state"] == "paid"
