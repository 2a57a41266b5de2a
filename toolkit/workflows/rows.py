"""Rows of the journal's tables, to records and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from toolkit.storage import read_moment
from toolkit.workflows.operations import NewRun, StepRecord, WaitRecord
from toolkit.workflows.outcomes import ClaimedRun, Started
from toolkit.workflows.states import RunState, StepState, WaitState

# Looking a state up takes a tenth of what calling the enum does.
_WAIT_STATES = {state.value: state for state in WaitState}


def to_wait(row: Sequence[Any]) -> WaitRecord:
    """In the order of the waits' columns in ``statements``."""
    return WaitRecord(
        id=row[0],
        run_id=row[1],
        path=row[2],
        name=row[3],
        kind=row[4],
        event_key=row[5],
        after_seq=row[6],
        deadline_at=read_moment(row[7]),
        reference=row[8],
        arguments=row[9],
        display_name=row[10],
        state=_WAIT_STATES[row[11]],
        created_at=read_moment(row[12]),
    )


def wait_values(wait: WaitRecord, now: datetime) -> Sequence[Any]:
    """In the order of ``INSERT_WAITS``."""
    return (
        wait.id,
        wait.run_id,
        wait.path,
        wait.name,
        wait.kind,
        wait.event_key,
        wait.after_seq,
        wait.deadline_at,
        wait.reference,
        wait.arguments,
        wait.display_name,
        wait.state.value,
        wait.created_at,
        None if wait.state is WaitState.OPEN else now,
    )


def to_step(row: Sequence[Any]) -> StepRecord:
    """In the order of the steps' columns in ``statements``."""
    started_at = read_moment(row[5])
    assert started_at is not None
    return StepRecord(
        run_id=row[0],
        path=row[1],
        name=row[2],
        kind=row[3],
        state=StepState(row[4]),
        started_at=started_at,
        ended_at=read_moment(row[6]),
        arguments=row[7],
        result=row[8],
        error=row[9],
        details=row[10],
        display_name=row[11],
        attempts=row[12],
        epoch=row[13],
        event_seq=row[14],
    )


def to_claimed(row: Sequence[Any]) -> ClaimedRun:
    """In the order of the claim's columns in ``statements``; the epoch is the one that the claim gives it."""
    created_at = read_moment(row[9])
    assert created_at is not None
    return ClaimedRun(
        id=row[0],
        workflow=row[1],
        input=row[2],
        epoch=row[3] + 1,
        prior_epoch=row[3],
        prior_state=RunState(row[4]),
        version=row[5],
        parent_id=row[6],
        parent_wait=row[7],
        started_by=row[8],
        created_at=created_at,
        losses=row[10],
        is_cancel_requested=row[11] is not None,
        is_fork=row[12] is not None and row[13] is None,
        key_run_id=row[13],
        is_untouched=row[3] == 0 and row[12] is None and row[14] is None,
        originators=row[15],
        priority=row[16],
        deadline_at=read_moment(row[17]),
    )


def new_run_values(
    run: NewRun,
    state: RunState,
    epoch: int,
    worker_id: str | None,
    due_at: datetime | None,
    *,
    now: datetime | None,
    is_watched: bool | None = None,
) -> Sequence[Any]:
    """In the order of ``INSERT_RUNS``; ``now`` is left to the database where it is ``None``."""
    return (
        run.id,
        run.workflow,
        run.version,
        state.value,
        run.input,
        run.input_digest,
        run.priority,
        epoch,
        worker_id,
        due_at,
        0,
        0,
        run.idempotency_key,
        run.parent_id,
        run.parent_wait,
        run.started_by,
        now,
        now if state is RunState.RUNNING else None,
        run.deadline_at,
        run.close_policy,
        run.on_cancel,
        run.continued_from,
        is_watched,
        run.originators,
    )


def begun_run(run: NewRun, *, now: datetime) -> ClaimedRun:
    """A new run as whoever advances it from its beginning has it."""
    return ClaimedRun(
        id=run.id,
        workflow=run.workflow,
        input=run.input,
        epoch=1,
        prior_epoch=0,
        prior_state=RunState.PENDING,
        version=run.version,
        parent_id=run.parent_id,
        parent_wait=run.parent_wait,
        started_by=run.started_by,
        created_at=now,
        originators=run.originators,
        priority=run.priority,
        deadline_at=run.deadline_at,
    )


def started_run(run: NewRun) -> Started:
    """What whoever has started it is told."""
    return Started(run.id, is_new=True, input_digest=run.input_digest)
