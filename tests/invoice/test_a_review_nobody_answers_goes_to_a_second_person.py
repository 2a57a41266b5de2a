from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlmodel import col, update

from examples.invoice.make_samples import CHAIRS
from examples.invoice.renderers import write_cii
from tests.invoice.conftest import served
from toolkit.config import Settings
from toolkit.storage import Database
from toolkit.workflows.tables import RunRow, WaitRow


async def let_two_days_pass(settings: Settings) -> None:
    """What was due is overdue when the application starts again."""
    passed = datetime.now(UTC) - timedelta(seconds=1)
    database = Database(settings.database.url.get_secret_value())
    await database.open()
    try:
        async with database.session() as session:
            await session.exec(update(WaitRow).values(deadline_at=passed))
            await session.exec(update(RunRow).where(col(RunRow.due_at).is_not(None)).values(due_at=passed))
    finally:
        await database.close()


async def test_after_two_days_the_head_of_finance_is_asked(settings: Settings) -> None:
    async with served(settings) as client:
        first = await client.send_in("chairs.xml", write_cii(CHAIRS))
        assert first.task is not None
        run_id, task_id = first.run["id"], first.task["id"]

    await let_two_days_pass(settings)

    async with served(settings) as client:
        second = await client.settled(run_id, after_task=task_id)
        assert second.task is not None
        expired = await client.call("GET", f"/human-tasks/{task_id}")
        ended = await client.answer(second, {"approved": True, "note": "Late, but fine."})

    assert (first.task["assigned_to"], second.task["assigned_to"]) == ("accounting", "head-of-finance")
    assert expired["state"] == "expired"
    assert second.task["suggested_data"] == first.task["suggested_data"]
    assert ended.run["result"]["state"] == "paid"
