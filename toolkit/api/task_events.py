"""Changes of human tasks as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from toolkit.access import Permission
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.ids import new_id

router = APIRouter()

_PAUSE_SECONDS = 1.0


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
