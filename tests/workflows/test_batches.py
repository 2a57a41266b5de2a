"""One transaction of the engine: what operations that meet in it do to each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from toolkit.storage import Database, Query, both
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import (
    CancelRun,
    EmitEvent,
    FinishRun,
    NewEvent,
    NewRun,
    OpenWait,
    Operation,
    RecordStep,
    StartRun,
    StepRecord,
    Suspend,
    WaitRecord,
)
from toolkit.workflows.outcomes import Effects, Suspended, WaitOpened
from toolkit.workflows.states import RunState, StepKind, StepState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def run_batch(database: Database, *operations: Operation) -> tuple[list[Any], Effects]:
    return await database.writer.run(commit(operations, worker=worker(database), own_now=NOW))


def worker(database: Database) -> Worker:
    return Worker("worker", room=10, closers={}, new_id=lambda: "", is_far=database.dialect == "postgresql")


async def rows(database: Database, sql: str, *values: Any) -> Sequence[Any]:
    return [tuple(row) for row in await database.reader.read(Query(both("test", sql), values))]


def start(run_id: str = "run") -> StartRun:
    return StartRun(NewRun(run_id, "w", "{}", "digest"))


def checkpoint(state: StepState, *, result: str | None = None, path: str = "s/0") -> RecordStep:
    return RecordStep("run", 1, StepRecord("run", path, "s", StepKind.COMPUTE, state, NOW, NOW, None, result, epoch=1))


def wait(name: str, *, run_id: str = "run", after: int = 0) -> OpenWait:
    record = WaitRecord(f"wait-{name}", run_id, f"{name}/0", "news", StepKind.WAIT, event_key="news", after_seq=after)
    return OpenWait(run_id, 1, record)


def event(payload: str) -> EmitEvent:
    return EmitEvent(NewEvent(f"event-{payload}", "news", payload))


async def test_an_early_sighting_never_replaces_a_checkpoint_of_the_same_batch(database: Database) -> None:
    await run_batch(database, start())

    await run_batch(database, checkpoint(StepState.SUCCEEDED, result="1"), checkpoint(StepState.RUNNING))

    assert await rows(database, "SELECT state, result FROM toolkit_step") == [("succeeded", "1")]


async def test_a_late_sighting_never_reopens_a_step_that_has_failed(database: Database) -> None:
    await run_batch(database, start())
    await run_batch(database, checkpoint(StepState.FAILED))

    await run_batch(database, checkpoint(StepState.RUNNING))

    assert await rows(database, "SELECT state FROM toolkit_step") == [("failed",)]


async def test_an_event_is_not_delivered_again_to_a_wait_that_knows_an_old_cursor(database: Database) -> None:
    await run_batch(database, start())
    await run_batch(database, wait("one"))
    await run_batch(database, event("1"))

    (opened,), _ = await run_batch(database, wait("two", after=0))

    assert isinstance(opened, WaitOpened)
    assert opened.record is None
    assert opened.wait is not None
    assert opened.wait.after_seq == 1


async def test_an_event_that_was_numbered_while_its_run_was_locked_elsewhere_comes_first(database: Database) -> None:
    await run_batch(database, start())
    await run_batch(database, wait("one"))
    # What a batch leaves that could not lock the run: the event has its number, and the wait is open.
    await write(
        database,
        "INSERT INTO toolkit_event (id, key, seq, payload, created_at) "
        "SELECT 'event-1', 'news', 1, '1', created_at FROM toolkit_wait",
    )

    await run_batch(database, event("2"))

    assert await rows(database, "SELECT result, event_seq FROM toolkit_step") == [("1", 1)]


async def write(database: Database, sql: str) -> None:
    await database.writer.run(_script(sql))


def _script(sql: str) -> Any:
    yield Query(both("test", sql))


async def test_a_run_is_not_suspended_in_the_batch_in_which_its_child_ends(database: Database) -> None:
    child = NewRun("child", "w", "{}", "digest", parent_id="run", parent_wait="wait-child")
    standing = WaitRecord("wait-child", "run", "w/0", "w", StepKind.CHILD, reference="child")
    await run_batch(database, start())
    await run_batch(database, OpenWait("run", 1, standing, child))
    end = FinishRun("child", 1, RunState.SUCCEEDED, result="7", parent_id="run", parent_wait="wait-child")

    (suspended, _), effects = await run_batch(database, Suspend("run", 1, None), end)

    assert isinstance(suspended, Suspended)
    assert not suspended.is_suspended
    assert [record.path for record in effects.delivered] == ["w/0"]
    assert effects.woken == []


async def test_a_run_that_is_cancelled_while_it_asks_to_be_suspended_unwinds(database: Database) -> None:
    await run_batch(database, start())

    (suspended, cancelled), effects = await run_batch(
        database, Suspend("run", 1, None), CancelRun("run", reason=None, by=None)
    )

    assert suspended.is_cancel_requested
    assert not suspended.is_suspended
    assert cancelled.state is RunState.RUNNING
    assert effects.cancel_requested == ["run"]


async def test_an_event_for_a_wait_that_its_finished_run_has_left_open_changes_nothing_of_the_run(
    database: Database,
) -> None:
    await run_batch(database, start())
    await run_batch(database, wait("one"))
    await run_batch(database, FinishRun("run", 1, RunState.SUCCEEDED, result="1"))

    await run_batch(database, event("1"))

    assert await rows(database, "SELECT path FROM toolkit_step") == []
    assert await rows(database, "SELECT state FROM toolkit_wait") == [("cancelled",)]


async def test_a_checkpoint_ends_the_count_of_losses(database: Database) -> None:
    await run_batch(database, start())
    await write(database, "UPDATE toolkit_run SET losses = 2, total_losses = 2")

    await run_batch(database, checkpoint(StepState.RUNNING, path="a/0"))
    assert await rows(database, "SELECT losses FROM toolkit_run") == [(2,)]
    await run_batch(database, checkpoint(StepState.SUCCEEDED, result="1"))

    assert await rows(database, "SELECT losses, total_losses FROM toolkit_run") == [(0, 2)]


async def test_a_warm_run_that_is_due_already_is_claimed_and_not_woken_past_what_it_has_not_seen(
    database: Database,
) -> None:
    other = Worker("other", room=10, closers={}, new_id=lambda: "")
    await run_batch(database, start())
    await run_batch(database, wait("first"), wait("second"), Suspend("run", 1, None))
    await database.writer.run(commit([event("one")], worker=other, own_now=NOW))

    _, effects = await run_batch(database, event("two"))

    assert effects.woken == []
    assert effects.has_due_runs
    ((state, due_at),) = await rows(database, "SELECT state, due_at FROM toolkit_run")
    assert (state, due_at is not None) == (RunState.SUSPENDED, True)
