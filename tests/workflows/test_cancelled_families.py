"""A cancel of a run that awaits children: those beside a shield end with it, those in it are spared until it has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.workflows.notes import note, notes
from toolkit.testing import Process, crash_everywhere, running_process
from toolkit.workflows import (
    RunFilter,
    RunState,
    Workflow,
    compensation,
    gather,
    race,
    shield,
    step,
    suspend,
    wait_for_event,
    workflow,
)
from toolkit.workflows.replays import read_run


@step()
async def undo_note(text: str) -> None:
    notes.append(f"undo {text}")


@workflow()
async def waits_for_ever() -> None:
    await wait_for_event("never")


@workflow()
async def takes_its_time() -> str:
    await suspend(interval=3600)
    return await note("the child is done")


@workflow()
async def undoes_what_it_did() -> None:
    async with compensation() as undo:
        undo(undo_note, await note("child"))
        await wait_for_event("never")


async def pay() -> None:
    async with shield():
        await note("charged")
        await suspend(interval=100)
        await note("told everybody")
    await note("never")


async def reserve(what: str) -> None:
    async with compensation() as undo:
        undo(undo_note, await note(what))
        await wait_for_event("never")


@workflow()
async def awaits_a_child_beside_a_shield() -> None:
    await gather(pay(), waits_for_ever())


@workflow()
async def awaits_a_child_in_a_shield() -> None:
    async with shield():
        await note("begun")
        await takes_its_time()
        await note("ended")
    await note("never")


@workflow()
async def gathers_in_a_shield() -> None:
    async with shield():
        await gather(takes_its_time(), note("beside it"))
        await note("ended")


@workflow()
async def awaits_a_started_run_in_a_shield() -> None:
    async with shield():
        started = await takes_its_time.with_options(close_policy="cancel").start_step()
        await started.result()
        await note("ended")


@workflow()
async def is_undone_by_a_child() -> None:
    async with compensation() as undo:
        undo(takes_its_time)
        await note("begun")
        await wait_for_event("never")


@workflow()
async def does_all_of_it() -> None:
    async with compensation() as undo:
        undo(undo_note, await note("outer"))
        await gather(reserve("a"), gather(reserve("b"), pay()), race(reserve("c"), undoes_what_it_did()))


CHILDREN = (waits_for_ever, takes_its_time, undoes_what_it_did)
CASES: list[tuple[Workflow[[], None], list[str]]] = [
    (awaits_a_child_beside_a_shield, ["charged", "told everybody"]),
    (awaits_a_child_in_a_shield, ["begun", "the child is done", "ended"]),
    (gathers_in_a_shield, ["beside it", "the child is done", "ended"]),
    (awaits_a_started_run_in_a_shield, ["the child is done", "ended"]),
    (is_undone_by_a_child, ["begun", "the child is done"]),
    (
        does_all_of_it,
        [
            *("outer", "a", "b", "c", "child", "charged", "told everybody"),
            *("undo a", "undo b", "undo c", "undo child", "undo outer"),
        ],
    ),
]


@asynccontextmanager
async def another(url: str, before: Process, *workflows: Workflow[..., Any]) -> AsyncIterator[Process]:
    """A process that finds the run of the one before in nobody's memory."""
    await before.kill()
    async with running_process(url, *workflows, clock=before.clock) as process:
        yield process


@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize(("cancelled", "expected"), CASES, ids=[case.name for case, _ in CASES])
async def test_a_cancel_cuts_no_section_short_and_leaves_no_child(
    database_url: str, cancelled: Workflow[[], None], expected: list[str], is_warm: bool
) -> None:
    async with running_process(database_url, cancelled, *CHILDREN) as first:
        run = await first.start(cancelled)
        await first.settle()
        if is_warm:
            await _cancel(first, run.id)
        else:
            async with another(database_url, first, cancelled, *CHILDREN) as second:
                await _cancel(second, run.id)

    assert sorted(notes) == sorted(expected)


async def _cancel(process: Process, run_id: str) -> None:
    await process.engine.cancel(run_id)
    assert (await process.finish(run_id)).summary.state is RunState.CANCELLED
    await process.settle()
    assert await _going_on(process) == []


async def _going_on(process: Process) -> list[tuple[str, RunState]]:
    runs = await process.engine.list_runs(RunFilter())
    return [(run.workflow, run.state) for run in runs if not run.state.is_final]


async def test_a_child_beside_a_shield_ends_at_once(database_url: str) -> None:
    async with running_process(database_url, awaits_a_child_beside_a_shield, *CHILDREN) as process:
        run = await process.start(awaits_a_child_beside_a_shield)
        await process.settle()
        await process.engine.cancel(run.id)
        await process.settle()

        assert await _going_on(process) == [("awaits_a_child_beside_a_shield", RunState.SUSPENDED)]
        (child,) = await process.engine.list_runs(RunFilter(parent_id=run.id))
        assert (await process.engine.get_run(child.id)).cancel_reason == "its parent is being cancelled"


@pytest.mark.parametrize(("cancelled", "expected"), CASES, ids=[case.name for case, _ in CASES])
async def test_a_crash_at_any_commit_changes_nothing_of_that(
    database_url: str, cancelled: Workflow[[], None], expected: list[str]
) -> None:
    async def play(process: Process, key: str) -> str:
        run = await process.start(cancelled, idempotency_key=key)
        await process.settle()
        if not (await process.engine.get_run(run.id)).summary.state.is_final:
            await process.engine.cancel(run.id)
        await process.finish(run.id)
        await process.settle()
        assert await _going_on(process) == [], key
        assert sorted(await _told(process, run.id)) == sorted(expected), key
        return key

    played = await crash_everywhere(play, database_url, cancelled, *CHILDREN, every=3)

    assert len(played) > 2


async def _told(process: Process, run_id: str) -> list[str]:
    """What the run and its children have noted, once each, from their journals."""
    children = await process.engine.list_runs(RunFilter(parent_id=run_id))
    steps = [
        step for id_ in (run_id, *(c.id for c in children)) for step in (await read_run(process.engine, id_)).steps
    ]
    prefixes = {"note": "", "undo_note": "undo "}
    told = [(s.name, (s.arguments or "").split('"')[-2]) for s in steps if s.name in prefixes]
    return [prefixes[name] + text for name, text in told]
