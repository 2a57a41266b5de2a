"""What a run and its steps show of themselves: progress, messages, heartbeats, the errors of every attempt."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import RunFailed, StepTimeout
from toolkit.workflows import (
    RetryPolicy,
    RunState,
    heartbeat,
    message,
    set_progress,
    step,
    step_context,
    wait_for_event,
    workflow,
)


@workflow()
async def shows_progress() -> None:
    set_progress(1, total=4, note="first quarter")
    await message("the first quarter is done", number=1)
    set_progress(2, total=4, note="half")
    await wait_for_event("go")


async def test_the_last_word_on_progress_is_on_record_and_messages_are_in_the_history(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(shows_progress)
    run = await engine.start(shows_progress)
    await until_state(engine, run.id, RunState.SUSPENDED)

    async def is_half() -> bool:
        return (await engine.get_run(run.id)).progress == {"done": 2, "total": 4, "note": "half"}

    await until(is_half)
    (line,) = [s for s in await engine.list_steps(run.id) if s.name == "message"]
    assert json.loads(line.result or "") == {"text": "the first quarter is done", "number": 1}


def test_progress_beyond_its_total_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to 4"):
        set_progress(5, total=4)


attempts: list[object] = []


@step(max_retries=1, heartbeat_timeout=0.1, retry=RetryPolicy(max_retries=1, first_delay=0.0))
async def falls_silent() -> str:
    context = step_context()
    assert context is not None
    attempts.append(context.last_heartbeat)
    if len(attempts) == 2:
        return "went on"
    for page in range(1, 5):
        heartbeat({"page": page})
        await asyncio.sleep(0.01)
    await asyncio.Event().wait()
    raise AssertionError


@workflow()
async def reads_pages() -> str:
    return await falls_silent()


async def test_a_step_that_falls_silent_is_tried_again_from_where_it_was(start_engine: StartEngine) -> None:
    attempts.clear()
    engine = await start_engine(reads_pages)
    run = await engine.start(reads_pages)

    assert await asyncio.wait_for(run.result(), 10) == "went on"
    assert attempts == [None, {"page": 4}]
    (row,) = await engine.list_steps(run.id)
    assert "sent no heartbeat for 0.1 s" in json.loads(row.details or "")["failed_attempts"][0]


@step(heartbeat_timeout=0.05)
async def is_silent() -> None:
    await asyncio.Event().wait()


@workflow()
async def calls_a_silent_step() -> None:
    await is_silent()


async def test_a_silent_step_fails_with_what_was_missed(start_engine: StartEngine) -> None:
    engine = await start_engine(calls_a_silent_step)

    with pytest.raises(RunFailed) as failed:
        await asyncio.wait_for((await engine.start(calls_a_silent_step)).result(), 10)

    assert isinstance(failed.value.__cause__, StepTimeout)


def test_delays_may_grow_by_a_factor_or_by_a_sum_or_be_listed() -> None:
    exponential = RetryPolicy(first_delay=1, factor=3, longest_delay=20)
    linear = RetryPolicy(first_delay=2, backoff="linear", longest_delay=5)
    listed = RetryPolicy(delays=(1, 5, 30))

    assert [exponential.delay_before(attempt) for attempt in range(2, 6)] == [1, 3, 9, 20]
    assert [linear.delay_before(attempt) for attempt in range(2, 6)] == [2, 4, 5, 5]
    assert [listed.delay_before(attempt) for attempt in range(2, 6)] == [1, 5, 30, 30]


@workflow()
async def hears_news(since: Literal["run_start", "now"]) -> list[str]:
    return [await wait_for_event("rates", since=since, payload_type=str)]


@pytest.mark.parametrize("since", ["run_start", "now"])
async def test_a_wait_may_leave_out_what_came_before(start_engine: StartEngine, since: str) -> None:
    engine = await start_engine(hears_news)
    await engine.emit_event("rates", "of yesterday")
    run = await engine.start(hears_news, since)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.emit_event("rates", "of today")

    assert await asyncio.wait_for(run.result(), 10) == ["of today"]
