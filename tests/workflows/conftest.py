"""What engine tests share: an engine on a new database, and waiting for a state instead of for time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.workflows.notes import notes
from toolkit.storage import Database
from toolkit.workflows import Engine, EngineOptions, RunState, Workflow

StartEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture(autouse=True)
def no_notes() -> None:
    notes.clear()


@pytest.fixture
async def start_engine(database: Database) -> AsyncIterator[StartEngine]:
    """Starts engines on the test's database; each has a connection of its own, as another process would."""
    async with AsyncExitStack() as stack:
        is_first = True

        async def start(*workflows: Workflow[Any, Any], **options: Any) -> Engine:
            nonlocal is_first
            own = database if is_first else Database(database.url)
            if not is_first:
                await own.open()
                stack.push_async_callback(own.close)
            is_first = False
            engine = Engine(own, workflows=workflows, options=EngineOptions(**options))
            await engine.open()
            stack.push_async_callback(engine.close)
            return engine

        yield start


async def until(condition: Callable[[], Any], *, within: float = 20.0) -> None:
    """Return when ``condition`` (or the awaitable that it returns) is true; fail the test after ``within`` seconds."""
    async with asyncio.timeout(within):
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return
            await asyncio.sleep(0.005)


async def until_state(engine: Engine, run_id: str, state: RunState) -> None:
    """Return when the run is in ``state``."""

    async def is_there() -> bool:
        return (await engine.get_run(run_id)).summary.state is state

    await until(is_there)


async def finished(engine: Engine, run_id: str) -> str:
    return await asyncio.wait_for(engine.wait_for_completion(run_id), 10)


async def deploy(start_engine: StartEngine, old: Engine, *workflows: Workflow[Any, Any], **options: Any) -> Engine:
    """End the old process and start one with other code."""
    await old.close()
    return await start_engine(*workflows, **options)
