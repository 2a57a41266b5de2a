"""Processes that start or resume one run of a scenario, and may kill themselves at a checkpoint.

``python -m tests.agents.dying_process`` reads a job a line, forks a process for it, and writes the child's exit status,
a line each; what the child found stands in the job's file. Forks share what was imported once, so a process costs
little; the seed of their hashes is that of the server (``PYTHONHASHSEED``).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.agents import scenarios
from tests.agents.scenarios import SCENARIOS, WORLD
from toolkit.agents import CallDecisions, ModelRegistry, People, Question, Reply, agent, approvals, durability, limits
from toolkit.storage import Database
from toolkit.workflows import Checkpoint, Engine, EngineOptions, checkpoint, step_context, suspend, workflow

OPTIONS = EngineOptions(lease_seconds=1.0, poll_seconds=0.02)


@workflow()
async def work(name: str) -> dict[str, Any]:
    result = await SCENARIOS[name].agent("7")
    output = result.output if isinstance(result.output, str) else result.output.model_dump(mode="json")
    if isinstance(output, dict):
        output["tags"] = sorted(output["tags"])  # a set is written in the order of its hashes
    return {"output": output, "usage": result.usage.model_dump(), "cost": str(result.cost)}


class Death:
    """Ends the process by SIGKILL at one checkpoint, once those ``beside`` it are on record."""

    def __init__(self, when: str, key: str, beside: list[str]) -> None:
        self.when, self.key, self.beside = when, key, set(beside)
        self.recorded: set[str] = set()
        self.progress = asyncio.Condition()

    async def checkpoint(self, key: str, **arguments: Any) -> Checkpoint:
        context = step_context()
        assert context is not None
        path = f"{context.path}/{key}"
        await self._die_at("before", path)
        kept = await checkpoint(key, **arguments)
        async with self.progress:
            self.recorded.add(key)
            self.progress.notify_all()
        await self._die_at("after", path)
        return kept

    async def _die_at(self, when: str, path: str) -> None:
        if when != self.when or path != self.key:
            return
        async with self.progress:
            await self.progress.wait_for(lambda: self.recorded >= self.beside)
        os.kill(os.getpid(), signal.SIGKILL)


async def approve(question: Question) -> Reply:
    """A person who says yes to everything, after the run has been away."""
    await suspend(interval=0)
    held = question.about.model_dump()["calls"]
    answer = CallDecisions.model_validate({"decisions": [{"id": call["id"], "decision": "approve"} for call in held]})
    return Reply(answer=answer, task_id="task", by="ada", at=datetime.now(UTC))


async def perform(job: dict[str, Any]) -> str:
    WORLD.effects = Path(job["effects"])
    if "key" in job:
        death = Death(job["when"], job["key"], job["beside"])
        for module in (agent, approvals, durability, limits):
            module.checkpoint = death.checkpoint  # type: ignore[attr-defined]
    database = Database(job["database"])
    await database.open()
    engine = Engine(database, workflows=[work], options=OPTIONS)
    engine.resources[ModelRegistry] = scenarios.registry(job["provider"])
    engine.resources[People] = People(approve)
    await engine.open()
    handle = await engine.start(work, job["scenario"], idempotency_key=job["run"])
    found = json.dumps(await handle.result(), sort_keys=True)
    await engine.close()
    await database.close()
    return found


def serve() -> None:
    """Fork a process for each job, one at a time."""
    asyncio.run(scenarios.registry("http://127.0.0.1").load("m"))  # so that no fork has to import it again
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            job = json.loads(line)
            Path(job["found"]).write_text(asyncio.run(perform(job)), encoding="utf-8")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
