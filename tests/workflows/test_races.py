"""``race``, ``wait_any`` and ``timeout``: one winner, on record, and nothing left of the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from tests.workflows.notes import note, notes
from toolkit.errors import TimeLimitReached
from toolkit.workflows import (
    Engine,
    First,
    RunState,
    poll_until,
    race,
    step,
    suspend,
    timeout,
    wait_any,
    wait_for_event,
    workflow,
)


async def open_keys(engine: Engine, run_id: str) -> set[str | None]:
    return {wait.event_key for wait in (await engine.get_run(run_id)).waits}


@workflow()
async def takes_the_first_answer() -> str:
    first = await wait_any(wait_for_event("lisbon", payload_type=str), wait_for_event("porto", payload_type=str))
    await note(f"{first.index}:{first.result}")
    return await wait_for_event("end", payload_type=str)


async def test_the_first_to_end_wins_and_the_waits_of_the_others_are_withdrawn(start_engine: StartEngine) -> None:
    engine = await start_engine(takes_the_first_answer)
    run = await engine.start(takes_the_first_answer)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.emit_event("porto", "yes")
    await engine.emit_event("lisbon", "too late")
    await engine.emit_event("end", "done")

    assert await asyncio.wait_for(run.result(), 10) == "done"
    assert notes == ["1:yes"]


async def test_a_replay_takes_the_winner_on_record_though_the_other_could_win_now(start_engine: StartEngine) -> None:
    engine = await start_engine(takes_the_first_answer)
    run = await engine.start(takes_the_first_answer)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.emit_event("porto", "yes")
    await engine.emit_event("lisbon", "too late")
    await until_state(engine, run.id, RunState.SUSPENDED)
    assert await open_keys(engine, run.id) == {"end"}
    await engine.close()

    second = await start_engine(takes_the_first_answer)
    await second.emit_event("end", "done")

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == '"done"'
    assert notes == ["1:yes"]


@step()
async def refuse() -> str:
    raise ValueError("refused")


async def stroll() -> str:
    await suspend(interval=timedelta(days=1))
    return "late"


@workflow()
async def loses_to_a_failure() -> str:
    try:
        return await race(stroll(), refuse())
    except ValueError as error:
        return f"caught {error}, then {await wait_for_event('end')}"


async def test_a_failure_that_comes_first_is_raised_and_raised_again_on_replay(start_engine: StartEngine) -> None:
    engine = await start_engine(loses_to_a_failure)
    run = await engine.start(loses_to_a_failure)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.close()
    second = await start_engine(loses_to_a_failure)

    await second.emit_event("end", "the end")

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == '"caught refused, then the end"'


@workflow()
async def races_steps() -> str:
    return await race(note("only"))


async def test_one_call_may_race_alone(start_engine: StartEngine) -> None:
    engine = await start_engine(races_steps)

    assert await asyncio.wait_for((await engine.start(races_steps)).result(), 10) == "only"


@workflow()
async def races_nothing() -> First[str]:
    return await wait_any()


async def test_a_race_without_calls_says_what_is_missing(start_engine: StartEngine) -> None:
    engine = await start_engine(races_nothing)

    with pytest.raises(Exception, match="at least one call"):
        await asyncio.wait_for((await engine.start(races_nothing)).result(), 10)


async def two_questions() -> str:
    await wait_for_event("one")
    return await wait_for_event("two", payload_type=str)


@workflow()
async def is_limited() -> str:
    try:
        return await timeout(two_questions(), 0.05)
    except TimeLimitReached:
        return f"gave up, {await wait_for_event('two')}"


async def test_a_limit_around_several_waits_gives_all_of_them_up(start_engine: StartEngine) -> None:
    engine = await start_engine(is_limited)
    run = await engine.start(is_limited)
    await engine.emit_event("one")

    async def has_given_up() -> bool:
        return {(wait.name, wait.path) for wait in (await engine.get_run(run.id)).waits} == {("two", "two/0")}

    await until(has_given_up)
    await engine.emit_event("two", "heard after the limit")

    assert await asyncio.wait_for(run.result(), 10) == "gave up, heard after the limit"


@step()
async def ask_the_bank() -> str:
    notes.append("asked")
    return ["pending", "pending", "booked"][len(notes) - 1]


@workflow()
async def waits_for_the_bank() -> str:
    return await poll_until(ask_the_bank, until=lambda state: state == "booked", every=0.01, factor=2.0, longest=0.02)


async def test_polling_asks_until_the_answer_is_good_enough(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_the_bank)

    assert await asyncio.wait_for((await engine.start(waits_for_the_bank)).result(), 10) == "booked"
    assert notes == ["asked"] * 3


@workflow()
async def polls_in_vain() -> str:
    return await poll_until(ask_in_vain, until=bool, every=0.01, limit=0.1)


@step()
async def ask_in_vain() -> str:
    return ""


async def test_polling_ends_at_its_limit(start_engine: StartEngine) -> None:
    engine = await start_engine(polls_in_vain)

    with pytest.raises(Exception, match=r"within 0\.1 s"):
        await asyncio.wait_for((await engine.start(polls_in_vain)).result(), 10)
