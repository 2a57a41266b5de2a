"""A run goes to wait in the commit that opens its wait, unless that very commit gives it something to go on with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from tests.workflows.notes import note
from toolkit.storage import Database, Query, both
from toolkit.workflows import RunState, StepKind, gather, suspend, wait_for_event, workflow
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.commits import Commits
from toolkit.workflows.operations import (
    CancelRun,
    EmitEvent,
    NewEvent,
    NewRun,
    OpenWait,
    Operation,
    StartRun,
    Suspend,
    WaitRecord,
)
from toolkit.workflows.outcomes import Effects

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_LATER = _NOW + timedelta(hours=1)


async def run_batch(database: Database, *operations: Operation) -> tuple[list[Any], Effects]:
    worker = Worker("worker", room=10, closers={}, new_id=lambda: "", is_far=database.dialect == "postgresql")
    return await database.writer.run(commit(operations, worker=worker, own_now=_NOW))


def wait(name: str, *, key: str = "news", suspends: bool = True, is_shielded: bool = False) -> OpenWait:
    record = WaitRecord(f"wait-{name}", "run", f"{name}/0", key, StepKind.WAIT, event_key=key)
    how = Suspend("run", 1, _LATER) if suspends else None
    return OpenWait("run", 1, record, is_shielded=is_shielded, suspension=how)


def event(key: str = "news") -> EmitEvent:
    return EmitEvent(NewEvent(f"event-{key}", key, '"said"'))


async def standing(database: Database) -> tuple[str, bool]:
    """The run's state, and whether it is due at some time."""
    look = both("test", "SELECT state, due_at IS NOT NULL FROM toolkit_run")
    ((state, is_due),) = await database.reader.read(Query(look))
    return state, bool(is_due)


@pytest.fixture
async def begun(database: Database) -> Database:
    """With a run that is under way."""
    await run_batch(database, StartRun(NewRun("run", "w", "{}", "digest")))
    return database


async def test_a_wait_takes_its_run_along(begun: Database) -> None:
    (opened,), _ = await run_batch(begun, wait("one"))

    assert opened.is_suspended
    assert await standing(begun) == ("suspended", True)


async def test_a_wait_that_is_over_before_it_begins_does_not(begun: Database) -> None:
    await run_batch(begun, event())

    (opened,), _ = await run_batch(begun, wait("one"))

    assert opened.record is not None
    assert not opened.is_suspended
    assert await standing(begun) == ("running", False)


async def test_nor_does_one_whose_event_comes_in_the_same_batch(begun: Database) -> None:
    (_, opened), _ = await run_batch(begun, event(), wait("one"))

    assert opened.record.result == '"said"'
    assert await standing(begun) == ("running", False)


async def test_nor_one_beside_which_another_wait_of_the_run_ends(begun: Database) -> None:
    await run_batch(begun, wait("one", suspends=False))

    (opened, _), effects = await run_batch(begun, wait("two", key="other"), event())

    assert [record.path for record in effects.delivered] == ["one/0"]
    assert not opened.is_suspended
    assert await standing(begun) == ("running", False)


async def test_nor_one_whose_run_another_process_has_told_something(begun: Database) -> None:
    await run_batch(begun, wait("one", suspends=False))
    other = Worker("other", room=10, closers={}, new_id=lambda: "")
    await begun.writer.run(commit([event()], worker=other, own_now=_NOW))

    (opened,), _ = await run_batch(begun, wait("two", key="other"))

    assert not opened.is_suspended
    assert await standing(begun) == ("running", True)


@pytest.mark.parametrize("is_shielded", [False, True])
async def test_nor_one_whose_run_is_cancelled_at_the_same_time(begun: Database, is_shielded: bool) -> None:
    cancel = CancelRun("run", reason=None, by=None)

    (opened, _), _ = await run_batch(begun, wait("one", is_shielded=is_shielded), cancel)

    assert not opened.is_suspended
    assert (await standing(begun))[0] == "running"


async def test_nor_one_whose_run_is_not_ours_any_more(begun: Database) -> None:
    stale = replace(wait("one"), epoch=0)

    (opened,), _ = await run_batch(begun, stale)

    assert not opened.is_suspended
    assert await standing(begun) == ("running", False)


@workflow()
async def waits_once() -> str:
    return await wait_for_event("go", payload_type=str)


async def test_a_run_that_goes_to_wait_asks_for_one_commit(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    commit_group = Commits._commit_group

    async def listen(self: Commits, operations: Sequence[Operation]) -> Sequence[Any]:
        asked.extend(type(operation).__name__ for operation in operations)
        return await commit_group(self, operations)

    monkeypatch.setattr(Commits, "_commit_group", listen)
    engine = await start_engine(waits_once)
    run = await engine.start(waits_once)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.emit_event("go", "gone")
    assert await asyncio.wait_for(run.result(), 10) == "gone"

    assert [name for name in asked if name in {"StartRun", "OpenWait", "Suspend", "EmitEvent", "FinishRun"}] == [
        "StartRun",
        "OpenWait",
        "EmitEvent",
        "FinishRun",
    ]


@workflow()
async def waits_and_works() -> list[str]:
    async def works() -> str:
        await suspend(interval=3600.0)
        return await note("worked")

    return list(await gather(wait_for_event("go"), works()))


async def test_a_run_that_is_told_something_before_its_code_has_come_to_its_wait_goes_on(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is suspended on record a moment before its coroutine waits; what comes in between finds it all the same."""
    commit_group = Commits._commit_group
    told: list[Any] = []

    async def tell_at_once(self: Commits, operations: Sequence[Operation]) -> Sequence[Any]:
        outcomes = await commit_group(self, operations)
        if not told and any(isinstance(operation, OpenWait) for operation in operations):
            told.append(asyncio.ensure_future(engine.emit_event("go", "at once")))
        return outcomes

    monkeypatch.setattr(Commits, "_commit_group", tell_at_once)
    engine = await start_engine(waits_once)

    run = await engine.start(waits_once)

    assert await asyncio.wait_for(run.result(), 10) == "at once"
    assert await told[0]


async def test_several_branches_go_to_wait_together(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_and_works)
    run = await engine.start(waits_and_works)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await until(lambda: engine.active_runs == 0)

    assert [wait.kind for wait in (await engine.get_run(run.id)).waits] == [StepKind.WAIT, StepKind.TIMER]


@workflow()
async def waits_with_a_foreign_limit() -> str:
    try:
        async with asyncio.timeout(0.05):
            return await wait_for_event("never", payload_type=str)
    except TimeoutError:
        return "gave up"


async def test_a_run_that_is_cut_off_from_outside_while_it_goes_to_wait_is_parked(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_group = Commits._commit_group

    async def commit_late(self: Commits, operations: Sequence[Operation]) -> Sequence[Any]:
        outcomes = await commit_group(self, operations)
        if any(isinstance(operation, OpenWait) for operation in operations):
            await asyncio.sleep(0.1)  # the limit passes while the commit is on its way back
        return outcomes

    monkeypatch.setattr(Commits, "_commit_group", commit_late)
    engine = await start_engine(waits_with_a_foreign_limit)

    run = await engine.start(waits_with_a_foreign_limit)

    await until_state(engine, run.id, RunState.PARKED)
    assert "toolkit.workflows.timeout" in str((await engine.get_run(run.id)).error)


@pytest.mark.parametrize("is_taking", [True, False])
async def test_a_run_that_goes_to_wait_or_ends_leaves_its_room_to_one_that_begins(
    begun: Database, is_taking: bool
) -> None:
    full = Worker("worker", room=0, closers={}, new_id=lambda: "", is_taking=is_taking)
    starts = [StartRun(NewRun(run_id, "w", "{}", "digest")) for run_id in ("next", "last")]

    _, effects = await begun.writer.run(commit([*starts, wait("one")], worker=full, own_now=_NOW))

    assert [run.id for run in effects.started] == (["next"] if is_taking else [])
    assert effects.has_due_runs
