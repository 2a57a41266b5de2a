"""Going on as a new run: parents, watchers, events and cancels follow."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import RunFailed
from toolkit.storage import Query, both
from toolkit.testing import VirtualClock, running_process
from toolkit.workflows import (
    Engine,
    EngineOptions,
    RunState,
    continue_as_new,
    gather,
    step,
    suspend,
    wait_for_completion,
    wait_for_event,
    workflow,
)


@workflow()
async def counts_down(left: int, heard: list[str]) -> list[str]:
    heard = [*heard, await wait_for_event("tick", payload_type=str)]
    if left > 1:
        continue_as_new(left - 1, heard)
    return heard


async def test_the_last_of_the_chain_answers_and_no_event_is_heard_twice_or_lost(start_engine: StartEngine) -> None:
    engine = await start_engine(counts_down)
    run = await engine.start(counts_down, 3, [])

    for word in ["one", "two", "three"]:
        await engine.emit_event("tick", word)

    assert await asyncio.wait_for(run.result(), 10) == ["one", "two", "three"]
    first = await engine.get_run(run.id)
    assert first.summary.state is RunState.SUCCEEDED
    assert await engine.list_steps(run.id)


async def test_events_for_the_first_run_reach_the_one_that_goes_on(start_engine: StartEngine) -> None:
    engine = await start_engine(counts_down)
    run = await engine.start(counts_down, 3, [])

    for word in ["one", "two", "three"]:
        await engine.emit_event("tick", word, run_id=run.id)

    assert await asyncio.wait_for(run.result(), 10) == ["one", "two", "three"]


@workflow()
async def waits_for_a_chain() -> list[str]:
    return await counts_down(2, [])


async def test_a_parent_waits_for_the_last_of_the_chain(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_a_chain, counts_down)
    run = await engine.start(waits_for_a_chain)

    await engine.emit_event("tick", "one")
    await engine.emit_event("tick", "two")

    assert await asyncio.wait_for(run.result(), 10) == ["one", "two"]


async def last_of(engine: Engine) -> str:
    return (await engine.list_runs(workflow="counts_down", limit=1))[0].id


async def test_a_cancel_follows_the_chain(start_engine: StartEngine) -> None:
    engine = await start_engine(counts_down)
    run = await engine.start(counts_down, 3, [])
    await engine.emit_event("tick", "one")

    async def has_gone_on() -> bool:
        return await last_of(engine) != run.id

    await until(has_gone_on)
    await engine.cancel(run.id)

    await until_state(engine, await last_of(engine), RunState.CANCELLED)
    with pytest.raises(RunFailed):
        await asyncio.wait_for(run.result(), 10)


async def test_a_parent_that_is_cancelled_takes_the_whole_chain_with_it(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_a_chain, counts_down)
    run = await engine.start(waits_for_a_chain)
    await engine.emit_event("tick", "one")

    async def is_second() -> bool:
        runs = await engine.list_runs(workflow="counts_down")
        return len(runs) == 2 and runs[0].state is RunState.SUSPENDED

    await until(is_second)
    await engine.cancel(run.id)

    await until_state(engine, await last_of(engine), RunState.CANCELLED)


@workflow()
async def goes_on_in_a_branch() -> None:
    async def branch() -> None:
        continue_as_new()

    await gather(branch())


async def test_a_branch_cannot_go_on_as_a_new_run(start_engine: StartEngine) -> None:
    engine = await start_engine(goes_on_in_a_branch)

    with pytest.raises(RunFailed, match="in a branch or a step"):
        await asyncio.wait_for((await engine.start(goes_on_in_a_branch)).result(), 10)


@workflow()
async def rests(turn: int) -> int:
    await suspend(interval=60)
    if turn < 3:
        continue_as_new(turn + 1)
    await wait_for_event("never")
    return turn


_PRIORITIES = both("priorities", "SELECT priority FROM toolkit_run ORDER BY id")


@pytest.mark.parametrize("warm_bytes", [24_000_000, 0])
async def test_priority_and_deadline_go_over_to_the_run_that_goes_on(database_url: str, warm_bytes: int) -> None:
    clock, options = VirtualClock(), EngineOptions(warm_bytes=warm_bytes)
    async with running_process(database_url, rests, clock=clock, options=options) as process:
        with process.engine.within():
            run = await rests.with_options(priority=7, deadline=timedelta(hours=1)).start(1)
        deadline = (await process.engine.get_run(run.id)).deadline_at
        await process.advance(300)

        chain = [await process.engine.get_run(found.id) for found in await process.engine.list_runs()]
        assert [link.deadline_at for link in chain] == [deadline] * 3
        assert await process.engine.read(Query(_PRIORITIES)) == [(7,)] * 3
        assert chain[0].summary.state is RunState.SUSPENDED

        await process.advance(timedelta(hours=1))
        assert (await process.engine.get_run(chain[0].summary.id)).summary.state is RunState.CANCELLED


# Children, close policies, waiting for runs that are not children --------------------------------------------------


@step()
async def double(number: int) -> int:
    return 2 * number


@workflow()
async def works(number: int) -> int:
    await wait_for_event("work")
    return await double(number)


@workflow()
async def starts_and_waits() -> int:
    first = await works.start_step(1)
    second = await works.start(2)
    results = await gather(first.result(), wait_for_completion(second.id), wait_for_completion(second.id))
    return sum(results)


async def test_a_run_waits_for_runs_it_started_however_often_it_asks(start_engine: StartEngine) -> None:
    engine = await start_engine(starts_and_waits, works)
    run = await engine.start(starts_and_waits)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.emit_event("work")

    assert await asyncio.wait_for(run.result(), 10) == 2 + 4 + 4


async def test_a_run_that_has_ended_already_is_waited_for_at_once(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_another, works)
    other = await engine.start(works, 5)
    await engine.emit_event("work")
    await other.result()

    run = await engine.start(waits_for_another, other.id)

    assert await asyncio.wait_for(run.result(), 10) == 10


@workflow()
async def waits_for_another(run_id: str) -> int:
    result: int = await wait_for_completion(run_id)
    return result


async def test_a_run_that_does_not_exist_is_named(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_another)

    with pytest.raises(RunFailed, match="nobody"):
        await asyncio.wait_for((await engine.start(waits_for_another, "nobody")).result(), 10)


async def test_giving_up_the_wait_does_nothing_to_the_other_run(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_another, works)
    other = await engine.start(works, 5)
    run = await engine.start(waits_for_another, other.id)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.cancel(run.id)
    await engine.emit_event("work")

    assert await asyncio.wait_for(other.result(), 10) == 10


unwound: list[str] = []


@workflow()
async def unwinds(name: str) -> None:
    try:
        await wait_for_event("never")
    finally:
        unwound.append(name)


@workflow()
async def has_children(policy: str) -> None:
    await unwinds.with_options(close_policy=policy)(policy)


@pytest.mark.parametrize(
    ("policy", "state"),
    [("cancel", RunState.CANCELLED), ("request", RunState.CANCELLED), ("abandon", RunState.SUSPENDED)],
)
async def test_a_close_policy_says_what_becomes_of_a_child(
    start_engine: StartEngine, policy: str, state: RunState
) -> None:
    unwound.clear()
    engine = await start_engine(has_children, unwinds, warm_bytes=0)  # nothing stays in memory to unwind by itself
    run = await engine.start(has_children, policy)

    async def child_waits() -> bool:  # on record, and a moment later not in memory any more
        children = await engine.list_runs(workflow="unwinds")
        return bool(children) and children[0].state is RunState.SUSPENDED and bool(unwound)

    await until(child_waits)
    unwound.clear()
    await engine.cancel(run.id)

    await until_state(engine, (await engine.list_runs(workflow="unwinds"))[0].id, state)
    assert unwound == (["request"] if policy == "request" else [])


@workflow()
async def starts_linked() -> str:
    await unwinds.with_options(close_policy="cancel").start("linked")
    await unwinds.start("free")
    await suspend(interval=0.01)
    return "ended"


async def test_a_started_run_with_a_policy_ends_with_its_parent_and_one_without_goes_on(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(starts_linked, unwinds)
    run = await engine.start(starts_linked)
    await asyncio.wait_for(run.result(), 10)

    free, linked = await engine.list_runs(workflow="unwinds")

    await until_state(engine, linked.id, RunState.CANCELLED)
    assert free.state is not RunState.CANCELLED
