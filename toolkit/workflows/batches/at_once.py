"""Batches in which there is nothing to decide, each in one statement that is a transaction of its own.

Nothing but checkpoints, but starts, but ends, or but runs that go to wait: most of what a busy process writes, and all
that a lone run of plain steps does. To a server, also a lone wait that is all its run does, and a lone event that one
run waits for. The statement keeps everything or nothing; when it kept nothing, there is more to decide than it can,
and the batch goes the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeGuard

from toolkit.storage import Query, Rows, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.starts import KEPT, KEPT_BUT_CANCELLED
from toolkit.workflows.batches.state import Worker
from toolkit.workflows.failures import summary_of
from toolkit.workflows.operations import (
    EmitEvent,
    FinishRun,
    NewEvent,
    OpenWait,
    Operation,
    RecordStep,
    StartRun,
    StepRecord,
    Suspend,
)
from toolkit.workflows.outcomes import Effects, Emitted, EndedRun, Fate, Finished, Suspended, WaitOpened
from toolkit.workflows.rows import begun_run, new_run_values, started_run
from toolkit.workflows.states import RunState, StepKind, StepState

Kept = tuple[list[Any], Effects]


def commit_at_once(operations: Sequence[Operation], *, worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    """Outcomes and effects, as those of a batch; or ``None``, and nothing was written."""
    if len(operations) > 1 and not worker.is_far:
        return None  # on SQLite many are written faster the usual way
    kind = type(operations[0])
    way = _WAYS.get(kind)
    if way is None or any(type(operation) is not kind for operation in operations):
        return None
    return (yield from way(operations, worker, own_now))


# Checkpoints ---------------------------------------------------------------------------------------------------------


def _record(operations: Sequence[Any], worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    steps = [operation.step for operation in operations if _is_plain_step(operation)]
    if len(steps) < len(operations) or len({(step.run_id, step.path) for step in steps}) < len(steps):
        return None
    rows = yield Rows(sql.RECORD_AT_ONCE, [(*step, worker.id) for step in steps], is_alone=True)
    if not rows:
        return None
    cancelled = {run_id for run_id, is_cancelled in rows if is_cancelled}
    return [KEPT_BUT_CANCELLED if step.run_id in cancelled else KEPT for step in steps], Effects()


def _is_plain_step(operation: Operation) -> TypeGuard[RecordStep]:
    return (
        isinstance(operation, RecordStep)
        and operation.run is None
        and operation.event is None
        and operation.cancel_mode is None
        and not operation.attached
        and operation.step.state is not StepState.RUNNING
        and operation.step.epoch == operation.epoch
    )


# Starts --------------------------------------------------------------------------------------------------------------


def _start(operations: Sequence[Any], worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    if len(operations) > worker.room or not all(_is_plain_start(operation, worker) for operation in operations):
        return None
    runs = [operation.run for operation in operations]
    values = [new_run_values(run, RunState.RUNNING, 1, worker.id, None, now=own_now) for run in runs]
    rows = yield Rows(sql.START_AT_ONCE, values, is_alone=True)
    now = read_moment(rows[0][0])
    assert now is not None
    effects = Effects(now=now, started=[begun_run(run, now=now) for run in runs])
    return [started_run(run) for run in runs], effects


def _is_plain_start(operation: StartRun, worker: Worker) -> bool:
    run = operation.run
    return (
        run.idempotency_key is None
        and run.due_at is None
        and not run.priority
        and not run.attributes
        and run.workflow not in worker.rooms
    )


# Ends and waits ------------------------------------------------------------------------------------------------------


def _finish(operations: Sequence[Any], worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    plain = [operation for operation in operations if _is_plain_end(operation)]
    if len(plain) < len(operations) or len({operation.run_id for operation in plain}) < len(plain):
        return None
    values = [
        (o.run_id, o.epoch, worker.id, o.state.value, o.result, o.error, o.error and summary_of(o.error), own_now)
        for o in plain
    ]
    rows = yield Rows(sql.FINISH_AT_ONCE, values, is_alone=True)
    if not rows:
        return None
    ended = [EndedRun(o.run_id, o.state, o.result, o.error) for o in plain]
    return [Finished(Fate.KEPT, o.state) for o in plain], Effects(ended=ended)


def _suspend(operations: Sequence[Any], worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    runs = {operation.run_id for operation in operations if not operation.is_in_doubt}
    if len(runs) < len(operations):
        return None
    values = [(o.run_id, o.epoch, worker.id, o.due_at, o.cancel_mode and o.cancel_mode.value) for o in operations]
    rows = yield Rows(sql.SUSPEND_AT_ONCE, values, is_alone=True)
    return ([Suspended(Fate.KEPT, is_suspended=True)] * len(operations), Effects()) if rows else None


def _is_plain_end(operation: FinishRun) -> bool:
    return (
        operation.state.is_final
        and operation.state is not RunState.CANCELLED
        and operation.parent_id is None
        and operation.continued is None
        and not operation.has_open_waits
        and not operation.child_ids
    )


# An event and the wait for it, each alone -----------------------------------------------------------------------------


def _open_wait(operations: Sequence[Any], worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    operation: OpenWait = operations[0]
    wait, suspension = operation.wait, operation.suspension
    if len(operations) > 1 or not worker.is_far or suspension is None or not _is_plain_wait(operation):
        return None
    values = [wait.id, wait.run_id, wait.path, wait.name, wait.kind, wait.event_key, wait.after_seq, wait.deadline_at]
    cancel_mode = suspension.cancel_mode and suspension.cancel_mode.value
    fence = [operation.epoch, worker.id, suspension.due_at, cancel_mode, own_now]
    rows = yield Rows(sql.OPEN_WAIT_AT_ONCE, [(*values, wait.created_at, *fence)], is_alone=True)
    if not rows:
        return None
    effects = Effects()
    if wait.event_key is not None:
        look = [wait.event_key, wait.after_seq, wait.run_id]
        ((is_behind,),) = yield Query(sql.IS_BEHIND, look, is_alone=True)
        effects.unmatched.update([wait.event_key] if is_behind else ())
    opened = replace(wait, created_at=read_moment(rows[0][0]))
    return [WaitOpened(Fate.KEPT, wait=opened, is_suspended=True)], effects


def _is_plain_wait(operation: OpenWait) -> bool:
    wait = operation.wait
    return (
        (wait.hears_events or wait.kind == StepKind.TIMER)
        and wait.reference is None
        and wait.arguments is None
        and wait.display_name is None
        and operation.child is None
        and not operation.attached
        and operation.watched is None
        and operation.since is None
        and not operation.is_from_now
    )


def _emit(operations: Sequence[Any], worker: Worker, own_now: datetime | None) -> Script[Kept | None]:
    event: NewEvent = operations[0].event
    if len(operations) > 1 or not worker.is_far or worker.room < 1 or event.idempotency_key is not None:
        return None
    statement = sql.EMIT_AT_ONCE if event.run_id is None else sql.EMIT_TO_RUN_AT_ONCE
    result = event.payload or "null"
    values = (event.id, event.key, event.run_id, event.payload, result, worker.id, own_now)
    rows = yield Rows(statement, [values], is_alone=True)
    if not rows:
        return None
    ((run_id, path, name, began_at, now, epoch, seq, is_delivered),) = rows
    effects = Effects(now=read_moment(now))
    if is_delivered:
        effects.woken = [(run_id, epoch, epoch + 1)]
        effects.delivered = [
            StepRecord(
                run_id=run_id,
                path=path,
                name=name,
                kind=StepKind.WAIT,
                state=StepState.SUCCEEDED,
                started_at=began_at,
                ended_at=max(now, began_at),
                result=result,
                epoch=epoch + 1,
                event_seq=seq,
            )
        ]
    is_awaited = not is_delivered
    if event.run_id is None:  # a run that waits opens no wait meanwhile; other runs may have
        ((more,),) = yield Query(sql.IS_AWAITED, [event.key, seq], is_alone=True)
        is_awaited = is_awaited or more
    effects.unmatched.update([event.key] if is_awaited else ())
    return [Emitted(is_new=True, is_same=True)], effects


_WAYS: dict[type, Callable[[Sequence[Any], Worker, datetime | None], Script[Kept | None]]] = {
    RecordStep: _record,
    StartRun: _start,
    FinishRun: _finish,
    Suspend: _suspend,
    OpenWait: _open_wait,
    EmitEvent: _emit,
}
