"""Every model request and every tool call of an agent as a checkpoint, on pydantic-ai's public durability builder.

pydantic-ai cuts a run into units and hands each to :meth:`CheckpointBackend.execute`. The keys are ours, because its
own contain the model's id and whether the answer was streamed: either one changing between attempts would pay for
every call again. Below the agent's step stand

    config                              prompts, model, settings: what the call goes by, whatever changes meanwhile
    model:{n}                           n-th request to the model
    tool:{toolset}:{tool}#{call id}:{k} by call id, not by arrival: parallel tools may end in any order
    approval:{n}, decision:{n}          see toolkit.agents.approvals

An agent called by a tool has its checkpoints below the tool's. Loaded only where pydantic-ai is needed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any, cast
from urllib.parse import quote

import pydantic_ai
from pydantic_ai import RunContext, durable_exec
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    CallableOperationBackend,
    DurabilityEngineSpec,
    DurableOperationBackend,
    DurableOperationId,
    EventStreamHandlerId,
    JournalOperationNamer,
    ModelRequestId,
    RoleBasedOperationConfig,
    ToolsetCallToolId,
    ToolsetValidateToolArgumentsId,
    conversation_id_from_run_id,
)
from pydantic_ai.exceptions import ModelRetry, ToolFailed, ToolRetryError
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters, ModelResolutionContext
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDefinition
from pydantic_core import to_jsonable_python

from toolkit.agents.accounts import NOTHING, Account, reporting_to
from toolkit.agents.approvals import Verdict, decide, digest_of_call
from toolkit.agents.calls import AgentCall, current_call
from toolkit.agents.events import shown, tell
from toolkit.agents.failures import translated_request_failure
from toolkit.agents.fingerprints import differences, fingerprint_of_call, fingerprint_of_request
from toolkit.agents.results import Spending, Usage
from toolkit.agents.run_budgets import answered_by, check_request, check_tool_calls, stop_again, used_by_request
from toolkit.errors import AgentDiverged, ApprovalMismatch, SerializationError
from toolkit.ids import new_id
from toolkit.workflows import RetryPolicy, checkpoint, step_context

replay_scope: Any = getattr(durable_exec, "replay_scope", None)
"""What keeps replayed work out of traces; pydantic-ai has it since 2.68."""

_TOOL_CALL = Usage(tool_calls=1)

pydantic_ai.BANNER_ENABLED = False  # what a process prints is for its own program to say


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One checkpoint to be: where it stands, and what it is about."""

    key: str
    kind: str
    fingerprint: dict[str, Any]
    display_name: str | None = None
    arguments: str | None = None
    retry: RetryPolicy | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """Kept with the fingerprint."""
    output_tools: frozenset[str] = frozenset()
    """By which the model hands in its result; other tools may begin with the same name."""


class CheckpointBackend(CallableOperationBackend[None]):
    """Runs a unit of pydantic-ai inside a checkpoint of the agent's step, or returns what the journal has."""

    def __init__(self, *, agent: str) -> None:
        config = RoleBasedOperationConfig[None](model=None, event=None, capability=None, tool=None)
        super().__init__(namer=JournalOperationNamer(agent), config=config)

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: None,
    ) -> object:
        if isinstance(operation_id, ToolsetValidateToolArgumentsId | EventStreamHandlerId):
            return await body()  # pure, or of no consequence: no row for it
        call = _durable_call()
        if isinstance(operation_id, ModelRequestId):
            call.check_limits()
        unit = _unit(call, operation_id, name=name, cache_key=cache_key)
        path = f"{call.path}/{unit.key}"
        if unit.kind == "model_call":
            stop_again(call.agent, path=path, is_after=False)
        made: list[dict[str, Any]] = []
        kept = await checkpoint(
            unit.key,
            kind=unit.kind,
            body=partial(_perform, unit, body, call, made),
            arguments=unit.arguments,
            display_name=unit.display_name,
            retry=unit.retry,
        )
        call.is_replaying = not kept.fresh
        found = differences(kept.details.get("fingerprint", {}), unit.fingerprint)
        if found:
            raise AgentDiverged(unit.key, found)
        row = made[-1] if kept.fresh else json.loads(kept.value)
        if not kept.fresh and "spending" in row:
            call.nested.include(Spending.model_validate(row["spending"]))
        value: object = row["value"]
        if unit.kind == "model_call":
            used, cost = used_by_request(kept.details)
            call.spent.add(used, cost, model=answered_by(kept.details))
            tell(call, "usage", f"{unit.key}/usage", model=kept.details.get("model"), usage=used, cost=cost)
            stop_again(call.agent, path=path, is_after=True)
            answer = cast("dict[str, Any]", value)
            wanted = [f"{_turn(call)}>{id_}" for id_ in _tool_calls_in(answer, unit.output_tools)]
            check_tool_calls(call.agent, path=path, step=call.path, keys=wanted)
        return value


class CheckpointDurability(BaseDurabilityCapability[Any]):
    """Binds an agent of pydantic-ai to the checkpoints; outside a run it does nothing."""

    engine_spec = DurabilityEngineSpec(
        engine_name="Process Toolkit",
        durable_unit_noun="checkpoint",
        durable_container_noun="run",
        codec=JSON_CODEC,
        serialization_failure=lambda error: SerializationError(f"a tool returned what cannot be stored: {error}"),
        # A toolset that only joins for one run would not be wrapped, and its tools would run again at each replay.
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
    )

    @property
    def in_durable_context(self) -> bool:
        call = current_call()
        return call is not None and call.step_id is not None

    def get_durable_operation_backend(self) -> DurableOperationBackend[None]:
        return _backend(self.name)

    def get_default_run_id(self) -> str | None:
        call = current_call()
        return call.step_id if call is not None else None

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        return None  # no limit of ours counts from it

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        call = current_call()
        if call is not None and call.step_id is None:  # in a run the journal keeps count
            call.check_limits()
            call.check_request()
            call.answered_by = call.model
        return await super().before_model_request(ctx, request_context)

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        call = current_call()
        if call is not None and call.step_id is None:
            usage = response.usage
            used = Usage(requests=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
            call.spent.add(used, call.registry.cost_of(response, key=call.answered_by), model=call.answered_by)
        return await super().after_model_request(ctx, request_context=request_context, response=response)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        call = current_call()
        return await decide(call, ctx, requests) if call is not None and requests.approvals else None

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Any:
        current = current_call()
        if current is None:
            return await handler(args)
        place = f"{quote(call.tool_name)}#{quote(call.tool_call_id, safe='|:+=')}"
        place = f"{place}:{current.occurrence(f'event {place}')}"
        named = {"tool": call.tool_name, "call_id": call.tool_call_id}
        tell(current, "tool_call", f"{place}/call", **named, arguments=shown(args))
        try:
            if current.simulation is not None:
                effect = current.effects.get(call.tool_name, "external")
                result = await current.simulation.perform(call.tool_name, effect, lambda: handler(args))
            else:
                result = await handler(args)
        except (ModelRetry, ToolFailed, ToolRetryError) as told:
            tell(current, "tool_result", f"{place}/result", **named, error=str(told))
            raise
        current.spent.usage += _TOOL_CALL
        tell(current, "tool_result", f"{place}/result", **named, result=shown(result))
        return result

    async def resolve_model_id(self, ctx: ModelResolutionContext[Any], *, model_id: str) -> Model | None:
        call = current_call()
        return call.registry.model(model_id) if call is not None else None


@cache
def _backend(agent: str) -> CheckpointBackend:
    return CheckpointBackend(agent=agent)


@contextmanager
def telling_once(call: AgentCall) -> Iterator[None]:
    """Keep what comes from the journal out of traces and metrics: it was told when it happened."""
    if replay_scope is None or call.step_id is None:
        yield
        return
    with replay_scope(is_replaying=lambda: call.is_replaying):
        yield


def _durable_call() -> AgentCall:
    call = current_call()
    assert call is not None
    assert call.step_id is not None  # in_durable_context said so
    return call


def _unit(call: AgentCall, operation_id: DurableOperationId, *, name: str, cache_key: tuple[object, ...]) -> Unit:
    if isinstance(operation_id, ModelRequestId):
        messages, settings, parameters = _request_in(cache_key)
        seen = call.messages_seen if call.messages_seen <= len(messages) else 0  # shortened by a processor of history
        call.messages_seen = len(messages)
        return Unit(
            key=f"{call.prefix}model:{call.occurrence('model')}",
            kind="model_call",
            fingerprint=fingerprint_of_request(messages[seen:], settings, parameters),
            display_name=call.model,
            retry=call.retry,
            output_tools=frozenset(tool.name for tool in parameters.output_tools) if parameters else frozenset(),
        )
    if isinstance(operation_id, ToolsetCallToolId):
        tool, arguments, context = _tool_call_in(cache_key)
        call_id = (context.tool_call_id if context is not None else None) or ""
        verdict = _verdict_on(call, tool, arguments, context)
        key = f"{call.prefix}tool:{operation_id.toolset_id.strip('<>')}:{tool}#{quote(call_id, safe='|:+=')}"
        return Unit(
            key=f"{key}:{call.occurrence(key)}",
            kind="tool_call",
            fingerprint=fingerprint_of_call(tool, arguments),
            display_name=tool,
            arguments=_encode(to_jsonable_python(arguments, fallback=str)),
            details={
                "step": call.path,
                "key": f"{_turn(call)}>{call_id}",
                **(verdict.model_dump(include={"outcome", "digest", "by", "task_id"}) if verdict is not None else {}),
            },
        )
    # Discovery of tools, compaction and whatever a later pydantic-ai adds: by its own name, in order.
    plain = f"{call.prefix}{quote(name, safe=':._')}"
    return Unit(key=f"{plain}:{call.occurrence(plain)}", kind="compute", fingerprint={})


def _turn(call: AgentCall) -> str:
    """Which answer of the model the calls belong to that are made now; ids of calls may repeat from turn to turn."""
    return f"{call.prefix}{call.ordinals['model'] - 1}"


def _tool_calls_in(answer: Mapping[str, Any], output_tools: frozenset[str]) -> list[str]:
    """The ids of the calls that an answer asks for, without the one that hands in the result."""
    parts = [part for part in answer.get("parts", ()) if part.get("part_kind") == "tool-call"]
    return [part["tool_call_id"] for part in parts if part["tool_name"] not in output_tools]


# pydantic-ai calls the elements of `cache_key` opaque, and they are the only way to see a request before it is sent.
# So they are found by type, never by place, and tests/agents/test_library_surface.py pins that they are there.


def _request_in(
    cache_key: tuple[object, ...],
) -> tuple[Sequence[Any], Mapping[str, Any] | None, ModelRequestParameters | None]:
    messages = next((item for item in cache_key if isinstance(item, list)), [])
    settings = next((item for item in cache_key if isinstance(item, dict)), None)
    parameters = next((item for item in cache_key if isinstance(item, ModelRequestParameters)), None)
    return messages, settings, parameters


def _tool_call_in(cache_key: tuple[object, ...]) -> tuple[str, dict[str, Any], RunContext[Any] | None]:
    tool = next((item for item in cache_key if isinstance(item, str)), "")
    arguments = next((item for item in cache_key if isinstance(item, dict)), {})
    context = next((item for item in cache_key if isinstance(item, RunContext)), None)
    return tool, arguments, context


def _verdict_on(
    call: AgentCall, tool: str, arguments: Mapping[str, Any], context: RunContext[Any] | None
) -> Verdict | None:
    """What a person said about this call, if it needs that.

    Raises:
        ApprovalMismatch: it is not the call that was approved, or none was.
    """
    is_approved = context is not None and context.tool_call_approved
    if tool not in call.gated and not is_approved:
        return None
    call_id = (context.tool_call_id if context is not None else None) or ""
    verdict = call.approved.get(call_id) if is_approved else None
    found = digest_of_call(tool, arguments)
    if verdict is None or verdict.digest != found:
        raise ApprovalMismatch(tool, call_id=call_id, approved=verdict.digest if verdict else None, found=found)
    return verdict


async def _perform(
    unit: Unit, body: Callable[[], Awaitable[object]], call: AgentCall, made: list[dict[str, Any]]
) -> str:
    """Carry out a unit inside its checkpoint; returns what is kept, and leaves the fingerprint in the details.

    ``made`` gets what is kept as it was before it became text.
    """
    context = step_context()
    assert context is not None  # a checkpoint's body has one
    context.details.update(unit.details, fingerprint=unit.fingerprint)
    if unit.kind == "tool_call":
        call.check_wall()
    if unit.kind == "model_call":
        call.check_request()
        call.answered_by = call.model
        check_request(call.agent, path=f"{call.path}/{unit.key}", now=call.desk.now())
        call.stream = new_id()
        tell(call, "request_started", "", request=unit.key, attempt=context.attempt, stream=call.stream)
    below = Account()
    with call.nested.counting(below.total), reporting_to(below):
        value = await _answer(body, call) if unit.kind == "model_call" else await body()
    if unit.kind == "model_call":
        context.details.update(_priced(cast("dict[str, Any]", value), call))
    row = {"value": value}
    spending = below.total()
    if spending is not NOTHING:
        row["spending"] = spending.model_dump(mode="json")
    made.append(row)
    return _encode(row)


async def _answer(body: Callable[[], Awaitable[object]], call: AgentCall) -> object:
    """What the model answers; a failure in the words that the engine's retry policy knows."""
    try:
        return await body()
    except Exception as error:
        translated = translated_request_failure(error, model=call.model)
        if translated is None:
            raise
        raise translated from error


def _priced(value: dict[str, Any], call: AgentCall) -> dict[str, Any]:
    """Write the price into the answer, so that it counts the same at every replay, and sum up for the journal."""
    response: ModelResponse = JSON_CODEC.load(ModelResponse, {**value, "parts": []})  # what it said is of no account
    cost = call.registry.cost_of(response, key=call.answered_by)
    if cost is not None:
        value["usage"]["cost"] = str(cost)
    usage = response.usage
    return {
        "model": response.model_name,
        "model_key": call.answered_by,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost": None if cost is None else str(cost),
    }


_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
