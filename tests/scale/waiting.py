"""A process of its own: ten thousand runs wait for a person. Prints memory and how long one answer takes, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import httpx2
from pydantic import BaseModel

from toolkit import Toolkit
from toolkit.config import Settings
from toolkit.human import Human
from toolkit.workflows import workflow

RUNS = 10_000


class Question(BaseModel):
    text: str


class Answer(BaseModel):
    is_yes: bool


ask = Human("ask", title="Is it so?", input_type=Question, output_type=Answer)


@workflow()
async def waits_for_a_person(number: int) -> bool:
    return (await ask(Question(text=f"Is {number} a number?"))).output.is_yes


app = Toolkit(title="Waiting").register_workflow(waits_for_a_person)


def resident_bytes() -> int:
    """The memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(url: str, folder: Path) -> dict[str, float]:
    settings = Settings.of({"database": {"url": url}}, folder=folder)
    async with app.running(settings=settings) as running:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/toolkit/v1") as client:
            await answer_one(client, await start_some(running, 20))  # everything is loaded and has run once
            before = resident_bytes()
            began = time.monotonic()
            for at in range(0, RUNS, 500):  # what waits is measured, not what a burst of starts takes for its time
                await start_some(running, 500, first=at)
                await until_all_wait(client)
            started = time.monotonic() - began
            grown = resident_bytes() - before
            began = time.monotonic()
            await answer_one(client, await start_some(running, 1))
            answered = time.monotonic() - began
    return {"grown_mb": grown / 1e6, "start_seconds": started, "answer_seconds": answered}


async def start_some(running: Toolkit, count: int, *, first: int = 0) -> str:
    """Start runs side by side; the id of the last."""
    runs = await asyncio.gather(*(running.start(waits_for_a_person, first + at) for at in range(count)))
    return runs[-1].id


async def until_all_wait(client: httpx2.AsyncClient) -> None:
    while True:
        running = await client.get("/runs", params={"state": "running", "limit": 1})
        pending = await client.get("/runs", params={"state": "pending", "limit": 1})
        if not running.json()["items"] and not pending.json()["items"]:
            return
        await asyncio.sleep(0.05)


async def answer_one(client: httpx2.AsyncClient, run_id: str) -> None:
    """Complete the task of a run by REST and wait for the end of the run."""
    while not (tasks := (await client.get("/human-tasks", params={"run_id": run_id})).json()["items"]):
        await asyncio.sleep(0.005)
    done = await client.post(f"/human-tasks/{tasks[0]['id']}/complete", json={"output": {"is_yes": True}})
    done.raise_for_status()
    while (await client.get(f"/runs/{run_id}")).json()["state"] != "succeeded":
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], Path(sys.argv[2])))))
