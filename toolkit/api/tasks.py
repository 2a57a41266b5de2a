"""Human tasks: what waits for a person, what people do with it, and their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from toolkit.access import Permission
from toolkit.api.bodies import Body, JsonText, Text, documented, read_json, within
from toolkit.api.pages import After, Limit, Page, page_of
from toolkit.api.problems import STATUS_OF
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.errors import InvalidInput, ToolkitError
from toolkit.human import Change, Counts, Group, Task, TaskDetail, TaskState, Verification
from toolkit.ids import new_id
from toolkit.serialization import field_errors

router = APIRouter(prefix="/human-tasks", tags=["human tasks"])

Reason = Annotated[Text | None, Field(max_length=1000)]
Version = Annotated[int | None, Field(description="The version that was looked at; another one is a 409.")]
Id = Annotated[Text, Field(min_length=1, max_length=255)]

_LONGEST_BULK = 200
_PAUSE_SECONDS = 1.0


class Completion(Body):
    """An answer. Who gave it is the caller, and when is now."""

    output: Annotated[JsonText, Field(description="Must fit the task's `output_schema`.")]
    version: Version = None
    seen: Annotated[Text | None, Field(description="The task's `seen`: binds the answer to what was shown.")] = None


class Withdrawal(Body):
    """Why something is taken back."""

    reason: Reason = None


class Claim(Body):
    """Which version is claimed."""

    version: Version = None


class Assignment(Body):
    """To whom a task goes: a person or a group."""

    user: Id | None = None
    group: Id | None = None
    reason: Reason = None
    version: Version = None

    def recipient(self) -> str | Group:
        """Who gets it.

        Raises:
            InvalidInput: neither or both are named.
        """
        if (self.user is None) == (self.group is None):
            message = "name either a user or a group"
            raise InvalidInput(message, errors=[{"loc": "user", "msg": message, "type": "recipient"}])
        return Group(self.group) if self.group is not None else self.user or ""


class Delegation(Body):
    """To whom a person hands a task."""

    to: Id
    reason: Reason = None
    version: Version = None


class Rework(Body):
    """What is to be reworked, and by whom."""

    reason: Annotated[Text, Field(min_length=1, max_length=1000)]
    to: Annotated[Id | None, Field(description="Left out: whoever started the run.")] = None


class Return(Body):
    """A reworked task."""

    note: Reason = None
    suggested_data: Annotated[JsonText, Field(description="Replaces the data that fill the form.")] = ""


class Edit(Body):
    """What changes about a task; what is left out stays."""

    due_at: AwareDatetime | None = None
    priority: Annotated[int | None, Field(ge=-100, le=100)] = None
    reason: Reason = None
    version: Version = None


class Comment(Body):
    """Something to say about a task."""

    text: Annotated[Text, Field(min_length=1, max_length=10_000)]


class Attachment(Body):
    """Files that were uploaded, to be shown with a task."""

    files: Annotated[list[Id], Field(min_length=1, max_length=50)]


class Draft(Body):
    """What is filled in so far; it need not fit yet."""

    output: JsonText


class BulkCompletion(Body):
    """Many answers at once: a list of `{id, output, version?, seen?}`."""

    items: JsonText


class BulkAssignment(Body):
    """Many tasks for one person or group."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=_LONGEST_BULK)]
    user: Id | None = None
    group: Id | None = None
    reason: Reason = None


class BulkResult(BaseModel):
    """What came of one of many."""

    id: str
    status: int = Field(description="As if it had been asked alone: 200, 403, 404, 409, 422.")
    detail: str = ""
    errors: list[dict[str, Any]] = []


class BulkResults(BaseModel):
    """One result for each item, in their order."""

    items: list[BulkResult]


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
    due_before: AwareDatetime | None = None,
    text: Annotated[str | None, Query(min_length=1, max_length=200, description="In the title or the message.")] = None,
    order: Annotated[
        Literal["newest", "due"], Query(description="`mine` and `candidate` always come due soonest first.")
    ] = "newest",
    after: After = None,
    limit: Limit = 50,
) -> Page[Task]:
    """Tasks, newest first or due soonest first."""
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
    return page_of(found, limit, cursor_of=lambda task: task.id)


@router.get("/counts", operation_id="count_tasks", dependencies=[requires(Permission.TASKS_READ)])
async def count_tasks(services: Installation) -> Counts:
    """How many tasks wait, are late, and stand in front of the caller."""
    return await services.tasks.counts()


@router.get(
    "/changes",
    operation_id="stream_task_changes",
    dependencies=[requires(Permission.TASKS_READ)],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream_task_changes(
    *,
    request: Request,
    services: Installation,
    seconds: Annotated[int, Query(ge=0, le=3600, description="End after so long; a client then asks again.")] = 600,
) -> Response:
    """Changes of all tasks as server-sent events, from `Last-Event-ID` on or from now."""
    since = request.headers.get("last-event-id") or new_id()
    return StreamingResponse(_events(services, since, seconds=seconds), media_type="text/event-stream")


async def _events(services: Services, since: str, *, seconds: int) -> AsyncIterator[str]:
    ends_at = time.monotonic() + seconds
    yield ": the changes of tasks follow\n\n"
    while True:
        for change in await services.tasks.changes_since(since):
            since = change.id
            yield f"id: {change.id}\nevent: task.{change.action}\ndata: {change.model_dump_json()}\n\n"
        if time.monotonic() >= ends_at:
            return
        await asyncio.sleep(min(_PAUSE_SECONDS, seconds))


@router.post(
    "/bulk/complete",
    operation_id="complete_tasks",
    dependencies=[requires(Permission.TASKS_COMPLETE)],
    openapi_extra=documented(BulkCompletion),
)
async def complete_tasks(request: Request, services: Installation) -> BulkResults:
    """Answer many tasks, each as if alone: one that is refused stops no other."""
    body = await read_json(request, BulkCompletion, limit=services.request_bytes)
    with within("items"):
        items = _parts(body.items)
    complete = services.tasks.complete
    return BulkResults(
        items=[
            await _attempt(one.id, complete(one.id, to_json(one.output), version=one.version, seen=one.seen))
            for one in items
        ]
    )


class _Part(Body):
    id: Id
    output: Any
    version: Version = None
    seen: Text | None = None


_PARTS: TypeAdapter[list[_Part]] = TypeAdapter(Annotated[list[_Part], Field(min_length=1, max_length=_LONGEST_BULK)])


def _parts(items: str) -> list[_Part]:
    try:
        return _PARTS.validate_json(items)
    except ValidationError as error:
        found = field_errors(error)
        raise InvalidInput(f"the items do not fit: {len(found)} field(s) are wrong", errors=found) from error


@router.post(
    "/bulk/assign",
    operation_id="assign_tasks",
    dependencies=[requires(Permission.TASKS_MANAGE)],
    openapi_extra=documented(BulkAssignment),
)
async def assign_tasks(request: Request, services: Installation) -> BulkResults:
    """Put many tasks before one person or group, each as if alone."""
    body = await read_json(request, BulkAssignment, limit=services.request_bytes)
    to = Assignment(user=body.user, group=body.group).recipient()
    return BulkResults(
        items=[await _attempt(id_, services.tasks.assign(id_, to, reason=body.reason)) for id_ in body.ids]
    )


async def _attempt(task_id: str, work: Any) -> BulkResult:
    try:
        await work
    except ToolkitError as error:
        status = next((status for kind, status, _ in STATUS_OF if isinstance(error, kind)), None)
        if status is None:
            raise
        errors = error.errors if isinstance(error, InvalidInput) else []
        return BulkResult(id=task_id, status=status, detail=str(error), errors=errors)
    return BulkResult(id=task_id, status=200)


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
    """Whether what was answered is what is on record."""
    return await services.tasks.verify(task_id)


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
        return await services.tasks.complete(task_id, body.output, version=body.version, seen=body.seen)


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
