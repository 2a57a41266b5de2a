"""Many human tasks in one request: each is treated as if it came alone, and one that is refused stops no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.requests import Request

from toolkit.access import Permission
from toolkit.api.bodies import Body, documented, read_json, within
from toolkit.api.problems import classify, log_fault
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.api.task_bodies import (
    LONGEST_BULK,
    Assignment,
    BulkAssignment,
    BulkCompletion,
    Id,
    Reason,
    Seen,
    Version,
)
from toolkit.errors import InvalidInput, ToolkitError
from toolkit.serialization import field_errors

router = APIRouter()


class BulkResult(BaseModel):
    """What came of one of many."""

    id: str
    status: int = Field(description="As if it had been asked alone: 200, 403, 404, 409, 422, 500.")
    detail: str = ""
    errors: list[dict[str, Any]] = []


class BulkResults(BaseModel):
    """One result for each item, in their order."""

    items: list[BulkResult]


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
            await _attempt(
                request,
                one.id,
                partial(complete, one.id, to_json(one.output), version=one.version, seen=one.seen, reason=one.reason),
            )
            for one in items
        ]
    )


class _Part(Body):
    id: Id
    output: Any
    version: Version = None
    seen: Seen = None
    reason: Reason = None


_PARTS: TypeAdapter[list[_Part]] = TypeAdapter(Annotated[list[_Part], Field(min_length=1, max_length=LONGEST_BULK)])


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
        items=[
            await _attempt(request, id_, partial(services.tasks.assign, id_, to, reason=body.reason))
            for id_ in body.ids
        ]
    )


async def _attempt(request: Request, task_id: str, work: Callable[[], Awaitable[object]]) -> BulkResult:
    """What came of ``work`` as if it had been asked alone, also where nobody foresaw it."""
    try:
        await work()
    except ToolkitError as error:
        status, _ = classify(error) or (500, "")
        if status >= 500:
            return BulkResult(id=task_id, status=status, detail=log_fault(request.scope, error, status=status))
        errors = error.errors if isinstance(error, InvalidInput) else []
        return BulkResult(id=task_id, status=status, detail=str(error), errors=errors)
    except Exception as error:  # noqa: BLE001 - the author's code says what an answer is
        return BulkResult(id=task_id, status=500, detail=log_fault(request.scope, error, status=500))
    return BulkResult(id=task_id, status=200)
