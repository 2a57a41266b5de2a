from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from sqlmodel import select

from examples.expense.main import app
from toolkit.config import Settings
from toolkit.human.ladders import decode_ladder, encode_ladder, moved
from toolkit.human.tables import TaskRow

EXAMPLE = Path(__file__).parents[2] / "examples" / "expense"
YES = {"output": {"approved": True}}


class Desk:
    """REST, as one person or another."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def __call__(self, who: str, method: str, path: str, json: Any = None) -> Any:
        return await self._http.request(method, f"/toolkit/v1{path}", json=json, headers={"x-toolkit-user": who})

    async def hand_in(self, amount: str) -> str:
        expense = {"purpose": "Trade fair", "paid_on": "2027-06-01", "amount": amount}
        body = {"input": {"expense": expense, "manager": "mona"}}
        return str((await self("eve", "POST", "/workflows/approve_expense/runs", body)).json()["id"])

    async def task_of(self, who: str, name: str) -> str:
        async with asyncio.timeout(30):
            while True:
                for task in (await self(who, "GET", f"/human-tasks?mine=true&name={name}")).json()["items"]:
                    return str(task["id"])
                await asyncio.sleep(0.02)

    async def outcome(self, run_id: str) -> Any:
        async with asyncio.timeout(30):
            while True:
                run = (await self("eve", "GET", f"/runs/{run_id}")).json()
                if run["state"] == "succeeded":
                    return run["result"]
                await asyncio.sleep(0.02)


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    content = yaml.safe_load((EXAMPLE / "toolkit.yaml").read_text("utf-8")) | {"database": {"url": database_url}}
    async with (
        app.running(settings=Settings.of(content, folder=tmp_path)),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost", timeout=30) as http,
    ):
        yield Desk(http)


async def test_below_the_limit_the_manager_decides(desk: Desk) -> None:
    run_id = await desk.hand_in("80.00")
    task_id = await desk.task_of("mona", "ask_manager")

    own = await desk("eve", "POST", f"/human-tasks/{task_id}/complete", YES)
    await desk("mona", "POST", f"/human-tasks/{task_id}/complete", YES)

    assert own.status_code == 403
    assert "four eyes" in own.json()["detail"]
    assert await desk.outcome(run_id) == {"approved": True, "decided_by": ["mona"], "note": ""}


async def test_above_it_finance_decides_too_and_nobody_twice(desk: Desk) -> None:
    run_id = await desk.hand_in("800.00")
    task_id = await desk.task_of("mona", "ask_manager")
    await desk("mona", "POST", f"/human-tasks/{task_id}/delegate", {"to": "max", "reason": "your fair"})
    delegated = (await desk("max", "GET", f"/human-tasks/{task_id}")).json()
    await desk("max", "POST", f"/human-tasks/{task_id}/complete", YES)
    second = await desk.task_of("fred", "ask_finance")

    again = await desk("max", "POST", f"/human-tasks/{second}/complete", YES)
    await desk("fred", "POST", f"/human-tasks/{second}/claim")
    await desk("fred", "POST", f"/human-tasks/{second}/complete", YES)

    assert (delegated["owner"], delegated["assigned_to"]) == ("mona", "max")
    assert again.status_code == 403
    assert (await desk.outcome(run_id))["decided_by"] == ["max", "fred"]


async def test_a_silent_manager_is_passed_by(desk: Desk) -> None:
    run_id = await desk.hand_in("80.00")
    task_id = await desk.task_of("mona", "ask_manager")
    async with app.services.database.session() as session:  # two working days and a weekend go by
        (task,) = (await session.exec(select(TaskRow))).all()
        rungs = decode_ladder(task.ladder)
        escalated_at = next(rung.at for rung in rungs if rung.do == "escalate")
        rungs = moved(rungs, app.services.database.clock.now() - escalated_at - timedelta(seconds=1))
        task.ladder, task.next_at = encode_ladder(rungs), rungs[0].at

    assert await desk.task_of("fay", "ask_manager") == task_id
    await desk("fay", "POST", f"/human-tasks/{task_id}/complete", YES)
    history = (await desk("fay", "GET", f"/human-tasks/{task_id}/history")).json()["items"]

    assert [change["action"] for change in history] == ["reminded", "escalated", "completed"]
    assert (await desk.outcome(run_id))["decided_by"] == ["fay"]
