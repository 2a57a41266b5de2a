"""Results above a limit may be kept elsewhere; the run does not notice, whoever replays it."""

from __future__ import annotations

import asyncio

from tests.workflows.conftest import StartEngine, until_state
from toolkit.errors import StorageError
from toolkit.workflows import RetryPolicy, RunState, step, wait_for_event, workflow


class Shelf:
    """Keeps what is longer than ten characters."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.failures = 0

    async def keep(self, text: str, *, run_id: str) -> str:
        if len(text) <= 10:
            return text
        if self.failures:
            self.failures -= 1
            raise StorageError("the shelf is full")
        self.kept[f"@{run_id}:{len(self.kept)}"] = text
        return next(reversed(self.kept))

    async def fetch(self, text: str) -> str:
        return self.kept[text]


@step(retry=RetryPolicy(max_retries=1, first_delay=0))
async def write(length: int) -> str:
    return "x" * length


@workflow()
async def writes() -> list[int]:
    short, long = await write(3), await write(300)
    await wait_for_event("go")
    return [len(short), len(await write(40)), len(long)]


async def test_a_large_result_is_a_stub_in_the_journal_and_whole_for_the_code(start_engine: StartEngine) -> None:
    shelf = Shelf()
    engine = await start_engine(writes)
    engine.large_values = shelf
    run = await engine.start(writes)
    await until_state(engine, run.id, RunState.SUSPENDED)
    results = {step.path: step.result for step in await engine.list_steps(run.id)}
    assert results["write/0"] == '"xxx"'
    assert (results["write/1"] or "").startswith("@")
    await engine.close()

    second = await start_engine(writes)
    second.large_values = shelf
    await second.emit_event("go")

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == "[3,40,300]"


async def test_a_storage_that_does_not_take_it_fails_the_attempt_alone(start_engine: StartEngine) -> None:
    shelf = Shelf()
    shelf.failures = 1
    engine = await start_engine(writes)
    engine.large_values = shelf
    await engine.emit_event("go")

    run = await engine.start(writes)

    assert await asyncio.wait_for(run.result(), 10) == [3, 40, 300]
