"""Agents: their prompts, models and parameters are changed by versions, without a deploy."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from toolkit.access import Permission
from toolkit.agents import (
    AgentDifference,
    AgentSummary,
    AgentVersion,
    Changes,
    Limits,
    input_of,
    simulate,
    tool_context_of,
)
from toolkit.api.agent_events import EVENT_STREAM, as_stream
from toolkit.api.audit import record
from toolkit.api.bodies import Body, JsonText, Text, documented, read_json, within
from toolkit.api.bounds import PathVersion, VersionNumber
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.errors import InvalidInput

router = APIRouter(prefix="/agents", tags=["agents"])


class NewVersion(Body):
    """A new version of an agent."""

    changes: Annotated[Changes, Field(description="What differs from the agent's code; the rest stays.")]
    note: Annotated[Text | None, Field(max_length=1000, description="What is new, for the list of versions.")] = None


class Change(Body):
    """Why an agent is to go by something else."""

    reason: Annotated[Text | None, Field(max_length=1000)] = None


class SimulationLimits(Body):
    """What a simulation may use; never more than the installation lets one use."""

    requests: Annotated[int | None, Field(ge=1)] = None
    tool_calls: Annotated[int | None, Field(ge=0)] = None
    tokens: Annotated[int | None, Field(ge=1)] = None
    cost: Annotated[Decimal | None, Field(gt=0)] = None
    wall: Annotated[timedelta | None, Field(gt=timedelta(0))] = None


class AgentSimulation(Body):
    """An agent to try out, and on what. Neither `version` nor `changes`: as it stands now."""

    input: JsonText
    version: Annotated[VersionNumber | None, Field(description="A version that was added; 0 is not one.")] = None
    changes: Annotated[Changes | None, Field(description="A draft that is not stored.")] = None
    files: Annotated[tuple[Text, ...], Field(max_length=20, description="Ids of stored files.")] = ()
    tool_context: Annotated[JsonText, Field(description="Where the agent's tools need one.")] = "null"
    tool_results: Annotated[
        dict[str, Any], Field(default_factory=dict, description="What tools are to return, by tool.")
    ]
    limits: SimulationLimits = SimulationLimits()


class AgentList(BaseModel):
    """All agents of the installation, by name."""

    items: list[AgentSummary]


class AgentVersionList(BaseModel):
    """The versions of an agent, newest first."""

    items: list[AgentVersion]


_read = [requires(Permission.AGENTS_READ)]
_activate = [requires(Permission.AGENTS_ACTIVATE)]


@router.get("", operation_id="list_agents", dependencies=_read)
async def list_agents(services: Installation) -> AgentList:
    """The agents as they stand, and which version each goes by."""
    return AgentList(items=await services.agents.list_agents())


@router.get("/{name}", operation_id="get_agent", dependencies=_read)
async def get_agent(name: str, services: Installation) -> AgentSummary:
    """One agent as it stands: prompts, model, parameters, tools with their effects."""
    return await services.agents.get_agent(name)


@router.get("/{name}/versions", operation_id="list_agent_versions", dependencies=_read)
async def list_agent_versions(name: str, services: Installation) -> AgentVersionList:
    """What was added for an agent, newest first."""
    return AgentVersionList(items=await services.agents.versions(name))


@router.post(
    "/{name}/versions",
    status_code=201,
    operation_id="add_agent_version",
    dependencies=[requires(Permission.AGENTS_CHANGE)],
    openapi_extra=documented(NewVersion),
)
async def add_agent_version(name: str, request: Request, services: Installation) -> AgentVersion:
    """Keep a new version after checking its prompts and its model; it holds for nobody before it is activated."""
    body = await read_json(request, NewVersion, limit=services.request_bytes)
    return await services.agents.add(name, body.changes, note=body.note)


@router.get("/{name}/versions/{number}", operation_id="get_agent_version", dependencies=_read)
async def get_agent_version(name: str, number: PathVersion, services: Installation) -> AgentVersion:
    """One version, as it was added."""
    return await services.agents.version(name, number)


@router.get("/{name}/diff", operation_id="compare_agent_versions", dependencies=_read)
async def compare_agent_versions(
    name: str,
    services: Installation,
    before: Annotated[VersionNumber | None, Query(description="Left out: the agent's code.")] = None,
    after: Annotated[VersionNumber | None, Query(description="Left out: the agent's code.")] = None,
) -> AgentDifference:
    """What differs between two versions, field by field."""
    return await services.agents.compare(name, before, after)


@router.post(
    "/{name}/versions/{number}/activate",
    operation_id="activate_agent_version",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def activate_agent_version(
    name: str, number: PathVersion, request: Request, services: Installation
) -> AgentSummary:
    """Let a version hold from the next run on; a run that has begun to ask the agent stays with what it has."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.agents.activate(name, number, reason=body.reason)


@router.post(
    "/{name}/rollback",
    operation_id="roll_back_agent",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def roll_back_agent(name: str, request: Request, services: Installation) -> AgentSummary:
    """Let hold again what held before the last activation."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.agents.roll_back(name, reason=body.reason)


@router.post(
    "/{name}/deactivate",
    operation_id="deactivate_agent",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def deactivate_agent(name: str, request: Request, services: Installation) -> AgentSummary:
    """Let the agent's own code hold again."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.agents.deactivate(name, reason=body.reason)


@router.post(
    "/{name}/simulate",
    operation_id="simulate_agent",
    dependencies=[requires(Permission.AGENTS_SIMULATE)],
    openapi_extra=documented(AgentSimulation),
    response_class=StreamingResponse,
    responses=EVENT_STREAM,
)
async def simulate_agent(name: str, request: Request, services: Installation) -> Response:
    """Try a draft or a version on an input, and follow it as server-sent events; the last is `output` or `failed`.

    Only tools that read are called; the others are said to be done. Nobody is asked, and no run is started.
    """
    body = await read_json(request, AgentSimulation, limit=services.request_bytes)
    agent = services.agents.find(name)
    if body.version is not None and body.changes is not None:
        raise InvalidInput("give version or changes, not both", errors=[{"loc": "changes", "msg": "version is given"}])
    with within("input"):
        given = input_of(agent, body.input)
    with within("tool_context"):
        tool_context = tool_context_of(agent, None if body.tool_context == "null" else body.tool_context)
    if body.changes is not None:
        definition = services.agents.draft(name, body.changes)
    elif body.version is not None:
        definition = await services.agents.definition(agent, body.version)
    else:
        definition = await services.agents.active(agent)
    files = [await services.files.get(file_id) for file_id in body.files]
    await record(
        services,
        action="agent.simulated",
        object_kind="agent",
        object_id=name,
        version=definition.number,
        is_draft=body.changes is not None,
    )
    events = simulate(
        agent,
        given,
        definition=definition,
        files=files,
        tool_context=tool_context,
        tool_results=body.tool_results,
        limits=Limits(**body.limits.model_dump()),
    )
    return StreamingResponse(as_stream(events), media_type="text/event-stream")
