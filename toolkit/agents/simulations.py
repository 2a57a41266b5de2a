"""Simulations: an agent is tried out, with a draft or any version, and nothing comes of it.

A simulation happens outside of every run and leaves no row. Tools that only read are called; of the others the model is
told that they were done, with the result that the caller gave for them or none. Nobody is asked: a call that would wait
for a person is shown as such and goes on. Agents below are simulated with it. What it uses is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from toolkit.agents.changes import Definition
from toolkit.agents.events import AgentEvent, Channel, shown
from toolkit.agents.limits import Limits
from toolkit.errors import InvalidInput, ToolkitError
from toolkit.files import File
from toolkit.ids import new_id
from toolkit.serialization import codec_for

if TYPE_CHECKING:
    from toolkit.agents.agent import Agent
    from toolkit.agents.tools import Effect

BUDGET = Limits(requests=20, tool_calls=50, tokens=200_000, wall=timedelta(minutes=2))
"""What one simulation may use, unless its caller wants less."""

_CLOSED = None


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What holds while an agent is tried out."""

    channel: Channel
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    """By which definition agents are run; those not named, by what is active."""
    tool_results: Mapping[str, Any] = field(default_factory=dict)
    """What tools are said to have returned."""
    streams: bool = True
    """Whether text is told while it is written."""

    async def perform(self, tool: str, effect: Effect, carry_out: Callable[[], Awaitable[Any]]) -> Any:
        """The result of a tool, which is carried out only where it reads."""
        if tool in self.tool_results:
            return self.tool_results[tool]
        if effect == "read":
            return await carry_out()
        return f"(simulated: {tool} was not carried out; take it as done)"


_SIMULATION: ContextVar[Simulation | None] = ContextVar("toolkit_agent_simulation", default=None)


def current_simulation() -> Simulation | None:
    """The simulation that this code runs below."""
    return _SIMULATION.get()


@contextmanager
def simulating(simulation: Simulation) -> Iterator[None]:
    """Let every agent that is called inside be tried out only."""
    token = _SIMULATION.set(simulation)
    try:
        yield
    finally:
        _SIMULATION.reset(token)


class _Queue:
    """The events of one simulation, in order."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[AgentEvent | None] = asyncio.Queue()

    def send(self, event: AgentEvent) -> None:
        self.events.put_nowait(event)


def within_budget(definition: Definition, wanted: Limits | None) -> Limits:
    """The smallest of the agent's limits, the budget of a simulation, and what the caller wants; it fails there."""

    def least(name: str) -> Any:
        values = [getattr(limits, name) for limits in (definition.limits, BUDGET, wanted) if limits is not None]
        return min((value for value in values if value is not None), default=None)

    cost: Decimal | None = least("cost")
    return Limits(
        requests=least("requests"),
        tool_calls=least("tool_calls"),
        tokens=least("tokens"),
        wall=least("wall"),
        cost=cost,
    )


def input_of(agent: Agent[Any, Any], text: str) -> Any:
    """JSON text as the input of ``agent``.

    Raises:
        InvalidInput: it is not what the agent takes.
    """
    if agent.input_type is not None:
        return codec_for(agent.input_type).parse_json(text)
    value = codec_for(Any).parse_json(text)
    if not isinstance(value, str):
        raise InvalidInput(
            f"agent {agent.name!r} takes text, found {type(value).__name__}",
            errors=[{"loc": "", "msg": "Input should be text", "type": "string_type"}],
        )
    return value


def tool_context_of(agent: Agent[Any, Any], text: str | None) -> Any:
    """JSON text as the tool context of ``agent``.

    Raises:
        InvalidInput: it does not fit the type, or one is missing or not wanted.
    """
    if agent.tool_context_type is None:
        if text is not None:
            raise InvalidInput(f"agent {agent.name!r} has no tool context")
        return None
    if text is None:
        raise InvalidInput(
            f"agent {agent.name!r} needs a tool context ({agent.tool_context_type.__qualname__})",
            errors=[{"loc": "", "msg": "Field required", "type": "missing"}],
        )
    return codec_for(agent.tool_context_type).parse_json(text)


async def simulate(
    agent: Agent[Any, Any],
    input: Any,
    *,
    definition: Definition,
    files: Sequence[File] = (),
    tool_context: Any = None,
    tool_results: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[AgentEvent]:
    """The events of one simulation as they come; the last is ``output`` or ``failed``, marked ``"is_test": true``.

    Giving the iterator up ends the simulation.
    """
    queue = _Queue()
    definition.limits = within_budget(definition, limits)
    simulation = Simulation(channel=queue, definitions={agent.name: definition}, tool_results=tool_results or {})
    work = asyncio.create_task(_perform(agent, input, simulation, files=files, tool_context=tool_context))
    work.add_done_callback(lambda _: queue.events.put_nowait(_CLOSED))
    try:
        while (event := await queue.events.get()) is not _CLOSED:
            if event.kind in ("output", "failed") and event.step == agent.name:
                event = event.model_copy(update={"data": {**event.data, "is_test": True}})
            yield event
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _perform(
    agent: Agent[Any, Any], input: Any, simulation: Simulation, *, files: Sequence[File], tool_context: Any
) -> None:
    with simulating(simulation):
        try:
            await agent(input, files=files, tool_context=tool_context)
        except ToolkitError as error:
            simulation.channel.send(_failed(agent, type(error).__name__, str(error)))
        except Exception as error:  # noqa: BLE001 - a tool of the author's may raise anything
            simulation.channel.send(_failed(agent, type(error).__name__, str(shown(str(error)))))


def _failed(agent: Agent[Any, Any], type_: str, message: str) -> AgentEvent:
    return AgentEvent(
        id=new_id(),
        kind="failed",
        agent=agent.name,
        step=agent.name,
        at=datetime.now(UTC),
        data={"type": type_, "message": message},
    )
