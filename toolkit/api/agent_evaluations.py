"""Evaluations of agents: cases are kept and captured, versions measured by them, and two of those compared."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission, require
from toolkit.agents import (
    Case,
    Changes,
    Evaluation,
    EvaluationComparison,
    Exact,
    Gate,
    Scorer,
    StoredCase,
)
from toolkit.api.bodies import Body, Text, documented, read_json
from toolkit.api.bounds import VersionNumber
from toolkit.api.pages import After, Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.errors import InvalidInput
from toolkit.files import File

router = APIRouter(prefix="/agents", tags=["agents"])

_read = [requires(Permission.AGENTS_READ)]
_evaluate = [requires(Permission.AGENTS_EVALUATE)]


class NewCase(Body):
    """A case: an input and what is expected of it."""

    input: Any
    expected: Any = None
    files: Annotated[tuple[Text, ...], Field(max_length=20, description="Ids of stored files.")] = ()
    note: Annotated[Text | None, Field(max_length=1000)] = None


class Capture(Body):
    """A finished run of which a call of the agent becomes a case."""

    run_id: Text
    name: Annotated[Text, Field(min_length=1, max_length=200)]
    step: Annotated[Text | None, Field(description="Path of the call; left out: the agent's first.")] = None


class NewEvaluation(Body):
    """What is to be evaluated, by what, and what it must reach."""

    data_set: Text
    version: Annotated[VersionNumber | None, Field(description="Left out: the agent's code, or `changes`.")] = None
    changes: Annotated[Changes | None, Field(description="A draft that is not stored.")] = None
    scorers: Annotated[tuple[Scorer, ...], Field(min_length=1, max_length=20)] = (Exact(),)
    gate: Gate = Gate()
    concurrency: Annotated[int, Field(ge=1, le=50)] = 4


class CaseList(BaseModel):
    """The cases of a data set, by name."""

    items: list[StoredCase]


@router.get("/{name}/data-sets/{data_set}/cases", operation_id="list_agent_cases", dependencies=_read)
async def list_agent_cases(name: str, data_set: str, services: Installation) -> CaseList:
    """The cases of a data set."""
    services.agents.find(name)
    return CaseList(items=await services.agents.data_sets.list(name, data_set))


@router.put(
    "/{name}/data-sets/{data_set}/cases/{case}",
    operation_id="put_agent_case",
    dependencies=_evaluate,
    openapi_extra=documented(NewCase),
)
async def put_agent_case(name: str, data_set: str, case: str, request: Request, services: Installation) -> StoredCase:
    """Keep a case, in place of one of the same name."""
    body = await read_json(request, NewCase, limit=services.request_bytes)
    agent = services.agents.find(name)
    files: tuple[File, ...] = tuple([await services.files.get(file_id) for file_id in body.files])
    made = Case(name=case, input=body.input, expected=body.expected, files=files, note=body.note)
    return await services.agents.data_sets.put(agent, data_set, made)


@router.delete(
    "/{name}/data-sets/{data_set}/cases/{case}",
    status_code=204,
    operation_id="remove_agent_case",
    dependencies=_evaluate,
    response_class=Response,
)
async def remove_agent_case(name: str, data_set: str, case: str, services: Installation) -> Response:
    """Forget a case."""
    await services.agents.data_sets.remove(name, data_set, case)
    return Response(status_code=204)


@router.post(
    "/{name}/data-sets/{data_set}/capture",
    status_code=201,
    operation_id="capture_agent_case",
    dependencies=_evaluate,
    openapi_extra=documented(Capture),
)
async def capture_agent_case(name: str, data_set: str, request: Request, services: Installation) -> StoredCase:
    """Make a case of what the agent was given and gave back in a finished run."""
    body = await read_json(request, Capture, limit=services.request_bytes)
    agent = services.agents.find(name)
    require(Permission.RUNS_READ)  # what the run was given and gave back is shown
    return await services.agents.data_sets.capture(
        services.engine, agent, data_set, run_id=body.run_id, name=body.name, step=body.step
    )


@router.post(
    "/{name}/evaluations",
    status_code=202,
    operation_id="evaluate_agent",
    dependencies=_evaluate,
    openapi_extra=documented(NewEvaluation),
)
async def evaluate_agent(name: str, request: Request, services: Installation) -> Evaluation:
    """Start a run that measures a version or a draft by a data set; tools that do more than read are not called."""
    body = await read_json(request, NewEvaluation, limit=services.request_bytes)
    if body.version is not None and body.changes is not None:
        raise InvalidInput("give version or changes, not both", errors=[{"loc": "changes", "msg": "version is given"}])
    evaluation, _ = await services.agents.evaluations.begin(
        services.engine,
        name,
        body.data_set,
        version=body.version,
        changes=body.changes,
        scorers=body.scorers,
        gate=body.gate,
        concurrency=body.concurrency,
    )
    return evaluation


@router.get("/{name}/evaluations", operation_id="list_agent_evaluations", dependencies=_read)
async def list_agent_evaluations(
    name: str, services: Installation, after: After = None, limit: Limit = 50
) -> Page[Evaluation]:
    """The evaluations of an agent, newest first, without their reports."""
    found = await services.agents.evaluations.list(name, after=after, limit=limit + 1)
    return page_of(found, limit, cursor_of=lambda one: one.id)


@router.get("/{name}/evaluations/compare", operation_id="compare_agent_evaluations", dependencies=_read)
async def compare_agent_evaluations(
    name: str, services: Installation, before: Annotated[str, Query()], after: Annotated[str, Query()]
) -> EvaluationComparison:
    """How a later evaluation differs from an earlier one."""
    return await services.agents.evaluations.compare(name, before, after)


@router.get("/{name}/evaluations/{evaluation_id}", operation_id="get_agent_evaluation", dependencies=_read)
async def get_agent_evaluation(name: str, evaluation_id: str, services: Installation) -> Evaluation:
    """One evaluation, with its report once it has ended."""
    return await services.agents.evaluations.get(name, evaluation_id)
