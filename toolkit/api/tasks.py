"""Human tasks: what waits for a person, what people do with it, and their answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api import task_bulk, task_events
from toolkit.api.bodies import documented, read_json, within
from toolkit.api.bounds import Moment
from toolkit.api.pages import Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.api.task_bodies import (
    Assignment,
    Attachment,
    Claim,
    Comment,
    Completion,
    Delegation,
    Draft,
    Edit,
    Return,
    Rework,
    Withdrawal,
)
from toolkit.human import Change, Counts, Task, TaskDetail, TaskState, Verification, cursor_after

router = APIRouter(prefix="/human-tasks", tags=["human tasks"])
# Before `/{task_id}`, which would take their names for an id.
router.include_router(task_events.router)
router.include_router(task_bulk.router)


class ChangeList(BaseModel):
    """The history of a task, in order."""

    items: list[Change]


class SavedDraft(BaseModel):
    """The caller's own draft."""

    output: Any


@router.get("", operation_id="list_tasks", dependencies=[requires(Permission.TASKS_READ)])
async def list_tasks(
    *,
    services: Installation,
    state: TaskState | None = None,
    assigned_to: str | None = None,
    name: Annotated[str | None, Query(description="The name of the `Human`.")] = None,
    workflow: str | None = None,
    run_id: str | None = None,
    candidate: Annotated[
        str | None, Query(pattern="^(user|group):", description="In front of this `user:ada` or `group:finance`.")
    ] = None,
    mine: Annotated[bool, Query(description="In front of the caller, also by group or as a substitute.")] = False,
    due_before: Moment | None = None,
    text: Annotated[str | None, Query(min_length=1, max_length=200, description="In the title or the message.")] = None,
    order: Annotated[
        Literal["newest", "due"], Query(description="`mine` and `candidate` always come due soonest first.")
    ] = "newest",
    after: Annotated[
        str | None, Query(max_length=200, description="Go on after this place: the `next` of the page before.")
    ] = None,
    limit: Limit = 50,
) -> Page[Task]:
    """Tasks, newest first or due soonest first."""
    by: Literal["newest", "due"] = "due" if mine or candidate is not None else order
    found = await services.tasks.list(
        state=state,
        assigned_to=assigned_to,
        name=name,
        workflow=workflow,
        run_id=run_id,
        candidate=candidate,
        mine=mine,
        due_before=due_before,
        text=text,
        order=order,
        after=after,
        limit=limit + 1,
    )
    return page_of(found, limit, cursor_of=lambda task: cursor_after(task, order=by))


@router.get("/counts", operation_id="count_tasks", dependencies=[requires(Permission.TASKS_READ)])
async def count_tasks(services: Installation) -> Counts:
    """How many tasks wait, are late, and stand in front of the caller."""
    return await services.tasks.counts()


@router.get("/{task_id}", operation_id="get_task", dependencies=[requires(Permission.TASKS_READ)])
async def get_task(task_id: str, services: Installation) -> TaskDetail:
    """One task with its data, its files and the form of its answer."""
    return await services.tasks.get(task_id)


@router.get("/{task_id}/history", operation_id="get_task_history", dependencies=[requires(Permission.TASKS_READ)])
async def get_task_history(task_id: str, services: Installation) -> ChangeList:
    """Everything that happened to a task: who, when, what and why."""
    return ChangeList(items=await services.tasks.history(task_id))


@router.get("/{task_id}/verification", operation_id="verify_task", dependencies=[requires(Permission.TASKS_READ)])
async def verify_task(task_id: str, services: Installation) -> Verification:
    """Whether what was answered is what is on record, down to the bytes of the files that were shown."""
    return await services.tasks.verify(task_id, store=services.files)


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
        return await services.tasks.complete(
            task_id, body.output, version=body.version, seen=body.seen, reason=body.reason
        )


@router.post(
    "/{task_id}/cancel",
    operation_id="cancel_task",
    dependencies=[requires(Permission.TASKS_CANCEL)],
    openapi_extra=documented(Withdrawal, is_required=False),
)
async def cancel_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Withdraw a task; its run is told so by a `TaskCancelled`."""
    body = await read_json(request, Withdrawal, limit=services.request_bytes, is_optional=True)
    return await services.tasks.cancel(task_id, reason=body.reason)


@router.post(
    "/{task_id}/claim",
    operation_id="claim_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Claim, is_required=False),
)
async def claim_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Take a task on; nobody else can then answer it."""
    body = await read_json(request, Claim, limit=services.request_bytes, is_optional=True)
    return await services.tasks.claim(task_id, version=body.version)


@router.post(
    "/{task_id}/unclaim",
    operation_id="unclaim_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Withdrawal, is_required=False),
)
async def unclaim_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Give a claimed task back to whoever may take it."""
    body = await read_json(request, Withdrawal, limit=services.request_bytes, is_optional=True)
    return await services.tasks.unclaim(task_id, reason=body.reason)


@router.post(
    "/{task_id}/assign",
    operation_id="assign_task",
    dependencies=[requires(Permission.TASKS_MANAGE)],
    openapi_extra=documented(Assignment),
)
async def assign_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Put a task before another person or a group."""
    body = await read_json(request, Assignment, limit=services.request_bytes)
    return await services.tasks.assign(task_id, body.recipient(), reason=body.reason, version=body.version)


@router.post(
    "/{task_id}/delegate",
    operation_id="delegate_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Delegation),
)
async def delegate_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Hand one's own task to another person; whose it was stays on record."""
    body = await read_json(request, Delegation, limit=services.request_bytes)
    return await services.tasks.delegate(task_id, body.to, reason=body.reason, version=body.version)


@router.post(
    "/{task_id}/send-back",
    operation_id="send_back_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Rework),
)
async def send_back_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Ask for rework: the task stays open and takes no answer until it is returned."""
    body = await read_json(request, Rework, limit=services.request_bytes)
    return await services.tasks.send_back(task_id, reason=body.reason, to=body.to)


@router.post(
    "/{task_id}/return",
    operation_id="return_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Return, is_required=False),
)
async def return_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Hand a reworked task back, with other suggested data if there are any."""
    body = await read_json(request, Return, limit=services.request_bytes, is_optional=True)
    return await services.tasks.return_reworked(task_id, note=body.note, suggested_json=body.suggested_data or None)


@router.patch(
    "/{task_id}",
    operation_id="edit_task",
    dependencies=[requires(Permission.TASKS_MANAGE)],
    openapi_extra=documented(Edit),
)
async def edit_task(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Change when an answer is wanted, or how urgently. Reminders, escalation and expiry move with the due date."""
    body = await read_json(request, Edit, limit=services.request_bytes)
    due_at: datetime | None = body.due_at
    return await services.tasks.edit(
        task_id, due_at=due_at, priority=body.priority, reason=body.reason, version=body.version
    )


@router.post(
    "/{task_id}/comments",
    status_code=201,
    operation_id="comment_task",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Comment),
)
async def comment_task(task_id: str, request: Request, services: Installation) -> Change:
    """Say something about a task."""
    body = await read_json(request, Comment, limit=services.request_bytes)
    return await services.tasks.comment(task_id, body.text)


@router.post(
    "/{task_id}/files",
    operation_id="attach_task_files",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Attachment),
)
async def attach_task_files(task_id: str, request: Request, services: Installation) -> TaskDetail:
    """Show further files with a task; upload them first."""
    body = await read_json(request, Attachment, limit=services.request_bytes)
    return await services.tasks.attach(task_id, [await services.files.get(file_id) for file_id in body.files])


@router.get("/{task_id}/draft", operation_id="get_task_draft", dependencies=[requires(Permission.TASKS_COMPLETE)])
async def get_task_draft(task_id: str, services: Installation) -> SavedDraft:
    """What the caller has filled in so far."""
    return SavedDraft(output=await services.tasks.draft(task_id))


@router.put(
    "/{task_id}/draft",
    status_code=204,
    operation_id="save_task_draft",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(Draft),
    response_class=Response,
)
async def save_task_draft(task_id: str, request: Request, services: Installation) -> Response:
    """Keep what the caller has filled in so far; nobody else sees it."""
    body = await read_json(request, Draft, limit=services.request_bytes)
    await services.tasks.save_draft(task_id, body.output)
    return Response(status_code=204)
