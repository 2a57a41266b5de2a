"""A process that starts or resumes one run of an agent, and may kill itself right after a checkpoint is durable.

python -m tests.agents.dying_process DATABASE_URL MODEL_URL EFFECTS_FILE [KEY]

Without KEY it lives until the run has ended and prints the result as JSON.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from toolkit.agents import Agent, ModelRegistry, agent, durability, tool_idempotency_key
from toolkit.storage import Database
from toolkit.workflows import Checkpoint, Engine, EngineOptions, checkpoint, workflow


class Invoice(BaseModel):
    number: str
    total: int
    tags: set[str]


def look(letter: str) -> str:
    """Look something up."""
    with Path(sys.argv[3]).open("a", encoding="utf-8") as effects:
        effects.write(f"{letter} {tool_idempotency_key()}\n")
    return letter.upper()


READ = Agent("read", model="m", output_type=Invoice, system_prompt="You read invoices.", tools=[look])


@workflow()
async def read_invoice() -> dict[str, Any]:
    result = await READ("Invoice 7")
    return {
        "output": result.output.model_dump(mode="json"),
        "usage": result.usage.model_dump(),
        "cost": str(result.cost),
    }


async def main(database_url: str, model_url: str, dies_after: str | None) -> None:
    async def dying(key: str, **arguments: Any) -> Checkpoint:
        kept = await checkpoint(key, **arguments)
        if key == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return kept

    agent.checkpoint = durability.checkpoint = dying  # type: ignore[attr-defined]
    database = Database(database_url)
    await database.open()
    engine = Engine(database, workflows=[read_invoice], options=EngineOptions(lease_seconds=3.0, poll_seconds=0.05))
    price = {"input_per_million": "1", "output_per_million": "1"}
    engine.resources[ModelRegistry] = ModelRegistry(
        {"m": {"api": "responses", "model": "gpt-5-mini", "base_url": model_url, "api_key": "sk-test", "price": price}}
    )
    await engine.open()
    handle = await engine.start(read_invoice, idempotency_key="the run")
    print(await handle.result())
    await engine.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[4] if len(sys.argv) > 4 else None))
