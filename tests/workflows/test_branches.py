"""``gather`` when a branch fails, is withdrawn or waits: nothing is left behind and nothing is lost."""

from __future__ import annotations

import asyncio

from tests.workflows.conftest import StartEngine, until_state
from toolkit.workflows import RunState, gather, step, suspend, wait_for_event, workflow


@step()
async def fail() -> None:
    raise ValueError("on purpose")


@workflow()
async def sleeps_after_nested_branches_were_withdrawn() -> str:
    try:
        await gather(gather(wait_for_event("never"), wait_for_event("never")), fail())
    except ValueError:
        await suspend(interval=0.02)
    return "awake"


async def test_a_run_wakes_up_although_nested_branches_were_withdrawn_before(start_engine: StartEngine) -> None:
    engine = await start_engine(sleeps_after_nested_branches_were_withdrawn)

    run = await engine.start(sleeps_after_nested_branches_were_withdrawn)

    assert await asyncio.wait_for(run.result(), 10) == "awake"


@workflow()
async def waits_again_after_a_withdrawn_wait() -> str:
    try:
        await gather(wait_for_event("news"), fail())
    except ValueError:
        return await wait_for_event("news", payload_type=str)
    return "no failure"


async def test_a_withdrawn_wait_takes_no_event_from_the_one_after_it(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_again_after_a_withdrawn_wait)
    run = await engine.start(waits_again_after_a_withdrawn_wait)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.emit_event("news", "for the second")

    assert await asyncio.wait_for(run.result(), 10) == "for the second"


@workflow()
async def parks_beside_a_wait() -> None:
    await gather(wait_for_event("news"), impatient())


async def impatient() -> None:
    async with asyncio.timeout(0.05):
        await wait_for_event("never")


async def test_a_parked_run_keeps_its_waits(start_engine: StartEngine) -> None:
    engine = await start_engine(parks_beside_a_wait)

    run = await engine.start(parks_beside_a_wait)

    await until_state(engine, run.id, RunState.PARKED)
    assert {wait.event_key for wait in (await engine.get_run(run.id)).waits} == {"news", "never"}


@step()
async def clean_up() -> None:
    cleaned.append("step")


cleaned: list[str] = []


@workflow()
async def cleans_up_in_a_withdrawn_branch() -> str:
    try:
        await gather(tidy(), fail())
    except ValueError:
        return "failed"
    return "no failure"


async def tidy() -> None:
    try:
        await wait_for_event("never")
    finally:
        await clean_up()


async def test_no_step_begins_in_a_branch_that_was_withdrawn(start_engine: StartEngine) -> None:
    cleaned.clear()
    engine = await start_engine(cleans_up_in_a_withdrawn_branch)

    run = await engine.start(cleans_up_in_a_withdrawn_branch)

    assert await asyncio.wait_for(run.result(), 10) == "failed"
    assert cleaned == []
