"""Workflows: which there are, what they take, and how a run of one is started."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission, current_principal
from toolkit.api.audit import record
from toolkit.api.bodies import AsSentText, Body, JsonObjectText, Text, documented, read_json, within
from toolkit.api.references import complete_references
from toolkit.api.run_filters import read_attributes
from toolkit.api.security import requires
from toolkit.api.services import Installation, RunKey
from toolkit.errors import NotFound
from toolkit.workflows import Workflow

router = APIRouter(prefix="/workflows", tags=["workflows"])


class WorkflowSummary(BaseModel):
    """A workflow that can be started here."""

    name: str
    description: str | None
    version: str | None
    input_schema: dict[str, Any] = Field(description="The JSON Schema of `input`: the arguments by name.")


class WorkflowList(BaseModel):
    """All workflows of the installation, by name."""

    items: list[WorkflowSummary]


class Start(Body):
    """The arguments of a run."""

    input: Annotated[
        JsonObjectText, Field(description='The arguments by name. A file is given as `{"id": "..."}`.')
    ] = "{}"
    tags: Annotated[list[Text], Field(default_factory=list, max_length=50, description="The run is found by these.")]
    attributes: Annotated[
        AsSentText,
        Field(description='Search attributes: texts, numbers, or moments as `{"time": "2026-01-31T12:00:00Z"}`.'),
    ] = "{}"


class StartedRun(BaseModel):
    """The run that the request has started, or had started before with the same key."""

    id: str
    workflow: str
    is_new: bool


@router.get("", operation_id="list_workflows", dependencies=[requires(Permission.WORKFLOWS_READ)])
async def list_workflows(services: Installation) -> WorkflowList:
    """The workflows of this installation, with the schemas of their input."""
    return WorkflowList(items=[_summary(workflow) for _, workflow in sorted(services.engine.workflows.items())])


@router.get("/{name}", operation_id="get_workflow", dependencies=[requires(Permission.WORKFLOWS_READ)])
async def get_workflow(name: str, services: Installation) -> WorkflowSummary:
    """One workflow with the schema of its input."""
    return _summary(_find(services, name))


@router.post(
    "/{name}/runs",
    status_code=201,
    operation_id="start_run",
    dependencies=[requires(Permission.WORKFLOWS_START)],
    openapi_extra=documented(Start, is_required=False),
    responses={200: {"model": StartedRun, "description": "This key has started this run before."}},
)
async def start_run(
    *,
    name: str,
    request: Request,
    response: Response,
    services: Installation,
    idempotency_key: RunKey = None,
) -> StartedRun:
    """Start a run.

    With an `Idempotency-Key` that has started a run before, the answer is 200 and that run; with a key that has started
    a run with other input it is 409.
    """
    workflow = _find(services, name)
    body = await read_json(request, Start, limit=services.request_bytes, is_optional=True)
    with within("input"):
        arguments = await complete_references(body.input, workflow.input_schema(), services.files.get)
    with within("attributes"):
        attributes = read_attributes(body.attributes)
    with within("input"):
        handle = await services.engine.start_json(
            name,
            arguments,
            idempotency_key=idempotency_key,
            started_by=current_principal().id,
            tags=body.tags,
            attributes=attributes,
        )
    if handle.is_new:
        await record(services, action="run.started", object_kind="run", object_id=handle.id, workflow=name)
    else:
        response.status_code = 200
    response.headers["location"] = request.url_for("get_run", run_id=handle.id).path
    return StartedRun(id=handle.id, workflow=name, is_new=handle.is_new)


def _find(services: Installation, name: str) -> Workflow[Any, Any]:
    workflow = services.engine.workflows.get(name)
    if workflow is None:
        raise NotFound("workflow", name, known=list(services.engine.workflows))
    return workflow


def _summary(workflow: Workflow[Any, Any]) -> WorkflowSummary:
    return WorkflowSummary(
        name=workflow.name,
        description=workflow.description,
        version=workflow.version,
        input_schema=workflow.input_schema(),
    )
