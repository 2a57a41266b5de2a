"""Looking at runs and steps; summaries never read a payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.errors import NotFound
from toolkit.storage import Connection, Query, both, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.operations import EndedRun, StepRecord
from toolkit.workflows.rows import to_step
from toolkit.workflows.states import RunState

_SUMMARY = (
    "id, workflow, version, state, created_at, started_at, finished_at, due_at, started_by, parent_id, "
    "idempotency_key, paused_at, cancel_requested_at"
)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run without its payloads."""

    id: str
    workflow: str
    version: str | None
    state: RunState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    started_by: str | None
    parent_id: str | None
    idempotency_key: str | None
    paused_at: datetime | None
    cancel_requested_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its input, its result and its error as JSON text, and what it waits for."""

    summary: RunSummary
    input: str
    result: str | None
    error: str | None
    cancel_reason: str | None
    cancelled_by: str | None
    losses: int
    waits: Sequence[OpenWaitSummary]


@dataclass(frozen=True, slots=True)
class OpenWaitSummary:
    """What a run waits for, since when and until when."""

    path: str
    kind: str
    name: str
    event_key: str | None
    reference: str | None
    since: datetime
    deadline_at: datetime | None


_FIND = both(
    "find run",
    f"SELECT {_SUMMARY}, input, result, error, cancel_reason, cancelled_by, losses FROM toolkit_run WHERE id = $1",  # noqa: S608
)
_WAITS = both(
    "waits of run",
    "SELECT path, kind, name, event_key, reference, created_at, deadline_at FROM toolkit_wait "
    "WHERE run_id = $1 AND state = 'open' ORDER BY id",
)
_STEPS = both(
    "steps of run",
    "SELECT run_id, path, name, kind, state, started_at, ended_at, arguments, result, error, details, display_name, "
    "attempts, epoch, event_seq FROM toolkit_step WHERE run_id = $1 ORDER BY started_at, path",
)


async def list_runs(
    connection: Connection, *, workflow: str | None, state: RunState | None, after: str | None, limit: int
) -> list[RunSummary]:
    """A page of runs, newest first."""
    conditions, values = [], []
    for column, comparison, value in (("workflow", "=", workflow), ("state", "=", state), ("id", "<", after)):
        if value is not None:
            values.append(str(value))
            conditions.append(f"{column} {comparison} ${len(values)}")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    text = f"SELECT {_SUMMARY} FROM toolkit_run {where} ORDER BY id DESC LIMIT {int(limit)}"  # noqa: S608 - no value in it
    return [_to_summary(row) for row in await connection.read(Query(both("list runs", text), values))]


async def find_run(connection: Connection, run_id: str) -> RunDetail:
    """One run.

    Raises:
        NotFound: there is none.
    """
    rows = await connection.read(Query(_FIND, [run_id]))
    if not rows:
        raise NotFound("run", run_id)
    row = rows[0]
    waits = [
        OpenWaitSummary(path, kind, name, key, reference, _moment(since), read_moment(deadline))
        for path, kind, name, key, reference, since, deadline in await connection.read(Query(_WAITS, [run_id]))
    ]
    return RunDetail(
        summary=_to_summary(row),
        input=row[13],
        result=row[14],
        error=row[15],
        cancel_reason=row[16],
        cancelled_by=row[17],
        losses=row[18],
        waits=waits,
    )


async def list_steps(connection: Connection, run_id: str) -> list[StepRecord]:
    """The journal of a run."""
    return [to_step(row) for row in await connection.read(Query(_STEPS, [run_id]))]


async def run_states(connection: Connection, run_ids: Sequence[str]) -> dict[str, EndedRun]:
    """State, result and error of each run that exists, ended or not."""
    rows = await connection.read(Query(sql.RUN_STATES, [list(run_ids)]))
    return {id_: EndedRun(id_, RunState(state), result, error) for id_, state, result, error in rows}


def _to_summary(row: Sequence[Any]) -> RunSummary:
    return RunSummary(
        id=row[0],
        workflow=row[1],
        version=row[2],
        state=RunState(row[3]),
        created_at=_moment(row[4]),
        started_at=read_moment(row[5]),
        finished_at=read_moment(row[6]),
        due_at=read_moment(row[7]),
        started_by=row[8],
        parent_id=row[9],
        idempotency_key=row[10],
        paused_at=read_moment(row[11]),
        cancel_requested_at=read_moment(row[12]),
    )


def _moment(value: Any) -> datetime:
    moment = read_moment(value)
    assert moment is not None
    return moment
