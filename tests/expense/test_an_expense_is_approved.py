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

    async def upload(self, filename: str, content: bytes) -> dict[str, Any]:
        headers = {"content-type": "text/plain", "x-toolkit-user": "eve"}
        response = await self._http.post(f"/toolkit/v1/files?filename={filename}", content=content, headers=headers)
        return dict(response.json()["items"][0])

    async def hand_in(self, amount: str, *, receipt: dict[str, Any] | None = None) -> str:
        expense = {"purpose": "Trade fair", "paid_on": "2027-06-01", "amount": amount}
        body = {"input": {"expense": expense, "manager": "mona", **({"receipt": receipt} if receipt else {})}}
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


def stored(folder: Path, content: bytes) -> Path:
    """Where the bytes of an upload lie."""
    (found,) = (path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == content)
    return found


async def test_what_was_approved_is_compared_down_to_the_bytes_of_the_receipt(desk: Desk, tmp_path: Path) -> None:
    receipt = await desk.upload("receipt.txt", b"Trade fair, 80.00 EUR")
    run_id = await desk.hand_in("80.00", receipt=receipt)
    task_id = await desk.task_of("mona", "ask_manager")
    await desk("mona", "POST", f"/human-tasks/{task_id}/complete", YES)
    await desk.outcome(run_id)

    before = (await desk("mona", "GET", f"/human-tasks/{task_id}/verification")).json()
    kept = stored(tmp_path, b"Trade fair, 80.00 EUR")
    kept.chmod(0o600)
    kept.write_bytes(b"Trade fair, 99.00 EUR")
    after = (await desk("mona", "GET", f"/human-tasks/{task_id}/verification")).json()
    kept.unlink()
    gone = (await desk("mona", "GET", f"/human-tasks/{task_id}/verification")).json()

    assert (before["is_unchanged"], before["changed"]) == (True, [])
    assert [(file["filename"], file["is_unchanged"]) for file in before["files"]] == [("receipt.txt", True)]
    assert (after["is_unchanged"], after["changed"]) == (False, ["files"])
    assert "expected " + receipt["sha256"] in after["files"][0]["problem"]
    assert (gone["changed"], gone["files"][0]["is_unchanged"]) == (["files"], False)


async def test_the_managers_substitute_decides_while_she_is_away(desk: Desk) -> None:
    today = app.services.database.clock.now().date()
    absent = {"user": "mona", "substitute": "max", "first_day": f"{today}", "last_day": f"{today + timedelta(days=1)}"}
    await desk("mona", "POST", "/substitutions", absent)
    run_id = await desk.hand_in("80.00")

    task_id = await desk.task_of("max", "ask_manager")
    done = await desk("max", "POST", f"/human-tasks/{task_id}/complete", YES)
    history = (await desk("max", "GET", f"/human-tasks/{task_id}/history")).json()["items"]

    assert done.status_code == 200
    assert history[-1]["details"] == {"in_stead_of": "mona"}
    assert (await desk.outcome(run_id))["decided_by"] == ["max"]
    known = (await desk("eve", "GET", "/substitutions?user=mona")).json()["items"]
    assert {(one["first_day"], one["last_day"]) for one in known} >= {("2027-08-02", "2027-08-13")}  # of the YAML


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

    assert [change["action"] for change in history] == ["opened", "reminded", "escalated", "completed"]
    assert (await desk.outcome(run_id))["decided_by"] == ["fay"]
