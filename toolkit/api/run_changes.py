"""What operators do to runs: pause, resume, release, retry and fork one, or do one of it to many."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission, current_principal, require
from toolkit.api.audit import record
from toolkit.api.bodies import VERBATIM, Body, JsonObjectText, Text, documented, read_json, within
from toolkit.api.run_filters import RunConditions
from toolkit.api.security import requires
from toolkit.api.services import Installation, RunKey
from toolkit.errors import InvalidInput
from toolkit.workflows import BulkAction, Forked, RunState, Standing

router = APIRouter(prefix="/runs", tags=["runs"])

Reason = Annotated[Text | None, Field(max_length=1000, description="Why; it is kept in the audit trail.")]


class RunChange(Body):
    """Why a run is changed."""

    reason: Reason = None


class RunFork(Body):
    """Where a fork begins, and with what."""

    from_step: Annotated[
        Text | None, Field(description="The path of the step with which it begins; left out: the beginning.")
    ] = None
    input: Annotated[
        JsonObjectText | None,
        VERBATIM,
        Field(description="Arguments by name that replace those of the run; the others stay."),
    ] = None
    results: Annotated[
        dict[str, Any],
        Field(default_factory=dict, description="Results of steps that are not to be run, by their paths."),
    ]
    reason: Reason = None


class RunStanding(BaseModel):
    """How a run stands after the request; ``is_changed`` is false where it was so already."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    state: RunState
    paused_at: datetime | None
    is_changed: bool


class ForkedRun(BaseModel):
    """The run that was made, or had been made before."""

    id: str
    workflow: str
    forked_from: str
    is_new: bool


class BulkChange(Body):
    """One action for many runs. Without ``dry_run: false`` they are counted, and nothing is changed."""

    action: BulkAction
    filter: RunConditions = Field(default_factory=lambda: RunConditions.model_validate({}))
    dry_run: bool = True
    at_most: Annotated[
        int | None, Field(ge=0, description="What you have counted: with more runs than this nothing is done.")
    ] = None
    from_step: Annotated[Text | None, Field(description="For a fork; see there.")] = None
    input: Annotated[JsonObjectText | None, VERBATIM, Field(description="For a fork; see there.")] = None
    reason: Reason = None


class BulkAnswer(BaseModel):
    """How many runs are meant, and the run that changes them; look at it for its progress and its outcome."""

    count: int
    run_id: str | None = None


# Who may do it to one run may do it to many, if many are allowed at all.
_PERMISSIONS = {
    BulkAction.CANCEL: Permission.RUNS_CANCEL,
    BulkAction.PAUSE: Permission.RUNS_PAUSE,
    BulkAction.RESUME: Permission.RUNS_PAUSE,
    BulkAction.RELEASE: Permission.RUNS_RELEASE,
    BulkAction.RETRY: Permission.RUNS_RETRY,
    BulkAction.FORK: Permission.RUNS_FORK,
}


@router.post(
    "/bulk",
    operation_id="change_runs",
    dependencies=[requires(Permission.RUNS_BULK)],
    openapi_extra=documented(BulkChange),
    responses={202: {"model": BulkAnswer, "description": "It is being done, in the background."}},
)
async def change_runs(
    *, request: Request, response: Response, services: Installation, idempotency_key: RunKey = None
) -> BulkAnswer:
    """Count the runs that are meant, or do one thing to all of them.

    Asks for the permission of the action as well. The work is done by a run of its own, which survives the end of any
    process; its id is in the answer.
    """
    body = await read_json(request, BulkChange, limit=services.request_bytes)
    require(_PERMISSIONS[body.action])
    if body.action is not BulkAction.FORK and (body.from_step is not None or body.input is not None):
        raise InvalidInput(
            f"from_step and input are for a fork, and the action is {body.action.value!r}",
            errors=[{"loc": "from_step", "msg": "only for a fork", "type": "unexpected"}],
        )
    control, principal, where = services.engine.control, current_principal(), body.filter.as_filter()
    with within("filter"):
        if body.dry_run:
            return BulkAnswer(count=await control.count(body.action, where))
        job = await control.change_many(
            body.action,
            where,
            by=principal.id,
            by_kind=principal.kind,
            reason=body.reason,
            from_step=body.from_step,
            input=body.input,
            at_most=body.at_most,
            idempotency_key=idempotency_key,
        )
    await record(
        services,
        action="runs.bulk_started",
        object_kind="run",
        object_id=job.run_id,
        bulk_action=body.action.value,
        count=job.count,
        filter=body.filter.model_dump(mode="json", exclude_defaults=True),
        reason=body.reason,
    )
    response.status_code = 202
    response.headers["location"] = request.url_for("get_run", run_id=job.run_id).path
    return BulkAnswer(count=job.count, run_id=job.run_id)


@router.post(
    "/{run_id}/pause",
    operation_id="pause_run",
    dependencies=[requires(Permission.RUNS_PAUSE)],
    openapi_extra=documented(RunChange, is_required=False),
)
async def pause_run(run_id: str, request: Request, services: Installation) -> RunStanding:
    """Have a run begin nothing more. A step in flight ends; events and answers are kept for it."""
    body = await _change(request, services)
    standing = await services.engine.control.pause(run_id, by=current_principal().id)
    return await _stands(services, run_id, standing, action="run.paused", reason=body.reason)


@router.post(
    "/{run_id}/resume",
    operation_id="resume_run",
    dependencies=[requires(Permission.RUNS_PAUSE)],
    openapi_extra=documented(RunChange, is_required=False),
)
async def resume_run(run_id: str, request: Request, services: Installation) -> RunStanding:
    """Let a paused run go on."""
    body = await _change(request, services)
    standing = await services.engine.control.resume(run_id)
    return await _stands(services, run_id, standing, action="run.resumed", reason=body.reason)


@router.post(
    "/{run_id}/release",
    operation_id="release_run",
    dependencies=[requires(Permission.RUNS_RELEASE)],
    openapi_extra=documented(RunChange, is_required=False),
)
async def release_run(run_id: str, request: Request, services: Installation) -> RunStanding:
    """Let a parked run go on, when what parked it is mended."""
    body = await _change(request, services)
    standing = await services.engine.control.release(run_id)
    return await _stands(services, run_id, standing, action="run.released", reason=body.reason)


@router.post(
    "/{run_id}/retry",
    status_code=201,
    operation_id="retry_run",
    dependencies=[requires(Permission.RUNS_RETRY)],
    openapi_extra=documented(RunChange, is_required=False),
    responses={200: {"model": ForkedRun, "description": "It has been retried before, as this run."}},
)
async def retry_run(run_id: str, request: Request, response: Response, services: Installation) -> ForkedRun:
    """Go on with a failed or cancelled run, as a new run that begins with the step that failed."""
    body = await _change(request, services)
    forked = await services.engine.control.retry(run_id, by=current_principal().id)
    return await _made(request, response, services, run_id, forked, action="run.retried", reason=body.reason)


@router.post(
    "/{run_id}/fork",
    status_code=201,
    operation_id="fork_run",
    dependencies=[requires(Permission.RUNS_FORK)],
    openapi_extra=documented(RunFork, is_required=False),
    responses={200: {"model": ForkedRun, "description": "This key has made this fork before."}},
)
async def fork_run(
    *,
    run_id: str,
    request: Request,
    response: Response,
    services: Installation,
    idempotency_key: RunKey = None,
) -> ForkedRun:
    """Make a new run that begins as this one did, and goes its own way from a step."""
    body = await read_json(request, RunFork, limit=services.request_bytes, is_optional=True)
    with within("input"):
        forked = await services.engine.control.fork(
            run_id,
            from_step=body.from_step,
            input=body.input,
            results=body.results,
            by=current_principal().id,
            idempotency_key=idempotency_key,
        )
    return await _made(
        request,
        response,
        services,
        run_id,
        forked,
        action="run.forked",
        reason=body.reason,
        from_step=body.from_step,
        results=sorted(body.results) or None,
        has_other_input=body.input is not None or None,
    )


async def _change(request: Request, services: Installation) -> RunChange:
    return await read_json(request, RunChange, limit=services.request_bytes, is_optional=True)


async def _stands(
    services: Installation, run_id: str, standing: Standing, *, action: str, reason: str | None
) -> RunStanding:
    if standing.is_changed:
        await record(services, action=action, object_kind="run", object_id=run_id, reason=reason)
    return RunStanding(id=run_id, state=standing.state, paused_at=standing.paused_at, is_changed=standing.is_changed)


async def _made(
    request: Request,
    response: Response,
    services: Installation,
    run_id: str,
    forked: Forked,
    *,
    action: str,
    **details: Any,
) -> ForkedRun:
    if forked.is_new:
        await record(services, action=action, object_kind="run", object_id=run_id, made=forked.run_id, **details)
    else:
        response.status_code = 200
    response.headers["location"] = request.url_for("get_run", run_id=forked.run_id).path
    return ForkedRun(id=forked.run_id, workflow=forked.workflow, forked_from=run_id, is_new=forked.is_new)
