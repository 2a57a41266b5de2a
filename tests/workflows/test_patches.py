"""Code that asks ``patched``, and versions of a workflow side by side: runs keep the way that they have begun."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.workflows.conftest import StartEngine, deploy, finished, until, until_state
from tests.workflows.editions import branches_1, branches_2, pay_1, pay_2, ship_1, ship_2
from tests.workflows.notes import note
from toolkit.errors import DefinitionError, WrongContext
from toolkit.workflows import RunState, patched, race, step, wait_for_event, workflow

# patched -------------------------------------------------------------------------------------------------------------


async def test_a_run_that_passed_a_patch_takes_the_old_way_for_ever_and_a_new_place_the_new_one(
    start_engine: StartEngine,
) -> None:
    old = await start_engine(pay_1)
    run = await old.start(pay_1)
    await until_state(old, run.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, pay_2)
    await new.emit_event("go", run_id=run.id)

    assert await finished(new, run.id) == '["a","late check","b"]'
    kept = {step.name: step.result for step in await new.list_steps(run.id) if step.path.startswith("patched:")}
    assert kept == {"check-before-waiting": "false", "check-after-waiting": "true"}


async def test_a_new_run_takes_every_patch_also_after_a_restart(start_engine: StartEngine) -> None:
    old = await start_engine(pay_2)
    run = await old.start(pay_2)
    await until_state(old, run.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, pay_2)
    await new.emit_event("go", run_id=run.id)

    assert await finished(new, run.id) == '["a","check","late check","again","b"]'


async def test_branches_of_one_run_agree_on_a_patch(start_engine: StartEngine) -> None:
    old = await start_engine(branches_1)
    first = await old.start(branches_1)
    await until_state(old, first.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, branches_2)
    second = await new.start(branches_2)
    for key in ("x", "y"):
        await new.emit_event(key, key)

    assert await finished(new, first.id) == '["x","y"]'
    assert await finished(new, second.id) == '["X","Y"]'


may_end: list[asyncio.Event] = []  # the last is that of the test under way


@step()
async def hold_up() -> None:
    await may_end[-1].wait()


@workflow(name="win")
async def win_1() -> str:
    winner = await race(note("a"), wait_for_event("never"))
    await hold_up()
    return str(winner)


@workflow(name="win")
async def win_2() -> str:
    async def first() -> str:
        return await note("b" if await patched("b") else "a")

    winner = await race(first(), wait_for_event("never"))
    await hold_up()
    return str(winner)


async def test_a_branch_that_had_won_before_the_patch_keeps_its_way(start_engine: StartEngine) -> None:
    may_end.append(asyncio.Event())
    old = await start_engine(win_1, drain_seconds=0.0)
    run = await old.start(win_1)

    async def has_won() -> bool:
        return any(step.name == "race" for step in await old.list_steps(run.id))

    await until(has_won)
    new = await deploy(start_engine, old, win_2)
    may_end[-1].set()

    assert await finished(new, run.id) == '"a"'


@workflow()
async def patch_in_a_step() -> bool:
    @step()
    async def body() -> bool:
        return await patched("x")

    return await body()


async def test_a_patch_belongs_in_the_workflow(start_engine: StartEngine) -> None:
    engine = await start_engine(patch_in_a_step)
    run = await engine.start(patch_in_a_step)

    with pytest.raises(Exception, match="not replayed") as caught:
        await finished(engine, run.id)
    assert isinstance(caught.value.__cause__, WrongContext)


# Versions ------------------------------------------------------------------------------------------------------------


async def test_a_run_keeps_the_version_it_began_with_and_new_ones_begin_with_the_first_registered(
    start_engine: StartEngine,
) -> None:
    old = await start_engine(ship_1)
    first = await old.start(ship_1)
    await until_state(old, first.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, ship_2, ship_1)
    second = await new.start_json("ship", {})
    await new.emit_event("go")

    assert await finished(new, first.id) == '"by lorry"'
    assert await finished(new, second.id) == '"by train"'
    assert [(await new.get_run(run.id)).summary.version for run in (first, second)] == ["1", "2"]


async def test_a_version_that_nobody_has_is_left_for_others_then_parked_with_an_alert(
    start_engine: StartEngine, caplog: pytest.LogCaptureFixture
) -> None:
    old = await start_engine(ship_1)
    left = await old.start(ship_1)
    lost = await old.start(ship_1)
    for run in (left, lost):
        await until_state(old, run.id, RunState.SUSPENDED)
    new = await deploy(start_engine, old, ship_2, unknown_grace_seconds=1.5, lease_seconds=1.0)
    await new.emit_event("go", run_id=left.id)
    other = await start_engine(ship_1)
    assert await finished(other, left.id) == '"by lorry"'
    await other.close()

    with caplog.at_level(logging.ERROR, "toolkit.workflows"):
        await new.emit_event("go", run_id=lost.id)
        await until_state(new, lost.id, RunState.PARKED)
        await until(lambda: any(record.__dict__.get("event") == "run.parked_unknown" for record in caplog.records))

    assert "version '1' of the workflow 'ship'" in str((await new.get_run(lost.id)).error)


async def test_two_definitions_of_one_version_are_refused_with_both_places(start_engine: StartEngine) -> None:
    @workflow(name="ship", version="1")
    async def another() -> None: ...

    with pytest.raises(DefinitionError, match=r"two workflows are called 'ship'.*editions.*test_patches"):
        await start_engine(ship_1, another)
