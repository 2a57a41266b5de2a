"""What belongs into one transaction, and what does not belong into any."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from toolkit.errors import RunFailed, RunStateError
from toolkit.testing import VirtualClock, crash_after, crash_before, running_process
from toolkit.workflows import RunState, step, suspend, wait_for_event, workflow


@step()
async def note(text: str) -> str:
    return text


@workflow()
async def child(text: str) -> str:
    return await note(text)


@workflow()
async def start_and_end() -> str:
    return (await child.start("of its own")).id


@workflow()
async def twenty_steps() -> int:
    return sum([len(await note("x")) for _ in range(20)])


@workflow()
async def listen(key: str) -> str:
    return str(await wait_for_event(key))


@workflow()
async def listen_after_a_while(key: str) -> str:
    await suspend(interval=timedelta(days=400))
    return str(await wait_for_event(key))


@pytest.mark.parametrize("crash", [crash_before("start:child/0"), crash_after("start:child/0")], ids=str)
async def test_start_as_two_transactions(database_url: str, crash: object) -> None:
    """The record that a run was started and the run itself are there together or not at all, and it starts once."""
    clock = VirtualClock()
    async with running_process(database_url, start_and_end, child, clock=clock, crash=crash) as first:  # type: ignore[arg-type]
        run = await first.start(start_and_end)
        await first.has_crashed.wait()

    async with running_process(database_url, start_and_end, child, clock=clock) as second:
        steps = await second.engine.list_steps(run.id)
        children = [found for found in await second.engine.list_runs() if found.workflow == "child"]
        assert len(steps) == len(children) == (1 if crash == crash_after("start:child/0") else 0)
        started = (await second.finish(run.id)).result
        assert [f'"{found.id}"' for found in await second.engine.list_runs() if found.workflow == "child"] == [started]


async def test_lost_wake_up_between_looking_and_registering(database_url: str) -> None:
    """Events of another process that come while a run is about to wait reach it, whichever was first."""
    clock = VirtualClock()
    async with (
        running_process(database_url, listen, clock=clock) as here,
        running_process(database_url, clock=clock) as there,
    ):
        for number in range(40):
            key = f"key-{number}"
            emitting = asyncio.ensure_future(there.engine.emit_event(key, key))
            run = await here.start(listen, key)
            await emitting
            assert await here.result(run) == key


@pytest.mark.postgresql
async def test_notify_in_every_transaction(postgresql_url: str) -> None:
    """Twenty steps of a run that nobody else has to hear of take no notification each."""
    import asyncpg

    heard: list[str] = []
    async with running_process(postgresql_url, twenty_steps) as process:
        listener = await asyncpg.connect(postgresql_url)
        await listener.add_listener("toolkit", lambda *words: heard.append(str(words[-1])))
        run = await process.start(twenty_steps)
        assert await process.result(run) == 20
        await listener.execute("SELECT 1")  # what was sent before has arrived with this answer
        await listener.close()
    assert len(heard) <= 2


async def test_cancel_overwriting_a_final_state(database_url: str) -> None:
    async with running_process(database_url, child) as process:
        run = await process.start(child, "done")
        await process.result(run)
        before = await process.engine.get_run(run.id)

        with pytest.raises(RunStateError, match="succeeded"):
            await process.engine.cancel(run.id)

        assert await process.engine.get_run(run.id) == before


async def test_a_final_state_overwriting_cancel(database_url: str) -> None:
    """An answer that comes after the cancel changes nothing, and the code does not go on."""
    async with running_process(database_url, listen) as process:
        run = await process.start(listen, "late")
        await process.settle()
        await process.engine.cancel(run.id)
        await process.engine.emit_event("late", "too late")
        await process.settle()

        assert (await process.engine.get_run(run.id)).summary.state is RunState.CANCELLED
        with pytest.raises(RunFailed, match="cancelled"):
            await process.result(run)


async def test_cleanup_by_creation_date_or_of_waiting_runs(database_url: str) -> None:
    """After more than a year of sweeps nothing of a run that waits is missing, nor the event that it will ask for."""
    async with running_process(database_url, listen_after_a_while) as process:
        run = await process.start(listen_after_a_while, "early")
        await process.engine.emit_event("early", "kept", run_id=run.id)
        await process.advance(timedelta(days=399))
        assert (await process.engine.get_run(run.id)).summary.state is RunState.SUSPENDED

        assert await process.result(run) == "kept"
        assert len(await process.engine.list_steps(run.id)) == 2
