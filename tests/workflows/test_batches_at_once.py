"""Batches in which there is nothing to decide are one statement; where there is, each operation still gets its own fate."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.workflows.test_batches import NOW, checkpoint, rows, run_batch, start, wait, worker, write
from toolkit.storage import Database, Request, Script, Together
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import (
    CancelRun,
    FinishRun,
    NewRun,
    OpenWait,
    Operation,
    StartRun,
    Suspend,
    WaitRecord,
)
from toolkit.workflows.outcomes import Effects, Fate, Finished, Recorded, Suspended
from toolkit.workflows.states import RunState, StepKind, StepState

RUNS = [f"run-{at}" for at in range(3)]


async def asked_by(
    database: Database, *operations: Operation, own: Worker | None = None
) -> tuple[list[Any], Effects, list[Request]]:
    """The outcomes and effects of a batch, of ``own`` or the usual worker, and what it asked of the database."""
    asked: list[Request] = []

    def counted() -> Script[tuple[list[Any], Effects]]:
        script = commit(operations, worker=own or worker(database), own_now=NOW)
        request = next(script)
        while True:
            asked.append(request)
            try:
                request = script.send((yield request))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    return *await database.writer.run(counted()), asked


def finish(run_id: str, *, epoch: int = 1, **more: Any) -> FinishRun:
    return FinishRun(run_id, epoch, RunState.SUCCEEDED, result='"done"', **more)


@pytest.mark.parametrize("count", [1, 3])
async def test_starts_alone_begin_their_runs_in_one_statement(database: Database, count: int) -> None:
    outcomes, effects, asked = await asked_by(database, *(start(run_id) for run_id in RUNS[:count]))

    assert [(outcome.run_id, outcome.is_new) for outcome in outcomes] == [(run_id, True) for run_id in RUNS[:count]]
    assert [(run.id, run.epoch) for run in effects.started] == [(run_id, 1) for run_id in RUNS[:count]]
    assert await rows(database, "SELECT id, state, worker_id, epoch FROM toolkit_run ORDER BY id") == [
        (run_id, "running", "worker", 1) for run_id in RUNS[:count]
    ]
    assert len(asked) == (1 if count == 1 or database.dialect == "postgresql" else 2)


@pytest.mark.parametrize(
    "start_later",
    [
        pytest.param(StartRun(NewRun("run", "w", "{}", "d", due_at=NOW + timedelta(days=1))), id="due later"),
        pytest.param(StartRun(NewRun("run", "w", "{}", "d", priority=1)), id="priority"),
    ],
)
async def test_a_start_that_has_to_wait_its_turn_is_left_to_a_claim(database: Database, start_later: StartRun) -> None:
    _, effects, _ = await asked_by(database, start_later)

    assert effects.started == []
    assert await rows(database, "SELECT state, worker_id FROM toolkit_run") == [("pending", None)]


@pytest.mark.parametrize("count", [1, 3])
async def test_checkpoints_alone_are_one_statement(database: Database, count: int) -> None:
    await run_batch(database, start())
    operations = [checkpoint(StepState.SUCCEEDED, path=f"s/{n}", result=str(n)) for n in range(count)]

    outcomes, _, asked = await asked_by(database, *operations)

    assert [outcome.fate for outcome in outcomes] == [Fate.KEPT] * count
    assert await rows(database, "SELECT path, result FROM toolkit_step ORDER BY path") == [
        (f"s/{n}", str(n)) for n in range(count)
    ]
    assert len(asked) == (1 if count == 1 or database.dialect == "postgresql" else 2)


async def test_of_checkpoints_alone_each_has_the_fate_of_its_run(database: Database) -> None:
    await run_batch(database, start(), start("cancelled"), start("lost"))
    await run_batch(database, CancelRun("cancelled", reason=None, by=None))
    await write(database, "UPDATE toolkit_run SET losses = 2 WHERE id = 'lost'")
    of_cancelled, of_lost = (
        replace(
            checkpoint(StepState.SUCCEEDED), run_id=id_, step=checkpoint(StepState.SUCCEEDED).step._replace(run_id=id_)
        )
        for id_ in ("cancelled", "lost")
    )
    stale = checkpoint(StepState.SUCCEEDED, path="s/1")
    stale = replace(stale, epoch=7, step=stale.step._replace(epoch=7))

    (cancelled,), _ = await run_batch(database, of_cancelled)
    outcomes, _ = await run_batch(database, checkpoint(StepState.SUCCEEDED), stale, of_lost)

    assert cancelled == Recorded(Fate.KEPT, is_cancel_requested=True)
    assert [outcome.fate for outcome in outcomes] == [Fate.KEPT, Fate.LOST, Fate.KEPT]
    kept = await rows(database, "SELECT run_id, path FROM toolkit_step ORDER BY run_id")
    assert kept == [("cancelled", "s/0"), ("lost", "s/0"), ("run", "s/0")]
    assert await rows(database, "SELECT losses FROM toolkit_run WHERE id = 'lost'") == [(0,)]


@pytest.mark.parametrize("count", [1, 3])
async def test_ends_alone_are_one_statement(database: Database, count: int) -> None:
    await run_batch(database, *(start(run_id) for run_id in RUNS))

    outcomes, effects, asked = await asked_by(database, *(finish(run_id) for run_id in RUNS[:count]))

    assert outcomes == [Finished(Fate.KEPT, RunState.SUCCEEDED)] * count
    assert [(run.id, run.state, run.result) for run in effects.ended] == [
        (run_id, RunState.SUCCEEDED, '"done"') for run_id in RUNS[:count]
    ]
    found = await rows(database, "SELECT id, worker_id, result, finished_at FROM toolkit_run WHERE state = 'succeeded'")
    assert sorted((id_, worker_id, result) for id_, worker_id, result, _ in found) == [
        (run_id, None, '"done"') for run_id in RUNS[:count]
    ]
    assert all(finished_at is not None for *_, finished_at in found)
    assert len(asked) == (1 if count == 1 or database.dialect == "postgresql" else 2)


async def test_a_failed_end_keeps_its_error_and_a_line_of_it(database: Database) -> None:
    await run_batch(database, start())
    error = '{"type": "ValueError", "module": "builtins", "message": "no\\nmoney"}'

    await run_batch(database, FinishRun("run", 1, RunState.FAILED, error=error))

    found = await rows(database, "SELECT state, result, error, error_summary FROM toolkit_run")
    assert found == [("failed", None, error, "ValueError: no")]


async def test_of_ends_each_has_the_fate_of_its_run(database: Database) -> None:
    """One is cancelled, one is not ours any more, one is awaited by another run, one has a parent; one is plain."""
    await run_batch(database, *(start(run_id) for run_id in ("awaited", "cancelled", "lost", "plain", "waits")))
    await run_batch(database, CancelRun("cancelled", reason=None, by=None))
    watch = WaitRecord("watch", "waits", "watch/0", "run:awaited", StepKind.WAIT, event_key="run:awaited")
    await run_batch(database, OpenWait("waits", 1, watch, watched="awaited"))

    outcomes, effects = await run_batch(
        database, finish("plain"), finish("cancelled"), finish("lost", epoch=7), finish("awaited")
    )

    assert [(outcome.fate, outcome.state) for outcome in outcomes] == [
        (Fate.KEPT, RunState.SUCCEEDED),
        (Fate.KEPT, RunState.CANCELLED),
        (Fate.LOST, None),
        (Fate.KEPT, RunState.SUCCEEDED),
    ]
    assert len(effects.unmatched) == 1  # whoever waits for `awaited` is told by the next batch
    assert await rows(database, "SELECT id, state FROM toolkit_run ORDER BY id") == [
        ("awaited", "succeeded"),
        ("cancelled", "cancelled"),
        ("lost", "running"),
        ("plain", "succeeded"),
        ("waits", "running"),
    ]


@pytest.mark.parametrize("count", [1, 3])
async def test_runs_that_go_to_wait_alone_are_one_statement(database: Database, count: int) -> None:
    await run_batch(database, *(start(run_id) for run_id in RUNS))

    outcomes, _, asked = await asked_by(database, *(Suspend(run_id, 1, due_at=NOW) for run_id in RUNS[:count]))

    assert outcomes == [Suspended(Fate.KEPT, is_suspended=True)] * count
    assert await rows(
        database, "SELECT id, worker_id, warm_worker FROM toolkit_run WHERE state = 'suspended' AND due_at IS NOT NULL"
    ) == [(run_id, None, "worker") for run_id in RUNS[:count]]
    assert len(asked) == (1 if count == 1 or database.dialect == "postgresql" else 2)


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize(
    ("operation", "outcome"),
    [
        (Suspend("cancelled", 1, due_at=None), Suspended(Fate.KEPT, is_cancel_requested=True)),
        (Suspend("lost", 7, due_at=None), Suspended(Fate.LOST)),
        (Suspend("doubts", 1, due_at=None, is_in_doubt=True), Suspended(Fate.KEPT, must_read=True)),
    ],
    ids=["cancelled", "lost", "in doubt"],
)
async def test_of_runs_that_go_to_wait_each_has_its_own_fate(
    database: Database, operation: Suspend, outcome: Suspended, others: int
) -> None:
    await run_batch(database, *(start(run_id) for run_id in ("cancelled", "doubts", "lost", *RUNS)))
    await run_batch(database, CancelRun("cancelled", reason=None, by=None))
    plain = [Suspend(run_id, 1, due_at=None) for run_id in RUNS[:others]]

    outcomes, _ = await run_batch(database, *plain, operation)

    assert outcomes == [*[Suspended(Fate.KEPT, is_suspended=True)] * others, outcome]


async def test_what_touches_different_rows_is_written_in_one_journey(database: Database) -> None:
    await run_batch(database, start())

    _, _, asked = await asked_by(database, checkpoint(StepState.SUCCEEDED), wait("one"), start("other"))

    written = [request for request in asked if isinstance(request, Together)]
    assert [len(request.requests) for request in written] == [3]
    assert await rows(database, "SELECT run_id, path FROM toolkit_step") == [("run", "s/0")]
    assert await rows(database, "SELECT path FROM toolkit_wait") == [("one/0",)]
    assert await rows(database, "SELECT id FROM toolkit_run ORDER BY id") == [("other",), ("run",)]
