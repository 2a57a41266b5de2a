"""Lengths of time that are none are refused where they are given, and never by a run that was begun with them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from toolkit.errors import DefinitionError, InvalidInput
from toolkit.testing import VirtualClock, run_workflow, running_process
from toolkit.workflows import (
    RunState,
    Workflow,
    poll_until,
    step,
    suspend,
    timeout,
    wait_for_event,
    workflow,
)

noted: list[str] = []


@step()
async def note() -> None:
    noted.append("noted")


AFTER, BEFORE = timezone(timedelta(hours=-5)), timezone(timedelta(hours=5))
CALLS: dict[str, Callable[[], Awaitable[object]]] = {
    "suspend nan": lambda: suspend(interval=math.nan),
    "suspend inf": lambda: suspend(interval=math.inf),
    "suspend negative": lambda: suspend(interval=-5),
    "suspend too long": lambda: suspend(interval=timedelta.max),
    "wake up too late": lambda: suspend(wakeup_at=datetime.max.replace(tzinfo=AFTER)),
    "wake up too early": lambda: suspend(wakeup_at=datetime.min.replace(tzinfo=BEFORE)),
    "wait nan": lambda: wait_for_event("x", max_wait_time=math.nan),
    "wait inf": lambda: wait_for_event("x", max_wait_time=math.inf),
    "wait too long": lambda: wait_for_event("x", max_wait_time=timedelta.max),
    "timeout nan": lambda: timeout(note(), math.nan),
    "timeout negative": lambda: timeout(suspend(interval=10), -5),
    "poll nan": lambda: poll_until(note, until=lambda _: False, every=math.nan),
    "poll factor": lambda: poll_until(note, until=lambda _: False, every=1, factor=math.nan),
    "poll longest": lambda: poll_until(note, until=lambda _: False, every=1, longest=-1),
}


@workflow()
async def tries(name: str) -> str:
    try:
        await CALLS[name]()
    except InvalidInput as error:
        return str(error)
    return "taken"


@pytest.mark.parametrize("name", CALLS)
async def test_a_wait_for_no_length_of_time_is_refused_at_the_call(name: str) -> None:
    noted.clear()
    told = await run_workflow(tries, name)

    assert "expected seconds or a timedelta" in told or "outside the years" in told or "expected a number" in told
    assert not noted


@workflow()
async def sleeps_until(moment: datetime) -> str:
    await suspend(interval=moment - CLOCK[0].now())  # computed anew at each replay
    await suspend(interval=60)
    return "woke up"


CLOCK: list[VirtualClock] = []


async def test_an_interval_that_has_passed_by_a_replay_is_no_fault(database_url: str) -> None:
    CLOCK[:] = [VirtualClock()]
    async with running_process(database_url, sleeps_until, clock=CLOCK[0]) as first:
        run = await first.start(sleeps_until, CLOCK[0].now() + timedelta(hours=1))
        await first.advance(timedelta(hours=1, seconds=10))
    async with running_process(database_url, sleeps_until, clock=CLOCK[0]) as second:
        assert (await second.finish(run.id)).summary.state is RunState.SUCCEEDED


@workflow()
async def waits_for_ever() -> None:
    await suspend(wakeup_at=datetime.max.replace(tzinfo=UTC))


async def test_the_last_moment_of_all_may_be_waited_for(database_url: str) -> None:
    async with running_process(database_url, waits_for_ever) as process:
        run = await process.start(waits_for_ever)
        await process.settle()

        assert (await process.engine.get_run(run.id)).summary.state is RunState.SUSPENDED


async def nothing() -> None: ...


@pytest.mark.parametrize("length", [math.nan, math.inf, -1, timedelta(days=-1), timedelta.max])
def test_a_deadline_of_no_length_is_refused(length: float | timedelta) -> None:
    with pytest.raises(DefinitionError, match="deadline= of workflow 'nothing'"):
        workflow(deadline=length)(nothing)
    with pytest.raises(InvalidInput, match="deadline is"):
        workflow()(nothing).with_options(deadline=length)


@pytest.mark.parametrize("option", ["timeout", "heartbeat_timeout"])
def test_a_limit_of_a_step_is_a_length_of_time_or_none(option: str) -> None:
    with pytest.raises(DefinitionError, match=f"{option}= of step 'nothing'"):
        step(**{option: math.nan})(nothing)  # type: ignore[arg-type]
    assert getattr(step(**{option: -1})(nothing), option) is None  # type: ignore[arg-type]


async def test_a_later_start_is_an_aware_moment() -> None:
    later: Workflow[[], None] = workflow()(nothing)
    for moment in (datetime(2026, 1, 1), datetime.max.replace(tzinfo=AFTER)):  # noqa: DTZ001 - it is the point
        with pytest.raises(ValueError, match="start_at must be an aware moment"):
            later.with_options(start_at=moment)
