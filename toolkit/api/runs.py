"""Runs: found, looked into, cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json
from starlette.requests import Request

from toolkit.access import Permission, current_principal
from toolkit.api.audit import record
from toolkit.api.bodies import Body, Text, documented, read_json
from toolkit.api.pages import LARGEST_PAGE, After, Limit, Page, page_of
from toolkit.api.run_filters import Where
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.workflows import RunDetail as RunRecord
from toolkit.workflows import RunState, RunSummary, StepRecord, StepState

router = APIRouter(prefix="/runs", tags=["runs"])

AfterStep = Annotated[
    str | None, Query(max_length=2000, description="Go on after the step at this path: the `next` of the page before.")
]


class Run(BaseModel):
    """A run, without what it was given and what it gave back."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    workflow: str
    version: str | None
    state: RunState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None = Field(description="When it goes on by itself; null while it waits for something else.")
    started_by: str | None
    parent_id: str | None
    idempotency_key: str | None
    paused_at: datetime | None
    paused_by: str | None
    cancel_requested_at: datetime | None
    forked_from: str | None = Field(description="The run of which this is a retry or a fork.")
    forked_at_step: str | None = Field(description="The path of the step with which it began; null: the beginning.")
    error_summary: str | None = Field(description="The type and the first line of its error.")
    tags: list[str]
    attributes: dict[str, Any] = Field(description="Its search attributes: texts, exact numbers as text, moments.")


class Failure(BaseModel):
    """Why a run or a step failed."""

    type: str
    message: str
    attempts: list[str] = Field(default=[], description="The errors of all attempts, one line each.")
    cause: Failure | None = None


class Wait(BaseModel):
    """Something that a run waits for."""

    model_config = ConfigDict(from_attributes=True)

    path: str
    kind: str
    name: str
    event_key: str | None
    reference: str | None = Field(description="The id of the task or of the child run.")
    since: datetime
    deadline_at: datetime | None


class RunDetail(Run):
    """A run with its input, its result or error, and what it waits for."""

    input: Any
    result: Any
    error: Failure | None
    cancel_reason: str | None
    cancelled_by: str | None
    losses: int = Field(description="How often it lost its worker since its last checkpoint.")
    waits: list[Wait]
    progress: dict[str, Any] | None = Field(description="How far it is, as its code says: done, total, note.")
    deadline_at: datetime | None = Field(description="When it is cancelled at the latest.")
    continued_as: str | None
    continued_from: str | None


class RunStep(BaseModel):
    """One row of a run's journal. ``details`` are what its kind noted: the version of a rule, the tokens of a model."""

    path: str
    name: str
    display_name: str | None
    kind: str
    state: StepState
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    arguments: Any
    result: Any
    error: Failure | None
    details: dict[str, Any] | None


class RunCancellation(Body):
    """Why a run is cancelled."""

    reason: Annotated[Text | None, Field(max_length=1000)] = None


class CancelledRun(BaseModel):
    """The run after the request; ``running`` while a worker unwinds it."""

    id: str
    state: RunState


@router.get("", operation_id="list_runs", dependencies=[requires(Permission.RUNS_READ)])
async def list_runs(*, services: Installation, where: Where, after: After = None, limit: Limit = 50) -> Page[Run]:
    """Runs, newest first. Conditions that are given must all hold."""
    found = await services.engine.list_runs(where, after=after, limit=limit + 1)
    return page_of([_run(summary) for summary in found], limit, cursor_of=lambda run: run.id)


@router.get("/{run_id}", operation_id="get_run", dependencies=[requires(Permission.RUNS_READ)])
async def get_run(run_id: str, services: Installation) -> RunDetail:
    """One run with its input, its result or error, and what it waits for."""
    return _detail(await services.engine.get_run(run_id))


@router.get("/{run_id}/steps", operation_id="list_steps", dependencies=[requires(Permission.RUNS_READ)])
async def list_steps(
    *, run_id: str, services: Installation, after: AfterStep = None, limit: Limit = LARGEST_PAGE
) -> Page[RunStep]:
    """The journal of a run, in the order in which its steps began: what it did, with what, and what came of it."""
    found = await services.engine.list_steps(run_id, after=after, limit=limit + 1)
    return page_of([_step(step) for step in found], limit, cursor_of=lambda step: step.path)


@router.post(
    "/{run_id}/cancel",
    status_code=202,
    operation_id="cancel_run",
    dependencies=[requires(Permission.RUNS_CANCEL)],
    openapi_extra=documented(RunCancellation, is_required=False),
)
async def cancel_run(run_id: str, request: Request, services: Installation) -> CancelledRun:
    """Ask a run to end. A step in flight ends first; nothing new begins."""
    body = await read_json(request, RunCancellation, limit=services.request_bytes, is_optional=True)
    state = await services.engine.cancel(run_id, reason=body.reason, by=current_principal().id)
    await record(services, action="run.cancelled", object_kind="run", object_id=run_id, reason=body.reason)
    return CancelledRun(id=run_id, state=state)


def _run(summary: RunSummary) -> Run:
    return Run.model_validate(summary)


def _detail(found: RunRecord) -> RunDetail:
    return RunDetail(
        **_run(found.summary).model_dump(),
        input=from_json(found.input),
        result=_value(found.result),
        error=_failure(found.error),
        cancel_reason=found.cancel_reason,
        cancelled_by=found.cancelled_by,
        losses=found.losses,
        waits=[Wait.model_validate(wait) for wait in found.waits],
        progress=found.progress,
        deadline_at=found.deadline_at,
        continued_as=found.continued_as,
        continued_from=found.continued_from,
    )


def _step(step: StepRecord) -> RunStep:
    return RunStep(
        path=step.path,
        name=step.name,
        display_name=step.display_name,
        kind=step.kind,
        state=step.state,
        attempts=step.attempts,
        started_at=step.started_at,
        ended_at=step.ended_at,
        arguments=_value(step.arguments),
        result=_value(step.result),
        error=_failure(step.error),
        details=_value(step.details),
    )


def _value(text: str | None) -> Any:
    if text is None or text.startswith("@"):  # a large value that is kept elsewhere is shown by where it is
        return text
    return from_json(text)


def _failure(text: str | None) -> Failure | None:
    """The error without its trace: that is for the log."""
    return None if text is None else Failure.model_validate_json(text)
