"""Looking at runs and steps; summaries never read a payload."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from toolkit.errors import NotFound
from toolkit.storage import Connection, Query, Statement, both, read_moment, readable
from toolkit.workflows import statements as sql
from toolkit.workflows.attributes import Attribute, AttributeRow, read_attributes
from toolkit.workflows.operations import StepRecord
from toolkit.workflows.outcomes import EndedRun
from toolkit.workflows.rows import to_step
from toolkit.workflows.searches import RunFilter, conditions_of
from toolkit.workflows.states import RunState

_SUMMARY = (
    "id, workflow, version, state, created_at, started_at, finished_at, due_at, started_by, parent_id, "
    "idempotency_key, paused_at, cancel_requested_at, paused_by, forked_from, forked_at_step, error_summary"
)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run without its payloads; ``error_summary`` is the first line of its error."""

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
    paused_by: str | None = None
    forked_from: str | None = None
    forked_at_step: str | None = None
    error_summary: str | None = None
    tags: Sequence[str] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


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
    deadline_at: datetime | None = None
    continued_as: str | None = None
    continued_from: str | None = None
    progress: dict[str, Any] | None = None


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
    f"SELECT {_SUMMARY}, input, result, error, cancel_reason, cancelled_by, losses, deadline_at, continued_as, "  # noqa: S608
    "continued_from, progress FROM toolkit_run WHERE id = $1",
)
_WAITS = both(
    "waits of run",
    "SELECT path, kind, name, event_key, reference, created_at, deadline_at FROM toolkit_wait "
    "WHERE run_id = $1 AND state = 'open' ORDER BY id",
)
_STEP_COLUMNS = (
    "run_id, path, name, kind, state, started_at, ended_at, arguments, result, error, details, display_name, attempts, "
    "epoch, event_seq"
)
_STEPS = f"SELECT {_STEP_COLUMNS} FROM toolkit_step WHERE run_id = $1 ORDER BY started_at, path"  # noqa: S608
_STEPS_AFTER = (
    f"SELECT {_STEP_COLUMNS} FROM toolkit_step WHERE run_id = $1 AND (started_at, path) > "  # noqa: S608
    "(SELECT started_at, path FROM toolkit_step WHERE run_id = $1 AND path = $2) ORDER BY started_at, path"
)
_ATTRIBUTES = Statement(
    "attributes of runs",
    sqlite="SELECT run_id, name, kind, value, position FROM toolkit_attribute "
    "WHERE run_id IN (SELECT value FROM json_each(?1)) ORDER BY run_id, name",
    postgresql="SELECT run_id, name, kind, value, position FROM toolkit_attribute "
    "WHERE run_id = ANY($1::text[]) ORDER BY run_id, name",
)


async def list_runs(connection: Connection, where: RunFilter, *, after: str | None, limit: int) -> list[RunSummary]:
    """A page of runs, newest first, with their tags and attributes.

    Raises:
        InvalidInput: the filter cannot be read.
    """
    found = [_to_summary(row) for row in await connection.read(page_query(where, after=after, limit=limit))]
    rows: dict[str, list[AttributeRow]] = {run.id: [] for run in found}
    if found:
        for run_id, *row in await connection.read(Query(_ATTRIBUTES, [list(rows)])):
            rows[run_id].append((row[0], row[1], row[2], row[3]))
    return [_with_attributes(run, rows[run.id]) for run in found]


def page_query(where: RunFilter, *, after: str | None, limit: int) -> Query:
    """The one statement that a page of summaries takes; it names no column with a payload."""
    clause = conditions_of(where, after=after)
    tail = f"ORDER BY id DESC LIMIT {int(limit)}"
    return Query(
        Statement(
            "list runs",
            sqlite=f"SELECT {_SUMMARY} FROM toolkit_run {clause.sqlite} {tail}",  # noqa: S608 - no value in it
            postgresql=f"SELECT {_SUMMARY} FROM toolkit_run {clause.postgresql} {tail}",  # noqa: S608
        ),
        clause.values,
    )


async def count_runs(connection: Connection, where: RunFilter, *, but_not: Sequence[str] = ()) -> int:
    """How many runs are meant; those of the workflows ``but_not`` are not counted.

    Raises:
        InvalidInput: the filter cannot be read.
    """
    clause = conditions_of(where, but_not=but_not)
    statement = Statement(
        "count runs",
        sqlite=f"SELECT count(*) FROM toolkit_run {clause.sqlite}",  # noqa: S608 - no value in it
        postgresql=f"SELECT count(*) FROM toolkit_run {clause.postgresql}",  # noqa: S608
    )
    return int((await connection.read(Query(statement, clause.values)))[0][0])


async def list_run_ids(
    connection: Connection, where: RunFilter, *, after: str | None, limit: int, but_not: Sequence[str] = ()
) -> list[str]:
    """A page of the ids of the runs that are meant, newest first.

    Raises:
        InvalidInput: the filter cannot be read.
    """
    clause = conditions_of(where, after=after, but_not=but_not)
    tail = f"ORDER BY id DESC LIMIT {int(limit)}"
    statement = Statement(
        "list run ids",
        sqlite=f"SELECT id FROM toolkit_run {clause.sqlite} {tail}",  # noqa: S608 - no value in it
        postgresql=f"SELECT id FROM toolkit_run {clause.postgresql} {tail}",  # noqa: S608
    )
    return [id_ for (id_,) in await connection.read(Query(statement, clause.values))]


async def find_run(connection: Connection, run_id: str) -> RunDetail:
    """One run.

    Raises:
        NotFound: there is none.
        PayloadNotDecoded: this process cannot decode what is on record.
    """
    rows = await connection.read(Query(_FIND, [run_id]))
    if not rows:
        raise NotFound("run", run_id)
    row = rows[0]
    attributes = [tuple(each[1:]) for each in await connection.read(Query(_ATTRIBUTES, [[run_id]]))]
    input_, result, error, reason, by, losses, deadline_at, continued_as, continued_from, progress = row[-10:]
    for text, what in ((input_, "input"), (result, "result"), (error, "error"), (progress, "progress")):
        readable(text, what=f"the {what} of run {run_id}")
    waits = [
        OpenWaitSummary(path, kind, name, key, reference, _moment(since), read_moment(deadline))
        for path, kind, name, key, reference, since, deadline in await connection.read(Query(_WAITS, [run_id]))
    ]
    return RunDetail(
        summary=_with_attributes(_to_summary(row), attributes),
        input=input_,
        result=result,
        error=error,
        cancel_reason=reason,
        cancelled_by=by,
        losses=losses,
        waits=waits,
        deadline_at=read_moment(deadline_at),
        continued_as=continued_as,
        continued_from=continued_from,
        progress=json.loads(progress) if progress else None,
    )


async def list_steps(
    connection: Connection, run_id: str, *, after: str | None = None, limit: int | None = None
) -> list[StepRecord]:
    """The journal of a run in the order in which its steps began, or a page of it after the step at path ``after``.

    Raises:
        PayloadNotDecoded: this process cannot decode what is on record.
    """
    tail = "" if limit is None else f" LIMIT {int(limit)}"
    if after is None:
        rows = await connection.read(Query(both("steps of run", _STEPS + tail), [run_id]))
    else:
        rows = await connection.read(Query(both("steps of run after", _STEPS_AFTER + tail), [run_id, after]))
    steps = [to_step(row) for row in rows]
    for step in steps:
        for text in (step.arguments, step.result, step.error, step.details):
            readable(text, what=f"the record of the step at {step.path} of run {run_id}")
    return steps


async def run_states(connection: Connection, run_ids: Sequence[str]) -> dict[str, EndedRun]:
    """State, result and error of each run that exists, ended or not."""
    rows = await connection.read(Query(sql.RUN_STATES, [list(run_ids)]))
    return {id_: EndedRun(id_, RunState(state), *rest) for id_, state, *rest in rows}


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
        paused_by=row[13],
        forked_from=row[14],
        forked_at_step=row[15],
        error_summary=row[16],
    )


def _with_attributes(run: RunSummary, rows: Sequence[AttributeRow]) -> RunSummary:
    if not rows:
        return run
    tags, attributes = read_attributes(rows)
    return replace(run, tags=tags, attributes=attributes)


def _moment(value: Any) -> datetime:
    moment = read_moment(value)
    assert moment is not None
    return moment
