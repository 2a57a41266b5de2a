"""Events: what an agent is doing, told while it does it. A small set of our own, which does not grow with a library's.

``request_started``  a request to the model begins; ``stream`` is new for each attempt: text of an earlier one is void
``text_delta``       a piece of the answer's text, of one ``stream``; only from agents with ``stream=True``
``tool_call``        a tool is called, with its arguments
``tool_result``      what it returned, or the error that the model is told
``approval_asked``   calls wait for a person
``progress``         what a tool says of itself, see :func:`report_progress`
``usage``            what one request used and cost
``output``           the result; the end of the call
``failed``           the call ended without a result; only in simulations, a run has its error itself

An event has an id that is its place in the run, and comes once however often the run is gone through again.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json, to_jsonable_python

from toolkit.agents.calls import AgentCall, current_call
from toolkit.errors import WrongContext
from toolkit.ids import new_id

if TYPE_CHECKING:
    from pydantic_ai import RunContext
    from pydantic_ai.messages import AgentStreamEvent

EventKind = Literal[
    "request_started",
    "text_delta",
    "tool_call",
    "tool_result",
    "approval_asked",
    "progress",
    "usage",
    "output",
    "failed",
]

_LONGEST_VALUE = 8_000


class AgentEvent(BaseModel):
    """One thing that an agent did."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Of the event, unique within the run: the path of what it is about."""
    kind: EventKind
    agent: str
    step: str
    """Path of the agent's step; that of an agent below a tool is longer."""
    at: datetime
    data: dict[str, Any]


class Channel(Protocol):
    """Where the events of one run, or of one simulation, go."""

    def send(self, event: AgentEvent) -> None:
        """Take ``event``; never waits and never fails."""


def tell(call: AgentCall, kind: EventKind, place: str, **data: Any) -> None:
    """Say that something happened in ``call``; ``place`` makes the id, below the path of the step."""
    channel: Channel | None = call.channel
    if channel is None:
        return
    channel.send(
        AgentEvent(
            id=f"{call.path}/{call.prefix}{place}" if place else f"{call.path}/{new_id()}",
            kind=kind,
            agent=call.agent,
            step=call.path,
            at=call.desk.now(),
            data=to_jsonable_python(data, fallback=str),
        )
    )


def report_progress(message: str, **data: Any) -> None:
    """Within a tool: tell those who follow the run how far it is; ``data`` are plain JSON values.

    Said while the tool runs, and not again once the call is on record. Where nobody follows, nothing happens.

    Raises:
        WrongContext: no agent is running here.
    """
    call = current_call()
    if call is None:
        raise WrongContext("report_progress() was called where no agent is running; call it inside a tool")
    tell(call, "progress", "", message=message, **data)


async def tell_text(context: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
    """The handler of streamed answers: passes on text as it comes, and nothing else."""
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

    call = current_call()
    async for event in events:
        text = ""
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            text = event.part.content
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            text = event.delta.content_delta
        if text and call is not None:
            tell(call, "text_delta", "", text=text, stream=call.stream)


def shown(value: Any) -> Any:
    """``value`` as an event carries it: JSON, or the beginning of its text where it is long."""
    text = to_json(value, fallback=str)
    if len(text) <= _LONGEST_VALUE:
        return to_jsonable_python(value, fallback=str)
    return {"beginning": text[:_LONGEST_VALUE].decode(errors="ignore"), "bytes": len(text)}
