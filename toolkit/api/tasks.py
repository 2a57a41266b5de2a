"""Human tasks: what waits for a person, and that person's answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from toolkit.access import Permission
from toolkit.api.bodies import Body, JsonText, Text, documented, read_json, within
from toolkit.api.pages import After, Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.human import Task, TaskDetail, TaskState

router = APIRouter(prefix="/human-tasks", tags=["human tasks"])


class Completion(Body):
    """An answer. Who gave it is the caller, and when is now."""

    output: Annotated[JsonText, Field(description="Must fit the task's `output_schema`.")]


class TaskCancellation(Body):
    """Why a task is withdrawn."""

    reason: Annotated[Text | None, Field(max_length=1000)] = None


@router.get("", operation_id="list_tasks", dependencies=[requires(Permission.TASKS_READ)])
async def list_tasks(
    *,
    services: Installation,
    state: TaskState | None = None,
    assigned_to: str | None = None,
    name: Annotated[str | None, Query(description="The name of the `Human`.")] = None,
    run_id: str | None = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[Task]:
    """Tasks, newest first."""
    found = await services.tasks.list(
        state=state, assigned_to=assigned_to, name=name, run_id=run_id, after=after, limit=limit + 1
    )
    return page_of(found, limit, cursor_of=lambda task: task.id)


@router.get("/{task_id}", operation_id="get_task", dependencies=[requires(Permission.TASKS_READ)])
async def get_task(task_id: str, services: Installation) -> TaskDetail:
    """One task with its data, its files and the schema of its answer."""
    return await services.tasks.get(task_id)


@router.post(
    "/{task_id}/complete",
    operation_id="complete_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Completion),
)
async def complete_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Answer a task. The first answer wins (409 for the next); one that does not fit leaves the task open (422)."""
    body = await read_json(request, Completion, limit=services.request_bytes)
    with within("output"):
        return await services.tasks.complete(task_id, body.output)


@router.post(
    "/{task_id}/cancel",
    operation_id="cancel_task",
    dependencies=[requires(Permission.TASKS_CANCEL)],
    openapi_extra=documented(TaskCancellation, is_required=False),
)
async def cancel_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Withdraw a task; its run is told so by a `TaskCancelled`."""
    body = await read_json(request, TaskCancellation, limit=services.request_bytes, is_optional=True)
    return await services.tasks.cancel(task_id, reason=body.reason)
