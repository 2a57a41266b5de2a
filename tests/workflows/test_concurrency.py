"""A workflow may have a limit of its own: so many of its runs are advanced at once by one process."""

from __future__ import annotations

import asyncio

import pytest

from tests.workflows.conftest import StartEngine, until
from toolkit.workflows import step, wait_for_event, workflow

at_work: set[int] = set()
most = [0]
may_end = asyncio.Event()


@step()
async def crunch(number: int) -> int:
    at_work.add(number)
    most[0] = max(most[0], len(at_work))
    await may_end.wait()
    at_work.discard(number)
    return number


@workflow(concurrency=2)
async def crunches(number: int) -> int:
    return await crunch(number)


@workflow()
async def is_free(number: int) -> int:
    return number


@workflow(concurrency=1)
async def waits() -> str:
    return await wait_for_event("go", payload_type=str)


async def test_no_more_runs_than_the_limit_are_advanced_at_once_and_others_pass_by(start_engine: StartEngine) -> None:
    global may_end
    at_work.clear()
    most[0], may_end = 0, asyncio.Event()
    engine = await start_engine(crunches, is_free)
    runs = [await engine.start(crunches, number) for number in range(6)]
    await until(lambda: len(at_work) == 2)

    assert await asyncio.wait_for((await engine.start(is_free, 9)).result(), 10) == 9
    may_end.set()

    assert sorted([await asyncio.wait_for(run.result(), 20) for run in runs]) == list(range(6))
    assert most == [2]


async def test_a_run_that_waits_holds_no_place(start_engine: StartEngine) -> None:
    engine = await start_engine(waits)
    runs = [await engine.start(waits) for _ in range(3)]

    await until(lambda: engine.active_runs == 0 and engine.warm_runs == 3)
    await engine.emit_event("go", "on")

    assert [await asyncio.wait_for(run.result(), 20) for run in runs] == ["on"] * 3


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(TypeError, match="expected 1 or more"):
        workflow(concurrency=0)(is_free.function)
