"""A parked run waits for an operator: it is released when what parked it is mended, or it is ended."""

from __future__ import annotations

import asyncio

import pytest

from tests.workflows.conftest import StartEngine, until_state
from toolkit.errors import NotFound, RunStateError
from toolkit.workflows import Engine, RunState, Workflow, step, wait_for_event, workflow

calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@step()
async def first() -> str:
    calls.append("first")
    return "first"


@step()
async def second() -> str:
    calls.append("second")
    return "second"


@workflow(name="process")
async def as_it_was() -> str:
    before = await first()
    return f"{before}, {await wait_for_event('go')}, {await second()}"


@step(name="first")
async def first_of_somebody(name: str) -> str:
    return name


@workflow(name="process")
async def broken_deploy() -> str:
    return await first_of_somebody("else")


@workflow(name="process")
async def mended() -> str:
    before = await first()
    return f"{before}; {await wait_for_event('go')}; {await second()}"


async def parked_run(start_engine: StartEngine) -> tuple[Engine, str]:
    """A run whose code was changed under it, and the engine with the wrong code."""
    engine = await start_engine(as_it_was)
    run = await engine.start(as_it_was)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.close()
    wrong = await start_engine(broken_deploy)
    await wrong.emit_event("go", "gone")
    await until_state(wrong, run.id, RunState.PARKED)
    return wrong, run.id


async def deploy(start_engine: StartEngine, old: Engine, code: Workflow[[], str]) -> Engine:
    await old.close()
    return await start_engine(code)


async def test_a_parked_run_is_released_when_its_code_is_mended(start_engine: StartEngine) -> None:
    wrong, run_id = await parked_run(start_engine)
    why = (await wrong.get_run(run_id)).summary.error_summary
    engine = await deploy(start_engine, wrong, mended)

    standing = await engine.control.release(run_id)

    assert standing.is_changed
    assert await asyncio.wait_for(engine.wait_for_completion(run_id), 10) == '"first; gone; second"'
    assert calls == ["first", "second"]
    assert why is not None
    assert why.startswith("RunParked: the code no longer matches the journal")
    detail = await engine.get_run(run_id)
    assert (detail.error, detail.summary.error_summary) == (None, None)


async def test_a_run_that_is_released_too_early_is_parked_again(start_engine: StartEngine) -> None:
    wrong, run_id = await parked_run(start_engine)

    await wrong.control.release(run_id)
    await until_state(wrong, run_id, RunState.PARKED)

    assert (await wrong.get_run(run_id)).error is not None


async def test_a_parked_run_that_is_paused_waits_for_the_end_of_its_pause(start_engine: StartEngine) -> None:
    wrong, run_id = await parked_run(start_engine)
    engine = await deploy(start_engine, wrong, mended)
    await engine.control.pause(run_id)
    await engine.control.release(run_id)
    before = (await engine.get_run(run_id)).summary.state

    await engine.control.resume(run_id)

    assert before is RunState.PENDING
    assert await asyncio.wait_for(engine.wait_for_completion(run_id), 10) == '"first; gone; second"'


async def test_a_parked_run_is_ended_by_a_cancel(start_engine: StartEngine) -> None:
    engine, run_id = await parked_run(start_engine)

    assert await engine.cancel(run_id) is RunState.CANCELLED


async def test_a_parked_run_is_forked_past_the_step_that_parks_it(start_engine: StartEngine) -> None:
    wrong, run_id = await parked_run(start_engine)
    engine = await deploy(start_engine, wrong, mended)

    forked = await engine.control.fork(run_id, from_step="go/0", results={"go/0": "given"})
    await engine.cancel(run_id)

    assert await asyncio.wait_for(engine.wait_for_completion(forked.run_id), 10) == '"first; given; second"'
    assert calls == ["first", "second"]


async def test_only_a_parked_run_is_released(start_engine: StartEngine) -> None:
    engine = await start_engine(as_it_was)
    run = await engine.start(as_it_was)
    await until_state(engine, run.id, RunState.SUSPENDED)

    unchanged = await engine.control.release(run.id)
    await engine.cancel(run.id)

    assert (unchanged.state, unchanged.is_changed) == (RunState.SUSPENDED, False)
    with pytest.raises(RunStateError):
        await engine.control.release(run.id)
    with pytest.raises(NotFound):
        await engine.control.release("unknown")
