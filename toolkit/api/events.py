"""Events: what runs wait for, from outside."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.audit import record
from toolkit.api.bodies import Body, JsonText, Text, documented, read_json
from toolkit.api.security import requires
from toolkit.api.services import IdempotencyKey, Installation

router = APIRouter(prefix="/events", tags=["events"])


class Emission(Body):
    """An event to emit."""

    key: Annotated[
        Text, Field(min_length=1, max_length=500, description="Not `task:…` or `run-ended:…`, the toolkit's own.")
    ]
    payload: Annotated[JsonText, Field(description="What the waiting run receives.")] = "null"
    run_id: Annotated[Text | None, Field(description="The one run that may receive it; left out: any.")] = None


@router.post(
    "",
    status_code=202,
    operation_id="emit_event",
    dependencies=[requires(Permission.EVENTS_EMIT)],
    openapi_extra=documented(Emission),
    response_class=Response,
)
async def emit_event(
    *,
    request: Request,
    services: Installation,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Emit an event. It is kept: a run that begins to wait for it later receives it too."""
    body = await read_json(request, Emission, limit=services.request_bytes)
    is_new = await services.engine.emit_event(
        body.key, from_json(body.payload), run_id=body.run_id, idempotency_key=idempotency_key
    )
    if is_new:
        await record(services, action="event.emitted", object_kind="event", object_id=body.key, run_id=body.run_id)
    return Response(status_code=202)
