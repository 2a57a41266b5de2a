"""Everything was down for a second, or for more than a year: what came due meanwhile happens at once, and once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from toolkit.errors import WaitTimeout
from toolkit.testing import VirtualClock, crash_after, running_process
from toolkit.workflows import RetryPolicy, gather, now, step, step_context, suspend, wait_for_event, workflow

DOWNTIMES = [
    pytest.param(timedelta(seconds=seconds), id=name)
    for name, seconds in {"1s": 1, "a lease": 30, "1d": 86_400, "400d": 400 * 86_400}.items()
]

attempts: list[int] = []


@step(retry=RetryPolicy(max_retries=3, first_delay=600.0, factor=1.0, longest_delay=600.0, jitter=0.0))
async def struggle() -> int:
    context = step_context()
    assert context is not None
    attempts.append(context.attempt)
    if context.attempt < 3:
        raise ConnectionError("not yet")
    return context.attempt


@step()
async def note(text: str) -> str:
    return text


@workflow()
async def wait_for_everything(seconds: float) -> list[str]:
    began = await now()

    async def sleep() -> str:
        await suspend(interval=seconds)
        return await note("woke")

    async def listen() -> str:
        try:
            return str(await wait_for_event("never", max_wait_time=seconds))
        except WaitTimeout:
            return await note("nobody called")

    said = list(await gather(sleep(), listen()))
    await suspend(wakeup_at=began + timedelta(seconds=seconds))  # it has passed, to the microsecond
    return [*said, f"{((await now()) - began).total_seconds():.0f}"]


@pytest.mark.parametrize("downtime", DOWNTIMES)
@pytest.mark.parametrize("offset", [-1.0, 0.0, 1.0], ids=["just before", "to the moment", "just after"])
async def test_a_timer_that_came_due_while_everything_was_down_fires_when_anything_is_up(
    database_url: str, downtime: timedelta, offset: float
) -> None:
    clock = VirtualClock()
    length = downtime.total_seconds() + offset + 0.5
    async with running_process(database_url, wait_for_everything, clock=clock) as first:
        run = await first.start(wait_for_everything, length)
        await first.settle()
        await first.kill()
    clock.turn(downtime)

    async with running_process(database_url, wait_for_everything, clock=clock) as second:
        result = (await second.finish(run.id)).result
        steps = await second.engine.list_steps(run.id)

    assert result is not None
    woke, nobody, waited = result.strip("[]").replace('"', "").split(",")
    assert (woke, nobody) == ("woke", "nobody called")
    # It is late by the restart at most, never early.
    assert length <= float(waited) + 1 <= max(length, downtime.total_seconds()) + 40
    assert len({step.path for step in steps}) == len(steps)


@workflow()
async def struggle_on() -> int:
    return await struggle()


@pytest.mark.parametrize("downtime", DOWNTIMES)
@pytest.mark.parametrize("when", ["suspended", "running"])
async def test_a_retry_that_came_due_while_everything_was_down_is_the_next_attempt(
    database_url: str, downtime: timedelta, when: str
) -> None:
    attempts.clear()
    clock = VirtualClock()
    crash = crash_after("struggle/0/retry/1") if when == "running" else None
    async with running_process(database_url, struggle_on, clock=clock, crash=crash) as first:
        run = await first.start(struggle_on, idempotency_key="one")
        if crash is None:
            await first.settle()
        else:
            await first.has_crashed.wait()
        await first.kill()
    clock.turn(downtime)

    async with running_process(database_url, struggle_on, clock=clock) as second:
        detail = await second.finish(run.id)

    assert detail.result == "3"
    assert attempts == [1, 2, 3]
