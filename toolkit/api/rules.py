"""Rules: their overrides are uploaded, activated, rolled back and tried out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission, current_principal
from toolkit.api.audit import record
from toolkit.api.bodies import Body, JsonObjectText, JsonText, Text, documented, read_json, within
from toolkit.api.bounds import Moment, PathVersion, VersionNumber
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.rules import BatchItem, Decision, Explanation, RuleSummary, RuleVersion, evaluate_file
from toolkit.serialization import codec_for

router = APIRouter(prefix="/rules", tags=["rules"])

_ITEMS_AT_ONCE = 500


class Upload(Body):
    """A new version of a rule."""

    graph: Annotated[JsonObjectText, Field(description="The decision graph, as JDM.")]
    note: Annotated[Text | None, Field(max_length=1000, description="What is new, for the list of versions.")] = None


class Change(Body):
    """Why another version is to decide."""

    reason: Annotated[Text | None, Field(max_length=1000)] = None


class Activation(Change):
    """Why a version is to decide, and whether also against stored cases that fail."""

    valid_from: Annotated[
        Moment | None, Field(description="Left out: at once. A change by hand before it withdraws the plan.")
    ] = None
    force: Annotated[bool, Field(description="Pass over stored cases that fail; needs a reason, which is kept.")] = (
        False
    )


class Trust(Body):
    """Why a version may decide without the sandbox."""

    reason: Annotated[Text, Field(min_length=1, max_length=1000)]


class Evaluation(Body):
    """One input to decide about; nothing is recorded and nothing goes on because of it."""

    input: JsonText
    version: Annotated[VersionNumber | None, Field(description="Left out: what decides now.")] = None


class Simulation(Body):
    """A graph that is not stored, and an input to try it on."""

    graph: Annotated[JsonObjectText, Field(description="The decision graph, as JDM.")]
    input: JsonText


class BatchEvaluation(Body):
    """Many inputs to decide about."""

    inputs: Annotated[JsonText, Field(description="An array of inputs.")]


class FileEvaluation(Body):
    """A stored file whose rows are inputs."""

    file_id: Annotated[Text, Field(description="An uploaded .csv file with a header, or a .jsonl or .parquet file.")]


class StartedJob(BaseModel):
    """The run that decides about the rows of a file."""

    run_id: str


class RuleList(BaseModel):
    """All rules of the installation, by name."""

    items: list[RuleSummary]


class VersionList(BaseModel):
    """The versions of a rule, newest first."""

    items: list[RuleVersion]


class BatchResult(BaseModel):
    """One outcome an input, in their order."""

    items: list[BatchItem]


_read = [requires(Permission.RULES_READ)]
_activate = [requires(Permission.RULES_ACTIVATE)]
_trust = [requires(Permission.RULES_TRUST)]
_evaluate = [requires(Permission.RULES_EVALUATE)]


@router.get("", operation_id="list_rules", dependencies=_read)
async def list_rules(services: Installation) -> RuleList:
    """The rules, and which of them an uploaded version decides."""
    return RuleList(items=services.rules.list_rules())


@router.get("/{name}", operation_id="get_rule", dependencies=_read)
async def get_rule(name: str, services: Installation) -> RuleSummary:
    """One rule with the schemas of its input and output."""
    return services.rules.get_rule(name)


@router.get("/{name}/starter", operation_id="get_rule_starter", dependencies=_read)
async def get_rule_starter(name: str, services: Installation) -> dict[str, Any]:
    """A decision graph to begin with: it has the rule's inputs and outputs and decides nothing yet."""
    return services.rules.starter_graph(name)


@router.get("/{name}/versions", operation_id="list_rule_versions", dependencies=_read)
async def list_rule_versions(name: str, services: Installation) -> VersionList:
    """What was uploaded for a rule, newest first, without the graphs."""
    return VersionList(items=await services.rules.versions(name))


@router.post(
    "/{name}/versions",
    status_code=201,
    operation_id="upload_rule_version",
    dependencies=[requires(Permission.RULES_UPLOAD)],
    openapi_extra=documented(Upload),
)
async def upload_rule_version(name: str, request: Request, response: Response, services: Installation) -> RuleVersion:
    """Store a new version after checking it; it decides nothing before it is activated.

    Content that is already stored is not stored again: the answer is 200 and that version.
    """
    body = await read_json(request, Upload, limit=services.graph_bytes)
    version = await services.rules.upload(name, body.graph.encode(), note=body.note)
    if not version.created:
        response.status_code = 200
    return version


@router.get("/{name}/versions/{number}", operation_id="get_rule_version", dependencies=_read)
async def get_rule_version(name: str, number: PathVersion, services: Installation) -> RuleVersion:
    """One version with its graph, as it was uploaded."""
    return await services.rules.version(name, number)


@router.post(
    "/{name}/versions/{number}/activate",
    operation_id="activate_rule_version",
    dependencies=_activate,
    openapi_extra=documented(Activation, is_required=False),
)
async def activate_rule_version(
    name: str, number: PathVersion, request: Request, services: Installation
) -> RuleSummary:
    """Let a version decide from the next run on; a run that has asked the rule stays with what it got.

    Every stored case is run first: one that fails refuses the activation, with its name.
    """
    body = await read_json(request, Activation, limit=services.request_bytes, is_optional=True)
    return await services.rules.activate(name, number, reason=body.reason, force=body.force, valid_from=body.valid_from)


@router.post(
    "/{name}/versions/{number}/trust",
    operation_id="trust_rule_version",
    dependencies=_trust,
    openapi_extra=documented(Trust),
)
async def trust_rule_version(name: str, number: PathVersion, request: Request, services: Installation) -> RuleVersion:
    """Answer for a version: it decides in the server's own process, faster and without the sandbox around it."""
    body = await read_json(request, Trust, limit=services.request_bytes)
    return await services.rules.trust(name, number, reason=body.reason)


@router.delete("/{name}/versions/{number}/trust", operation_id="distrust_rule_version", dependencies=_trust)
async def distrust_rule_version(name: str, number: PathVersion, services: Installation) -> RuleVersion:
    """Put the sandbox around a version again."""
    return await services.rules.distrust(name, number)


@router.post(
    "/{name}/rollback",
    operation_id="roll_back_rule",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def roll_back_rule(name: str, request: Request, services: Installation) -> RuleSummary:
    """Let decide again what decided before the last activation."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.rules.rollback(name, reason=body.reason)


@router.post(
    "/{name}/deactivate",
    operation_id="deactivate_rule",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def deactivate_rule(name: str, request: Request, services: Installation) -> RuleSummary:
    """Let the rule's own code decide again."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.rules.deactivate(name, reason=body.reason)


@router.post(
    "/{name}/evaluate",
    operation_id="evaluate_rule",
    dependencies=_evaluate,
    openapi_extra=documented(Evaluation),
)
async def evaluate_rule(name: str, request: Request, services: Installation) -> Decision:
    """Decide about one input, to try a rule out."""
    body = await read_json(request, Evaluation, limit=services.request_bytes)
    with within("input"):
        return await services.rules.evaluate(name, body.input, version=body.version)


@router.post(
    "/{name}/explain",
    operation_id="explain_rule",
    dependencies=_evaluate,
    openapi_extra=documented(Evaluation),
)
async def explain_rule(name: str, request: Request, services: Installation) -> Explanation:
    """Decide about one input and say why; an evaluation that fails is explained up to where it failed."""
    body = await read_json(request, Evaluation, limit=services.request_bytes)
    with within("input"):
        return await services.rules.workbench.explain_input(name, body.input, version=body.version)


@router.post(
    "/{name}/simulate",
    operation_id="simulate_rule",
    dependencies=[requires(Permission.RULES_SIMULATE)],
    openapi_extra=documented(Simulation),
)
async def simulate_rule(name: str, request: Request, services: Installation) -> Explanation:
    """Try a graph that is not stored on one input, in the sandbox, with all that its nodes do."""
    body = await read_json(request, Simulation, limit=services.graph_bytes)
    return await services.rules.workbench.simulate(name, body.graph.encode(), body.input)


@router.post(
    "/{name}/evaluate-file",
    status_code=202,
    operation_id="evaluate_rule_file",
    dependencies=_evaluate,
    openapi_extra=documented(FileEvaluation),
)
async def evaluate_rule_file(name: str, request: Request, services: Installation) -> StartedJob:
    """Start a run that decides about every row of a stored CSV, JSON Lines or Parquet file, on all workers.

    Its result names a file of results, one JSON line a row; its steps show how far it is.
    """
    body = await read_json(request, FileEvaluation, limit=services.request_bytes)
    services.rules.find(name)
    file = await services.files.get(body.file_id)
    run = await services.engine.start(evaluate_file, name, file, started_by=current_principal().id)
    await record(services, action="run.started", object_kind="run", object_id=run.id, workflow=evaluate_file.name)
    return StartedJob(run_id=run.id)


@router.post(
    "/{name}/evaluate-batch",
    operation_id="evaluate_rule_batch",
    response_model=BatchResult,
    dependencies=_evaluate,
    openapi_extra=documented(BatchEvaluation),
)
async def evaluate_rule_batch(name: str, request: Request, services: Installation) -> Response:
    """Decide about many inputs at once; each gets an output or an error of its own."""
    body = await read_json(request, BatchEvaluation, limit=services.request_bytes)
    with within("inputs"):
        inputs = codec_for(list[Any]).parse_json(body.inputs)
    items = await services.rules.evaluate_batch(name, inputs)
    parts: list[bytes] = []
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        parts.append(to_json(items[start : start + _ITEMS_AT_ONCE])[1:-1])
        await asyncio.sleep(0)  # ten thousand items in one go would keep everybody else waiting
    return Response(b'{"items":[' + b",".join(parts) + b"]}", media_type="application/json")
