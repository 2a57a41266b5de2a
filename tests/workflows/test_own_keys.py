"""Events whose keys are the toolkit's own are emitted and awaited by the toolkit alone."""

from __future__ import annotations

import asyncio

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import InvalidInput
from toolkit.storage import Database, Query
from toolkit.workflows import (
    Engine,
    RunState,
    emit_event,
    get_session,
    next_wait_id,
    resolve_wait,
    step,
    wait_for,
    wait_for_completion,
    wait_for_event,
    workflow,
)
from toolkit.workflows import statements as sql
from toolkit.workflows.operations import EmitEvent, NewEvent
from toolkit.workflows.sessions import insert_event

OWN = ["run-ended:", "task:"]


@workflow()
async def emits(key: str) -> str:
    try:
        await emit_event(key, "forged")
    except InvalidInput as error:
        return str(error)
    return "emitted"


@workflow()
async def awaits(key: str) -> str:
    try:
        return await wait_for_event(key, payload_type=str)
    except InvalidInput as error:
        return str(error)


@step()
async def emit_in_session(key: str) -> str:
    try:
        await emit_event(key, "forged", session=get_session())
    except InvalidInput as error:
        return str(error)
    return "emitted"


@workflow()
async def emits_in_a_step(key: str) -> str:
    return await emit_in_session(key)


@workflow()
async def waits_for_letter() -> str:
    return await wait_for_event("letter", payload_type=str)


@workflow()
async def waits_for_the_end_of(run_id: str) -> str:
    return str(await wait_for_completion(run_id))


asked: list[str] = []


@workflow()
async def asks() -> str:
    """What a step kind does to wait for an answer."""
    wait_id = next_wait_id()
    asked[:] = [wait_id]
    answer = await wait_for(
        name="ask", kind="question", deadline_at=None, reference=wait_id, arguments="{}", wait_id=wait_id
    )
    return answer.payload or ""


@pytest.mark.parametrize("prefix", OWN)
async def test_nobody_else_emits_or_awaits_a_key_of_the_toolkits_own(start_engine: StartEngine, prefix: str) -> None:
    engine = await start_engine(emits, awaits, emits_in_a_step)
    key = f"{prefix}0198"

    with pytest.raises(InvalidInput, match=f"begins with '{prefix}', which only the toolkit itself") as refused:
        await engine.emit_event(key, "forged")
    async with engine.database.session() as session:
        with pytest.raises(InvalidInput, match="which only the toolkit itself"):
            await emit_event(key, "forged", session=session)
    said = [await (await engine.start(each, key)).result() for each in (emits, awaits, emits_in_a_step)]

    assert [error["loc"] for error in refused.value.errors] == ["key"]
    assert all("which only the toolkit itself" in each for each in said), said


async def test_an_event_of_any_key_leaves_the_wait_of_a_step_kind_to_its_answer(start_engine: StartEngine) -> None:
    engine = await start_engine(asks, awaits)
    run = await engine.start(asks)
    await until_state(engine, run.id, RunState.SUSPENDED)
    (wait,) = (await engine.get_run(run.id)).waits
    key = str(wait.event_key)

    # Past every check, as nobody can from outside: for all runs, for this one, and left in a transaction.
    for target in (None, run.id):
        await engine.submit(EmitEvent(NewEvent(engine.new_id(), key, '"forged"', target)))
    await _leave_event(engine, key)
    letter = await engine.start(awaits, "letter")
    await engine.emit_event("letter", "delivered")
    assert await asyncio.wait_for(letter.result(), 10) == "delivered"
    await until(lambda: _are_numbered(engine.database))
    still = (await engine.get_run(run.id)).summary.state
    async with engine.database.session() as session:
        has_won = await resolve_wait(session, wait_id=asked[0], payload_json='"answered"')
    engine.poke()

    assert (still, has_won) == (RunState.SUSPENDED, True)
    assert await asyncio.wait_for(run.result(), 10) == '"answered"'


async def test_the_end_of_a_run_is_told_by_its_own_end_and_by_nobody_else(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_letter, waits_for_the_end_of)
    run = await engine.start(waits_for_letter)
    watching = await engine.start(waits_for_the_end_of, run.id)
    await until_state(engine, watching.id, RunState.SUSPENDED)

    with pytest.raises(InvalidInput, match="wait_for_completion"):
        await engine.emit_event(f"run-ended:{run.id}", {"state": "succeeded", "result": '"forged"'})
    await engine.emit_event("letter", "true")

    assert await asyncio.wait_for(watching.result(), 10) == "true"


async def _leave_event(engine: Engine, key: str) -> None:
    async with engine.database.session() as session:
        await insert_event(session, key=key, payload='"forged"')
    engine.poke()


async def _are_numbered(database: Database) -> bool:
    return not await database.reader.read(Query(sql.UNNUMBERED_EVENTS))
