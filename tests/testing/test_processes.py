"""Time that skips, processes that crash, and what a test is told when it waits for what does not happen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from toolkit.errors import ModelBehaviorError, RunFailed, SerializationError
from toolkit.storage import Query, both
from toolkit.testing import (
    ScriptedModel,
    VirtualClock,
    call_tool,
    crash_after,
    crash_before,
    crash_everywhere,
    run_workflow,
    running_process,
    temporary_database,
)
from toolkit.workflows import (
    RetryPolicy,
    Workflow,
    continue_as_new,
    gather,
    step,
    step_context,
    suspend,
    wait_for_event,
    workflow,
)

done: list[str] = []


@step()
async def do(what: str) -> str:
    done.append(what)
    return what


@step()
def block(what: str) -> str:
    done.append(what)
    return what


@step(retry=RetryPolicy(max_retries=5, first_delay=3.0, factor=2.0, jitter=0.0))
async def struggle() -> int:
    context = step_context()
    assert context is not None
    if context.attempt < 4:
        raise ConnectionError("not yet")
    return context.attempt


@workflow()
async def long_way() -> list[str]:
    await suspend(interval=timedelta(days=400))
    return [await do("first"), *await gather(do("second"), asyncio_code()), await block("third"), str(await struggle())]


async def asyncio_code() -> str:
    await asyncio.sleep(0.01)
    return "slept"


@workflow()
async def listen() -> str:
    return str(await wait_for_event("call"))


turns: list[int] = []


@workflow()
async def collect(turn: int) -> int:
    await suspend(interval=60)
    turns.append(turn)
    if turn < 3:
        continue_as_new(turn + 1)
    return turn


@workflow()
async def fail() -> None:
    raise ValueError("for good")


async def test_400_days_pass_at_once_and_in_order(database_url: str) -> None:
    clock = VirtualClock(datetime(2026, 2, 1, tzinfo=UTC))
    async with running_process(database_url, long_way, clock=clock) as process:
        run = await process.start(long_way)
        assert await process.result(run) == ["first", "second", "slept", "third", "4"]
        found = await process.check_replay(run)
    assert found.verdict == "goes on"
    assert clock.now() - datetime(2026, 2, 1, tzinfo=UTC) < timedelta(days=400, minutes=2)


async def test_a_run_that_goes_on_as_another_ends_with_the_last_of_the_chain(database_url: str) -> None:
    assert await run_workflow(collect, 1) == 3
    async with running_process(database_url, collect) as process:
        run = await process.start(collect, 1)
        assert await process.result(run) == 3
        detail = await process.finish(run)
        assert (detail.summary.id, detail.result) != (run.id, None)
        turns.clear()
        assert (await process.check_replay(run)).run_id == detail.summary.id
    assert turns == [1, 2, 3]


async def test_time_stands_still_until_it_is_turned() -> None:
    clock = VirtualClock()
    before = clock.now()
    sleeping = asyncio.ensure_future(clock.sleep(5))
    await asyncio.sleep(0)
    assert clock.now() - before < timedelta(seconds=1)

    clock.turn(4)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.turn(1)
    await sleeping

    with pytest.raises(ValueError, match="aware"):
        VirtualClock(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_day_lasts_24_hours_wherever_the_clock_was_started() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    clock = VirtualClock(datetime(2026, 3, 28, 12, tzinfo=berlin))
    before = clock.now()

    clock.turn(timedelta(days=1))

    assert timedelta() < clock.now() - before - timedelta(days=1) < timedelta(seconds=1)
    assert (clock.now().tzinfo, clock.monotonic() // 3600) == (UTC, 24)
    clock.turn_to(datetime(2026, 3, 30, 12, tzinfo=berlin))
    assert clock.now().tzinfo is UTC


async def test_what_a_test_waits_for_in_vain_is_said() -> None:
    with pytest.raises(AssertionError, match="waits for wait 'call'"):
        await run_workflow(listen)
    assert await run_workflow(listen, events={"call": "heard"}) == "heard"
    with pytest.raises(RunFailed, match="for good"):
        await run_workflow(fail)


async def test_an_argument_that_does_not_fit_is_named_with_what_was_expected() -> None:
    with pytest.raises(SerializationError) as caught:
        await run_workflow(collect, "zz")

    assert "workflow 'collect': 'turn', a value of type 'str', cannot be stored as int" in str(caught.value)
    assert "zz" not in str(caught.value)
    assert "serializer warnings" not in str(caught.value)


@pytest.mark.parametrize("waits_for", [listen, collect])
async def test_a_run_that_is_paused_is_said_to_be(database_url: str, waits_for: Workflow[..., Any]) -> None:
    async with running_process(database_url, listen, collect) as process:
        run = await process.start(waits_for, *([3] if waits_for is collect else []))
        await process.settle()
        await process.engine.control.pause(run.id, by="tester")
        with pytest.raises(AssertionError, match=f"run {run.id} is paused, and goes on when it is resumed"):
            await process.result(run)
        await process.engine.control.resume(run.id)
        if waits_for is collect:
            assert await process.result(run) == 3


@pytest.mark.parametrize(("crash", "performed"), [(crash_before("do/0"), 2), (crash_after("do/0"), 1)], ids=str)
async def test_a_crash_comes_where_it_was_said(database_url: str, crash: object, performed: int) -> None:
    done.clear()
    clock = VirtualClock()
    async with running_process(database_url, long_way, clock=clock, crash=crash) as first:  # type: ignore[arg-type]
        run = await first.start(long_way)
        await first.until_crashed(run)
    async with running_process(database_url, long_way, clock=clock) as second:
        await second.finish(run.id)
    assert done.count("first") == performed


async def test_a_crash_that_does_not_come_is_said_with_where_it_could_have(database_url: str) -> None:
    async with running_process(database_url, long_way, crash=crash_before("due/0")) as process:
        run = await process.start(long_way)
        with pytest.raises(AssertionError, match=r"did not crash before due/0: it made \d+ commits, .*do/0"):
            await process.until_crashed(run)


async def test_every_third_point_is_fewer() -> None:
    async def play(process: object, key: str) -> str:
        run = await process.start(listen, idempotency_key=key)  # type: ignore[attr-defined]
        await process.engine.emit_event("call", "x", run_id=run.id)  # type: ignore[attr-defined]
        return str(await process.result(run))  # type: ignore[attr-defined]

    async with temporary_database() as database:
        all_points = await crash_everywhere(play, database.url, listen)
        third = await crash_everywhere(play, database.url, listen, every=3, clock=VirtualClock())
    assert set(all_points.values()) == {"x"}
    assert len(third) < len(all_points)


@pytest.mark.parametrize(("every", "most", "says"), [(0, 1, "every is 0"), (1, -1, "most is -1")])
async def test_points_are_counted_from_one(every: int, most: int, says: str) -> None:
    async def play(process: object, key: str) -> None:
        raise AssertionError("nothing is to be played")

    with pytest.raises(ValueError, match=f"{says}; expected 1 or more"):
        await crash_everywhere(play, "sqlite:///never.db", listen, every=every, most=most)


async def test_a_temporary_database_is_new_and_gone_afterwards(postgresql_server: str) -> None:
    count = both("count", "SELECT count(*) FROM toolkit_run")
    for server in (None, postgresql_server):
        async with temporary_database(server=server) as database:
            assert [tuple(row) for row in await database.reader.read(Query(count))] == [(0,)]
        if database.dialect == "sqlite":
            assert not database.path.exists()


async def test_a_script_that_is_over_is_an_error_of_the_model() -> None:
    from pydantic_ai import Agent

    def look_up(name: str) -> str:
        return f"{name} owes nothing"

    model = ScriptedModel([call_tool("look_up", name="Ada")])
    with pytest.raises(ModelBehaviorError, match=r"has 1 turn\(s\)"):
        await Agent(model.model, tools=[look_up]).run("who?")
    assert model.requests == 2
