"""Schedules: when they start runs next, and what operators do to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission, current_principal
from toolkit.api.audit import record
from toolkit.api.bodies import Body, Text, documented, read_json
from toolkit.api.security import requires
from toolkit.api.services import IdempotencyKey, Installation
from toolkit.workflows import ScheduleSummary

router = APIRouter(prefix="/schedules", tags=["schedules"])


class ScheduleChange(Body):
    """Why a schedule is changed."""

    reason: Annotated[Text | None, Field(max_length=1000, description="Why; it is kept in the audit trail.")] = None


class Schedule(BaseModel):
    """A schedule as far as it has come."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    workflow: str
    timing: str = Field(description="Such as `cron 0 6 * * mon-fri Europe/Berlin` or `every 3600 s`.")
    due_at: datetime = Field(description="The moment for which it waits.")
    last_due_at: datetime | None = Field(description="The moment that got the last run.")
    last_run_id: str | None
    paused_at: datetime | None
    paused_by: str | None
    created_at: datetime
    is_registered: bool = Field(description="Whether the code has it still; otherwise it starts nothing.")


class ScheduleList(BaseModel):
    """All schedules of the installation, by name."""

    items: list[Schedule]


class ChangedSchedule(Schedule):
    """How a schedule stands after the request; ``is_changed`` is false where it was so already."""

    is_changed: bool


class TriggeredRun(BaseModel):
    """The run that the request has started, or had started before with the same key."""

    id: str
    workflow: str
    is_new: bool


@router.get("", operation_id="list_schedules", dependencies=[requires(Permission.SCHEDULES_READ)])
async def list_schedules(services: Installation) -> ScheduleList:
    """Every schedule that a worker has had, those whose code is gone as well."""
    return ScheduleList(items=[Schedule.model_validate(each) for each in await services.engine.schedules.list()])


@router.get("/{name}", operation_id="get_schedule", dependencies=[requires(Permission.SCHEDULES_READ)])
async def get_schedule(name: str, services: Installation) -> Schedule:
    """One schedule."""
    return Schedule.model_validate(await services.engine.schedules.get(name))


@router.post(
    "/{name}/pause",
    operation_id="pause_schedule",
    dependencies=[requires(Permission.SCHEDULES_PAUSE)],
    openapi_extra=documented(ScheduleChange, is_required=False),
)
async def pause_schedule(name: str, request: Request, services: Installation) -> ChangedSchedule:
    """Have a schedule start nothing until it is resumed. Runs that it has started go on."""
    body = await _change(request, services)
    is_changed = await services.engine.schedules.pause(name, by=current_principal().id)
    return await _stands(services, name, is_changed=is_changed, action="schedule.paused", reason=body.reason)


@router.post(
    "/{name}/resume",
    operation_id="resume_schedule",
    dependencies=[requires(Permission.SCHEDULES_PAUSE)],
    openapi_extra=documented(ScheduleChange, is_required=False),
)
async def resume_schedule(name: str, request: Request, services: Installation) -> ChangedSchedule:
    """Let a paused schedule go on with its next moment from now; what came in the pause is not made up for."""
    body = await _change(request, services)
    is_changed = await services.engine.schedules.resume(name)
    return await _stands(services, name, is_changed=is_changed, action="schedule.resumed", reason=body.reason)


@router.post(
    "/{name}/trigger",
    status_code=201,
    operation_id="trigger_schedule",
    dependencies=[requires(Permission.SCHEDULES_TRIGGER)],
    openapi_extra=documented(ScheduleChange, is_required=False),
    responses={200: {"model": TriggeredRun, "description": "This key has started this run before."}},
)
async def trigger_schedule(
    *,
    name: str,
    request: Request,
    response: Response,
    services: Installation,
    idempotency_key: IdempotencyKey = None,
) -> TriggeredRun:
    """Start one run now, with the arguments for now; the schedule goes on as if nothing had happened."""
    body = await _change(request, services)
    handle = await services.engine.schedules.trigger(name, by=current_principal().id, idempotency_key=idempotency_key)
    if handle.is_new:
        await record(
            services,
            action="schedule.triggered",
            object_kind="schedule",
            object_id=name,
            run_id=handle.id,
            reason=body.reason,
        )
    else:
        response.status_code = 200
    response.headers["location"] = request.url_for("get_run", run_id=handle.id).path
    return TriggeredRun(id=handle.id, workflow=handle.workflow.name, is_new=handle.is_new)


async def _change(request: Request, services: Installation) -> ScheduleChange:
    return await read_json(request, ScheduleChange, limit=services.request_bytes, is_optional=True)


async def _stands(
    services: Installation, name: str, *, is_changed: bool, action: str, reason: str | None
) -> ChangedSchedule:
    if is_changed:
        await record(services, action=action, object_kind="schedule", object_id=name, reason=reason)
    found: ScheduleSummary = await services.engine.schedules.get(name)
    return ChangedSchedule(**Schedule.model_validate(found).model_dump(), is_changed=is_changed)
