"""A deferred checkpoint goes with what its run commits next, or soon; what it leads to is never on record without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from tests.workflows.notes import notes
from toolkit.errors import RunFailed
from toolkit.storage import Database, OutcomeUnknown
from toolkit.workflows import Engine, RunState, StepRecord, checkpoint, step, wait_for_event, workflow
from toolkit.workflows.operations import RecordStep


class World:
    go_on: asyncio.Event
    meanwhile: Callable[[], None]
    """Done once, in between."""


@pytest.fixture(autouse=True)
async def held() -> None:
    World.go_on, World.meanwhile = asyncio.Event(), lambda: None


async def keep(key: str, text: str = '"kept"', *, is_deferred: bool = False) -> bool:
    """Whether it was made just now."""

    async def body() -> str:
        notes.append(key)
        return text

    return (await checkpoint(key, kind="compute", body=body, is_deferred=is_deferred)).fresh


def in_between() -> None:
    """The decision is made, and not on record."""
    notes.append("between")
    meanwhile, World.meanwhile = World.meanwhile, lambda: None
    meanwhile()


@step()
async def decide_and_pay() -> list[bool]:
    decided = await keep("decision", is_deferred=True)
    in_between()
    await World.go_on.wait()
    return [decided, await keep("payment")]


@workflow()
async def decide_then_pay() -> list[bool]:
    return await decide_and_pay()


@step()
async def decide_and_dwell() -> None:
    await keep("decision", is_deferred=True)
    in_between()
    await World.go_on.wait()


@workflow()
async def decide_then_dwell() -> None:
    await decide_and_dwell()
    await wait_for_event("never")


@step()
async def decide_something_unheard_of() -> None:
    await keep("decision", "\x00" if "postgresql" in notes else "\ud800", is_deferred=True)
    await keep("payment")


@workflow()
async def decide_what_cannot_be_kept() -> None:
    await decide_something_unheard_of()


async def kept(engine: Engine, run_id: str) -> list[StepRecord]:
    return [found for found in await engine.list_steps(run_id) if found.name in ("decision", "payment")]


async def paths(engine: Engine, run_id: str) -> list[str]:
    return [found.path.rpartition("/")[2] for found in await kept(engine, run_id)]


async def test_it_is_written_in_the_commit_of_the_next(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start_engine(decide_then_pay)
    commits, commit = [], engine._commits._commit

    async def committed(operations: Sequence[Any]) -> Sequence[Any]:
        commits.append([operation.step.name for operation in operations if isinstance(operation, RecordStep)])
        return await commit(operations)

    monkeypatch.setattr(engine._commits, "_commit", committed)
    World.go_on.set()
    run = await engine.start(decide_then_pay)

    assert await run.result() == [True, True]
    assert ["decision", "payment"] in commits
    decision, payment = await kept(engine, run.id)
    assert decision.ended_at is not None
    assert decision.ended_at < payment.started_at


async def test_what_takes_long_does_not_keep_it_waiting(start_engine: StartEngine) -> None:
    engine = await start_engine(decide_then_dwell, poll_seconds=0.02)
    run = await engine.start(decide_then_dwell)

    async def is_on_record() -> bool:
        return await paths(engine, run.id) == ["decision"]

    await until(is_on_record)
    World.go_on.set()
    await until_state(engine, run.id, RunState.SUSPENDED)
    assert notes == ["decision", "between"]


async def test_it_is_made_anew_where_nothing_came_of_it(start_engine: StartEngine) -> None:
    """The process dies before anything of the run is committed again."""
    engine = await start_engine(decide_then_dwell)
    World.meanwhile = lambda: engine.residents.abandon(next(iter(engine.residents.running.values())))
    World.go_on.set()

    run = await engine.start(decide_then_dwell)
    await until_state(engine, run.id, RunState.SUSPENDED)

    assert await paths(engine, run.id) == ["decision"]
    assert notes == ["decision", "between"] * 2


async def test_what_follows_from_one_that_was_lost_is_not_committed(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent by itself, and nobody knows what became of it; what it led to is waiting for the next commit."""
    engine = await start_engine(decide_then_pay, lease_seconds=0.3)
    commit = engine._commits._commit
    lost: list[Sequence[Any]] = []

    async def losing(operations: Sequence[Any]) -> Sequence[Any]:
        if not lost and [operation.step.name for operation in operations if isinstance(operation, RecordStep)]:
            lost.append(operations)
            World.go_on.set()
            await until(lambda: any(isinstance(entry.operation, RecordStep) for entry in engine._commits._first))
            raise OutcomeUnknown("the connection broke, nothing was kept")
        return await commit(operations)

    def send() -> None:
        for execution in engine.residents.running.values():
            execution.deferrals.send()

    monkeypatch.setattr(engine._commits, "_commit", losing)
    World.meanwhile = send

    run = await engine.start(decide_then_pay)

    assert await run.result() == [True, True]  # the payment that was made first is not on record either
    assert notes == ["decision", "between", "payment"] * 2


async def test_a_value_that_the_database_refuses_fails_what_comes_next(
    start_engine: StartEngine, database: Database
) -> None:
    notes.append(database.dialect)
    engine = await start_engine(decide_what_cannot_be_kept)
    run = await engine.start(decide_what_cannot_be_kept)

    with pytest.raises(RunFailed, match="cannot be stored"):
        await run.result()


async def test_a_cancel_that_came_meanwhile_is_heard(start_engine: StartEngine) -> None:
    engine = await start_engine(decide_then_dwell)
    run = await engine.start(decide_then_dwell)
    await until(lambda: "between" in notes)

    await engine.cancel(run.id, reason="enough")
    World.go_on.set()

    await until_state(engine, run.id, RunState.CANCELLED)
    assert notes == ["decision", "between"]
