"""Who owns a run, and what a run that waits or is lost costs the others."""

from __future__ import annotations

import threading

from toolkit.testing import VirtualClock, crash_after, running_process
from toolkit.workflows import EngineOptions, RunState, step, wait_for_event, workflow

begun: list[str] = []


@step()
async def begin(name: str) -> str:
    begun.append(name)
    return name


@workflow()
async def begin_and_wait(name: str) -> str:
    await begin(name)
    return str(await wait_for_event(f"go-{name}"))


@workflow()
async def begin_twice(name: str) -> list[str]:
    return [await begin(name), await begin(name)]


async def test_recovery_by_process_name(database_url: str) -> None:
    """Two processes of one host and one name (here even of one process id) never take each other's runs."""
    begun.clear()
    clock = VirtualClock()
    async with (
        running_process(database_url, begin_and_wait, clock=clock) as first,
        running_process(database_url, begin_and_wait, clock=clock) as second,
    ):
        run = await first.start(begin_and_wait, "a")
        await first.settle()
        await second.settle()

        assert first.engine.worker_id != second.engine.worker_id
        assert begun == ["a"]
        assert (first.engine.warm_runs, second.engine.warm_runs) == (1, 0)
        await second.engine.emit_event("go-a", "gone")
        assert await first.result(run) == "gone"
    assert begun == ["a"]


async def test_crashed_state_excluded_from_claiming(database_url: str) -> None:
    """A run whose process died is ``running`` on record; whoever comes next takes it all the same."""
    clock = VirtualClock()
    async with running_process(database_url, begin_twice, clock=clock, crash=crash_after("begin/0")) as first:
        run = await first.start(begin_twice, "b")
        await first.has_crashed.wait()

    async with running_process(database_url, begin_twice, clock=clock) as second:
        assert (await second.engine.get_run(run.id)).summary.state is RunState.RUNNING
        assert (await second.finish(run.id)).result == '["b","b"]'


async def test_limit_slot_held_by_a_dead_or_waiting_run(database_url: str) -> None:
    """With room for one run, one that waits and one whose process died hold up nobody."""
    clock, options = VirtualClock(), EngineOptions(concurrency=1)
    async with running_process(
        database_url, begin_and_wait, begin_twice, clock=clock, options=options, crash=crash_after("begin/1")
    ) as first:
        waiting = await first.start(begin_and_wait, "c")
        await first.settle()
        dead = await first.start(begin_twice, "d")
        await first.has_crashed.wait()

    async with running_process(database_url, begin_and_wait, begin_twice, clock=clock, options=options) as second:
        third = await second.start(begin_twice, "e")
        assert await second.result(third) == ["e", "e"]
        assert (await second.finish(dead.id)).result == '["d","d"]'
        assert (await second.engine.get_run(waiting.id)).summary.state is RunState.SUSPENDED


async def test_thread_per_wait(database_url: str) -> None:
    """A hundred waiting runs need not one thread more than none."""
    async with running_process(database_url, begin_and_wait) as process:
        before = threading.active_count()
        for number in range(100):
            await process.start(begin_and_wait, f"many-{number}")
        await process.settle()

        assert process.engine.active_runs == 0
        assert threading.active_count() <= before
