"""Keys and shown names with characters that not every database keeps: keys are refused, what is shown is mended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from tests.workflows.conftest import StartEngine
from toolkit.errors import DefinitionError, InvalidInput
from toolkit.workflows import (
    Engine,
    StepState,
    emit_event,
    get_session,
    message,
    start_in,
    step,
    wait_for_completion,
    wait_for_event,
    workflow,
)

ODD = ["a\x00b", "a\ud800b"]


@workflow()
async def greet(name: str) -> str:
    return f"hello {name}"


async def emits(engine: Engine, odd: str) -> None:
    await engine.emit_event(odd, 1)


async def emits_once(engine: Engine, odd: str) -> None:
    await engine.emit_event("key", 1, idempotency_key=odd)


async def emits_to_a_run(engine: Engine, odd: str) -> None:
    await engine.emit_event("key", 1, run_id=odd)


async def starts(engine: Engine, odd: str) -> None:
    await engine.start(greet, "Ada", idempotency_key=odd)


async def starts_later(engine: Engine, odd: str) -> None:
    with engine.within():
        await greet.with_options(idempotency_key=odd).start("Ada")


async def starts_in_a_session(engine: Engine, odd: str) -> None:
    async with engine.database.session() as session:
        await start_in(session, greet, "Ada", idempotency_key=odd, engine=engine)


async def emits_in_a_session(engine: Engine, odd: str) -> None:
    async with engine.database.session() as session:
        await emit_event(odd, 1, session=session)


async def forks(engine: Engine, odd: str) -> None:
    run = await engine.start(greet, "Ada")
    await engine.control.fork(run.id, idempotency_key=odd)


@pytest.mark.parametrize("odd", ODD, ids=["NUL", "surrogate"])
@pytest.mark.parametrize(
    "take",
    [emits, emits_once, emits_to_a_run, starts, starts_later, starts_in_a_session, emits_in_a_session, forks],
)
async def test_a_key_that_no_database_keeps_is_refused_where_it_is_taken(
    start_engine: StartEngine, take: Callable[[Engine, str], Awaitable[None]], odd: str
) -> None:
    engine = await start_engine(greet)

    with pytest.raises(InvalidInput, match="no NUL character and no half of a surrogate pair"):
        await asyncio.wait_for(take(engine, odd), 10)

    assert await asyncio.wait_for((await engine.start(greet, "Grace")).result(), 10) == "hello Grace"


@step()
async def emits_from_a_step(odd: list[int]) -> None:
    await emit_event("".join(map(chr, odd)), 1, session=get_session())


@workflow()
async def tries(odd: list[int]) -> list[str]:
    text, refused = "".join(map(chr, odd)), []
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "wait": lambda: wait_for_event(text),
        "emit": lambda: emit_event(text),
        "emit once": lambda: emit_event("key", idempotency_key=text),
        "wait for a run": lambda: wait_for_completion(text),
        "start": lambda: greet.with_options(idempotency_key=text).start("Ada"),
        "step": lambda: emits_from_a_step(odd),
    }
    for name, call in calls.items():
        try:
            await call()
        except InvalidInput:
            refused.append(name)
    return refused


@pytest.mark.parametrize("odd", ODD, ids=["NUL", "surrogate"])
async def test_a_workflow_hears_of_such_a_key_and_may_go_on(start_engine: StartEngine, odd: str) -> None:
    engine = await start_engine(tries, greet)

    refused = await asyncio.wait_for((await engine.start(tries, [ord(each) for each in odd])).result(), 10)

    assert refused == ["wait", "emit", "emit once", "wait for a run", "start", "step"]


@step(display_name="read \x00")
async def read() -> str:
    return "read"


@workflow()
async def tells(odd: list[int]) -> str:
    await message("".join(map(chr, odd)), page=1)
    return await read()


@pytest.mark.parametrize("odd", ODD, ids=["NUL", "surrogate"])
async def test_a_line_for_people_and_a_shown_name_may_hold_anything(start_engine: StartEngine, odd: str) -> None:
    engine = await start_engine(tells)
    run = await engine.start(tells, [ord(each) for each in odd])

    assert await asyncio.wait_for(run.result(), 10) == "read"

    line, read_step = await engine.list_steps(run.id)
    told = json.loads(line.result or "")["text"]
    assert line.display_name == told
    assert told in {"a�b", "a?b"}
    assert (read_step.display_name, read_step.state) == ("read �", StepState.SUCCEEDED)


def test_a_name_that_no_database_keeps_is_refused_at_the_definition() -> None:
    with pytest.raises(DefinitionError, match="characters that a database keeps"):
        step(name="a\x00b")(greet.function)
