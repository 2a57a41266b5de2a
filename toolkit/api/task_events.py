"""Changes of human tasks as server-sent events."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from toolkit.access import Permission
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.errors import InvalidInput

router = APIRouter()

_PAUSE_SECONDS = 1.0
_ID = re.compile(r"[0-9]{1,18}")


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
    """Changes of all tasks as server-sent events in the order of their commits, after `Last-Event-ID` or from now.

    Each comes once, with the id that it will always have; 0 is before the first.
    """
    last = request.headers.get("last-event-id")
    if last is not None and _ID.fullmatch(last) is None:
        message = f"Last-Event-ID is not one of this stream, but {last[:40]!r}; expected a number"
        raise InvalidInput(message, errors=[{"loc": "last-event-id", "msg": message, "type": "cursor"}])
    since = await services.tasks.last_change() if last is None else int(last)
    return StreamingResponse(_events(services, since, seconds=seconds), media_type="text/event-stream")


async def _events(services: Services, since: int, *, seconds: int) -> AsyncIterator[str]:
    ends_at = time.monotonic() + seconds
    yield ": the changes of tasks follow\n\n"
    while True:
        for number, change in await services.tasks.changes_since(since):
            since = number
            yield f"id: {number}\nevent: task.{change.action}\ndata: {change.model_dump_json()}\n\n"
        if time.monotonic() >= ends_at:
            return
        await asyncio.sleep(min(_PAUSE_SECONDS, seconds))
