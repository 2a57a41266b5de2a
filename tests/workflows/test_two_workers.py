"""Several engines on one database, as processes would be: who owns a run, who may write, who hears what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import RunFailed
from toolkit.workflows import Engine, RunState, gather, step, suspend, wait_for_event, workflow

_LEASE = 1.0

begun: list[str] = []
doors: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    begun.clear()
    doors.clear()
    yield
    for door in doors.values():
        door.set()


async def freeze(engine: Engine) -> None:
    """As if the process were stopped: it neither beats nor looks; what is under way in it may still try to write."""
    assert engine._orchestrator._heart is not None
    await engine._orchestrator._heart.stop()
    for task in list(engine._tasks):
        task.cancel()
    await asyncio.wait(list(engine._tasks))


@step()
async def pass_the_door(name: str) -> str:
    """Passes at once in the second worker; waits for its door in the first."""
    begun.append(name)
    door = doors.get(f"{name} {len(begun)}")
    if door is not None:
        await door.wait()
    return f"{name} {len(begun)}"


@workflow()
async def through_a_door() -> str:
    return await pass_the_door("door")


async def test_a_run_of_a_frozen_worker_is_taken_over_within_the_lease(start_engine: StartEngine) -> None:
    doors["door 1"] = asyncio.Event()
    frozen = await start_engine(through_a_door, lease_seconds=_LEASE)
    run = await frozen.start(through_a_door)
    await until(lambda: begun == ["door"])
    await freeze(frozen)

    other = await start_engine(through_a_door, lease_seconds=_LEASE)

    assert await asyncio.wait_for(other.wait_for_completion(run.id), 15) == '"door 2"'


async def test_what_a_frozen_worker_writes_late_is_refused(start_engine: StartEngine) -> None:
    doors["door 1"] = asyncio.Event()
    frozen = await start_engine(through_a_door, lease_seconds=_LEASE)
    run = await frozen.start(through_a_door)
    await until(lambda: begun == ["door"])
    await freeze(frozen)
    other = await start_engine(through_a_door, lease_seconds=_LEASE)
    await asyncio.wait_for(other.wait_for_completion(run.id), 15)
    before = await other.list_steps(run.id)

    doors["door 1"].set()
    await until(lambda: frozen.active_runs == 0)

    assert await other.list_steps(run.id) == before
    assert (await other.get_run(run.id)).result == '"door 2"'


@workflow()
async def two_doors() -> list[str]:
    return [await pass_the_door("first"), await pass_the_door("second")]


async def test_a_worker_without_a_fresh_heartbeat_begins_no_step(start_engine: StartEngine) -> None:
    doors["first 1"] = asyncio.Event()
    frozen = await start_engine(two_doors, lease_seconds=_LEASE)
    run = await frozen.start(two_doors)
    await until(lambda: begun == ["first"])
    await freeze(frozen)
    await until(lambda: not frozen.is_leased)

    doors["first 1"].set()
    await until(lambda: frozen.residents.running[run.id].in_flight.keys() == {"pass_the_door/1"})

    assert begun == ["first"]


@workflow()
async def short(number: int) -> int:
    await pass_the_door(f"{number}")
    await suspend(interval=0.01)
    return number


async def test_claims_of_two_workers_are_never_doubled(start_engine: StartEngine) -> None:
    starter = await start_engine(short, is_worker=False)
    runs = [await starter.start(short, number) for number in range(40)]

    workers = [await start_engine(short, poll_seconds=0.05, concurrency=3) for _ in range(2)]

    for run, number in zip(runs, range(40), strict=True):
        assert await asyncio.wait_for(workers[0].wait_for_completion(run.id), 30) == str(number)
    assert sorted(begun) == sorted(f"{number}" for number in range(40))
    for run in runs:
        assert (await starter.get_run(run.id)).losses == 0


@workflow()
async def never_ends() -> str:
    return str(await wait_for_event("never"))


@workflow()
async def works_on() -> None:
    while True:
        await pass_the_door("on")
        await asyncio.sleep(0.01)


async def test_a_run_that_another_process_advances_can_be_cancelled(start_engine: StartEngine) -> None:
    worker = await start_engine(works_on)
    other = await start_engine(works_on, is_worker=False)
    run = await worker.start(works_on)
    await until(lambda: len(begun) > 2)

    state = await other.cancel(run.id, by="ada")

    assert state is RunState.RUNNING
    await until_state(other, run.id, RunState.CANCELLED)
    seen = len(begun)
    await until(lambda: worker.active_runs == 0)
    assert len(begun) == seen


async def test_a_run_that_waits_in_another_process_is_cancelled_at_once(start_engine: StartEngine) -> None:
    worker = await start_engine(never_ends)
    other = await start_engine(never_ends)
    run = await worker.start(never_ends)
    await until_state(worker, run.id, RunState.SUSPENDED)

    assert await other.cancel(run.id) is RunState.CANCELLED

    with pytest.raises(RunFailed):
        await asyncio.wait_for(worker.wait_for_completion(run.id), 10)


@workflow()
async def wait_beside_a_door() -> list[str]:
    return list(await gather(wait_for_event("news", payload_type=str), pass_the_door("beside")))


async def test_an_event_from_another_process_reaches_a_run_that_is_running(start_engine: StartEngine) -> None:
    doors["beside 1"] = asyncio.Event()
    worker = await start_engine(wait_beside_a_door)
    other = await start_engine(wait_beside_a_door)
    run = await worker.start(wait_beside_a_door)
    await until(lambda: begun == ["beside"])

    await other.emit_event("news", "from elsewhere")
    doors["beside 1"].set()

    assert await asyncio.wait_for(run.result(), 15) == ["from elsewhere", "beside 1"]


@workflow()
async def wait_twice_beside_a_door() -> list[str]:
    first, _ = await gather(wait_for_event("news", payload_type=str), pass_the_door("beside"))
    return [first, await wait_for_event("news", payload_type=str)]


async def test_an_event_from_another_process_is_not_delivered_to_the_next_wait_as_well(
    start_engine: StartEngine,
) -> None:
    doors["beside 1"] = asyncio.Event()
    worker = await start_engine(wait_twice_beside_a_door)
    other = await start_engine(wait_twice_beside_a_door)
    run = await worker.start(wait_twice_beside_a_door)
    await until(lambda: begun == ["beside"])

    await other.emit_event("news", "one")
    doors["beside 1"].set()
    await other.emit_event("news", "two")

    assert await asyncio.wait_for(run.result(), 15) == ["one", "two"]


async def test_each_loss_without_a_checkpoint_counts_and_the_last_one_parks_the_run(start_engine: StartEngine) -> None:
    for number in (1, 2):
        doors[f"door {number}"] = asyncio.Event()
    first = await start_engine(through_a_door, lease_seconds=_LEASE, max_losses=2)
    run = await first.start(through_a_door)
    await until(lambda: len(begun) == 1)
    await freeze(first)
    second = await start_engine(through_a_door, lease_seconds=_LEASE, max_losses=2)
    await until(lambda: len(begun) == 2)
    assert (await second.get_run(run.id)).losses == 1
    await freeze(second)

    third = await start_engine(through_a_door, lease_seconds=_LEASE, max_losses=2)

    await until_state(third, run.id, RunState.PARKED)
    detail = await third.get_run(run.id)
    assert detail.losses == 2
    assert "lost 2 times in a row" in str(detail.error)


@workflow()
async def door_after_door() -> list[str]:
    return [await pass_the_door(name) for name in ("a", "b", "c")]


async def test_a_checkpoint_between_two_losses_starts_the_count_again(start_engine: StartEngine) -> None:
    doors["b 2"], doors["c 4"] = asyncio.Event(), asyncio.Event()
    first = await start_engine(door_after_door, lease_seconds=_LEASE, max_losses=2)
    run = await first.start(door_after_door)
    await until(lambda: begun == ["a", "b"])
    await freeze(first)
    second = await start_engine(door_after_door, lease_seconds=_LEASE, max_losses=2)
    await until(lambda: begun == ["a", "b", "b", "c"])
    await freeze(second)

    third = await start_engine(door_after_door, lease_seconds=_LEASE, max_losses=2)

    assert await asyncio.wait_for(third.wait_for_completion(run.id), 15)
    assert begun == ["a", "b", "b", "c", "c"]


async def test_a_worker_that_was_away_itself_takes_over_nothing_at_first(start_engine: StartEngine) -> None:
    doors["door 1"] = asyncio.Event()
    busy = await start_engine(through_a_door, lease_seconds=_LEASE)
    run = await busy.start(through_a_door)
    await until(lambda: begun == ["door"])
    sleeper = await start_engine(through_a_door, lease_seconds=_LEASE)
    await freeze(busy)
    await freeze(sleeper)
    await until(lambda: not sleeper.is_leased)

    await sleeper._orchestrator._sweep()

    assert (await sleeper.get_run(run.id)).losses == 0
    assert begun == ["door"]
