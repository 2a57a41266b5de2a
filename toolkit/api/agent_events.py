"""What agents are doing, as server-sent events: of a run, from any process, and from where a client broke off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from toolkit.access import Permission
from toolkit.agents import AgentEvent
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.errors import InvalidInput
from toolkit.workflows import RunState

router = APIRouter(prefix="/runs", tags=["agents"])

EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}

_LONGEST_POSITION = 18  # digits of which each number fits 64 bits
_OVER = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


@router.get(
    "/{run_id}/agent-events",
    operation_id="stream_agent_events",
    dependencies=[requires(Permission.RUNS_READ)],
    response_class=StreamingResponse,
    responses=EVENT_STREAM,
)
async def stream_agent_events(run_id: str, request: Request, services: Installation) -> Response:
    """What the agents of a run do, as server-sent events, from `Last-Event-ID` on or from the beginning.

    Each event comes once, with the id it will always have; the stream ends when the run has.
    """
    await services.engine.get_run(run_id)
    last = request.headers.get("last-event-id", "0")
    if not (last.isascii() and last.isdecimal() and len(last) <= _LONGEST_POSITION):
        raise InvalidInput(
            "Last-Event-ID is not one of this stream", errors=[{"loc": "last-event-id", "msg": last[:100]}]
        )
    return StreamingResponse(_follow(services, run_id, after=int(last)), media_type="text/event-stream")


async def as_stream(events: AsyncIterator[AgentEvent]) -> AsyncIterator[str]:
    """``events`` as a stream of their own; their place in it is their id."""
    number = 0
    async for event in events:
        number += 1
        yield _message(number, event)


async def _follow(services: Services, run_id: str, *, after: int) -> AsyncIterator[str]:
    async def is_over() -> bool:
        return (await services.engine.get_run(run_id)).summary.state in _OVER

    yield ": what the agents of a run do\n\n"
    async for logged in services.agents.events.follow(run_id, after=after, is_over=is_over):
        yield _message(logged.position, logged.event)
    yield "event: end\ndata: {}\n\n"


def _message(position: int, event: AgentEvent) -> str:
    return f"id: {position}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n"
